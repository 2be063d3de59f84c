//! Output of every command: results on stdout, messages on stderr, exit codes 0, 1 and 2.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

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
pub(super) fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(error),
        _ => ExitCode::SUCCESS,
    }
}

/// Joins the causes of `error`. Errors of this crate contain the text of their source, which is not
/// repeated.
pub(super) fn chain(error: &anyhow::Error) -> String {
    error.chain().skip(1).map(ToString::to_string).fold(error.to_string(), |text, cause| {
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

pub(super) fn fail(why: impl Display) -> ExitCode {
    eprintln!("ndecho: {why}");
    ExitCode::FAILURE
}

pub(super) fn wrong_usage(why: impl Display) -> ExitCode {
    eprintln!("ndecho: {why}");
    ExitCode::from(2)
}
