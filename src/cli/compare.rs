//! Flags of `ndecho compare`: two builds of this program, tried in turns, or two recorded runs.
//!
//! The load generator is always that of the program that compares, so that only servers differ.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Parser};

use crate::cli::interrupt::Interrupt;
use crate::cli::measure::{self, TestbedArgs, header, now_unix_s};
use crate::cli::output::{Failure, print, tell, usage};
use crate::cli::progress::Analysis;
use crate::cli::run_folder::{is_recorded, read};
use crate::cli::values;
use crate::experiment::ab;
use crate::experiment::options::RunOptions;
use crate::experiment::plan::Plan;
use crate::experiment::preset::{Blocks, Preset};
use crate::experiment::testbed::Testbed;
use crate::record::Line;
use crate::report::comparable::{self, Differences};
use crate::report::compare::{Comparison, is_resolved};
use crate::report::{Run, compare_runs, forecast};
use crate::stats::verdict::Floor;

/// Default rungs: each own protocol, and an encoding that takes work.
const RUNGS: &str = "uring/raw/reflect,uring/h1/{npy,json},uring/h2/protobuf";

/// Difference up to which two builds count as the same.
const THRESHOLD_PERCENT: f64 = 2.0;

/// Name of the command, which the header of its records has as preset.
const COMMAND: &str = "compare";

/// Compares two builds of this program, or two recorded runs: faster, slower or the same
///
/// Exit status 1 if NEW is slower than the threshold allows, needs more system calls or bytes for a
/// request, or fails where OLD does not; 2 for wrong usage; 3 if nothing was compared, if all
/// verdicts are unknown, or if two runs differ in their load; 0 otherwise.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// The program as it was, or several builds of it, separated by commas; or a folder or page of
    /// records
    #[arg(value_parser = places)]
    old: Places,

    /// The program as it is now, as many builds of it; or a folder or page of records
    #[arg(value_parser = places)]
    new: Places,

    /// Rungs to compare, as globs
    #[arg(long, value_name = "GLOB", default_value = RUNGS)]
    rungs: String,

    /// Sizes of the float64 vectors to send
    #[arg(long, value_name = "SIZES", value_parser = values::size, value_delimiter = ',', default_value = "8,64KiB")]
    sizes: Vec<u64>,

    /// Exact number of blocks, each of which tries every build at every cell once [default: at
    /// least 10, until every ratio is known or the time is up]
    #[arg(long, value_name = "N", value_parser = values::blocks_of_a_comparison)]
    rounds: Option<u32>,

    /// Time for all blocks
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration, default_value = "5m")]
    time: Duration,

    /// Time for which replies are counted in a trial
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    duration: Option<Duration>,

    /// Difference in per cent up to which two builds count as the same
    #[arg(long, value_name = "PERCENT", default_value_t = THRESHOLD_PERCENT)]
    threshold: f64,

    /// Seed of the order of trials
    #[arg(long, default_value_t = 1)]
    seed: u64,

    #[command(flatten)]
    testbed: TestbedArgs,
}

/// The flags alone, for the command line in a record.
#[derive(Parser)]
struct RecordedArgs {
    #[command(flatten)]
    args: CompareArgs,
}

#[derive(Clone, Debug)]
struct Places(Vec<PathBuf>);

fn places(text: &str) -> Result<Places, String> {
    let places: Vec<PathBuf> = text.split(',').map(PathBuf::from).collect();
    if places.iter().any(|place| place.as_os_str().is_empty()) {
        return Err(format!("{text:?} has an empty path, expected paths separated by commas"));
    }
    Ok(Places(places))
}

