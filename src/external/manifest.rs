//! Manifest of an external server, `manifest.toml`: description, set-up, start command, limits.
//!
//! A [`Manifest`] names only encodings of the contract and only placeholders that have a value
//! later. Each error names the file and the key. `tools/external/README.md` describes every key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::axis::{Encoding, Family};
use crate::record::Client;

pub const FILE_NAME: &str = "manifest.toml";

/// Earlier name of the file, which is still read.
const OLD_FILE_NAME: &str = "peer.toml";

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the server in rungs, equal to the name of its folder.
    pub name: String,
    /// Description in one line.
    pub about: String,
    pub language: String,
    /// Licence of the libraries, as an SPDX expression.
    pub licence: String,
    /// Versions of the measured libraries.
    pub version: String,
    pub protocol: Protocol,
    pub codecs: Vec<CodecName>,
    /// Known deviations from the contract.
    #[serde(default)]
    pub faults: Vec<String>,
    #[serde(default)]
    pub setup: Setup,
    pub start: Start,
    #[serde(default)]
    pub limits: Limits,
    /// Names of rows in the original benchmark's table, by codec.
    #[serde(default)]
    pub seed: BTreeMap<CodecName, String>,
}

/// Recipe of an environment. Servers that name the same environment share it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Name of the environment. Default: the name of the server.
    pub environment: Option<String>,
    #[serde(default)]
    pub needs: Vec<String>,
    /// Input files, relative to the server's folder. A change installs the environment again.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// Commands, run in the server's folder. None means that the server needs no environment.
    #[serde(default)]
    pub steps: Vec<Vec<Template>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Program and arguments, run in the server's folder.
    pub command: Vec<Template>,
    /// Line that the server prints when it listens. `{address}` stands for `HOST:PORT`.
    pub ready: Template,
    /// Least seconds under load before a launch is measured, for a program that compiles itself
    /// while it runs.
    pub warmup_s: Option<u32>,
}

/// Longest warm-up that a manifest may ask for: the trial's budget has to hold it.
const WARMUP_S_MAX: u32 = 15;

/// Limits of a server. `None` means no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub body_bytes_max: Option<u64>,
    pub in_flight_max: Option<u32>,
    /// Cause of `body_bytes_max`, as words that complete "as".
    pub reason: Option<String>,
    #[serde(default)]
    pub when: Vec<When>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Size of the smallest array that the limit applies to.
    pub array_bytes_min: u64,
    /// Client that the limit applies to. Default: every client.
    pub client: Option<Client>,
    pub in_flight_max: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    H1,
    Grpc,
    Raw,
    Zmtp,
}

/// Codec in the name of a rung: `ENCODING` or `ENCODING:FLAVOUR`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct CodecName {
    name: String,
    /// Length of the encoding's name in `name`.
    encoding_len: usize,
}

/// Word of a command with placeholders such as `{env}`, whose values are known at run time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Template(String);

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("{path}: cannot read the manifest: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}:{line}: {reason} (in `{text}`)")]
    Form { path: PathBuf, line: usize, text: String, reason: String },
    #[error("{path}: {invalid}")]
    Value { path: PathBuf, invalid: Invalid },
}

#[derive(Debug, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct Invalid {
    key: &'static str,
    reason: String,
}

/// Finds the manifest in `folder`, under its current name or under the earlier one.
pub fn find(folder: &Path) -> Option<PathBuf> {
    [FILE_NAME, OLD_FILE_NAME].map(|name| folder.join(name)).into_iter().find(|path| path.is_file())
}

impl Manifest {
    pub fn read(path: &Path) -> Result<Manifest, ManifestError> {
        let path = path.to_owned();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(ManifestError::Read { path, source }),
        };
        let manifest: Manifest =
            toml::from_str(&text).map_err(|error| form_error(&path, &text, &error))?;
        match manifest.check(path.parent().unwrap_or(&path)) {
            Ok(()) => Ok(manifest),
            Err(invalid) => Err(ManifestError::Value { path, invalid }),
        }
    }

    pub fn environment(&self) -> &str {
        self.setup.environment.as_deref().unwrap_or(&self.name)
    }

    fn check(&self, folder: &Path) -> Result<(), Invalid> {
        let folder_name = folder.file_name().unwrap_or_default().to_string_lossy();
        if self.name != folder_name {
            return invalid(
                "name",
                format!("{:?}, expected the name of its folder, {folder_name:?}", self.name),
            );
        }
        for (key, name) in [("name", self.name.as_str()), ("setup.environment", self.environment())]
        {
            if !is_plain(name) {
                return invalid(key, format!("{name:?}, expected letters, digits and -"));
            }
        }
        if self.codecs.is_empty() {
            return invalid("codecs", "empty, expected at least one".to_owned());
        }
        let mut numbered = self.codecs.iter().enumerate();
        if let Some((_, codec)) = numbered.find(|(at, codec)| self.codecs[..*at].contains(codec)) {
            return invalid("codecs", format!("{codec} is listed twice"));
        }
        let family = self.protocol.family();
        if let Some(codec) = self.codecs.iter().find(|codec| !family.carries(codec.encoding())) {
            let protocol = self.protocol;
            return invalid("codecs", format!("{protocol} does not carry {codec}"));
        }
        if let Some(codec) = self.seed.keys().find(|codec| !self.codecs.contains(codec)) {
            return invalid("seed", format!("{codec} is not in the list of codecs"));
        }
        self.limits.check()?;
        self.check_templates()
    }

    fn check_templates(&self) -> Result<(), Invalid> {
        let lists = self.setup.steps.iter().map(|step| ("setup.steps", step, STEP_PLACEHOLDERS));
        let start = ("start.command", &self.start.command, START_PLACEHOLDERS);
        for (key, words, placeholders) in lists.chain([start]) {
            if words.first().is_none_or(|program| program.0.is_empty()) {
                return invalid(key, "no program".to_owned());
            }
            words.iter().try_for_each(|word| word.check(key, placeholders))?;
        }
        let ready = &self.start.ready;
        if ready.0.matches(ADDRESS).count() != 1 {
            return invalid("start.ready", format!("{:?}, expected {ADDRESS} once", ready.0));
        }
        ready.check("start.ready", &[ADDRESS])?;
        match self.start.warmup_s {
            Some(0) => invalid("start.warmup_s", "0, expected at least 1".to_owned()),
            Some(more) if more > WARMUP_S_MAX => {
                invalid("start.warmup_s", format!("{more}, expected at most {WARMUP_S_MAX}"))
            }
            _ => Ok(()),
        }
    }
}

