//! Environments: what peers need before they can be started, made on first use and kept.
//!
//! ```text
//! FOLDER/NAME         the environment, made by the manifest's steps
//! FOLDER/NAME.made    written last: from what it was made; without it, or with another, it is made anew
//! FOLDER/NAME.lock    exclusive while it is made, shared while it is used
//! FOLDER/NAME.log     what the steps said
//! ```
//!
//! An environment with its `.made` file is whole: a set-up that was interrupted leaves none. Two runs may set up the
//! same environment: one does, the other waits. One that is in use is not made anew under its user. Nothing here knows
//! what an environment is; what cannot be made is an error of one line, and never the end of a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::manifest::Template;
use super::{Peer, advice};
use crate::sys::child::{ChildError, Process};

/// Time for one step: a compiler or a slow network may be at work.
const STEP_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Between looks at a lock or at a step.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What a step has before it in the log.
const PROMPT: &str = "$ ";

/// Bytes of a log's end that are read for a reason.
const LOG_BYTES: usize = 8192;

/// Where environments are made, and with what.
#[derive(Clone, Debug)]
pub struct Site {
    /// This program, which starts others so that they end with it.
    pub program: PathBuf,
    /// The folder they are in; absolute.
    pub folder: PathBuf,
    /// Where programs are looked for.
    pub search: Vec<PathBuf>,
}

/// An environment that is whole, and stays so while this value lives.
#[derive(Debug)]
pub struct Environment {
    /// What `{env}` stands for.
    pub path: PathBuf,
    _in_use: Option<File>,
}

/// The environments of a run, by name: each whole, or why there is none.
#[derive(Debug, Default)]
pub struct Environments(BTreeMap<String, Result<Environment, String>>);

/// What there is of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It can be used.
    Ready,
    /// It will be made on first use.
    NotMade,
    /// It was made from something else, or not to its end, and will be made anew.
    Stale,
    /// It cannot be made here.
    Missing(String),
}

/// Why there is no environment; each is one line.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A program that must be there already.
    #[error("needs {0}, which is not to be found: install it, or put it on the PATH")]
    Needs(String),
    /// A file that the manifest names.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A step that failed.
    #[error("cannot be set up: {reason}; see {log}")]
    Step {
        /// Why, with what to do about it where that is known.
        reason: String,
        /// The steps, and all that they said.
        log: PathBuf,
    },
    /// This program is being stopped.
    #[error("interrupted")]
    Interrupted,
}

/// The environment of `peer`, made now if it has to be; `tell` hears what takes time.
pub fn prepare(
    peer: &Peer,
    site: &Site,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(&str),
) -> Result<Environment, SetupError> {
    Work { peer, site, stop }.prepare(tell)
}

/// What there is of the environment of `peer`.
pub fn state(peer: &Peer, site: &Site) -> State {
    let work = Work { peer, site, stop: &AtomicBool::new(false) };
    match work.recipe() {
        Err(error) => State::Missing(error.to_string()),
        Ok(recipe) if work.is_made(&recipe) => State::Ready,
        Ok(_) if work.path().exists() => State::Stale,
        Ok(_) => State::NotMade,
    }
}

impl Environments {
    /// Those of `peers`, made now where they have to be. What cannot be made is kept as a reason; only an interrupt is an
    /// error.
    pub fn prepare<'a>(
        peers: impl IntoIterator<Item = &'a Peer>,
        site: &Site,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Environments, SetupError> {
        let mut environments = BTreeMap::new();
        for peer in peers {
            let name = peer.manifest.environment();
            if environments.contains_key(name) {
                continue;
            }
            let made = match prepare(peer, site, stop, tell) {
                Err(SetupError::Interrupted) => return Err(SetupError::Interrupted),
                made => made.map_err(|error| error.to_string()),
            };
            environments.insert(name.to_owned(), made);
        }
        Ok(Environments(environments))
    }

    /// The environment of `peer`, or why there is none.
    pub fn of(&self, peer: &Peer) -> Result<&Path, &str> {
        match self.0.get(peer.manifest.environment()) {
            Some(Ok(environment)) => Ok(&environment.path),
            Some(Err(reason)) => Err(reason),
            None => Err("its environment was not prepared"),
        }
    }
}

struct Work<'a> {
    peer: &'a Peer,
    site: &'a Site,
    stop: &'a AtomicBool,
}

