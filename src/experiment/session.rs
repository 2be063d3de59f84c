//! A session: the blocks of a run. Each block tries every cell once.
//!
//! A rung that does not echo arrays of every kind is not measured. Cells that are tried once are
//! spread over the blocks, since one disturbance of the machine would otherwise spoil all of them.
//!
//! This process starts children, waits and writes a line after each trial. A trial that fails is a
//! record like any other. A cell that ran out of time is not tried again. The [`Observer`] is
//! called between trials only, and may end the session between blocks, by the rule that
//! [`Blocks`](super::preset::Blocks) fixes beforehand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::load::conformance;
use crate::record::validity;
use crate::record::{Conformance, Line, Outcome, Trial, VERSION, Variant};

use super::cell::Cell;
use super::order;
use super::plan::Plan;
use super::preflight;
use super::records::Records;
use super::testbed::Testbed;
use super::trial::{TrialResult, TrialRunner};

#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    pub done: usize,
    pub total: usize,
    pub next: &'a Cell,
    pub round: u32,
}

pub trait Observer {
    fn trial_starts(&mut self, progress: Progress<'_>);

    /// Returns true if no further block is needed.
    fn is_enough(&mut self, trials: &[Trial]) -> bool;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub measured: usize,
    pub failed: usize,
    pub unfinished: usize,
    pub skipped: usize,
    pub blocks: u32,
    pub interrupted: bool,
}

struct Session<'a> {
    runner: TrialRunner<'a>,
    records: &'a mut Records,
    /// Completed trials, including those of the run that is resumed.
    trials: Vec<Trial>,
    /// Round and cell of the trials of the run that is resumed.
    earlier: BTreeSet<(u32, u32)>,
    /// Reasons not to try a cell.
    skip: Vec<Option<String>>,
    /// Conformance failure by rung and build; `None` for a rung that passed.
    conformance: BTreeMap<(String, Option<Variant>), Option<Outcome>>,
    totals: Totals,
}

/// Runs `plan`, apart from the trials in `earlier`, and appends each result to `records`.
pub fn run(
    testbed: &Testbed,
    plan: &Plan,
    records: &mut Records,
    earlier: Vec<Trial>,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> anyhow::Result<Totals> {
    preflight::check(testbed, plan)?;
    let mut session = Session::new(TrialRunner { testbed, plan, stop }, records, earlier);
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
            session.step(round, position, index, observer)?;
            if stop.load(Ordering::Relaxed) {
                return Ok(Totals { interrupted: true, ..session.totals });
            }
        }
        longest = longest.max(block_begun.elapsed());
        session.totals.blocks += 1;
        if round + 1 >= plan.blocks.min && observer.is_enough(&session.trials) {
            break;
        }
    }
    Ok(session.totals)
}

impl<'a> Session<'a> {
    fn new(runner: TrialRunner<'a>, records: &'a mut Records, trials: Vec<Trial>) -> Session<'a> {
        let plan = runner.plan;
        let mut skip: Vec<Option<String>> =
            plan.cells.iter().map(|cell| cell.skip.clone()).collect();
        let first = plan.first_cell as usize;
        let index = |trial: &Trial| (trial.cell as usize).checked_sub(first);
        let mut totals = Totals::default();
        for trial in &trials {
            totals.count(&trial.outcome);
            if let (Outcome::DidNotFinish { .. }, Some(reason)) =
                (&trial.outcome, index(trial).and_then(|index| skip.get_mut(index)))
            {
                reason.get_or_insert_with(|| out_of_time(trial.round));
            }
        }
        let earlier = trials.iter().map(|trial| (trial.round, trial.cell)).collect();
        let conformance = BTreeMap::new();
        Session { runner, records, trials, earlier, skip, conformance, totals }
    }

    fn step(
        &mut self,
        round: u32,
        position: u32,
        index: usize,
        observer: &mut dyn Observer,
    ) -> anyhow::Result<()> {
        let plan = self.runner.plan;
        let number = plan.first_cell + index as u32;
        if self.earlier.contains(&(round, number)) {
            return Ok(());
        }
        let cell = &plan.cells[index];
        let (done, total) = (position as usize, plan.cells.len());
        observer.trial_starts(Progress { done, total, next: cell, round });
        let environment_bytes = order::environment_bytes(plan.seed, round, index);
        let result = match &self.skip[index] {
            Some(reason) => Outcome::Skipped { reason: reason.clone() }.into(),
            None => match self.nonconformance(cell)? {
                Some(outcome) => outcome.into(),
                None => self.runner.run(cell, environment_bytes),
            },
        };
        if self.runner.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.totals.count(&result.outcome);
        if result.ran_out_of_time {
            self.skip[index] = Some(out_of_time(round));
        }
        let place = Place { cell: number, round, position, environment_bytes };
        let mut trial = trial(cell, place, result);
        let is_shared = self.runner.testbed.shares_core();
        if trial.counts.is_none() {
            trial.discarded = validity::objection(&trial, is_shared);
        }
        let line = Line::Trial(Box::new(trial));
        self.records.append(&line)?;
        if let Line::Trial(trial) = line {
            self.trials.push(*trial);
        }
        Ok(())
    }
}

impl Session<'_> {
    /// Returns the conformance failure of the rung of `cell`, which is checked on first use.
    fn nonconformance(&mut self, cell: &Cell) -> anyhow::Result<Option<Outcome>> {
        let build = match cell.variant {
            Variant::Null => return Ok(None),
            Variant::Usual | Variant::Twin | Variant::Delayed { .. } => None,
            Variant::Build { .. } => Some(cell.variant),
        };
        let key = (cell.rung.to_string(), build);
        if let Some(known) = self.conformance.get(&key) {
            return Ok(known.clone());
        }
        let outcome = self.runner.check_conformance(cell);
        if self.runner.stop.load(Ordering::Relaxed) {
            return Ok(outcome);
        }
        let seed = self.runner.plan.seed;
        let checked = Conformance {
            version: VERSION,
            rung: key.0.clone(),
            build,
            seed,
            arrays: conformance::ARRAYS as u32,
            left_out: cell.rung.left_out().to_owned(),
            failure: outcome.clone(),
        };
        self.records.append(&Line::Conformance(Box::new(checked)))?;
        self.conformance.insert(key, outcome.clone());
        Ok(outcome)
    }
}

fn out_of_time(round: u32) -> String {
    format!("did not finish in round {}", round + 1)
}

impl Totals {
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

fn trial(cell: &Cell, place: Place, result: TrialResult) -> Trial {
    Trial {
        version: VERSION,
        cell: place.cell,
        rung: cell.rung.to_string(),
        parent: cell.parent.map(|rung| rung.to_string()),
        reference: cell.reference.map(|rung| rung.to_string()),
        null: cell.null.map(|rung| rung.to_string()),
        variant: cell.variant,
        original: cell.rung.original().map(str::to_owned),
        array: cell.array.clone(),
        connections: cell.concurrency.connections,
        in_flight: cell.concurrency.in_flight,
        in_flight_wanted: cell.in_flight_wanted,
        offered_hz: cell.offered_hz,
        round: place.round,
        position: place.position,
        environment_bytes: place.environment_bytes,
        spec: result.spec,
        outcome: result.outcome,
        server: result.server,
        disturbance: result.machine.disturbance,
        sched_stats: result.machine.sched_stats,
        reference_work_ns: result.machine.reference_work_ns,
        counts: result.counts,
        discarded: None,
    }
}
