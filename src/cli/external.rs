//! Flags for the folders of the external servers and of their environments.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;

use crate::cli::output::tell;
use crate::external::environment::Site;
use crate::external::{self, ExternalServer};

const SERVERS_DIR: &str = "tools/external";
const ENVIRONMENTS_DIR: &str = "ndecho-external";

/// File that cargo writes to a target folder.
const TARGET_MARK: &str = "CACHEDIR.TAG";

#[derive(Args, Clone, Debug)]
pub struct ExternalArgs {
    /// Folder of the external servers [default: tools/external, here or above, or above this
    /// program]
    #[arg(long, value_name = "DIR")]
    pub external_dir: Option<PathBuf>,

    /// Folder for the environments of the external servers, made on first use [default:
    /// ndecho-external in the target folder]
    #[arg(long, value_name = "DIR")]
    pub environments: Option<PathBuf>,
}

impl ExternalArgs {
    pub fn folder(&self) -> anyhow::Result<PathBuf> {
        if let Some(folder) = &self.external_dir {
            return Ok(folder.clone());
        }
        let here = std::env::current_dir().unwrap_or_default();
        let program = std::env::current_exe().unwrap_or_default();
        let above = here.ancestors().chain(program.ancestors());
        let found = above.map(|folder| folder.join(SERVERS_DIR)).find(|folder| folder.is_dir());
        found.with_context(|| {
            format!("there is no {SERVERS_DIR} here or above, nor above this program: name it with --external-dir")
        })
    }

    pub fn read(&self) -> anyhow::Result<Vec<Arc<ExternalServer>>> {
        Ok(external::read(&self.folder()?, &mut |line| tell(line))?)
    }

    pub fn site(&self) -> anyhow::Result<Site> {
        let program = std::env::current_exe().context("own path")?;
        let usual = || target(&program).join(ENVIRONMENTS_DIR);
        let folder = self.environments.clone().unwrap_or_else(usual);
        let folder = std::path::absolute(&folder).with_context(|| folder.display().to_string())?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        Ok(Site { program, folder, search: std::env::split_paths(&path).collect() })
    }
}

/// Finds the target folder that contains `program`; the default is `target` here.
fn target(program: &Path) -> PathBuf {
    let is_target = |folder: &&Path| folder.join(TARGET_MARK).is_file();
    let found = program.ancestors().skip(1).find(is_target);
    found.map_or_else(|| PathBuf::from("target"), Path::to_owned)
}
