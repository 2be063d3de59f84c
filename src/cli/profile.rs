//! Flags of `ndecho profile`: where the CPU time of a request goes, by layer.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;

use crate::axis::Malloc;
use crate::axis::external::PREFIX;
use crate::cli::external::ExternalArgs;
use crate::cli::interrupt::Interrupt;
use crate::cli::load::KnobArgs;
use crate::cli::measure::{self, TestbedArgs, header, now_unix_s};
use crate::cli::output::{Failure, print, tell};
use crate::cli::progress::Analysis;
use crate::cli::run_folder::{read, read_stacks};
use crate::cli::stacks::StacksArgs;
use crate::cli::values;
use crate::experiment::options::{BUSY_POLL, RunOptions};
use crate::experiment::plan::Plan;
use crate::experiment::preset::Preset;
use crate::experiment::profiled;
use crate::experiment::records::RECORDS;
use crate::experiment::testbed::Testbed;
use crate::external::environment::Environments;
use crate::ladder::select;
use crate::probe::profile::{Profile, Recorder, SampledBy};
use crate::record::Line;
use crate::report::profile as report;
use crate::report::stacks::Profiled;

const LAUNCH_TIME: Duration = Duration::from_millis(400);

/// Time for which a running process is sampled.
const PROCESS_TIME: Duration = Duration::from_secs(5);

/// Longest time for which a running process is sampled. The recording has a limit of its own.
const PROCESS_TIME_MAX: Duration = Duration::from_secs(600);

const PAUSE: Duration = Duration::from_millis(20);

/// Name of the command, which the header of its records has as preset.
const COMMAND: &str = "profile";

/// Flags that mean nothing for a process that runs already.
const OF_RUNGS: [&str; 17] = [
    "rungs",
    "sizes",
    "array",
    "rounds",
    "connections",
    "in_flight",
    "malloc",
    "seed",
    "h2_window",
    "h2_frame_size",
    "equal_headers",
    "index_headers",
    "client_delay",
    "external_dir",
    "environments",
    "cpu_server",
    "out",
];

/// Shows in which layers the CPU time of a request goes
///
/// Every rung is served twice: one server is sampled, the other is not. The shares of the layers
/// come from the first one, the CPU time of a request from the second. The load visits both in
/// turns.
#[derive(Args, Clone, Debug)]
pub struct ProfileArgs {
    /// Rungs to profile, as globs: uring/h2/protobuf, 'tokio/tonic*/protobuf:prost*'
    #[arg(required_unless_present = "pid", value_name = "RUNG")]
    rungs: Vec<String>,

    /// Profiles a running process for --duration instead, whatever loads it
    #[arg(long, value_name = "PID", conflicts_with_all = OF_RUNGS)]
    pid: Option<u32>,

    /// Sizes of the float64 vectors to send
    #[arg(long, value_name = "SIZES", value_parser = values::size, value_delimiter = ',', default_value = "8", conflicts_with = "array")]
    sizes: Vec<u64>,

    /// Sends the array in this .npy file
    #[arg(long, value_name = "FILE.npy")]
    array: Option<PathBuf>,

    /// Launches, each with new processes; five or more for an interval
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Time for which the replies of a server are counted in a launch, over all its slices; with
    /// --pid, time for which the process is sampled [default: 400ms; 5s with --pid]
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    duration: Option<Duration>,

    /// Connections, the same for every rung
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..))]
    connections: Option<u32>,

    /// Requests in flight over all connections, the same for every rung
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: Option<u32>,

    /// Memory allocator of every server: default, keep or mimalloc
    #[arg(long, value_name = "NAME")]
    malloc: Option<Malloc>,

    /// Seed of the order of trials
    #[arg(long, default_value_t = 1)]
    seed: u64,

    #[command(flatten)]
    knobs: KnobArgs,

    #[command(flatten)]
    folders: ExternalArgs,

    /// Program that takes the samples
    #[arg(long, value_enum, default_value_t)]
    sampler: SampledBy,

    #[command(flatten)]
    stacks: StacksArgs,

    #[command(flatten)]
    testbed: TestbedArgs,
}