impl Work<'_> {
    fn prepare(&self, tell: &mut dyn FnMut(&str)) -> Result<Environment, SetupError> {
        let recipe = self.recipe()?;
        if self.steps().is_empty() {
            return Ok(Environment { path: self.path(), _in_use: None });
        }
        let folder = &self.site.folder;
        std::fs::create_dir_all(folder).map_err(at(folder))?;
        loop {
            let shared = self.lock(File::try_lock_shared, tell)?;
            if self.is_made(&recipe) {
                return Ok(Environment { path: self.path(), _in_use: Some(shared) });
            }
            drop(shared);
            let _exclusive = self.lock(File::try_lock, tell)?;
            // Whoever had the lock before may have made it.
            if !self.is_made(&recipe) {
                self.make(&recipe, tell)?;
            }
        }
    }

    /// All that the environment is made from, as text.
    fn recipe(&self) -> Result<String, SetupError> {
        let setup = &self.peer.manifest.setup;
        let mut recipe = String::new();
        for program in &setup.needs {
            let found = find(program, &self.site.search);
            let found = found.ok_or_else(|| SetupError::Needs(program.clone()))?;
            let _ = writeln!(recipe, "{program} {}: {}", found.display(), version(&found));
        }
        for step in &setup.steps {
            let _ = writeln!(recipe, "{}", line(step));
        }
        for file in &setup.files {
            let path = self.peer.folder.join(file);
            let text = std::fs::read_to_string(&path).map_err(at(&path))?;
            let _ = writeln!(recipe, "{}\n{text}", file.display());
        }
        Ok(recipe)
    }

    fn make(&self, recipe: &str, tell: &mut dyn FnMut(&str)) -> Result<(), SetupError> {
        let (path, made, log) = (self.path(), self.beside("made"), self.beside("log"));
        remove(std::fs::remove_file(&made)).map_err(at(&made))?;
        remove(std::fs::remove_dir_all(&path)).map_err(at(&path))?;
        std::fs::create_dir_all(&path).map_err(at(&path))?;
        let output = File::create(&log).map_err(at(&log))?;
        for (number, step) in (1..).zip(self.steps()) {
            let name = self.peer.manifest.environment();
            let of = self.steps().len();
            tell(&format!("setting up {name:?} for peers, step {number} of {of}: {}", line(step)));
            self.run(step, &output, &log)?;
        }
        // Whole or not there: a rename is one change.
        let new = self.beside("new");
        std::fs::write(&new, recipe).map_err(at(&new))?;
        std::fs::rename(&new, &made).map_err(at(&made))
    }

    fn run(&self, step: &[Template], mut output: &File, log: &Path) -> Result<(), SetupError> {
        writeln!(output, "{PROMPT}{}", line(step)).map_err(at(log))?;
        let env = self.path().to_string_lossy().into_owned();
        let mut command = Command::new(&self.site.program);
        command.args(["exec", "--die-with", &std::process::id().to_string(), "--"]);
        command.args(step.iter().map(|word| word.fill(&[("{env}", &env)])));
        command.current_dir(&self.peer.folder).stdin(Stdio::null());
        command.stdout(output.try_clone().map_err(at(log))?);
        command.stderr(output.try_clone().map_err(at(log))?);
        let failed = |error: &ChildError| SetupError::Step {
            reason: reason(log, error),
            log: log.to_owned(),
        };
        let mut process = Process::start("it", &mut command).map_err(|error| failed(&error))?;
        let deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            match process.succeed(LOOK_INTERVAL) {
                Ok(()) => return Ok(()),
                Err(ChildError::Late { .. }) if self.stop.load(Ordering::Relaxed) => {
                    return Err(SetupError::Interrupted);
                }
                Err(ChildError::Late { .. }) if Instant::now() < deadline => {}
                Err(error) => return Err(failed(&error)),
            }
        }
    }

    /// The lock, once `try_lock` gets it.
    fn lock(
        &self,
        try_lock: fn(&File) -> Result<(), TryLockError>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<File, SetupError> {
        let path = self.beside("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(at(&path))?;
        let mut is_told = false;
        loop {
            match try_lock(&file) {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(source)) => return Err(at(&path)(source)),
                Err(TryLockError::WouldBlock) if self.stop.load(Ordering::Relaxed) => {
                    return Err(SetupError::Interrupted);
                }
                Err(TryLockError::WouldBlock) => {}
            }
            if !is_told {
                tell(&format!("waiting for another run that has {}", path.display()));
                is_told = true;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    fn is_made(&self, recipe: &str) -> bool {
        self.steps().is_empty()
            || std::fs::read_to_string(self.beside("made")).is_ok_and(|made| made == recipe)
    }

    fn steps(&self) -> &[Vec<Template>] {
        &self.peer.manifest.setup.steps
    }

    fn path(&self) -> PathBuf {
        self.site.folder.join(self.peer.manifest.environment())
    }

    fn beside(&self, end: &str) -> PathBuf {
        self.site.folder.join(format!("{}.{end}", self.peer.manifest.environment()))
    }
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> SetupError {
    |source| SetupError::File { path: path.to_owned(), source }
}

/// What is not there need not be removed.
fn remove(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn line(words: &[Template]) -> String {
    words.iter().map(Template::to_string).collect::<Vec<_>>().join(" ")
}

/// The first file called `program` that may be run.
fn find(program: &str, search: &[PathBuf]) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    search.iter().map(|folder| folder.join(program)).find(is_program)
}

/// The first line that `program` has to say of its version: another one may not work in what this one made.
fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned()
}

/// Why a step failed: what to do where that is known, else the last line of `log`, else `error`.
fn reason(log: &Path, error: &ChildError) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_BYTES)..]);
    let is_said = |line: &&str| !line.trim().is_empty() && !line.starts_with(PROMPT);
    let last = text.lines().rev().find(is_said);
    match (advice::on(&text), last) {
        (Some(advice), _) => advice.to_owned(),
        (None, Some(last)) => last.trim().to_owned(),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
