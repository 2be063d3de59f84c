//! Common parts of `ladder` and `compare`: the testbed, the header of a run, and warnings.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Args;

use crate::cli::output::tell;
use crate::cli::progress::{self, Analysis, Screen};
use crate::experiment::group;
use crate::experiment::plan::Plan;
use crate::experiment::preflight::{self, Findings};
use crate::experiment::records::Records;
use crate::experiment::session::{self, Totals};
use crate::experiment::testbed::Testbed;
use crate::external::environment::Environments;
use crate::probe::background_load::{self, BackgroundLoad};
use crate::probe::build::Build;
use crate::probe::host::Host;
use crate::probe::memory;
use crate::probe::os_noise;
use crate::probe::profile::SampledBy;
use crate::record::{Client, Header, Trial, VERSION};
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
            affinity::check(core)?;
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
            sampler: SampledBy::default(),
            python: None,
            foreign_client: None,
        })
    }

    /// Creates the file of records. The default folder gets a number if another run has its name.
    pub(super) fn create_records(&self, testbed: &mut Testbed) -> anyhow::Result<Records> {
        let records = match &self.out {
            Some(out) => Records::create(out)?,
            None => Records::create_numbered(&testbed.out)?,
        };
        testbed.out = records.folder().to_owned();
        Ok(records)
    }
}

/// Reports what limits the figures of a run on this machine; fails if it cannot measure anything.
pub(super) fn preflight(testbed: &Testbed, plan: &mut Plan) -> anyhow::Result<()> {
    let Findings { fatal, warnings } = preflight::check(testbed, plan);
    for warning in warnings {
        tell(format!("warning: {warning}"));
    }
    if fatal.is_empty() { Ok(()) } else { bail!(fatal.join("\n")) }
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
        client_busy_poll_ns: if plan.clients.contains(&Client::Own) {
            testbed.knobs(plan).busy_poll.as_nanos() as u64
        } else {
            0
        },
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
        tell(format!("warning: {sentence}; the run goes on, and its intervals will be wider"));
    }
    Some(load)
}

/// Announces `plan` and runs it under a progress bar, until nothing is left or the figures are
/// known.
pub(super) fn run(
    testbed: &Testbed,
    plan: &Plan,
    records: &mut Records,
    earlier: Vec<Trial>,
    stop: &AtomicBool,
    analysis: Analysis,
) -> anyhow::Result<Totals> {
    observe(testbed, plan, records, earlier, stop, Screen::new(analysis, None))
}

/// Like [`run`] from the start, but leaves out rungs after the first block.
pub(super) fn run_narrowing(
    testbed: &Testbed,
    plan: &Plan,
    records: &mut Records,
    stop: &AtomicBool,
    analysis: Analysis,
    leave_out: &dyn Fn() -> Vec<(String, String)>,
) -> anyhow::Result<Totals> {
    observe(testbed, plan, records, Vec::new(), stop, Screen::new(analysis, Some(leave_out)))
}

fn observe(
    testbed: &Testbed,
    plan: &Plan,
    records: &mut Records,
    earlier: Vec<Trial>,
    stop: &AtomicBool,
    mut screen: Screen<'_>,
) -> anyhow::Result<Totals> {
    announce(testbed, plan);
    let totals = session::run(testbed, plan, records, earlier, stop, &mut screen);
    screen.finish();
    totals
}

fn announce(testbed: &Testbed, plan: &Plan) {
    let groups = group::groups(plan, memory::available_bytes());
    tell(progress::announcement(testbed, plan, &groups));
    for split in group::splits(plan, &groups) {
        tell(split);
    }
}

pub(super) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
