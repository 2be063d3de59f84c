//! The command line of `ndecho`: one enum of commands, each a set of flags and the call that does the work.
//!
//! Results go to stdout, everything meant for a person watching to stderr. Exit codes: 0 done, 1 failed, 2 wrong
//! usage. Without a command it is `ladder`, so that `cargo run --release` is the main job.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use crate::cli::compare::CompareArgs;
use crate::cli::ladder::LadderArgs;
use crate::cli::load::LoadArgs;
use crate::cli::measure::read;
use crate::cli::peers::{ExecArgs, ExternalArgs};
use crate::cli::server::ServeArgs;
use crate::external::listing;
use crate::ladder::tree;
use crate::report::{self, Run};

/// What does your RPC framework cost when the payload is a NumPy array?
///
/// Without a command this is `ndecho ladder --preset quick`: it runs the rungs of the ladder in turns, a few minutes,
/// and prints what each costs.
#[derive(Debug, Parser)]
#[command(name = "ndecho", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    ladder: LadderArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs rungs in turns and prints what each costs
    Ladder(LadderArgs),
    /// Serves one rung until it is told to stop
    Serve(Child<ServeArgs>),
    /// Puts a server under load and prints what it costs
    Load(Child<LoadArgs>),
    /// Lists the rungs, or the peers
    Rungs(RungsArgs),
    /// Prints the records of a run again
    Report(ReportArgs),
    /// Compares two builds of this program, or two recorded runs: faster, slower or the same
    Compare(CompareArgs),
    /// Becomes another program, pinned
    #[command(hide = true)]
    Exec(Child<ExecArgs>),
}

/// A command that the ladder starts as a child.
#[derive(Debug, Args)]
struct Child<T: Args> {
    #[command(flatten)]
    args: T,

    /// Ends when this process, its parent, does
    #[arg(long, value_name = "PID", hide = true)]
    die_with: Option<i32>,
}

/// How rungs are listed.
#[derive(Debug, Args)]
struct RungsArgs {
    /// Names only, one a line
    #[arg(long, conflicts_with = "markdown")]
    list: bool,

    /// Names and axes as JSON, one rung a line
    #[arg(long, conflicts_with_all = ["list", "markdown"])]
    json: bool,

    /// Stacks and codecs as Markdown tables
    #[arg(long)]
    markdown: bool,

    /// The peers: what they are, whether they are installed, what is known of them
    #[arg(long, conflicts_with_all = ["list", "markdown", "json"])]
    peers: bool,

    #[command(flatten)]
    place: ExternalArgs,
}

/// How records are printed.
#[derive(Debug, Args)]
struct ReportArgs {
    /// Folder of a run, or its file of records
    dir: std::path::PathBuf,

    /// Layout [default: the one the run was printed in]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Layouts of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a terminal
    Table,
    /// For docs/LADDER.md or an issue
    Markdown,
    /// Plain numbers
    Csv,
    /// The original benchmark's form
    Seed,
}

impl Cli {
    /// Does what the command line says.
    pub fn run(self) -> ExitCode {
        match self.command {
            None => self.ladder.run(),
            Some(Command::Ladder(args)) => args.run(),
            Some(Command::Serve(child)) => child.run(Signal::SIGTERM, ServeArgs::run),
            Some(Command::Load(child)) => child.run(Signal::SIGTERM, LoadArgs::run),
            Some(Command::Rungs(args)) => args.run(),
            Some(Command::Report(args)) => args.run(),
            Some(Command::Compare(args)) => args.run(),
            // It may be deaf to anything milder, and nobody is left to tell.
            Some(Command::Exec(child)) => child.run(Signal::SIGKILL, ExecArgs::run),
        }
    }
}

impl<T: Args> Child<T> {
    /// Does the work, and is sent `farewell` when its parent ends.
    fn run(&self, farewell: Signal, work: impl FnOnce(&T) -> ExitCode) -> ExitCode {
        if let Some(parent) = self.die_with {
            let asked = prctl::set_pdeathsig(farewell);
            // Gone already: it died between starting this process and the line above.
            if asked.is_err() || getppid().as_raw() != parent {
                return fail(format!("parent {parent} is gone"));
            }
        }
        work(&self.args)
    }
}

impl RungsArgs {
    fn run(&self) -> ExitCode {
        let text = match (self.list, self.markdown, self.peers) {
            (true, ..) => Ok(tree::names()),
            (_, true, _) => Ok(tree::markdown()),
            (_, _, true) => self.peers(),
            _ if self.json => Ok(tree::json()),
            _ => Ok(tree::tree()),
        };
        match text {
            Ok(text) => print(&text),
            Err(error) => wrong_usage(error),
        }
    }

    fn peers(&self) -> Result<String, String> {
        Ok(listing::list(&self.place.read()?, &self.place.site()?))
    }
}

impl ReportArgs {
    fn run(&self) -> ExitCode {
        match read(&self.dir) {
            Ok(run) => print(&render(&run, self.format)),
            Err(error) => fail(error),
        }
    }
}

impl LadderArgs {
    /// The flags of a command line that runs the ladder; `None` of any other.
    pub(super) fn of(argv: &[String]) -> Option<LadderArgs> {
        let cli = Cli::try_parse_from(argv).ok()?;
        match cli.command {
            None => Some(cli.ladder),
            Some(Command::Ladder(args)) => Some(args),
            Some(_) => None,
        }
    }
}

/// The run in `format`, or in the one its preset is for.
pub(super) fn render(run: &Run, format: Option<Format>) -> String {
    let usual = if run.header.preset == "seed" { Format::Seed } else { Format::Table };
    match format.unwrap_or(usual) {
        Format::Table => report::table::render(run),
        Format::Markdown => report::markdown::render(run),
        Format::Csv => report::csv::render(run),
        Format::Seed => report::seed::render(run),
    }
}

/// Writes a result to stdout; a reader that has gone (`| head`) is not an error.
pub(super) fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(error),
        _ => ExitCode::SUCCESS,
    }
}

pub(super) fn fail(why: impl Display) -> ExitCode {
    eprintln!("ndecho: {why}");
    ExitCode::FAILURE
}

pub(super) fn wrong_usage(why: impl Display) -> ExitCode {
    eprintln!("ndecho: {why}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_is_the_ladder() {
        let cli = Cli::try_parse_from(["ndecho", "--rounds", "2"]).unwrap();
        assert!(cli.command.is_none());
        assert!(Cli::try_parse_from(["ndecho", "--rounds", "2", "rungs"]).is_err());
    }
}
