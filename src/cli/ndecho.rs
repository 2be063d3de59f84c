//! The command line of `ndecho`: one enum of commands. Without a command it is `ladder`, so that
//! `cargo run --release` is the main job.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::{Args, Parser, Subcommand};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use crate::cli::advise::AdviseArgs;
use crate::cli::compare::{self, CompareArgs};
use crate::cli::exec::ExecArgs;
use crate::cli::external::ExternalArgs;
use crate::cli::ladder::LadderArgs;
use crate::cli::lanes::LanesArgs;
use crate::cli::load::LoadArgs;
use crate::cli::old_names;
use crate::cli::output::{Failure, Format, exit, leave, print, render, tell, usage};
use crate::cli::profile::ProfileArgs;
use crate::cli::run_folder::{read_icicles, read_named};
use crate::cli::server::ServeArgs;
use crate::external::listing;
use crate::ladder::tree;
use crate::report::page::Icicles;
use crate::report::{self, Run, answer, compression};

const EXAMPLES: &str = "\
Examples:
  ndecho                                        the main job: three minutes, ends in an answer
  ndecho advise --array F.npy --language js     which server and client to use for an array
  ndecho ladder --rungs 'uring/*' --sizes 1MiB  chosen rungs and sizes
  ndecho serve uring/h2/protobuf                one rung as a server; `ndecho load` loads it

Without a command, ndecho runs `ladder`, whose flags `ndecho ladder --help` lists.
Exit status: 0 done, 1 failed, 2 wrong usage, 3 no verdict (compare) or no choice (advise), 130
stopped by SIGINT, 143 stopped by SIGTERM. A server exits with 0 after the first of these signals.";

/// Measures what your RPC framework costs when the payload is a NumPy array
#[derive(Debug, Parser)]
#[command(name = "ndecho", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs rungs in turns and prints the cost of each
    Ladder(Box<LadderArgs>),
    /// Serves one rung until it is told to stop
    Serve(Child<ServeArgs>),
    /// Puts a server under load and prints the cost
    Load(Child<LoadArgs>),
    /// Shows in which layers the CPU time of a request goes
    Profile(Box<ProfileArgs>),
    /// Finds server and encoding for an array, and prints a client that works
    Advise(Box<AdviseArgs>),
    /// Measures protocols and codecs in memory, without sockets
    Lanes(LanesArgs),
    /// Lists the rungs, or the external servers
    Rungs(RungsArgs),
    /// Prints the records of a run
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

    /// Ends together with this process, its parent
    #[arg(long, value_name = "PID", hide = true)]
    die_with: Option<i32>,
}

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

    /// The external servers: versions, known faults, and which are installed
    #[arg(long, conflicts_with_all = ["list", "markdown", "json"])]
    external: bool,

    #[command(flatten)]
    folders: ExternalArgs,
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// Folder of a run, its file of records, or its page
    dir: PathBuf,

    /// Layout [default: the one in which the run was printed]
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// All tables, also of a run that ends in an answer; the same as --format table
    #[arg(long, conflicts_with = "format")]
    full: bool,

    /// The answer of a main job as a picture (SVG), on stdout or in FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with_all = ["format", "full"])]
    svg: Option<Option<PathBuf>>,

    /// All of the run as one page (HTML) that needs no network, on stdout or in FILE; the page can
    /// be read instead of the folder
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with_all = ["format", "full", "svg"])]
    html: Option<Option<PathBuf>>,

    /// Every picture of the page as a file (SVG), and its figures (CSV), in FOLDER
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["format", "full", "svg", "html"])]
    pictures: Option<PathBuf>,
}

impl Cli {
    /// Reads the command line of this process; ends it with 2 on wrong usage.
    pub fn from_args() -> Cli {
        let argv = old_names::renamed(std::env::args_os().collect(), &mut |line| {
            tell(format!("ndecho: {line}"));
        });
        Cli::try_parse_from(with_command(argv)).unwrap_or_else(|answer| leave("ndecho", &answer))
    }

    pub fn run(self) -> ExitCode {
        let (program, result) = match self.command {
            Command::Ladder(args) => ("ndecho", args.run()),
            Command::Serve(child) => ("ndecho serve", child.run(Signal::SIGTERM, ServeArgs::run)),
            Command::Load(child) => ("ndecho load", child.run(Signal::SIGTERM, LoadArgs::run)),
            Command::Profile(args) => ("ndecho", args.run()),
            Command::Advise(args) => ("ndecho", args.run()),
            Command::Lanes(args) => ("ndecho", args.run()),
            Command::Rungs(args) => ("ndecho", args.run()),
            Command::Report(args) => ("ndecho", args.run()),
            Command::Compare(args) => ("ndecho", args.run()),
            // An external program may ignore anything milder.
            Command::Exec(child) => ("ndecho", child.run(Signal::SIGKILL, |args| Ok(args.run()?))),
        };
        exit(program, result)
    }
}