impl CompareArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        if !(0.0..=100.0).contains(&self.threshold) {
            return Err(usage(format!("--threshold {}: expected 0 to 100", self.threshold)));
        }
        let (old, new) = (&self.old.0, &self.new.0);
        let is_run = |places: &[PathBuf]| places.len() == 1 && is_recorded(&places[0]);
        match (is_run(old), is_run(new)) {
            (true, true) => self.runs(&old[0], &new[0]),
            (false, false) => self.builds(),
            _ => Err(usage("compare two folders of records, or their pages, or two programs")),
        }
    }

    fn threshold(&self) -> Floor {
        Floor::of_share(self.threshold / 100.0)
    }

    fn runs(&self, old: &Path, new: &Path) -> Result<(), Failure> {
        let (old, new) = (read(old)?, read(new)?);
        let Differences { fatal, minor } = comparable::differences(&old, &new);
        if !fatal.is_empty() {
            return Err(Failure::NoVerdict(anyhow!(
                "the two runs cannot be compared, because they differ in more than the servers:\n  \
                 {}\nrepeat one of them with the flags of the other",
                fatal.join("\n  ")
            )));
        }
        for difference in minor {
            tell(format!("warning: {difference}"));
        }
        let comparison = compare_runs::compare(&old, &new, self.threshold());
        if comparison.has_costs() {
            tell(
                "warning: the two runs were not made in turns, so changes of the machine between \
                 them count as differences; rungs whose standard server is in both runs are \
                 compared by the ratio to it",
            );
        }
        finish(&comparison)
    }

    fn builds(&self) -> Result<(), Failure> {
        let (old, new) = (&self.old.0, &self.new.0);
        if old.len() != new.len() {
            let (old, new) = (old.len(), new.len());
            return Err(usage(format!(
                "{old} old builds and {new} new ones: expected the same number of both"
            )));
        }
        let plan = self.plan().map_err(Failure::Usage)?;
        for program in old.iter().chain(new) {
            check(program, &plan).map_err(Failure::Usage)?;
        }
        let started_unix_s = now_unix_s();
        let testbed = self.testbed.testbed(started_unix_s).map_err(Failure::Usage)?;
        let testbed = Testbed { builds: [old.clone(), new.clone()], ..testbed };
        let interrupt = Interrupt::watch()?;
        let measured = self.measure(testbed, plan, started_unix_s, interrupt.flag());
        let run = interrupt.attribute(measured.map_err(Failure::Run))?;
        finish(&Comparison::of_builds(&run, self.threshold()))
    }

    fn plan(&self) -> anyhow::Result<Plan> {
        let options = RunOptions {
            rungs: Some(self.rungs.clone()),
            sizes: Some(self.sizes.clone()),
            rounds: self.rounds,
            duration: self.duration,
            seed: self.seed,
            ..RunOptions::new(Preset::Quick)
        };
        let plan = options.plan()?;
        let blocks = match self.rounds {
            Some(_) => Blocks { time: Some(self.time), ..plan.blocks },
            None => Blocks { min: 10, max: plan.blocks.max, time: Some(self.time) },
        };
        Ok(Plan { blocks, ..plan })
    }

    /// Counts, then times; fails if the run was stopped.
    fn measure(
        &self,
        mut testbed: Testbed,
        mut plan: Plan,
        started_unix_s: u64,
        stop: &AtomicBool,
    ) -> anyhow::Result<Run> {
        measure::preflight(&testbed, &mut plan)?;
        let header = header(&plan, &testbed, COMMAND, started_unix_s);
        let mut records = self.testbed.create_records(&mut testbed)?;
        records.append(&Line::Header(Box::new(header)))?;
        let builds = self.old.0.len() as u32;
        let counted = ab::counted(&plan, builds);
        let timed = ab::timed(&plan, builds, counted.cells.len() as u32);
        let analysis = Analysis { is_enough: is_resolved, forecast: forecast::of_builds };
        for plan in [counted, timed] {
            let earlier = Vec::new();
            let totals = measure::run(&testbed, &plan, &mut records, earlier, stop, analysis)?;
            if totals.interrupted {
                bail!("stopped before its end; records in {}", testbed.out.display());
            }
        }
        read(&testbed.out)
    }
}

/// Compares the builds of a recorded run again, with the threshold of its command line. `None` if
/// the run is not a comparison.
pub(super) fn recorded(run: &Run) -> Option<Comparison> {
    if run.header.preset != COMMAND {
        return None;
    }
    // Flags of an older program may be unknown today.
    let args = RecordedArgs::try_parse_from(run.header.argv.iter().skip(1));
    let percent = args.map_or(THRESHOLD_PERCENT, |recorded| recorded.args.threshold);
    Some(Comparison::of_builds(run, Floor::of_share(percent / 100.0)))
}

fn check(program: &Path, plan: &Plan) -> anyhow::Result<()> {
    let name = program.display();
    let mut list = Command::new(program);
    list.args(["rungs", "--list"]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = list.output().with_context(|| name.to_string())?;
    let names = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !names.contains('/') {
        bail!("{name}: not a build of ndecho: it does not list its rungs");
    }
    let has = |name: &str| names.lines().any(|line| line == name);
    let mut wanted = plan.cells.iter().map(|cell| cell.rung.to_string());
    if let Some(rung) = wanted.find(|rung| !has(rung)) {
        bail!("{name}: this build has no rung {rung}; narrow --rungs");
    }
    Ok(())
}

fn finish(comparison: &Comparison) -> Result<(), Failure> {
    print(&comparison.render())?;
    let objections = comparison.objections();
    if !objections.is_empty() {
        return Err(anyhow!(objections.join("; ")).into());
    }
    comparison.no_verdict().map_or(Ok(()), |reason| Err(Failure::NoVerdict(anyhow!(reason))))
}