impl ProfileArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        self.stacks.check().map_err(Failure::Usage)?;
        if let Some(pid) = self.pid {
            let time = self.duration.unwrap_or(PROCESS_TIME);
            if time > PROCESS_TIME_MAX {
                let most = PROCESS_TIME_MAX.as_secs() / 60;
                let error = anyhow!("a process is sampled for at most {most}m, not {time:?}");
                return Err(Failure::Usage(error));
            }
            let interrupt = Interrupt::watch()?;
            let ended = self.process(pid, interrupt.flag());
            return interrupt.attribute(ended.map_err(Failure::Run));
        }
        let plan = profiled::plan(self.options().and_then(|it| it.plan()).map_err(Failure::Usage)?);
        let started_unix_s = now_unix_s();
        let testbed = self.testbed.testbed(started_unix_s).map_err(Failure::Usage)?;
        let testbed = Testbed { sampler: self.sampler, ..testbed };
        let interrupt = Interrupt::watch()?;
        let ended = self.measure(testbed, plan, started_unix_s, interrupt.flag());
        interrupt.attribute(ended.map_err(Failure::Run))
    }

    /// Samples a running process and prints its layers.
    fn process(&self, pid: u32, stop: &AtomicBool) -> anyhow::Result<()> {
        let testbed = Testbed { sampler: self.sampler, ..self.testbed.testbed(now_unix_s())? };
        let folder = std::env::temp_dir().join(format!("ndecho-profile-{}", std::process::id()));
        std::fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        let profile = self.sample(&testbed, pid, &folder.join("process.perf"), stop);
        let _ = std::fs::remove_dir_all(&folder);
        let profile = profile.with_context(|| format!("process {pid} was not profiled"))?;
        ensure!(
            profile.samples > 0,
            "process {pid} used no CPU time in this while; load it, or take a longer --duration"
        );
        print(&report::of_process(&profile))?;
        self.stacks.write(&[Profiled::of_process(pid, &profile)])
    }

    fn sample(
        &self,
        testbed: &Testbed,
        pid: u32,
        file: &Path,
        stop: &AtomicBool,
    ) -> anyhow::Result<Profile> {
        let recorder = record(testbed, pid, file)?;
        let end = Instant::now() + self.duration.unwrap_or(PROCESS_TIME);
        while Instant::now() < end && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(PAUSE);
        }
        Ok(Profile::read(&recorder.stop()?)?)
    }

    fn options(&self) -> anyhow::Result<RunOptions> {
        let globs = self.rungs.join(",");
        let is_external = select::names_any(&globs, PREFIX);
        Ok(RunOptions {
            external: if is_external { self.folders.read()? } else { Vec::new() },
            rungs: Some(globs),
            sizes: self.array.is_none().then(|| self.sizes.clone()),
            array: self.array.clone(),
            rounds: Some(self.rounds),
            duration: Some(self.duration.unwrap_or(LAUNCH_TIME)),
            connections: self.connections,
            in_flight: self.in_flight,
            malloc: self.malloc,
            knobs: self.knobs.knobs(BUSY_POLL),
            seed: self.seed,
            ..RunOptions::new(Preset::Broad)
        })
    }

    fn measure(
        &self,
        mut testbed: Testbed,
        mut plan: Plan,
        started_unix_s: u64,
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        let needed = plan.external();
        if !needed.is_empty() {
            let (site, servers) = (self.folders.site()?, needed.iter().map(|server| &**server));
            testbed.environments =
                Environments::prepare(servers, &site, stop, &mut |line| tell(line))?;
            plan.skip_without(&testbed.environments);
        }
        measure::preflight(&testbed, &mut plan)?;
        check_sampler(&testbed)?;
        let header = header(&plan, &testbed, COMMAND, started_unix_s);
        let mut records = self.testbed.create_records(&mut testbed)?;
        records.append(&Line::Header(Box::new(header)))?;
        let analysis = Analysis { is_enough: |_| false, forecast: |_, _| None };
        let totals = measure::run(&testbed, &plan, &mut records, Vec::new(), stop, analysis)?;
        let mut run = read(&testbed.out)?;
        let text = report::render(&run)
            .context("no server was profiled; the warnings above and the records tell why")?;
        let path = testbed.out.join(RECORDS);
        print(&format!("{text}\nrecords: {}\n", path.display()))?;
        if self.stacks.names_files() {
            read_stacks(&mut run, &testbed.out)?;
            self.stacks.write(&Profiled::of_run(&run))?;
        }
        if totals.interrupted {
            bail!("stopped before its end");
        }
        if totals.failed + totals.unfinished > 0 {
            bail!("{} trials failed, {} did not finish", totals.failed, totals.unfinished);
        }
        Ok(())
    }
}

/// Returns the launcher of perf, which pins it to the load generator's core and ends it together
/// with this process.
fn launcher(testbed: &Testbed) -> Command {
    let mut launcher = Command::new(&testbed.program);
    launcher.args(["exec", "--die-with", &std::process::id().to_string()]);
    launcher.args(["--cpu", &testbed.cpu_client.to_string(), "--"]);
    launcher
}

fn record(testbed: &Testbed, pid: u32, file: &Path) -> anyhow::Result<Recorder> {
    let core = testbed.cpu_client;
    Ok(Recorder::start(testbed.sampler, launcher(testbed), core, pid, file)?)
}

/// Samples this process for a moment, so that a run knows before it begins whether it can profile.
pub(super) fn check_sampler(testbed: &Testbed) -> anyhow::Result<()> {
    let file = std::env::temp_dir().join(format!("ndecho-check-{}.perf", std::process::id()));
    let recorder = record(testbed, std::process::id(), &file)?;
    let _ = std::fs::remove_file(recorder.stop()?);
    Ok(())
}
