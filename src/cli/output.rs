//! Output of every command: results on stdout, messages on stderr, exit codes 0, 1 and 2.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use anyhow::anyhow;
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

pub(super) fn render(run: &Run, format: Option<Format>) -> String {
    let usual = if run.header.preset == "seed" { Format::Seed } else { Format::Table };
    match format.unwrap_or(usual) {
        Format::Table => report::table::render(run),
        Format::Markdown => report::markdown::render(run),
        Format::Csv => report::csv::render(run),
        Format::Seed => report::seed::render(run),
    }
}

/// Writes a result to stdout. A reader that has gone (`| head`) is no error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
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
    let (error, code) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(error)) => (error, 2),
        Err(Failure::Run(error)) => (error, 1),
    };
    eprintln!("{program}: {}", chain(&error));
    ExitCode::from(code)
}
