//! A peer's manifest, `peer.toml`: what the peer is, how it is set up and started, what it can carry.
//!
//! It is read and checked here, and nothing is run: a [`Manifest`] that exists names only codecs of the contract and
//! placeholders that will have a value. Whatever is wrong is an error that names the file and the key.
//!
//! `tools/peers/README.md` has the fields one by one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::codec::Encoding;
use crate::experiment::client::Client;
use crate::stack::Family;

/// The manifest's file in a peer's folder.
pub const FILE_NAME: &str = "peer.toml";

/// A peer as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its name in rungs, and that of its folder.
    pub name: String,
    /// What it is, in a line.
    pub about: String,
    /// What it is written in.
    pub language: String,
    /// Under which licence its libraries come, as an SPDX expression.
    pub licence: String,
    /// Which version of what is measured.
    pub version: String,
    /// How its connections are spoken.
    pub protocol: Protocol,
    /// What it can be asked to speak, each a rung.
    pub codecs: Vec<CodecName>,
    /// What is known to be wrong with it.
    #[serde(default)]
    pub faults: Vec<String>,
    /// How its environment is made.
    #[serde(default)]
    pub setup: Setup,
    /// How it is started.
    pub start: Start,
    /// What it cannot do.
    #[serde(default)]
    pub limits: Limits,
    /// Its rows in the original benchmark's table, by codec.
    #[serde(default)]
    pub seed: BTreeMap<CodecName, String>,
}

/// How an environment is made. Peers that name the same one share it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Name of the environment; the peer's own name where there is none.
    pub environment: Option<String>,
    /// Programs that must be there already.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Files, from the peer's folder, whose change makes the environment anew.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// Commands that make it, run in the peer's folder; without any there is nothing to make.
    #[serde(default)]
    pub steps: Vec<Vec<Template>>,
}

/// How a server is started.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Program and arguments, run in the peer's folder.
    pub command: Vec<Template>,
    /// The line it prints once it listens, `{address}` standing for `HOST:PORT`.
    pub ready: Template,
}

/// What a peer cannot do; what is `None` has no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Largest message.
    pub body_bytes_max: Option<u64>,
    /// Most requests in flight.
    pub in_flight_max: Option<u32>,
    /// Limits that hold for large arrays or under one client only.
    #[serde(default)]
    pub when: Vec<When>,
}

/// A limit for arrays from a size on, and perhaps under one client only.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The smallest array it holds for.
    pub array_bytes_min: u64,
    /// The client it holds under; any, where none is named.
    pub client: Option<Client>,
    /// Most requests in flight.
    pub in_flight_max: u32,
}

/// How a peer's connections are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The contract's paths over HTTP/1.1.
    H1,
    /// The contract's method over HTTP/2.
    Grpc,
    /// Length-prefixed frames.
    Raw,
}

/// `ENCODING` or `ENCODING:FLAVOUR`, as in a rung.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct CodecName {
    name: String,
    /// Length of the encoding's name in `name`.
    base: usize,
}

/// A word of a command in which `{env}` and the like stand for values known only when it is run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Template(String);

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no TOML, or has not the fields of a manifest.
    #[error("{path}:{line}: {reason} (in `{text}`)")]
    Form {
        /// Which file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What the line says, with its key.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A value that makes no sense.
    #[error("{path}: {key}: {reason}")]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Manifest {
    /// Reads and checks the manifest in `folder`.
    pub fn read(folder: &Path) -> Result<Manifest, ManifestError> {
        let path = folder.join(FILE_NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(ManifestError::Read { path, source }),
        };
        let manifest: Manifest =
            toml::from_str(&text).map_err(|error| form_error(&path, &text, &error))?;
        match manifest.fault(folder) {
            None => Ok(manifest),
            Some((key, reason)) => Err(ManifestError::Value { path, key, reason }),
        }
    }

    /// Name of its environment.
    pub fn environment(&self) -> &str {
        self.setup.environment.as_deref().unwrap_or(&self.name)
    }

    /// The first key whose value makes no sense, and why.
    fn fault(&self, folder: &Path) -> Option<(String, String)> {
        let fault = |key: &str, reason: String| Some((key.to_owned(), reason));
        let folder_name = folder.file_name().unwrap_or_default().to_string_lossy();
        if self.name != folder_name {
            return fault(
                "name",
                format!("{:?}, expected its folder's, {folder_name:?}", self.name),
            );
        }
        for (key, name) in [("name", self.name.as_str()), ("setup.environment", self.environment())]
        {
            if !is_plain(name) {
                return fault(key, format!("{name:?}, expected letters, digits and -"));
            }
        }
        if self.codecs.is_empty() {
            return fault("codecs", "empty, expected at least one".to_owned());
        }
        if let Some(twice) = self
            .codecs
            .iter()
            .enumerate()
            .find_map(|(at, codec)| self.codecs[..at].contains(codec).then_some(codec))
        {
            return fault("codecs", format!("{twice} is there twice"));
        }
        if let Some(codec) = self.seed.keys().find(|codec| !self.codecs.contains(codec)) {
            return fault("seed", format!("{codec} is not among its codecs"));
        }
        self.limits.fault().or_else(|| self.template_fault())
    }

    fn template_fault(&self) -> Option<(String, String)> {
        let lists = self.setup.steps.iter().map(|step| ("setup.steps", step, STEP_PLACES));
        let start = ("start.command", &self.start.command, START_PLACES);
        for (key, words, places) in lists.chain([start]) {
            if words.first().is_none_or(|program| program.0.is_empty()) {
                return Some((key.to_owned(), "no program".to_owned()));
            }
            if let Some(reason) = words.iter().find_map(|word| word.fault(places)) {
                return Some((key.to_owned(), reason));
            }
        }
        let key = || "start.ready".to_owned();
        if self.start.ready.0.matches(ADDRESS).count() != 1 {
            let reason = format!("{:?}, expected {ADDRESS} once", self.start.ready.0);
            return Some((key(), reason));
        }
        self.start.ready.fault(&[ADDRESS]).map(|reason| (key(), reason))
    }
}

