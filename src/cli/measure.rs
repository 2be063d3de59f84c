//! What `ladder` and `compare` have in common: cores, the header of a run, the signals that stop it, and what is told
//! while it goes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};

use crate::axis::external;
use crate::experiment::plan::Plan;
use crate::experiment::records::RECORDS;
use crate::experiment::run::{Bench, Step, Watch};
use crate::external::environment::Environments;
use crate::probe::build::Build;
use crate::probe::host::Host;
use crate::probe::os_noise;
use crate::record::{Header, Trial, VERSION};
use crate::report::{Run, units};
use crate::sys::affinity;

/// How long the load generator's core is watched for what takes it away.
const WATCHED: Duration = Duration::from_millis(200);

/// A bench of this program on two cores of its own, records in `out` or in a folder named by the time.
pub(super) fn bench(
    cpu_server: Option<usize>,
    cpu_client: Option<usize>,
    out: Option<&PathBuf>,
    started_unix_s: u64,
) -> Result<Bench, String> {
    let cores = affinity::cores();
    let first = *cores.first().ok_or("this process may run on no core")?;
    let cpu_server = cpu_server.unwrap_or(first);
    let other = cores.iter().copied().find(|core| *core != cpu_server);
    let cpu_client = cpu_client.or(other).unwrap_or(cpu_server);
    for core in [cpu_server, cpu_client] {
        if !cores.contains(&core) {
            return Err(format!("core {core} is not to be had, expected one of {cores:?}"));
        }
    }
    let program = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    let folder = || PathBuf::from("target/ndecho").join(units::stamp(started_unix_s));
    Ok(Bench {
        program,
        builds: [Vec::new(), Vec::new()],
        cpu_server,
        cpu_client,
        out: out.cloned().unwrap_or_else(folder),
        environments: Environments::default(),
        python: None,
    })
}

/// What opens the records of a run of `plan` on `bench`.
pub(super) fn header(plan: &Plan, bench: &Bench, preset: &str, started_unix_s: u64) -> Header {
    Header {
        version: VERSION,
        started_unix_s,
        preset: preset.to_owned(),
        argv: std::env::args().collect(),
        seed: plan.seed,
        rounds: plan.blocks.max,
        cpu_server: bench.cpu_server as u32,
        cpu_client: bench.cpu_client as u32,
        client_busy_poll_ns: bench.busy_poll(plan).as_nanos() as u64,
        client: bench.python.as_ref().map(|_| "the Python client (client.py)".to_owned()),
        peers: plan
            .peers()
            .iter()
            .map(|peer| (peer.manifest.name.clone(), peer.manifest.version.clone()))
            .collect(),
        os_noise: os_noise::measure(bench.cpu_client, WATCHED),
        host: Host::read(bench.cpu_server),
        build: Build::read(),
    }
}

/// A flag that the first SIGINT or SIGTERM raises. The second ends this process at once, and the kernel ends the
/// children with it.
pub(super) fn interruptible() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Tells the person watching what is about to happen and what to make of it.
pub(super) fn announce(bench: &Bench, plan: &Plan) {
    let blocks = match (plan.blocks.time, plan.blocks.min == plan.blocks.max) {
        (_, true) => format!("{} times", plan.blocks.max),
        (Some(time), _) => format!("for {time:?}, or until every ratio is known"),
        (None, false) => {
            format!("{} to {} times, until every ratio is known", plan.blocks.min, plan.blocks.max)
        }
    };
    eprintln!(
        "{} cells, each tried {blocks}; server on core {}, load generator on core {}; records in {}",
        plan.cells.len(),
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

/// Shows how far a run is, between trials only: nothing of ours ticks while something is measured.
pub(super) struct Progress {
    bar: ProgressBar,
    is_enough: fn(&[Trial]) -> bool,
}

impl Progress {
    /// A run that needs no further block once `is_enough`.
    pub(super) fn new(is_enough: fn(&[Trial]) -> bool) -> Progress {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}");
        let style = style.expect("the template is a constant");
        Progress { bar: ProgressBar::no_length().with_style(style), is_enough }
    }

    /// Leaves the screen.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Progress {
    fn next(&mut self, step: Step<'_>) {
        self.bar.set_length(step.total as u64);
        self.bar.set_position(step.done as u64);
        self.bar.set_message(format!("block {}: {}", step.round + 1, step.next));
    }

    fn is_enough(&mut self, trials: &[Trial]) -> bool {
        (self.is_enough)(trials)
    }
}

/// The records of a run: of its folder, or of the file itself.
pub(super) fn read(place: &Path) -> Result<Run, String> {
    let path = if place.is_dir() { place.join(RECORDS) } else { place.to_owned() };
    let say = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read(&path).map_err(|error| say(&error))?;
    // Bytes that are not text make an invalid line, whose error names the line.
    let text = String::from_utf8_lossy(&text);
    if external::are_old(&text) {
        eprintln!("{}: external servers are now named external/..., not peer/...", path.display());
    }
    Run::parse(&text).map_err(|error| say(&error))
}

pub(super) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
