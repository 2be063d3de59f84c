//! Environments of external servers, installed on first use and then kept.
//!
//! ```text
//! FOLDER/NAME         the environment, installed by the steps of the manifest
//! FOLDER/NAME.made    recipe of the environment, written last; without it, or if it differs from
//!                     the current recipe, the environment is installed again
//! FOLDER/NAME.lock    locked exclusively during the set-up, shared during use
//! FOLDER/NAME.log     output of the steps
//! ```
//!
//! An environment with a `.made` file is complete. If two runs need the same environment, one
//! installs it and the other waits. An environment in use is never installed again. A failed set-up
//! is an error of one line and does not end a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::manifest::Template;
use super::{ExternalServer, advice};
use crate::sys::child::{ChildError, Process};

/// Time limit of one step. A step can run a compiler or use a slow network.
const STEP_TIMEOUT: Duration = Duration::from_secs(15 * 60);

const POLL_INTERVAL: Duration = Duration::from_millis(50);
const PROMPT: &str = "$ ";
const LOG_BYTES: usize = 8192;

#[derive(Clone, Debug)]
pub struct Site {
    /// Path of this program. It starts each step, so that the step ends when this process ends.
    pub program: PathBuf,
    /// Absolute path of the folder with all environments.
    pub folder: PathBuf,
    pub search: Vec<PathBuf>,
}

/// Complete environment, protected from a new set-up until this value is dropped.
#[derive(Debug)]
pub struct Environment {
    pub path: PathBuf,
    _in_use: Option<File>,
}

/// Environments of a run by name, each with the reason if its set-up failed.
#[derive(Debug, Default)]
pub struct Environments(BTreeMap<String, Result<Environment, String>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Ready,
    NotMade,
    /// Incomplete, or installed from another recipe. The next use installs it again.
    Stale,
    Missing(String),
}

/// Reason for a missing environment, one line each.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("needs {0}, which is not installed: install it or add its folder to PATH")]
    Needs(String),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("set-up failed: {reason}; see {log}")]
    Step { reason: String, log: PathBuf },
    #[error("interrupted")]
    Interrupted,
}

/// Installs the environment of `server` if it is missing or stale. Reports slow steps to `tell`.
pub fn prepare(
    server: &ExternalServer,
    site: &Site,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(&str),
) -> Result<Environment, SetupError> {
    Installer { server, site, stop }.prepare(tell)
}

pub fn state(server: &ExternalServer, site: &Site) -> State {
    let installer = Installer { server, site, stop: &AtomicBool::new(false) };
    match installer.recipe() {
        Err(error) => State::Missing(error.to_string()),
        Ok(recipe) if installer.is_made(&recipe) => State::Ready,
        Ok(_) if installer.path().exists() => State::Stale,
        Ok(_) => State::NotMade,
    }
}

impl Environments {
    /// Stores a failed set-up with its reason. The only error is an interrupt.
    pub fn prepare<'a>(
        servers: impl IntoIterator<Item = &'a ExternalServer>,
        site: &Site,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Environments, SetupError> {
        let mut environments = BTreeMap::new();
        for server in servers {
            let name = server.manifest.environment();
            if environments.contains_key(name) {
                continue;
            }
            let made = match prepare(server, site, stop, tell) {
                Err(SetupError::Interrupted) => return Err(SetupError::Interrupted),
                made => made.map_err(|error| error.to_string()),
            };
            environments.insert(name.to_owned(), made);
        }
        Ok(Environments(environments))
    }

    /// Returns the path of the environment of `server`, or the reason why it is missing.
    pub fn path(&self, server: &ExternalServer) -> Result<&Path, &str> {
        match self.0.get(server.manifest.environment()) {
            Some(Ok(environment)) => Ok(&environment.path),
            Some(Err(reason)) => Err(reason),
            None => Err("its environment was not prepared"),
        }
    }
}

struct Installer<'a> {
    server: &'a ExternalServer,
    site: &'a Site,
    stop: &'a AtomicBool,
}