fn with_command(mut argv: Vec<OsString>) -> Vec<OsString> {
    let is_flag = |argument: &OsString| argument.to_string_lossy().starts_with('-');
    let is_about = ["-h", "--help", "-V", "--version"];
    match argv.get(1) {
        Some(first) if !is_flag(first) || is_about.iter().any(|flag| first == flag) => {}
        _ => argv.insert(1.min(argv.len()), "ladder".into()),
    }
    argv
}

impl<T: Args> Child<T> {
    /// Does the work. The kernel sends `signal` when the parent ends.
    fn run(
        &self,
        signal: Signal,
        work: impl FnOnce(&T) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if let Some(parent) = self.die_with {
            let asked = prctl::set_pdeathsig(signal);
            // The parent may have died between the start of this process and the line above.
            if asked.is_err() || getppid().as_raw() != parent {
                return Err(anyhow!("parent {parent} is gone").into());
            }
        }
        work(&self.args)
    }
}

impl RungsArgs {
    fn run(&self) -> Result<(), Failure> {
        let text = match (self.list, self.markdown, self.external) {
            (true, ..) => tree::names(),
            (_, true, _) => tree::markdown(),
            (_, _, true) => self.external().map_err(Failure::Usage)?,
            _ if self.json => tree::json(),
            _ => tree::tree(),
        };
        Ok(print(&text)?)
    }

    fn external(&self) -> anyhow::Result<String> {
        Ok(listing::list(&self.folders.read()?, &self.folders.site()?))
    }
}

impl ReportArgs {
    fn run(&self) -> Result<(), Failure> {
        let mut run = read_named(&self.dir)?;
        if let Some(file) = &self.svg {
            return picture(&run, file.as_deref());
        }
        if let Some(file) = &self.html {
            let icicles = read_icicles(&mut run, &self.dir)?;
            return page(&run, &icicles, file.as_deref());
        }
        if let Some(folder) = &self.pictures {
            let icicles = read_icicles(&mut run, &self.dir)?;
            return Ok(pictures(&run, &icicles, folder)?);
        }
        let format = if self.full { Some(Format::Table) } else { self.format };
        let Some(comparison) = compare::recorded(&run) else {
            return Ok(print(&render(&run, format))?);
        };
        match format {
            None | Some(Format::Table) => Ok(print(&comparison.render())?),
            Some(_) => Err(usage("a comparison of builds has the format table only")),
        }
    }
}

fn picture(run: &Run, file: Option<&Path>) -> Result<(), Failure> {
    let svg = answer::picture(run).or_else(|| compression::picture(run)).ok_or_else(|| {
        usage(
            "only a run of the main job or of --preset compression has an answer to draw; --full and \
             --format show this run",
        )
    })?;
    Ok(write(&svg, file)?)
}

fn page(run: &Run, icicles: &Icicles, file: Option<&Path>) -> Result<(), Failure> {
    let page = report::page::render(run, icicles);
    if !page.holds_records {
        tell(format!(
            "warning: the page holds no records, which would have made it larger than {} kB; keep \
             the folder of the run",
            report::page::PAGE_BYTES_MAX / 1000
        ));
    }
    Ok(write(&page.html, file)?)
}

fn pictures(run: &Run, icicles: &Icicles, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for file in report::page::picture_files(run, icicles) {
        let path = folder.join(&file.name);
        write(&file.text, Some(&path))?;
        print(&format!("{}\n", path.display()))?;
    }
    Ok(())
}

/// Writes `text` to `file`, or to stdout.
fn write(text: &str, file: Option<&Path>) -> anyhow::Result<()> {
    let Some(file) = file else { return print(text) };
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
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
        let parse = |text: &str| {
            let argv = text.split(' ').map(OsString::from).collect();
            Cli::try_parse_from(with_command(argv)).map(|cli| cli.command)
        };
        assert!(matches!(parse("ndecho"), Ok(Command::Ladder(_))));
        assert!(matches!(parse("ndecho --rounds 2"), Ok(Command::Ladder(_))));
        assert!(matches!(parse("ndecho rungs"), Ok(Command::Rungs(_))));
        assert!(parse("ndecho --rounds 2 rungs").is_err());
    }
}
