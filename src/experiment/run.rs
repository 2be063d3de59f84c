//! A run: every block tries every cell once, each with fresh processes, and each result is written as it ends.
//!
//! Before a rung is tried for the first time it answers arrays of every kind; one that does not is not measured. Cells
//! that are tried once are spread over the blocks, since what disturbs the machine for a while would spoil all of them.
//!
//! Nothing here is measured in this process and nothing is reported: it starts children, waits and writes lines. A
//! trial that fails is a record like any other and the run goes on; a cell that ran out of its time is not tried
//! again. Between trials, and only then, the caller is told how far it is; between blocks it may say that it knows
//! enough. The rule is fixed before the first block: [`Blocks`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::record::validity;
use crate::record::{Conformance, Line, Outcome, Trial, VERSION, Variant};

use super::cell::Cell;
use super::client::PythonClient;
use super::order;
use super::plan::Plan;
use super::records::Records;
use super::trial::{Attempt, Trials};
use crate::external::environment::Environments;

/// Where and with what a plan is run.
#[derive(Debug)]
pub struct Bench {
    /// This program, to be started as server and as load generator.
    pub program: PathBuf,
    /// Builds that are compared with each other: the old ones, and the new ones.
    pub builds: [Vec<PathBuf>; 2],
    /// Core of every server.
    pub cpu_server: usize,
    /// Core of the load generator.
    pub cpu_client: usize,
    /// Folder for the records; made if it is not there.
    pub out: PathBuf,
    /// What the peers of the plan need to be started.
    pub environments: Environments,
    /// Loads the servers instead of our own load generator.
    pub python: Option<PythonClient>,
}

impl Bench {
    /// How long the load generator of `plan` stays awake here: on a core of both it would keep the server off it.
    pub fn busy_poll(&self, plan: &Plan) -> Duration {
        let shares_core = self.cpu_server == self.cpu_client;
        if shares_core { Duration::ZERO } else { plan.knobs.busy_poll }
    }
}

/// How many blocks a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Tried in any case, if there is the time.
    pub min: u32,
    /// At most; from `min` on, fewer once the caller knows enough.
    pub max: u32,
    /// No block is begun that would, as long as the longest so far, end after this time.
    pub time: Option<Duration>,
}

/// How far a run is, told between trials.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Trials done in this block.
    pub done: usize,
    /// Trials of a block.
    pub total: usize,
    /// What comes next.
    pub next: &'a Cell,
    /// Block of what comes next, from 0.
    pub round: u32,
}

/// Who is told.
pub trait Watch {
    /// What comes next.
    fn next(&mut self, step: Step<'_>);

    /// A block has ended; `trials` are all so far. True when no further one is needed.
    fn is_enough(&mut self, trials: &[Trial]) -> bool;
}

/// What came of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Trials measured.
    pub measured: usize,
    /// Trials that failed.
    pub failed: usize,
    /// Trials that did not finish in their time.
    pub unfinished: usize,
    /// Trials not made.
    pub skipped: usize,
    /// Blocks that were tried whole.
    pub blocks: u32,
    /// True when the run was stopped before its end.
    pub interrupted: bool,
}

/// A run that is under way.
struct Going<'a> {
    trials: Trials<'a>,
    records: &'a mut Records,
    /// All so far, those of an earlier start too.
    made: Vec<Trial>,
    /// Round and cell of those of an earlier start.
    earlier: BTreeSet<(u32, u32)>,
    /// Why a cell is not tried.
    hopeless: Vec<Option<String>>,
    /// What came of the first questions to a rung, or to a build of it.
    conformance: BTreeMap<(String, Option<Variant>), Option<Outcome>>,
    tally: Tally,
}

/// Runs `plan`, without the trials that `earlier` holds, and writes what comes of it to `records`.
pub fn run(
    bench: &Bench,
    plan: &Plan,
    records: &mut Records,
    earlier: Vec<Trial>,
    stop: &AtomicBool,
    watch: &mut dyn Watch,
) -> anyhow::Result<Tally> {
    let mut going = Going::new(Trials { bench, plan, stop }, records, earlier);
    let begun = Instant::now();
    let mut longest = Duration::ZERO;
    for (round, order) in (0..).zip(order::rounds(plan.cells.len(), plan.blocks.max, plan.seed)) {
        let block_begun = Instant::now();
        let is_late = |time| round > 0 && begun.elapsed() + longest > time;
        if plan.blocks.time.is_some_and(is_late) {
            break;
        }
        let is_due = |index: &usize| {
            !plan.cells[*index].is_once || *index as u32 % plan.blocks.min.max(1) == round
        };
        for (position, index) in (0..).zip(order.into_iter().filter(is_due)) {
            if going.trials.stop.load(Ordering::Relaxed) {
                return Ok(Tally { interrupted: true, ..going.tally });
            }
            going.step(round, position, index, watch)?;
        }
        if going.trials.stop.load(Ordering::Relaxed) {
            return Ok(Tally { interrupted: true, ..going.tally });
        }
        longest = longest.max(block_begun.elapsed());
        going.tally.blocks += 1;
        if round + 1 >= plan.blocks.min && watch.is_enough(&going.made) {
            break;
        }
    }
    Ok(going.tally)
}

