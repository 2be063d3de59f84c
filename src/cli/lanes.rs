//! Flags of `ndecho lanes`: protocols and codecs in memory, by the clock and by instructions.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::cli::lane_children::{self, LaneInput};
use crate::cli::output::{Failure, print, tell, usage};
use crate::cli::planted_steps::PlantedSteps;
use crate::load::message::Body;
use crate::load::worker;
use crate::probe::injected_delay::InjectedDelay;
use crate::record::{LaneDocument, LaneTimed, PlantedWork};
use crate::report::lane_counts::{Counts, OTHERS_ALLOCATOR_TOLERANCE, SLACK, TOLERANCE};
use crate::report::lanes::{self, MeasuredLane};
use crate::server::lane::{self, Lane, Spec};
use crate::sys::affinity;

/// Times for which a lane is timed, of which the shortest counts, and the length of each.
const ROUNDS: u32 = 5;
const ROUND_TIME: Duration = Duration::from_millis(20);

/// The same for a lane of a run, which is timed in several launches.
const RUN_ROUNDS: u32 = 3;
const RUN_ROUND_TIME: Duration = Duration::from_millis(10);

/// Times for which a lane is counted again whose counts are stored, or which differs from those
/// stored.
const COUNTED_AGAIN: u32 = 4;

/// Measures protocols and codecs in memory, without sockets
///
/// A lane replays a conversation: its bytes are ready, and the replies are only counted. With
/// valgrind its instructions are counted by layer, which repeats to a few per mille on any machine.
#[derive(Args, Clone, Debug)]
pub(super) struct LanesArgs {
    /// Lanes, as globs: 'h2/*', 'tonic*/8', 'codec/json/*' [default: all]
    #[arg(value_name = "LANE")]
    lanes: Vec<String>,

    /// Counts the instructions of each layer, under valgrind
    #[arg(long)]
    instructions: bool,

    /// Compares the instructions with those in FILE; fails if a lane or a layer differs by over 2 %
    #[arg(long, value_name = "FILE", conflicts_with = "write")]
    check: Option<PathBuf>,

    /// Writes the lowest and the highest of five counts of instructions to FILE, for --check
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,

    /// Lanes that are counted at the same time [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,

    /// Spends STEPS of work in LAYER in each counted call of a protocol, to try --check
    #[arg(long, value_name = "LAYER:STEPS", hide = true)]
    plant: Option<PlantedSteps>,

    /// Only does the calls of the lanes, for a tool that counts
    #[arg(long, hide = true)]
    bare: bool,

    /// Reads the document of one lane of a run from stdin (-)
    #[arg(long, value_name = "-", hide = true, conflicts_with = "lanes")]
    spec: Option<String>,
}

