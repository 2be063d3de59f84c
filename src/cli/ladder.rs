//! Flags of `ndecho ladder`: raw arguments become a plan and a bench, and the run is shown as it goes.
//!
//! With one core, server and load generator share it: the run goes on, since a process's own CPU time is still
//! counted exactly, but rates and latencies would be those of two programs taking turns, so they are not shown.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::load::Http2Args;
use crate::cli::ndecho::{fail, print, render, wrong_usage};
use crate::cli::peers::PeerArgs;
use crate::cli::values;
use crate::ladder::client::{self, Client, PythonClient};
use crate::ladder::peers::Peer;
use crate::ladder::peers::environment::Environments;
use crate::ladder::plan::{Plan, Wish};
use crate::ladder::preset::Preset;
use crate::ladder::run::{self, Bench, RECORDS, Tally};
use crate::ladder::rung;
use crate::record::{Header, Line, VERSION};
use crate::report::{Run, units};
use crate::sys::{affinity, host};

/// Runs rungs in turns and prints what each costs.
#[derive(Args, Clone, Debug)]
pub struct LadderArgs {
    /// What is tried: a few minutes, the original benchmark's cells, or everything
    #[arg(long, value_enum, default_value = "quick")]
    pub preset: PresetName,

    /// Rungs tried instead, as globs: 'uring/*,tokio/tonic/*', 'peer/*'
    #[arg(long, value_name = "GLOB")]
    pub rungs: Option<String>,

    /// Adds the peers, servers that are not ours: every rung of theirs, or with --rungs those that it names
    #[arg(long)]
    pub peers: bool,

    /// Where the peers are.
    #[command(flatten)]
    pub place: PeerArgs,

    /// Who loads the servers
    #[arg(long, value_enum, default_value = "own")]
    pub client: ClientName,

    /// Sizes of the float64 vectors sent, e.g. 8,64KiB,1MiB
    #[arg(long, value_name = "SIZES", value_parser = values::size, value_delimiter = ',', conflicts_with = "array")]
    pub sizes: Option<Vec<u64>>,

    /// Sends the array in this .npy file
    #[arg(long, value_name = "FILE.npy")]
    pub array: Option<PathBuf>,

    /// Rounds; each tries every cell once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: Option<u32>,

    /// Draws the order of trials
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Core of every server [default: the first there is]
    #[arg(long, value_name = "CORE")]
    pub cpu_server: Option<usize>,

    /// Core of the load generator [default: the second there is]
    #[arg(long, value_name = "CORE")]
    pub cpu_client: Option<usize>,

    /// Connections, the same for every rung
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: Option<u32>,

    /// Requests in flight over all connections, the same for every rung
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: Option<u32>,

