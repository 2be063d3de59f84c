//! Output of every command: results on stdout, messages on stderr, exit statuses.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed |
//! | 2 | wrong usage |
//! | 3 | a comparison without a verdict, or no advice |
//! | 128 + N | stopped by signal N: 130 for SIGINT, 143 for SIGTERM |
//!
//! A message that cannot be written is dropped: a run does not end because nobody reads stderr.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::ValueEnum;

use crate::report::{self, Run};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For a terminal
    Table,
    /// For a README or an issue
    Markdown,
    /// Plain numbers
    Csv,
    /// The original benchmark's form
    Seed,
}

/// Prints the answer of a main job, or the tables of another run.
pub(super) fn render(run: &Run, format: Option<Format>) -> String {
    if format.is_none()
        && let Some(answer) = report::answer::render(run, width())
    {
        return answer;
    }
    if format.is_none()
        && let Some(compression) = report::compression::render(run, width())
    {
        return compression;
    }
    if format.is_none_or(|format| format == Format::Table) {
        if let Some(closure) = report::closure::render(run, width()) {
            return attributed(run, closure, format.is_some());
        }
        if let Some(profile) = report::profile::render(run) {
            return profile;
        }
    }
    let usual = if run.header.preset == "seed" { Format::Seed } else { Format::Table };
    match format.unwrap_or(usual) {
        Format::Table => report::table::render(run),
        Format::Markdown => report::markdown::render(run),
        Format::Csv => report::csv::render(run),
        Format::Seed => report::seed::render(run),
    }
}

/// Prints a run with attributed differences. In full, or if no server could be sampled, the layers
/// of each rung and the tables of the ladder follow.
fn attributed(run: &Run, closure: String, is_full: bool) -> String {
    if !is_full && run.trials.iter().any(|trial| trial.profile.is_some()) {
        let more = "`ndecho report DIR --full` adds the layers of each rung and the ladder.";
        return format!("{closure}\n{more}\n");
    }
    let profile = report::profile::render(run).unwrap_or_default();
    format!("{closure}\n{profile}\n{}", report::table::render(run))
}

/// Returns the width of the terminal at stdout, or of the usual layout without one.
pub(super) fn width() -> usize {
    let terminal = console::Term::stdout();
    let columns = terminal.size_checked().map(|(_, columns)| usize::from(columns));
    columns.filter(|_| terminal.is_term()).unwrap_or(report::text::WIDTH_MAX)
}

/// Writes a result to stdout. A reader that has gone (`| head`) is no error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        _ => Ok(()),
    }
}

/// Writes a line for people to stderr, or drops it.
pub(super) fn tell(line: impl Display) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Ends the process with what clap has to say: help for stdout, or wrong usage.
pub(super) fn leave(program: &str, answer: &clap::Error) -> ! {
    let printed = answer.print();
    let status = match printed {
        _ if answer.use_stderr() => 2,
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            tell(format!("{program}: cannot write to stdout: {error}"));
            1
        }
        _ => 0,
    };
    std::process::exit(status)
}

/// Joins the causes of `error`. Errors of this crate contain the text of their source, which is not
/// repeated.
fn chain(error: &anyhow::Error) -> String {
    error.chain().skip(1).map(ToString::to_string).fold(error.to_string(), |text, cause| {
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

pub(super) enum Failure {
    Usage(anyhow::Error),
    Run(anyhow::Error),
    /// Comparison that compared nothing, or of which no verdict is known; or a record that gives no
    /// advice.
    NoVerdict(anyhow::Error),
    Stopped {
        signal: u8,
        error: anyhow::Error,
    },
}

impl Failure {
    /// Returns the same failure as the end of a run that `signal` stopped.
    pub(super) fn stopped_by(self, signal: u8) -> Failure {
        let (Failure::Usage(error)
        | Failure::Run(error)
        | Failure::NoVerdict(error)
        | Failure::Stopped { error, .. }) = self;
        Failure::Stopped { signal, error }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Run(error)
    }
}

pub(super) fn usage(why: impl Display) -> Failure {
    Failure::Usage(anyhow!("{why}"))
}

/// Ends a command; a failure is explained on stderr.
pub(super) fn exit(program: &str, result: Result<(), Failure>) -> ExitCode {
    let (error, status) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Run(error)) => (error, 1),
        Err(Failure::Usage(error)) => (error, 2),
        Err(Failure::NoVerdict(error)) => (error, 3),
        Err(Failure::Stopped { signal, error }) => (error, status_of(signal)),
    };
    tell(format!("{program}: {}", chain(&error)));
    ExitCode::from(status)
}

/// Returns the exit status of a program that `signal` stopped, as a shell reports it.
pub(super) fn status_of(signal: u8) -> u8 {
    128 + signal
}