impl<'a> Going<'a> {
    fn new(trials: Trials<'a>, records: &'a mut Records, made: Vec<Trial>) -> Going<'a> {
        let cells = &trials.plan.cells;
        let mut hopeless: Vec<Option<String>> =
            cells.iter().map(|cell| cell.skip.clone()).collect();
        let first = trials.plan.first_cell as usize;
        let at = |trial: &Trial| (trial.cell as usize).checked_sub(first);
        let mut tally = Tally::default();
        for trial in &made {
            tally.count(&trial.outcome);
            if let (Outcome::DidNotFinish { .. }, Some(reason)) =
                (&trial.outcome, at(trial).and_then(|at| hopeless.get_mut(at)))
            {
                reason.get_or_insert_with(|| out_of_time(trial.round));
            }
        }
        let earlier = made.iter().map(|trial| (trial.round, trial.cell)).collect();
        let conformance = BTreeMap::new();
        Going { trials, records, made, earlier, hopeless, conformance, tally }
    }

    fn step(
        &mut self,
        round: u32,
        position: u32,
        index: usize,
        watch: &mut dyn Watch,
    ) -> anyhow::Result<()> {
        let plan = self.trials.plan;
        let number = plan.first_cell + index as u32;
        if self.earlier.contains(&(round, number)) {
            return Ok(());
        }
        let cell = &plan.cells[index];
        let (done, total) = (position as usize, plan.cells.len());
        watch.next(Step { done, total, next: cell, round });
        let environment_bytes = order::environment_bytes(plan.seed, round, index);
        let attempt = match &self.hopeless[index] {
            Some(reason) => Outcome::Skipped { reason: reason.clone() }.into(),
            None => match self.misfit(cell)? {
                Some(outcome) => outcome.into(),
                None => self.trials.attempt(cell, environment_bytes),
            },
        };
        if self.trials.stop.load(Ordering::Relaxed) {
            // It was ended with this run, and says nothing.
            return Ok(());
        }
        self.tally.count(&attempt.outcome);
        if attempt.is_hopeless {
            self.hopeless[index] = Some(out_of_time(round));
        }
        let place = Place { cell: number, round, position, environment_bytes };
        let mut trial = trial(cell, place, attempt);
        let bench = self.trials.bench;
        if trial.counts.is_none() {
            trial.discarded = validity::objection(&trial, bench.cpu_server == bench.cpu_client);
        }
        let line = Line::Trial(Box::new(trial));
        self.records.append(&line)?;
        if let Line::Trial(trial) = line {
            self.made.push(*trial);
        }
        Ok(())
    }
}

impl Going<'_> {
    /// How the rung of `cell` failed the questions that it is asked before anything else, if it did.
    fn misfit(&mut self, cell: &Cell) -> anyhow::Result<Option<Outcome>> {
        let build = match cell.variant {
            Variant::Null => return Ok(None),
            Variant::Usual | Variant::Twin | Variant::Delayed { .. } => None,
            Variant::Build { .. } => Some(cell.variant),
        };
        let key = (cell.subject.to_string(), build);
        if let Some(known) = self.conformance.get(&key) {
            return Ok(known.clone());
        }
        let outcome = self.trials.conform(cell);
        if self.trials.stop.load(Ordering::Relaxed) {
            return Ok(outcome);
        }
        let seed = self.trials.plan.seed;
        let conformance = Conformance {
            version: VERSION,
            rung: key.0.clone(),
            build,
            seed,
            failure: outcome.clone(),
        };
        self.records.append(&Line::Conformance(Box::new(conformance)))?;
        self.conformance.insert(key, outcome.clone());
        Ok(outcome)
    }
}

fn out_of_time(round: u32) -> String {
    format!("did not finish in round {}", round + 1)
}

impl Tally {
    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Measured(_) => self.measured += 1,
            Outcome::Failed { .. } => self.failed += 1,
            Outcome::DidNotFinish { .. } => self.unfinished += 1,
            Outcome::Skipped { .. } => self.skipped += 1,
        }
    }
}

struct Place {
    cell: u32,
    round: u32,
    position: u32,
    environment_bytes: u32,
}

fn trial(cell: &Cell, place: Place, attempt: Attempt) -> Trial {
    Trial {
        version: VERSION,
        cell: place.cell,
        rung: cell.subject.to_string(),
        parent: cell.parent.map(|rung| rung.to_string()),
        reference: cell.reference.map(|rung| rung.to_string()),
        null: cell.null.map(|rung| rung.to_string()),
        variant: cell.variant,
        original: cell.subject.original().map(str::to_owned),
        array: cell.array.clone(),
        connections: cell.load.connections,
        in_flight: cell.load.in_flight,
        in_flight_wanted: cell.in_flight_wanted,
        offered_hz: cell.offered_hz,
        round: place.round,
        position: place.position,
        environment_bytes: place.environment_bytes,
        spec: attempt.spec,
        outcome: attempt.outcome,
        server: attempt.server,
        disturbance: attempt.disturbance,
        sched_stats: attempt.sched_stats,
        reference_work_ns: attempt.reference_work_ns,
        counts: attempt.counts,
        discarded: None,
    }
}