impl Installer<'_> {
    fn prepare(&self, tell: &mut dyn FnMut(&str)) -> Result<Environment, SetupError> {
        let recipe = self.recipe()?;
        if self.steps().is_empty() {
            return Ok(Environment { path: self.path(), _in_use: None });
        }
        let folder = &self.site.folder;
        std::fs::create_dir_all(folder).map_err(file_error(folder))?;
        loop {
            let shared = self.lock(File::try_lock_shared, tell)?;
            if self.is_made(&recipe) {
                return Ok(Environment { path: self.path(), _in_use: Some(shared) });
            }
            drop(shared);
            let _exclusive = self.lock(File::try_lock, tell)?;
            // Another run may have installed it while this one waited for the lock.
            if !self.is_made(&recipe) {
                self.make(&recipe, tell)?;
            }
        }
    }

    /// Returns everything that the environment is made from, as text.
    fn recipe(&self) -> Result<String, SetupError> {
        let setup = &self.server.manifest.setup;
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
            let path = self.server.folder.join(file);
            let text = std::fs::read_to_string(&path).map_err(file_error(&path))?;
            let _ = writeln!(recipe, "{}\n{text}", file.display());
        }
        Ok(recipe)
    }

    fn make(&self, recipe: &str, tell: &mut dyn FnMut(&str)) -> Result<(), SetupError> {
        let (path, made, log) = (self.path(), self.sibling("made"), self.sibling("log"));
        ignore_missing(std::fs::remove_file(&made)).map_err(file_error(&made))?;
        ignore_missing(std::fs::remove_dir_all(&path)).map_err(file_error(&path))?;
        std::fs::create_dir_all(&path).map_err(file_error(&path))?;
        let output = File::create(&log).map_err(file_error(&log))?;
        for (number, step) in (1..).zip(self.steps()) {
            let name = self.server.manifest.environment();
            let count = self.steps().len();
            let step_text = line(step);
            tell(&format!(
                "setting up {name:?} for external servers, step {number} of {count}: {step_text}"
            ));
            self.run(step, &output, &log)?;
        }
        // A rename is atomic: the file is complete or missing.
        let new = self.sibling("new");
        std::fs::write(&new, recipe).map_err(file_error(&new))?;
        std::fs::rename(&new, &made).map_err(file_error(&made))
    }

    fn run(&self, step: &[Template], mut output: &File, log: &Path) -> Result<(), SetupError> {
        writeln!(output, "{PROMPT}{}", line(step)).map_err(file_error(log))?;
        let env = self.path().to_string_lossy().into_owned();
        let mut command = Command::new(&self.site.program);
        command.args(["exec", "--die-with", &std::process::id().to_string(), "--"]);
        command.args(step.iter().map(|word| word.fill(&[("{env}", &env)])));
        command.current_dir(&self.server.folder).stdin(Stdio::null());
        command.stdout(output.try_clone().map_err(file_error(log))?);
        command.stderr(output.try_clone().map_err(file_error(log))?);
        let failed = |error: &ChildError| SetupError::Step {
            reason: reason(log, error),
            log: log.to_owned(),
        };
        let mut process =
            Process::start("the step", &mut command).map_err(|error| failed(&error))?;
        let deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            match process.succeed(POLL_INTERVAL) {
                Ok(()) => return Ok(()),
                Err(ChildError::Late { .. }) if self.stop.load(Ordering::Relaxed) => {
                    return Err(SetupError::Interrupted);
                }
                Err(ChildError::Late { .. }) if Instant::now() < deadline => {}
                Err(error) => return Err(failed(&error)),
            }
        }
    }

    fn lock(
        &self,
        try_lock: fn(&File) -> Result<(), TryLockError>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<File, SetupError> {
        let path = self.sibling("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(file_error(&path))?;
        let mut is_told = false;
        loop {
            match try_lock(&file) {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(source)) => return Err(file_error(&path)(source)),
                Err(TryLockError::WouldBlock) if self.stop.load(Ordering::Relaxed) => {
                    return Err(SetupError::Interrupted);
                }
                Err(TryLockError::WouldBlock) => {}
            }
            if !is_told {
                tell(&format!("waiting for another run, which holds {}", path.display()));
                is_told = true;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn is_made(&self, recipe: &str) -> bool {
        self.steps().is_empty()
            || std::fs::read_to_string(self.sibling("made")).is_ok_and(|made| made == recipe)
    }

    fn steps(&self) -> &[Vec<Template>] {
        &self.server.manifest.setup.steps
    }

    fn path(&self) -> PathBuf {
        self.site.folder.join(self.server.manifest.environment())
    }

    fn sibling(&self, end: &str) -> PathBuf {
        self.site.folder.join(format!("{}.{end}", self.server.manifest.environment()))
    }
}

fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> SetupError {
    |source| SetupError::File { path: path.to_owned(), source }
}

fn ignore_missing(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn line(words: &[Template]) -> String {
    words.iter().map(Template::to_string).collect::<Vec<_>>().join(" ")
}

fn find(program: &str, search: &[PathBuf]) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    search.iter().map(|folder| folder.join(program)).find(is_program)
}

/// Returns the version, since another one may not work with an existing environment.
fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned()
}

/// Explains a failed step: advice for a known cause, else the last line of `log`, else `error`.
fn reason(log: &Path, error: &ChildError) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_BYTES)..]);
    let is_output = |line: &&str| !line.trim().is_empty() && !line.starts_with(PROMPT);
    let last = text.lines().rev().find(is_output);
    match (advice::find(&text), last) {
        (Some(advice), _) => advice.to_owned(),
        (None, Some(last)) => last.trim().to_owned(),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
#[path = "tests/environment.rs"]
mod tests;