impl Limits {
    /// Most requests in flight at an array of `bytes`, under `client`.
    pub fn in_flight_max(&self, bytes: u64, client: Client) -> Option<u32> {
        let holds = |when: &&When| {
            bytes >= when.array_bytes_min && when.client.is_none_or(|only| only == client)
        };
        let when = self.when.iter().filter(holds);
        when.map(|when| when.in_flight_max).chain(self.in_flight_max).min()
    }

    fn fault(&self) -> Option<(String, String)> {
        let zero = |key: &str| Some((key.to_owned(), "0, expected at least 1".to_owned()));
        if self.body_bytes_max == Some(0) {
            return zero("limits.body_bytes_max");
        }
        if self.in_flight_max == Some(0) {
            return zero("limits.in_flight_max");
        }
        let is_zero = self.when.iter().any(|when| when.in_flight_max == 0);
        if is_zero { zero("limits.when.in_flight_max") } else { None }
    }
}

impl Protocol {
    /// What it carries a message in.
    pub fn family(self) -> Family {
        match self {
            Protocol::H1 => Family::Rest,
            Protocol::Grpc => Family::Grpc,
            Protocol::Raw => Family::Raw,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Protocol::H1 => "HTTP/1.1",
            Protocol::Grpc => "gRPC",
            Protocol::Raw => "raw",
        })
    }
}

impl CodecName {
    /// What it is on the wire.
    pub fn encoding(&self) -> Encoding {
        encoding(&self.name[..self.base]).expect("checked when it was made")
    }
}

impl TryFrom<String> for CodecName {
    type Error = String;

    fn try_from(name: String) -> Result<CodecName, String> {
        let (base, flavour) = name.split_once(':').map_or((&*name, None), |(b, f)| (b, Some(f)));
        if encoding(base).is_none() {
            let known = Encoding::ALL.map(Encoding::name).join(", ");
            return Err(format!("codec {name:?} is of no encoding, expected one of {known}"));
        }
        if flavour.is_some_and(|flavour| !is_plain(flavour)) {
            return Err(format!("codec {name:?}: expected letters, digits and - behind the colon"));
        }
        let base = base.len();
        Ok(CodecName { name, base })
    }
}

impl fmt::Display for CodecName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

/// What stands for the address in a ready line.
const ADDRESS: &str = "{address}";

const STEP_PLACES: &[&str] = &["{env}"];

const START_PLACES: &[&str] = &["{env}", "{port}", "{cpu}", "{codec}"];

impl Template {
    /// The word with each of `values` in its place.
    pub fn fill(&self, values: &[(&str, &str)]) -> String {
        let fill = |word: String, (name, value): &(&str, &str)| word.replace(name, value);
        values.iter().fold(self.0.clone(), fill)
    }

    /// What stands before and behind the address in a ready line.
    pub fn around_address(&self) -> (&str, &str) {
        self.0.split_once(ADDRESS).expect("checked when the manifest was read")
    }

    /// The first thing that looks like a placeholder and is none of `places`.
    fn fault(&self, places: &[&str]) -> Option<String> {
        let mut rest = self.0.as_str();
        while let Some(start) = rest.find('{') {
            rest = &rest[start..];
            let end = rest[1..].find(|c: char| !c.is_ascii_lowercase()).map_or(0, |at| at + 1);
            if end > 1 && rest[end..].starts_with('}') && !places.contains(&&rest[..=end]) {
                let known = places.join(", ");
                return Some(format!("{:?} has {}, expected {known}", self.0, &rest[..=end]));
            }
            rest = &rest[1..];
        }
        None
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn encoding(name: &str) -> Option<Encoding> {
    Encoding::ALL.into_iter().find(|encoding| encoding.name() == name)
}

/// Fit for a rung's name and for that of a folder.
fn is_plain(name: &str) -> bool {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.chars().all(is_fit)
}

fn form_error(path: &Path, text: &str, error: &toml::de::Error) -> ManifestError {
    let at = error.span().map_or(0, |span| span.start).min(text.len());
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    ManifestError::Form {
        path: path.to_owned(),
        line: text[..start].matches('\n').count() + 1,
        text: text[start..].lines().next().unwrap_or_default().trim().to_owned(),
        reason: error.message().replace('\n', ", "),
    }
}

#[cfg(test)]
mod tests;