fn invalid(key: &'static str, reason: String) -> Result<(), Invalid> {
    Err(Invalid { key, reason })
}

impl Limits {
    pub fn in_flight_max(&self, bytes: u64, client: Client) -> Option<u32> {
        let applies = |when: &&When| {
            bytes >= when.array_bytes_min && when.client.is_none_or(|only| only == client)
        };
        let when = self.when.iter().filter(applies);
        when.map(|when| when.in_flight_max).chain(self.in_flight_max).min()
    }

    fn check(&self) -> Result<(), Invalid> {
        let zeros = [
            ("limits.body_bytes_max", self.body_bytes_max == Some(0)),
            ("limits.in_flight_max", self.in_flight_max == Some(0)),
            ("limits.when.in_flight_max", self.when.iter().any(|when| when.in_flight_max == 0)),
        ];
        match zeros.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((key, _)) => invalid(key, "0, expected at least 1".to_owned()),
            None => Ok(()),
        }
    }
}

impl Protocol {
    pub fn family(self) -> Family {
        match self {
            Protocol::H1 => Family::Rest,
            Protocol::Grpc => Family::Grpc,
            Protocol::Raw => Family::Raw,
            Protocol::Zmtp => Family::Zmtp,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Protocol::H1 => "HTTP/1.1",
            Protocol::Grpc => "gRPC",
            Protocol::Raw => "raw",
            Protocol::Zmtp => "ZMTP",
        })
    }
}

impl CodecName {
    pub fn encoding(&self) -> Encoding {
        encoding(&self.name[..self.encoding_len]).expect("try_from has checked the name")
    }
}

impl TryFrom<String> for CodecName {
    type Error = String;

    fn try_from(name: String) -> Result<CodecName, String> {
        let (base, flavour) = name.split_once(':').map_or((&*name, None), |(b, f)| (b, Some(f)));
        if encoding(base).is_none() {
            let known = Encoding::ALL.into_iter().chain([Encoding::Multipart]);
            let known = known.map(Encoding::name).collect::<Vec<_>>().join(", ");
            return Err(format!("codec {name:?} has an unknown encoding, expected one of {known}"));
        }
        if flavour.is_some_and(|flavour| !is_plain(flavour)) {
            return Err(format!("codec {name:?}: expected letters, digits and - after the colon"));
        }
        let encoding_len = base.len();
        Ok(CodecName { name, encoding_len })
    }
}

impl fmt::Display for CodecName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

const ADDRESS: &str = "{address}";
const STEP_PLACEHOLDERS: &[&str] = &["{env}"];
const START_PLACEHOLDERS: &[&str] = &["{env}", "{port}", "{cpu}", "{codec}"];

impl Template {
    /// Replaces each placeholder by its value. `values` holds pairs of placeholder and value.
    pub fn fill(&self, values: &[(&str, &str)]) -> String {
        let fill = |word: String, (name, value): &(&str, &str)| word.replace(name, value);
        values.iter().fold(self.0.clone(), fill)
    }

    pub fn around_address(&self) -> (&str, &str) {
        self.0.split_once(ADDRESS).expect("Manifest::read has checked the ready line")
    }

    /// Refuses a word in braces that is not one of `placeholders`. A brace in other text, such as
    /// JSON, is allowed.
    fn check(&self, key: &'static str, placeholders: &[&str]) -> Result<(), Invalid> {
        let mut rest = self.0.as_str();
        while let Some(start) = rest.find('{') {
            rest = &rest[start..];
            let end = rest[1..].find(|c: char| !c.is_ascii_lowercase()).map_or(0, |at| at + 1);
            if end > 1 && rest[end..].starts_with('}') && !placeholders.contains(&&rest[..=end]) {
                let known = placeholders.join(", ");
                let unknown = &rest[..=end];
                return invalid(key, format!("{:?} has {unknown}, expected {known}", self.0));
            }
            rest = &rest[1..];
        }
        Ok(())
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn encoding(name: &str) -> Option<Encoding> {
    name.parse().ok()
}

/// Returns true if `name` can be part of a rung's name and the name of a folder.
fn is_plain(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.chars().all(is_allowed)
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
#[path = "tests/manifest.rs"]
mod tests;
