//! External servers: programs in any language that join the ladder as data.
//!
//! A folder with a [`manifest`] is an external server. Each codec in the manifest is a rung,
//! `external/NAME/CODEC[:FLAVOUR]`, without a parent, because it differs from our rungs on more
//! than one axis. [`environment`] installs a server's needs. This room starts no server.

pub mod advice;
pub mod environment;
pub mod listing;
pub mod manifest;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::axis::external::PREFIX;
use crate::axis::{Encoding, Family, Malloc};
use crate::sys::ready_line::ReadyLine;

use manifest::{CodecName, FILE_NAME, Manifest, ManifestError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalServer {
    /// Absolute path of the folder with the manifest.
    pub folder: PathBuf,
    pub manifest: Manifest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalRung {
    pub server: Arc<ExternalServer>,
    pub codec: CodecName,
}

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{path}: cannot list the folder of external servers: {source}")]
    List { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(
        "{path}: setup: the environment {environment:?} differs from that of {other}; use the same \
         needs, files and steps in both, or choose another name"
    )]
    Shared { path: PathBuf, other: PathBuf, environment: String },
}

/// Reads every external server in `folder`, ordered by name. Reports old file names to `tell`.
pub fn read(
    folder: &Path,
    tell: &mut dyn FnMut(&str),
) -> Result<Vec<Arc<ExternalServer>>, FolderError> {
    let list_error = |source| FolderError::List { path: folder.to_owned(), source };
    let home = std::path::absolute(folder).map_err(list_error)?;
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(&home).map_err(list_error)? {
        folders.push(entry.map_err(list_error)?.path());
    }
    folders.sort();
    let mut servers: Vec<Arc<ExternalServer>> = Vec::new();
    for folder in folders {
        let Some(path) = manifest::find(&folder) else { continue };
        if !path.ends_with(FILE_NAME) {
            tell(&format!("{}: this file is now called {FILE_NAME}", path.display()));
        }
        let manifest = Manifest::read(&path)?;
        servers.push(Arc::new(ExternalServer { folder, manifest }));
    }
    check_shared(&servers)?;
    Ok(servers)
}

/// Lists the rungs of `servers`, with the codecs in the order of the manifest.
pub fn rungs(servers: &[Arc<ExternalServer>]) -> Vec<ExternalRung> {
    let rungs = |server: &Arc<ExternalServer>| {
        let rung =
            |codec: &CodecName| ExternalRung { server: Arc::clone(server), codec: codec.clone() };
        server.manifest.codecs.iter().map(rung).collect::<Vec<_>>()
    };
    servers.iter().flat_map(rungs).collect()
}

fn check_shared(servers: &[Arc<ExternalServer>]) -> Result<(), FolderError> {
    let mut first: BTreeMap<&str, &ExternalServer> = BTreeMap::new();
    for server in servers {
        let environment = server.manifest.environment();
        let other = *first.entry(environment).or_insert(server);
        if server.manifest.setup != other.manifest.setup {
            return Err(FolderError::Shared {
                path: server.folder.join(FILE_NAME),
                other: other.folder.join(FILE_NAME),
                environment: environment.to_owned(),
            });
        }
    }
    Ok(())
}

impl ExternalRung {
    pub fn family(&self) -> Family {
        self.server.manifest.protocol.family()
    }

    pub fn encoding(&self) -> Encoding {
        self.codec.encoding()
    }

    /// Returns the allocator if `wanted` is the choice of the run. Only the forms of glibc's malloc
    /// can be chosen from outside of a program.
    pub fn malloc(&self, wanted: Option<Malloc>) -> Malloc {
        wanted.filter(|malloc| *malloc != Malloc::Mimalloc).unwrap_or(Malloc::Default)
    }

    /// Returns the command that starts the server on a free port, to run in the server's folder.
    pub fn command(&self, env: &Path, cpu: usize) -> Vec<String> {
        let (env, cpu, codec) = (env.to_string_lossy(), cpu.to_string(), self.codec.to_string());
        let values = [("{env}", &*env), ("{port}", "0"), ("{cpu}", &cpu), ("{codec}", &codec)];
        self.server.manifest.start.command.iter().map(|word| word.fill(&values)).collect()
    }

    pub fn ready_line(&self) -> ReadyLine<'_> {
        let (before, after) = self.server.manifest.start.ready.around_address();
        ReadyLine(before, after)
    }

    pub fn original(&self) -> Option<&str> {
        self.server.manifest.seed.get(&self.codec).map(String::as_str)
    }
}

impl fmt::Display for ExternalRung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}{}/{}", PREFIX, self.server.manifest.name, self.codec))
    }
}
