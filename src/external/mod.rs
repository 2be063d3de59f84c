//! Peers: servers that are no part of this crate, in any language, which join the ladder as data.
//!
//! A folder with a [`manifest`] is a peer, and each codec it lists a rung, `peer/NAME/CODEC[:FLAVOUR]`. Such a rung is
//! measured like any other but has no parent: it differs from ours in more than one axis. [`environment`] makes what
//! a peer needs before it can be started; the rest of the ladder does not know what a peer is written in.

pub mod advice;
pub mod environment;
pub mod listing;
pub mod manifest;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::codec::Encoding;
use crate::stack::Family;

use crate::experiment::process::ReadyLine;
use manifest::{CodecName, FILE_NAME, Manifest, ManifestError};

/// A server that is described by a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where its manifest and its files are; absolute.
    pub folder: PathBuf,
    /// What it says about itself.
    pub manifest: Manifest,
}

/// A peer speaking one of its codecs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRung {
    /// Whose.
    pub peer: Arc<Peer>,
    /// Which.
    pub codec: CodecName,
}

/// Why a folder of peers is refused.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// It cannot be listed.
    #[error("{path}: {source}")]
    List {
        /// Which folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A manifest in it.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Two peers that mean different things by one environment.
    #[error(
        "{path}: setup: the environment {environment:?} is made otherwise than by {other}; give \
         both the same needs, files and steps, or this one another name"
    )]
    Shared {
        /// The later manifest.
        path: PathBuf,
        /// The earlier one.
        other: PathBuf,
        /// Name of the environment.
        environment: String,
    },
}

/// Every peer in `folder`, by name.
pub fn read(folder: &Path) -> Result<Vec<Arc<Peer>>, PeersError> {
    let list_error = |source| PeersError::List { path: folder.to_owned(), source };
    let home = std::path::absolute(folder).map_err(list_error)?;
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(&home).map_err(list_error)? {
        folders.push(entry.map_err(list_error)?.path());
    }
    folders.retain(|folder| folder.join(FILE_NAME).is_file());
    folders.sort();
    let mut peers: Vec<Arc<Peer>> = Vec::new();
    for folder in folders {
        let manifest = Manifest::read(&folder)?;
        peers.push(Arc::new(Peer { folder, manifest }));
    }
    check_shared(&peers)?;
    Ok(peers)
}

/// Every rung of `peers`, codec by codec as in a manifest.
pub fn rungs(peers: &[Arc<Peer>]) -> Vec<PeerRung> {
    let of = |peer: &Arc<Peer>| {
        let rung = |codec: &CodecName| PeerRung { peer: Arc::clone(peer), codec: codec.clone() };
        peer.manifest.codecs.iter().map(rung).collect::<Vec<_>>()
    };
    peers.iter().flat_map(of).collect()
}

fn check_shared(peers: &[Arc<Peer>]) -> Result<(), PeersError> {
    let mut first: BTreeMap<&str, &Peer> = BTreeMap::new();
    for peer in peers {
        let environment = peer.manifest.environment();
        let other = *first.entry(environment).or_insert(peer);
        if peer.manifest.setup != other.manifest.setup {
            return Err(PeersError::Shared {
                path: peer.folder.join(FILE_NAME),
                other: other.folder.join(FILE_NAME),
                environment: environment.to_owned(),
            });
        }
    }
    Ok(())
}

impl PeerRung {
    /// What the peer's protocol carries a message in.
    pub fn family(&self) -> Family {
        self.peer.manifest.protocol.family()
    }

    /// What the codec speaks on the wire.
    pub fn encoding(&self) -> Encoding {
        self.codec.encoding()
    }

    /// The program that serves it and its arguments: with its environment at `env`, on core `cpu`, on a free port. It is
    /// run in the peer's folder.
    pub fn command(&self, env: &Path, cpu: usize) -> Vec<String> {
        let (env, cpu, codec) = (env.to_string_lossy(), cpu.to_string(), self.codec.to_string());
        let values = [("{env}", &*env), ("{port}", "0"), ("{cpu}", &cpu), ("{codec}", &codec)];
        self.peer.manifest.start.command.iter().map(|word| word.fill(&values)).collect()
    }

    /// The line by which it says where it listens.
    pub fn ready_line(&self) -> ReadyLine<'_> {
        let (before, behind) = self.peer.manifest.start.ready.around_address();
        ReadyLine(before, behind)
    }

    /// Its row in the original benchmark's table.
    pub fn original(&self) -> Option<&str> {
        self.peer.manifest.seed.get(&self.codec).map(String::as_str)
    }
}

impl fmt::Display for PeerRung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("peer/{}/{}", self.peer.manifest.name, self.codec))
    }
}
