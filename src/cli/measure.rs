//! Common parts of `ladder` and `compare`: the testbed, the header of a run, signals and warnings.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Args;

use crate::cli::progress::{self, Analysis, Screen};
use crate::experiment::group;
use crate::experiment::plan::Plan;
use crate::experiment::records::Records;
use crate::experiment::session::{self, Totals};
use crate::experiment::testbed::Testbed;
use crate::external::environment::Environments;
use crate::probe::background_load::{self, BackgroundLoad};
use crate::probe::build::Build;
use crate::probe::host::Host;
use crate::probe::memory;
use crate::probe::os_noise;
use crate::record::{Header, Trial, VERSION};
use crate::report::background_load::{Tense, guests, programs};
use crate::report::units;
use crate::sys::affinity;

/// Time for which the noise on the load generator's core is watched before a run.
const NOISE_TIME: Duration = Duration::from_millis(200);

/// Flags of a run that `ladder` and `compare` share.
#[derive(Args, Clone, Debug)]
pub struct TestbedArgs {
    /// Core of every server [default: the first there is]
    #[arg(long, value_name = "CORE")]
    cpu_server: Option<usize>,

    /// Core of the load generator [default: the second there is]
    #[arg(long, value_name = "CORE")]
    cpu_client: Option<usize>,

    /// Folder for the records [default: target/ndecho/DATE-TIME]
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

impl TestbedArgs {
    /// Makes a testbed of this program.
    pub(super) fn testbed(&self, started_unix_s: u64) -> anyhow::Result<Testbed> {
        let cores = affinity::cores();
        let first = cores.first().context("this process may run on no core; check its affinity")?;
        let cpu_server = self.cpu_server.unwrap_or(*first);
        let other = cores.iter().copied().find(|core| *core != cpu_server);
        let cpu_client = self.cpu_client.or(other).unwrap_or(cpu_server);
        for core in [cpu_server, cpu_client] {
            if !cores.contains(&core) {
                let allowed = cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
                bail!("core {core} is not available to this process (allowed: {allowed})");
            }
        }
        let program = std::env::current_exe().context("cannot find the path of this program")?;
        let folder = || PathBuf::from("target/ndecho").join(units::stamp(started_unix_s));
        Ok(Testbed {
            program,
            builds: [Vec::new(), Vec::new()],
            cpu_server,
            cpu_client,
            out: self.out.clone().unwrap_or_else(folder),
            environments: Environments::default(),
            python: None,
            foreign_client: None,
        })
    }
}

pub(super) fn header(plan: &Plan, testbed: &Testbed, preset: &str, started_unix_s: u64) -> Header {
    Header {
        version: VERSION,
        started_unix_s,
        preset: preset.to_owned(),
        argv: std::env::args().collect(),
        seed: plan.seed,
        rounds: plan.blocks.max,
        cpu_server: testbed.cpu_server as u32,
        cpu_client: testbed.cpu_client as u32,
        client_busy_poll_ns: testbed.knobs(plan).busy_poll.as_nanos() as u64,
        client: testbed.foreign_client.clone(),
        external_versions: plan
            .external()
            .iter()
            .map(|server| (server.manifest.name.clone(), server.manifest.version.clone()))
            .collect(),
        os_noise: os_noise::measure(testbed.cpu_client, NOISE_TIME),
        background_load: watch(testbed),
        host: Host::read(testbed.cpu_server),
        build: Build::read(),
    }
}

/// Watches the machine for about a second, and warns of programs and guests that keep it busy.
pub(super) fn watch(testbed: &Testbed) -> Option<BackgroundLoad> {
    let load = background_load::watch(testbed.cpu_server, testbed.cpu_client)?;
    let found = [programs(&load, Tense::Present), guests(&load, Tense::Present)];
    for sentence in found.into_iter().flatten() {
        eprintln!("warning: {sentence}; the run goes on, and its intervals will be wider");
    }
    Some(load)
}

/// Makes a flag that the first SIGINT or SIGTERM raises. The second signal ends this process.
pub(super) fn interruptible() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Announces `plan` and runs it under a progress bar, until nothing is left or the figures are known.
pub(super) fn run(
    testbed: &Testbed,
    plan: &Plan,
    records: &mut Records,
    earlier: Vec<Trial>,
    stop: &AtomicBool,
    analysis: Analysis,
) -> anyhow::Result<Totals> {
    announce(testbed, plan);
    let mut screen = Screen::new(analysis);
    let totals = session::run(testbed, plan, records, earlier, stop, &mut screen);
    screen.finish();
    totals
}

fn announce(testbed: &Testbed, plan: &Plan) {
    let groups = group::groups(plan, memory::available_bytes());
    eprintln!("{}", progress::announcement(testbed, plan, &groups));
    for split in group::splits(plan, &groups) {
        eprintln!("{split}");
    }
    if testbed.shares_core() {
        eprintln!(
            "warning: server and load generator share a core and take turns on it, so rates and latencies are not \
             shown; CPU per request is still that of the server alone"
        );
    }
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a debug build, whose figures mean nothing; use --release");
    }
}

pub(super) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