    /// What gRPC servers may send.
    #[command(flatten)]
    pub http2: Http2Args,

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
        let mut plan = match self.plan() {
            Ok(plan) => plan,
            Err(error) => return wrong_usage(error),
        };
        if self.list {
            return print(&listing(&plan));
        }
        let started_unix_s = now_unix_s();
        let mut bench = match self.bench(started_unix_s) {
            Ok(bench) => bench,
            Err(error) => return wrong_usage(error),
        };
        let run = interruptible().and_then(|stop| {
            self.set_up(&mut bench, &mut plan, &stop)?;
            let header = self.header(&plan, &bench, started_unix_s);
            measure(&bench, &plan, header, &stop)
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
    fn peers(&self) -> Result<Vec<Arc<Peer>>, String> {
        let is_named = self.rungs.as_deref().map(|globs| rung::names_any(globs, "peer/"));
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
    fn python_peer(&self) -> Result<Arc<Peer>, String> {
        let mut peers = self.place.read()?.into_iter();
        let found = peers.find(|peer| peer.manifest.environment() == client::ENVIRONMENT);
        found.ok_or_else(|| {
            format!("--client python needs a peer with the environment {:?}", client::ENVIRONMENT)
        })
    }

    fn wish(&self) -> Result<Wish, String> {
        Ok(Wish {
            preset: match self.preset {
                PresetName::Quick => Preset::Quick,
                PresetName::Seed => Preset::Seed,
                PresetName::Full => Preset::Full,
            },
            rungs: self.rungs.clone(),
            peers: self.peers()?,
            every_peer: self.peers,
            client: match self.client {
                ClientName::Own => Client::Own,
                ClientName::Python => Client::Python,
            },
            sizes: self.sizes.clone(),
            array: self.array.clone(),
            connections: self.connections,
            in_flight: self.in_flight,
            load_flags: self.http2.flags(),
            rounds: self.rounds,
            duration: self.duration,
            budget: self.budget,
            seed: self.seed,
        })
    }

    fn bench(&self, started_unix_s: u64) -> Result<Bench, String> {
        let cores = affinity::cores();
        let first = *cores.first().ok_or("this process may run on no core")?;
        let cpu_server = self.cpu_server.unwrap_or(first);
        let other = cores.iter().copied().find(|core| *core != cpu_server);
        let cpu_client = self.cpu_client.or(other).unwrap_or(cpu_server);
        for core in [cpu_server, cpu_client] {
            if !cores.contains(&core) {
                return Err(format!("core {core} is not to be had, expected one of {cores:?}"));
            }
        }
        let program = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
        let folder = || PathBuf::from("target/ndecho").join(units::stamp(started_unix_s));
        let out = self.out.clone().unwrap_or_else(folder);
        let (environments, python) = (Environments::default(), None);
        Ok(Bench { program, cpu_server, cpu_client, out, environments, python })
    }

    fn header(&self, plan: &Plan, bench: &Bench, started_unix_s: u64) -> Line {
        Line::Header(Box::new(Header {
            version: VERSION,
            started_unix_s,
            preset: plan.preset.name().to_owned(),
            argv: std::env::args().collect(),
            seed: plan.seed,
            rounds: plan.rounds,
            cpu_server: bench.cpu_server as u32,
            cpu_client: bench.cpu_client as u32,
            client: bench.python.as_ref().map(|_| "the Python client (client.py)".to_owned()),
            peers: plan
                .peers()
                .iter()
                .map(|peer| (peer.manifest.name.clone(), peer.manifest.version.clone()))
                .collect(),
            host: host::host(bench.cpu_server),
            build: host::build(),
        }))
    }
}

/// A flag that the first SIGINT or SIGTERM raises. The second ends this process at once, and the kernel ends the
/// children with it.
fn interruptible() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

fn measure(bench: &Bench, plan: &Plan, header: Line, stop: &AtomicBool) -> anyhow::Result<Tally> {
    announce(bench, plan);
    let bar = bar();
    let tally = run::run(bench, plan, header, stop, &mut |step| {
        bar.set_length(step.total as u64);
        bar.set_position(step.done as u64);
        bar.set_message(format!("round {}: {}", step.round + 1, step.next));
    })?;
    bar.finish_and_clear();
    Ok(tally)
}

/// Tells the person watching what is about to happen and what to make of it.
fn announce(bench: &Bench, plan: &Plan) {
    let trials = plan.cells.len() * plan.rounds as usize;
    eprintln!(
        "{} cells x {} rounds = {trials} trials; server on core {}, load generator on core {}; records in {}",
        plan.cells.len(),
        plan.rounds,
        bench.cpu_server,
        bench.cpu_client,
        bench.out.display()
    );
    if bench.cpu_server == bench.cpu_client {
        eprintln!(
            "warning: server and load generator share a core, so rates and latencies are of both taking turns and \
             are not shown; CPU per request is still the server's own"
        );
    }
    if cfg!(debug_assertions) {
        eprintln!("warning: a debug build; its figures say nothing about speed (use --release)");
    }
}

/// Drawn only between trials: nothing ticks while something is measured.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} left  {msg}");
    ProgressBar::no_length().with_style(style.expect("the template is a constant"))
}

fn listing(plan: &Plan) -> String {
    let line = |cell: &crate::ladder::cell::Cell| match &cell.skip {
        Some(reason) => format!("{cell}  skipped: {reason}\n"),
        None => format!("{cell}\n"),
    };
    plan.cells.iter().map(line).collect()
}

fn finish(bench: &Bench, tally: Tally, preset: Preset) -> ExitCode {
    let path = bench.out.join(RECORDS);
    let run = std::fs::read_to_string(&path)
        .map_err(|error| error.to_string())
        .and_then(|text| Run::parse(&text).map_err(|error| error.to_string()));
    let run = match run {
        Ok(run) => run,
        Err(error) => return fail(format!("{}: {error}", path.display())),
    };
    let printed = print(&format!("{}\nrecords: {}\n", render(&run, None), path.display()));
    // Everything has cells that nobody expects to finish; elsewhere that is a failure.
    let unfinished = if preset == Preset::Full { 0 } else { tally.unfinished };
    if tally.interrupted {
        return fail("stopped before its end; the records hold what was done");
    }
    if tally.failed + unfinished > 0 {
        return fail(format!("{} trials failed, {unfinished} did not finish", tally.failed));
    }
    printed
}

fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
