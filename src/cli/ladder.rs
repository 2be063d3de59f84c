//! Flags of `ndecho ladder`: raw arguments become a plan and a bench, and the run is shown as it goes.
//!
//! With one core, server and load generator share it: the run goes on, since a process's own CPU time is still
//! counted exactly, but rates and latencies would be those of two programs taking turns, so they are not shown.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::axis::external::{self as names, PREFIX};
use crate::cli::load::KnobArgs;
use crate::cli::measure::{Progress, announce, bench, header, interruptible, now_unix_s, read};
use crate::cli::ndecho::{fail, print, render, wrong_usage};
use crate::cli::peers::ExternalArgs;
use crate::cli::values;
use crate::experiment::client::{self, PythonClient};
use crate::experiment::open_loop;
use crate::experiment::plan::{BUSY_POLL, Plan, Wish};
use crate::experiment::preset::Preset;
use crate::experiment::records::{RECORDS, Records};
use crate::experiment::run::{self, Bench, Tally};
use crate::external::ExternalServer;
use crate::external::client::Client;
use crate::external::environment::Environments;
use crate::ladder::select;
use crate::probe::build::Build;
use crate::record::{Header, Line, Trial};
use crate::report::Run;
use crate::report::aggregate::is_resolved;

/// Runs rungs in turns and prints what each costs.
#[derive(Args, Clone, Debug)]
pub struct LadderArgs {
    /// What is tried: a few minutes, the original benchmark's cells, or everything
    #[arg(long, value_enum, default_value = "quick")]
    pub preset: PresetName,

    /// Rungs tried instead, as globs: 'uring/*,tokio/tonic/*', 'external/*'
    #[arg(long, value_name = "GLOB")]
    pub rungs: Option<String>,

    /// Adds the peers, servers that are not ours: every rung of theirs, or with --rungs those that it names
    #[arg(long)]
    pub peers: bool,

    /// Where the peers are.
    #[command(flatten)]
    pub place: ExternalArgs,

    /// Who loads the servers
    #[arg(long, value_enum, default_value = "own")]
    pub client: ClientName,

    /// Sizes of the float64 vectors sent, e.g. 8,64KiB,1MiB
    #[arg(long, value_name = "SIZES", value_parser = values::size, value_delimiter = ',', conflicts_with = "array")]
    pub sizes: Option<Vec<u64>>,

    /// Sends the array in this .npy file
    #[arg(long, value_name = "FILE.npy")]
    pub array: Option<PathBuf>,

    /// Blocks, exactly; each tries every cell once [default: until every ratio is known or the time is up]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: Option<u32>,

    /// Time for all blocks
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub time: Option<Duration>,

    /// Then also offers rates, 30, 60 and 80 % of what the standard server reached, and prints latencies
    #[arg(long)]
    pub open_loop: bool,

    /// Goes on with a run that was stopped; its own flags hold
    #[arg(long = "continue", value_name = "DIR", exclusive = true)]
    pub resume: Option<PathBuf>,

    /// Draws the order of trials
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Core of every server [default: the first there is]
    #[arg(long, value_name = "CORE")]
    pub cpu_server: Option<usize>,

    /// Core of the load generator [default: the second there is]
    #[arg(long, value_name = "CORE")]
    pub cpu_client: Option<usize>,

    /// The load generator looks for replies for this long before it sleeps, so that no server has to wake it; 0us lets
    /// it sleep at once. Never on a core that it shares with the server [default: 1ms]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub client_busy_poll: Option<Duration>,

    /// Connections, the same for every rung
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: Option<u32>,

    /// Requests in flight over all connections, the same for every rung
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: Option<u32>,

    #[command(flatten)]
    pub knobs: KnobArgs,

    /// First counts what a request alone makes each rung do: system calls, allocations
    #[arg(long)]
    pub counts: bool,

    /// How long replies are counted in a trial
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub duration: Option<Duration>,

    /// Most time for one trial; a cell that needs more is DNF
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub budget: Option<Duration>,

    /// Folder for the records [default: target/ndecho/DATE-TIME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Lists what would be tried, and tries nothing
    #[arg(long)]
    pub list: bool,
}

/// [`Preset`] by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PresetName {
    /// Representative rungs at 8 B, 64 KiB and 1 MiB
    Quick,
    /// The original's sizes and its 1000 parallel requests, in its form
    Seed,
    /// Every rung and codec, 8 B to 256 MiB; hours
    Full,
}

