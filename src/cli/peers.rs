//! Flags that say where peers are, and the launcher that peers are started through.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use clap::Args;

use crate::cli::ndecho::fail;
use crate::external::environment::Site;
use crate::external::{self, ExternalServer};
use crate::sys::affinity;

/// Where peers are, from the root of the sources.
const PEERS_DIR: &str = "tools/external";

/// Where their environments are, in cargo's target folder.
const ENVIRONMENTS_DIR: &str = "ndecho-external";

/// What cargo leaves in a target folder.
const TARGET_MARK: &str = "CACHEDIR.TAG";

/// Where peers and their environments are.
#[derive(Args, Clone, Debug)]
pub struct ExternalArgs {
    /// Folder of peers [default: tools/external, here or above, or above this program]
    #[arg(long, value_name = "DIR")]
    pub peers_dir: Option<PathBuf>,

    /// Folder for what peers need, made on first use [default: ndecho-external in the target folder]
    #[arg(long, value_name = "DIR")]
    pub environments: Option<PathBuf>,
}

/// Pins itself and becomes another program, which then ends with the ladder like any child of it.
#[derive(Args, Clone, Debug)]
pub struct ExecArgs {
    /// Core for it and all that it starts
    #[arg(long, value_name = "CORE")]
    cpu: Option<usize>,

    /// Program and arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl ExternalArgs {
    /// Folder of the peers.
    pub fn folder(&self) -> Result<PathBuf, String> {
        if let Some(folder) = &self.peers_dir {
            return Ok(folder.clone());
        }
        let here = std::env::current_dir().unwrap_or_default();
        let program = std::env::current_exe().unwrap_or_default();
        let above = here.ancestors().chain(program.ancestors());
        let found = above.map(|folder| folder.join(PEERS_DIR)).find(|folder| folder.is_dir());
        found.ok_or_else(|| {
            format!("there is no {PEERS_DIR} here or above, nor above this program: name it with --peers-dir")
        })
    }

    /// Every peer there is.
    pub fn read(&self) -> Result<Vec<Arc<ExternalServer>>, String> {
        external::read(&self.folder()?, &mut |line| eprintln!("{line}"))
            .map_err(|error| error.to_string())
    }

    /// Where environments are made.
    pub fn site(&self) -> Result<Site, String> {
        let program = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
        let usual = || target(&program).join(ENVIRONMENTS_DIR);
        let folder = self.environments.clone().unwrap_or_else(usual);
        let folder = std::path::absolute(&folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        Ok(Site { program, folder, search: std::env::split_paths(&path).collect() })
    }
}

/// The target folder that `program` lies in, or the one that would be here.
fn target(program: &Path) -> PathBuf {
    let is_target = |folder: &&Path| folder.join(TARGET_MARK).is_file();
    let found = program.ancestors().skip(1).find(is_target);
    found.map_or_else(|| PathBuf::from("target"), Path::to_owned)
}

impl ExecArgs {
    /// Returns only if it fails.
    pub fn run(&self) -> ExitCode {
        if let Some(core) = self.cpu
            && let Err(error) = affinity::pin(core)
        {
            return fail(error);
        }
        let (program, args) = self.command.split_first().expect("clap asks for one");
        let error = Command::new(program).args(args).exec();
        fail(format!("cannot start {}: {error}", program.to_string_lossy()))
    }
}