impl LanesArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        if self.spec.is_some() {
            return Ok(on_own_stack(|| self.run_document())?);
        }
        let globs = self.globs().map_err(Failure::Usage)?;
        let is_wanted = |name: &str| globs.is_empty() || globs.is_match(name);
        let specs: Vec<Spec> =
            lane::specs().into_iter().filter(|spec| is_wanted(&spec.to_string())).collect();
        if specs.is_empty() {
            let all: Vec<String> = lane::specs().iter().map(Spec::to_string).collect();
            return Err(usage(format!(
                "no lane is called {}; the lanes are {}",
                self.lanes.join(", "),
                all.join(", ")
            )));
        }
        if self.bare {
            return Ok(on_own_stack(|| do_calls(&specs, self.delay()))?);
        }
        // A file that is missing should be known before minutes of counting.
        let expected =
            self.check.as_deref().map(read_counts).transpose().map_err(Failure::Usage)?;
        let is_gate = expected.is_some() || self.write.is_some();
        let mut measured = if is_gate { untimed(&specs) } else { on_own_stack(|| timed(&specs))? };
        if is_gate || self.instructions {
            self.count(&specs, &mut measured)?;
        }
        if let Some(file) = &self.write {
            let mut counts = Counts::of_lanes(&measured);
            for _ in 0..COUNTED_AGAIN {
                counts.widen(&self.count_again(&specs)?);
            }
            std::fs::write(file, counts.to_string())
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        match (expected, self.instructions) {
            (Some(expected), _) => {
                let counts = Counts::of_lanes(&measured);
                Ok(self.check(&specs, counts, &expected.filtered(is_wanted))?)
            }
            (None, true) => Ok(print(&(lanes::layers(&measured) + &lanes::list(&measured)))?),
            (None, false) if self.write.is_none() => Ok(print(&lanes::list(&measured))?),
            (None, false) => Ok(()),
        }
    }

    fn delay(&self) -> InjectedDelay {
        self.plant.map_or_else(InjectedDelay::default, PlantedSteps::delay)
    }

    fn globs(&self) -> anyhow::Result<GlobSet> {
        let mut globs = GlobSetBuilder::new();
        for lane in &self.lanes {
            globs.add(Glob::new(lane).with_context(|| format!("{lane} is no glob"))?);
        }
        Ok(globs.build()?)
    }

    fn count(&self, specs: &[Spec], measured: &mut [MeasuredLane]) -> anyhow::Result<()> {
        lane_children::check_valgrind()?;
        let names: Vec<String> = specs.iter().map(Spec::to_string).collect();
        let input = |name: &String| LaneInput::Usual { name: name.clone(), planted: self.plant };
        let inputs: Vec<LaneInput> = names.iter().map(input).collect();
        let jobs = self.jobs.map_or_else(cores, |jobs| jobs as usize);
        lane_children::count(&inputs, jobs, |index, instructions| {
            let instructions = instructions.with_context(|| names[index].clone())?;
            measured[index].instructions = Some(instructions);
            Ok(())
        })
    }

    fn count_again(&self, specs: &[Spec]) -> anyhow::Result<Counts> {
        let mut measured = untimed(specs);
        self.count(specs, &mut measured)?;
        Ok(Counts::of_lanes(&measured))
    }

    /// Fails if `counts` of these lanes differ from those `expected`. Lanes that do are counted
    /// again.
    fn check(&self, specs: &[Spec], mut counts: Counts, expected: &Counts) -> anyhow::Result<()> {
        let mut differences = counts.compare(expected);
        for _ in 0..COUNTED_AGAIN {
            let differs = |spec: &&Spec| differences.iter().any(|it| it.lane() == spec.to_string());
            let again: Vec<Spec> = specs.iter().filter(differs).cloned().collect();
            if again.is_empty() {
                break;
            }
            counts.approach(&self.count_again(&again)?, expected);
            differences = counts.compare(expected);
        }
        differences.iter().for_each(tell);
        ensure!(
            differences.is_empty(),
            "{} counts differ by over {:.0} % (allocator of others: {:.0} %) and {SLACK} instructions a call; if \
             that is meant, write the file anew with --write",
            differences.len(),
            TOLERANCE * 100.0,
            OTHERS_ALLOCATOR_TOLERANCE * 100.0
        );
        Ok(())
    }

    /// Runs the lane that stdin describes: its calls alone, or by the clock.
    fn run_document(&self) -> anyhow::Result<()> {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("stdin")?;
        let document: LaneDocument = serde_json::from_str(&text).context("stdin is no lane")?;
        document.core.map_or(Ok(()), affinity::pin).context("the lane cannot be pinned")?;
        let (spec, mut lane, delay) = prepare(&document)?;
        if self.bare {
            return Ok(lane::counted(&mut lane)?);
        }
        let timed = LaneTimed {
            in_flight: spec.in_flight(),
            counted_calls: spec.counted_calls(),
            ns: lane.time_ns(RUN_ROUNDS, RUN_ROUND_TIME)?,
            planted: delay.sum(),
            steps: delay.steps(),
        };
        print(&format!("{}\n", serde_json::to_string(&timed)?))
    }
}

/// Prepares the lane of a document, with its delay.
fn prepare(document: &LaneDocument) -> anyhow::Result<(Spec, Lane, InjectedDelay)> {
    let subject = &document.subject;
    let delay = match (subject.planted, document.steps) {
        (None, _) => InjectedDelay::default(),
        (Some(PlantedWork { layer, .. }), Some(steps)) => InjectedDelay::of_steps(steps, layer),
        (Some(PlantedWork { layer, ns }), None) => {
            InjectedDelay::new(Duration::from_nanos(ns), layer)
        }
    };
    let arrays = worker::arrays(&document.array, Body::from(subject.codec.encoding()))?;
    let array = arrays.first().context("the document has no array")?.view();
    let spec = Spec::of_run(subject.protocol, subject.codec, &array, subject.in_flight)?;
    Ok((spec, spec.prepare_with(&array, delay)?, delay))
}

/// Returns the number of cores of this process.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Does `work` on a thread of its own. The length of the environment decides where the stack of the
/// first thread begins, and copies take more or fewer steps by where they write.
fn on_own_stack<T: Send>(work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(work);
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Does the calls of each lane in the function that a tool counts.
fn do_calls(specs: &[Spec], delay: InjectedDelay) -> anyhow::Result<()> {
    for spec in specs {
        let mut lane = spec.prepare(delay).with_context(|| spec.to_string())?;
        lane::counted(&mut lane).with_context(|| spec.to_string())?;
    }
    Ok(())
}

fn untimed(specs: &[Spec]) -> Vec<MeasuredLane> {
    let lane = |spec: &Spec| MeasuredLane {
        name: spec.to_string(),
        calls: spec.counted_calls(),
        ..MeasuredLane::default()
    };
    specs.iter().map(lane).collect()
}

fn timed(specs: &[Spec]) -> anyhow::Result<Vec<MeasuredLane>> {
    let mut measured = untimed(specs);
    for (spec, lane) in specs.iter().zip(&mut measured) {
        let time = spec
            .prepare(InjectedDelay::default())
            .and_then(|mut lane| lane.time_ns(ROUNDS, ROUND_TIME));
        lane.time_ns = Some(time.with_context(|| spec.to_string())?);
    }
    Ok(measured)
}

fn read_counts(file: &Path) -> anyhow::Result<Counts> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{}: --write FILE makes it", file.display()))?;
    Counts::parse(&text).with_context(|| file.display().to_string())
}