/// [`Client`] by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClientName {
    /// The load generator of this program
    Own,
    /// A Python client that times itself, as the original's did; for --preset seed
    Python,
}

impl LadderArgs {
    /// Runs the ladder: 0 done, 1 when a trial failed or the run was stopped, 2 wrong flags.
    pub fn run(&self) -> ExitCode {
        let Some(folder) = &self.resume else {
            return self.start(None);
        };
        let run = match read(folder) {
            Ok(run) => run,
            Err(error) => return fail(error),
        };
        match LadderArgs::of(&run.header.argv) {
            Some(args) => LadderArgs { out: Some(folder.clone()), ..args }.start(Some(run)),
            None => fail(format!("{}: not begun by `ndecho ladder`", folder.display())),
        }
    }

    fn start(&self, earlier: Option<Run>) -> ExitCode {
        let mut plan = match self.plan() {
            Ok(plan) => plan,
            Err(error) => return wrong_usage(error),
        };
        if self.list {
            return print(&listing(&plan));
        }
        let started_unix_s = now_unix_s();
        let bench = bench(self.cpu_server, self.cpu_client, self.out.as_ref(), started_unix_s);
        let mut bench = match bench {
            Ok(bench) => bench,
            Err(error) => return wrong_usage(error),
        };
        let run = interruptible().and_then(|stop| {
            self.set_up(&mut bench, &mut plan, &stop)?;
            let begun = match earlier {
                Some(run) => Begun::again(run, &bench.out, &plan)?,
                None => {
                    let header = header(&plan, &bench, plan.preset.name(), started_unix_s);
                    Begun::anew(&bench.out, header)?
                }
            };
            measure(&bench, &plan, begun, self.open_loop, &stop)
        });
        match run {
            Ok(tally) => finish(&bench, tally, plan.preset),
            Err(error) => fail(format!("{error:#}")),
        }
    }

    fn plan(&self) -> Result<Plan, String> {
        if self.client == ClientName::Python && self.preset != PresetName::Seed {
            return Err(
                "--client python is for --preset seed: only its requests are the original's"
                    .to_owned(),
            );
        }
        self.wish()?.plan().map_err(|error| error.to_string())
    }

    /// The peers, where they are asked for: by their flag, by a glob that can mean nothing else, or by the preset that
    /// has rows for them.
    fn peers(&self, globs: Option<&str>) -> Result<Vec<Arc<ExternalServer>>, String> {
        let is_named = globs.map(|globs| select::names_any(globs, PREFIX));
        let is_usual = self.preset == PresetName::Seed && self.rungs.is_none();
        if self.peers || is_named == Some(true) {
            return self.place.read();
        }
        if is_usual && self.place.folder().is_ok() {
            return self.place.read();
        }
        Ok(Vec::new())
    }

    /// Makes what the peers and the Python client need. A peer that cannot be set up is skipped with the reason; without
    /// its client there is no run.
    fn set_up(&self, bench: &mut Bench, plan: &mut Plan, stop: &AtomicBool) -> anyhow::Result<()> {
        let mut needed = plan.peers();
        let python = (plan.client == Client::Python).then(|| self.python_peer()).transpose();
        let python = python.map_err(anyhow::Error::msg)?;
        needed.extend(python.clone());
        if needed.is_empty() {
            return Ok(());
        }
        let site = self.place.site().map_err(anyhow::Error::msg)?;
        let peers = needed.iter().map(|peer| &**peer);
        bench.environments =
            Environments::prepare(peers, &site, stop, &mut |line| eprintln!("{line}"))?;
        plan.skip_without(&bench.environments);
        if let Some(peer) = python {
            bench.python = Some(PythonClient::new(&peer, &bench.environments)?);
        }
        Ok(())
    }

    /// A peer in whose environment the Python client runs.
    fn python_peer(&self) -> Result<Arc<ExternalServer>, String> {
        let mut peers = self.place.read()?.into_iter();
        let found = peers.find(|peer| peer.manifest.environment() == client::ENVIRONMENT);
        found.ok_or_else(|| {
            format!("--client python needs a peer with the environment {:?}", client::ENVIRONMENT)
        })
    }

    /// Returns the globs of `--rungs` and reports old names of external rungs.
    fn globs(&self) -> Option<String> {
        let given = self.rungs.clone()?;
        let Some(new) = names::renamed(&given) else { return Some(given) };
        eprintln!("--rungs: external servers are now named external/...: reading {new}");
        Some(new)
    }

    fn wish(&self) -> Result<Wish, String> {
        let globs = self.globs();
        Ok(Wish {
            preset: match self.preset {
                PresetName::Quick => Preset::Quick,
                PresetName::Seed => Preset::Seed,
                PresetName::Full => Preset::Full,
            },
            peers: self.peers(globs.as_deref())?,
            rungs: globs,
            every_peer: self.peers,
            client: match self.client {
                ClientName::Own => Client::Own,
                ClientName::Python => Client::Python,
            },
            sizes: self.sizes.clone(),
            array: self.array.clone(),
            connections: self.connections,
            in_flight: self.in_flight,
            knobs: self.knobs.knobs(self.client_busy_poll.unwrap_or(BUSY_POLL)),
            counts: self.counts,
            rounds: self.rounds,
            time: self.time,
            duration: self.duration,
            budget: self.budget,
            seed: self.seed,
        })
    }
}

/// Goes through `plan`, and then, where it is wanted, through the open loop that its figures make.
fn measure(
    bench: &Bench,
    plan: &Plan,
    begun: Begun,
    open_loop: bool,
    stop: &AtomicBool,
) -> anyhow::Result<Tally> {
    let Begun { mut records, trials } = begun;
    announce(bench, plan);
    let mut progress = Progress::new(is_resolved);
    let tally = run::run(bench, plan, &mut records, trials.clone(), stop, &mut progress);
    progress.clear();
    let mut tally = tally?;
    if open_loop && !tally.interrupted {
        let so_far = read(&bench.out).map_err(anyhow::Error::msg)?.trials;
        let plan = open_loop::plan(plan, &so_far);
        announce(bench, &plan);
        let opened = run::run(bench, &plan, &mut records, trials, stop, &mut progress);
        progress.clear();
        let opened = opened?;
        tally = Tally { blocks: tally.blocks, ..opened };
    }
    Ok(tally)
}

/// Records that are open, and the trials in them.
struct Begun {
    records: Records,
    trials: Vec<Trial>,
}

impl Begun {
    /// A new run.
    fn anew(out: &Path, header: Header) -> anyhow::Result<Begun> {
        let mut records = Records::create(out)?;
        records.append(&Line::Header(Box::new(header)))?;
        Ok(Begun { records, trials: Vec::new() })
    }

    /// A run that was stopped, by the build that began it and with the plan that it had.
    fn again(run: Run, out: &Path, plan: &Plan) -> anyhow::Result<Begun> {
        let build = Build::read();
        if run.header.build != build {
            bail!(
                "{}: begun by another build ({} {}), which this one ({} {}) cannot go on for",
                out.display(),
                run.header.build.version,
                run.header.build.commit.as_deref().unwrap_or("without a commit"),
                build.version,
                build.commit.as_deref().unwrap_or("without a commit"),
            );
        }
        let is_other = |trial: &&Trial| {
            let cell = plan.cells.get(trial.cell as usize);
            cell.is_some_and(|cell| !cell.is_of(trial))
        };
        if let Some(trial) = run.trials.iter().find(is_other) {
            bail!(
                "{}: cell {} was {}, which its command line no longer makes it",
                out.display(),
                trial.cell,
                trial.rung
            );
        }
        Ok(Begun { records: Records::resume(out)?, trials: run.trials })
    }
}

fn listing(plan: &Plan) -> String {
    let line = |cell: &crate::experiment::cell::Cell| match &cell.skip {
        Some(reason) => format!("{cell}  skipped: {reason}\n"),
        None => format!("{cell}\n"),
    };
    plan.cells.iter().map(line).collect()
}

fn finish(bench: &Bench, tally: Tally, preset: Preset) -> ExitCode {
    let run = match read(&bench.out) {
        Ok(run) => run,
        Err(error) => return fail(error),
    };
    let path = bench.out.join(RECORDS);
    let printed = print(&format!("{}\nrecords: {}\n", render(&run, None), path.display()));
    // Everything has cells that nobody expects to finish; elsewhere that is a failure.
    let unfinished = if preset == Preset::Full { 0 } else { tally.unfinished };
    if tally.interrupted {
        let out = bench.out.display();
        return fail(format!("stopped before its end; `ndecho ladder --continue {out}` goes on"));
    }
    if tally.failed + unfinished > 0 {
        return fail(format!("{} trials failed, {unfinished} did not finish", tally.failed));
    }
    printed
}
