//! A session: the blocks of a run. Each block launches every group once, in a random order.
//!
//! A rung that does not echo arrays of every kind is not measured. Cells that are tried once are
//! spread over the blocks, since one disturbance of the machine would otherwise spoil all of them.
//!
//! This process starts children, waits and writes a line for each cell after a launch. A trial that
//! fails is a record like any other. A cell that ran out of time is not tried again. The
//! [`Observer`] is called between launches only. It may end the session between blocks, by the rule
//! that [`Blocks`](super::preset::Blocks) fixes beforehand; a group whose figures are known well
//! enough is left out while others are not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::axis::Coding;
use crate::load::conformance;
use crate::probe::memory;
use crate::probe::profile::Stacks;
use crate::record::validity;
use crate::record::{Client, Conformance, Line, Outcome, Trial, TrialStacks, VERSION, Variant};

use super::cell::Cell;
use super::group::{self, Group};
use super::pace::{Pace, Rest};
use super::plan::Plan;
use super::records::Records;
use super::testbed::Testbed;
use super::trial::{TrialResult, TrialRunner};
use super::{launch, order};

/// Position of a run between two launches.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub round: u32,
    /// Cells of the block that were tried.
    pub done: usize,
    /// Cells that are due in the block.
    pub total: usize,
    /// `None` before the first launch has ended.
    pub rest: Option<Rest>,
}

#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    pub place: Place,
    pub next: &'a Cell,
    /// Cells that the launch measures together with the next one.
    pub others: usize,
}

pub trait Observer {
    fn launch_starts(&mut self, progress: Progress<'_>);

    /// Takes the completed trials after a block with at least one launch. `place` is its end.
    fn block_ends(&mut self, place: Place, trials: &[Trial]);

    /// Returns true if the figures of `trials` need no further block.
    fn is_enough(&mut self, trials: &[Trial]) -> bool;

    /// Returns rungs that later blocks leave out, each with the reason. It is asked once, after the
    /// first block.
    fn leave_out(&mut self) -> Vec<(String, String)> {
        Vec::new()
    }
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
    begun: Instant,
    runner: TrialRunner<'a>,
    records: &'a mut Records,
    /// Completed trials, including those of the run that is resumed.
    trials: Vec<Trial>,
    groups: Vec<Group>,
    /// Groups whose figures are known well enough, while others are not.
    is_known: Vec<bool>,
    pace: Pace,
    /// Round, cell, part and client of the trials of the run that is resumed.
    earlier: BTreeSet<(u32, u32, u32, Client)>,
    /// First round in which a cell did not finish, by its index and client.
    late: BTreeMap<(usize, Client), u32>,
    /// Reasons why cells are tried in the first block only, by index of the cell.
    left_out: BTreeMap<usize, String>,
    /// Conformance failure by rung, build and coding; `None` for a rung that passed.
    conformance: BTreeMap<(String, Option<Variant>, Coding), Option<Outcome>>,
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
    let mut session = Session::new(TrialRunner { testbed, plan, stop }, records, earlier);
    let begun = session.begun;
    // The first block is longer, since it checks the rungs first.
    let mut last = Duration::ZERO;
    let launches = session.groups.len();
    for (round, order) in (0..).zip(order::rounds(launches, plan.blocks.max, plan.seed)) {
        let block_begun = Instant::now();
        let is_late = |time| round > 0 && begun.elapsed() + last > time;
        if plan.blocks.time.is_some_and(is_late) {
            break;
        }
        let groups = session.groups.len();
        let is_due = |index: &usize| *index < groups && session.is_due(*index, round);
        let due: Vec<usize> = order.into_iter().filter(is_due).collect();
        for started in 0..due.len() {
            let place = session.place(round, begun.elapsed(), &due, started);
            session.step(place, due[started], observer)?;
            if stop.load(Ordering::Relaxed) {
                return Ok(Totals { interrupted: true, ..session.totals });
            }
        }
        last = block_begun.elapsed();
        session.totals.blocks += 1;
        if !due.is_empty() {
            let place = session.place(round, begun.elapsed(), &due, due.len());
            observer.block_ends(place, &session.trials);
            if round == 0 {
                last = last.mul_f64(session.leave_out(observer.leave_out()));
            }
        }
        if round + 1 >= plan.blocks.min {
            if observer.is_enough(&session.trials) {
                break;
            }
            session.leave_out_known(observer);
        }
    }
    Ok(session.totals)
}

impl<'a> Session<'a> {
    fn new(runner: TrialRunner<'a>, records: &'a mut Records, trials: Vec<Trial>) -> Session<'a> {
        let plan = runner.plan;
        let mut late = BTreeMap::new();
        let mut totals = Totals::default();
        for trial in &trials {
            totals.count(&trial.outcome);
            let index = trial.cell.checked_sub(plan.first_cell);
            if let (Outcome::DidNotFinish { .. }, Some(index)) = (&trial.outcome, index) {
                late.entry((index as usize, trial.client)).or_insert(trial.round);
            }
        }
        let key = |trial: &Trial| (trial.round, trial.cell, trial.part, trial.client);
        let earlier = trials.iter().map(key).collect();
        let groups = group::groups(plan, memory::available_bytes());
        Session {
            begun: Instant::now(),
            runner,
            records,
            trials,
            is_known: vec![false; groups.len()],
            pace: Pace::new(groups.iter().map(|group| group.cells.len()).collect()),
            groups,
            earlier,
            late,
            left_out: BTreeMap::new(),
            conformance: BTreeMap::new(),
            totals,
        }
    }

    /// Returns whether a group has cells to try in a round.
    fn is_due(&self, index: usize, round: u32) -> bool {
        let plan = self.runner.plan;
        let cell = self.groups[index].cells[0];
        let is_its_block =
            !plan.cells[cell].is_once || cell as u32 % plan.blocks.min.max(1) == round;
        is_its_block && !self.is_known[index] && !self.new_cells(index, round).is_empty()
    }

    /// Returns the cells of a group that have no trial in the round yet, with the clients that have
    /// not tried them.
    fn new_cells(&self, index: usize, round: u32) -> Vec<(usize, Vec<Client>)> {
        let Group { cells, part, .. } = &self.groups[index];
        let plan = self.runner.plan;
        let new_clients = |cell: &usize| {
            let key = |client| (round, plan.first_cell + *cell as u32, *part, client);
            let clients = plan.clients_of(&plan.cells[*cell]).iter().copied();
            (*cell, clients.filter(|client| !self.earlier.contains(&key(*client))).collect())
        };
        let cells = cells.iter().map(new_clients);
        cells.filter(|(_, clients): &(usize, Vec<Client>)| !clients.is_empty()).collect()
    }

    /// Returns the position before launch number `started` of the block whose groups are `due`.
    fn place(&self, round: u32, elapsed: Duration, due: &[usize], started: usize) -> Place {
        let (launched, waiting) = due.split_at(started);
        let cells = |groups: &[usize]| -> usize {
            groups.iter().map(|index| self.new_cells(*index, round).len()).sum()
        };
        let later =
            |round| (0..self.groups.len()).filter(|index| self.is_due(*index, round)).collect();
        let rest = self.pace.rest(self.runner.plan.blocks, round, elapsed, waiting, later);
        Place { round, done: cells(launched), total: cells(due), rest }
    }

    /// Launches the cells of a group that have no trial in this round yet.
    fn step(
        &mut self,
        place: Place,
        index: usize,
        observer: &mut dyn Observer,
    ) -> anyhow::Result<()> {
        let plan = self.runner.plan;
        let round = place.round;
        let group = self.groups[index].clone();
        let number = |index: usize| plan.first_cell + index as u32;
        let mut cells = self.new_cells(index, round);
        let Some(&(first, _)) = cells.first() else { return Ok(()) };
        order::mix_starts(&mut cells, plan.seed, round, first);
        let others = cells.len() - 1;
        observer.launch_starts(Progress { place, next: &plan.cells[first], others });
        let mut results = Vec::new();
        let mut entries = Vec::new();
        for (position, (index, clients)) in (0..).zip(cells) {
            let environment_bytes = order::environment_bytes(plan.seed, round, index);
            let (cell, part) = (number(index), group.part);
            let place =
                |client| TrialPlace { cell, client, round, part, position, environment_bytes };
            let mut able = Vec::new();
            for client in clients {
                match self.obstacle(index, client)? {
                    Some(outcome) => results.push((index, place(client), outcome.into())),
                    None => able.push(client),
                }
            }
            if !able.is_empty() {
                let places = able.iter().map(|client| (index, place(*client))).collect();
                let cell = &plan.cells[index];
                let entry = launch::Entry { cell, clients: able, environment_bytes };
                entries.push((places, entry));
            }
            if self.runner.is_stopped() {
                return Ok(());
            }
        }
        // The checks of the rungs above belong to the first block only.
        let begun = Instant::now();
        results.extend(self.launch(&group, entries, order::visits_seed(plan.seed, round, first)));
        self.pace.record(index, begun.elapsed());
        if self.runner.is_stopped() {
            return Ok(());
        }
        results.sort_by_key(|(index, ..)| *index);
        results.into_iter().try_for_each(|(index, place, result)| self.record(index, place, result))
    }

    fn launch(
        &self,
        group: &Group,
        entries: Vec<(Vec<(usize, TrialPlace)>, launch::Entry<'_>)>,
        seed: u64,
    ) -> Vec<(usize, TrialPlace, TrialResult)> {
        let (places, entries): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        let results = if group.is_sliced {
            launch::run(&self.runner, &entries, seed)
        } else {
            let run = |entry: &launch::Entry<'_>| {
                vec![self.runner.run(entry.cell, entry.environment_bytes)]
            };
            entries.iter().map(run).collect()
        };
        let all = places.into_iter().flatten().zip(results.into_iter().flatten());
        all.map(|((index, place), result)| (index, place, result)).collect()
    }

    fn record(
        &mut self,
        index: usize,
        place: TrialPlace,
        result: TrialResult,
    ) -> anyhow::Result<()> {
        self.totals.count(&result.outcome);
        if result.ran_out_of_time {
            self.late.entry((index, place.client)).or_insert(place.round);
        }
        let mut trial = trial(&self.runner.plan.cells[index], place, result);
        trial.ended_ns = u64::try_from(self.begun.elapsed().as_nanos()).ok();
        let is_shared = self.runner.testbed.shares_core();
        if trial.counts.is_none() {
            trial.discarded = validity::objection(&trial, is_shared);
        }
        if let Some(stacks) = TrialStacks::of_trial(&trial) {
            self.records.append_stacks(&stacks)?;
        }
        if let Some(profile) = &mut trial.profile {
            // They are not needed any more.
            profile.stacks = Stacks::default();
        }
        let line = Line::Trial(Box::new(trial));
        self.records.append(&line)?;
        if let Line::Trial(trial) = line {
            self.trials.push(*trial);
        }
        Ok(())
    }

    /// Leaves the usual cells of these rungs out of later blocks, and groups the others again:
    /// more of them fit into memory together. Returns the share of the cells that goes on.
    fn leave_out(&mut self, rungs: Vec<(String, String)>) -> f64 {
        let cells = &self.runner.plan.cells;
        for (index, cell) in cells.iter().enumerate() {
            let is_it = |(rung, _): &&(String, String)| cell.rung.is_named(rung);
            let found = rungs.iter().find(is_it).filter(|_| cell.variant == Variant::Usual);
            if let Some((_, reason)) = found {
                self.left_out.insert(index, reason.clone());
            }
        }
        if !self.left_out.is_empty() {
            let is_left_out = |index| self.left_out.contains_key(&index);
            self.groups =
                group::groups_without(self.runner.plan, memory::available_bytes(), &is_left_out);
            self.is_known = vec![false; self.groups.len()];
            self.pace = Pace::new(self.groups.iter().map(|group| group.cells.len()).collect());
        }
        let tried = cells.iter().filter(|cell| cell.skip.is_none()).count().max(1);
        1.0 - self.left_out.len().min(tried) as f64 / tried as f64
    }

    /// Marks the groups that are known well enough. Each group may be known by itself before all of
    /// them are known together; then none is left out.
    fn leave_out_known(&mut self, observer: &mut dyn Observer) {
        self.is_known = self.groups.iter().map(|group| self.is_known(group, observer)).collect();
        if self.is_known.iter().all(|known| *known) {
            self.is_known.fill(false);
        }
    }

    /// Returns whether the group's figures by themselves are known well enough.
    fn is_known(&self, group: &Group, observer: &mut dyn Observer) -> bool {
        let first_cell = self.runner.plan.first_cell;
        let is_member = |trial: &&Trial| {
            let index = trial.cell.checked_sub(first_cell);
            index.is_some_and(|index| group.cells.contains(&(index as usize)))
        };
        let trials: Vec<Trial> = self.trials.iter().filter(is_member).cloned().collect();
        group.is_sliced && observer.is_enough(&trials)
    }

    /// Returns the outcome of a cell that cannot be measured with `client`.
    fn obstacle(&mut self, index: usize, client: Client) -> anyhow::Result<Option<Outcome>> {
        let cell = &self.runner.plan.cells[index];
        let late = self.late.get(&(index, client));
        let late = late.map(|round| format!("did not finish in round {}", round + 1));
        let left_out = || self.left_out.get(&index).cloned();
        match cell.obstacle(client).or(late).or_else(left_out) {
            Some(reason) => Ok(Some(Outcome::Skipped { reason })),
            None => self.nonconformance(cell),
        }
    }
}

impl Session<'_> {
    /// Returns the conformance failure of the rung of `cell`, which is checked on first use.
    fn nonconformance(&mut self, cell: &Cell) -> anyhow::Result<Option<Outcome>> {
        let build = match cell.variant {
            Variant::Null => return Ok(None),
            Variant::Usual
            | Variant::Twin
            | Variant::Delayed { .. }
            | Variant::Planted { .. }
            | Variant::Profiled => None,
            Variant::Build { .. } => Some(cell.variant),
        };
        let key = (cell.rung.to_string(), build, cell.coding);
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
            coding: cell.coding,
            seed,
            arrays: conformance::ARRAYS as u32,
            left_out: cell.rung.left_out(),
            failure: outcome.clone(),
        };
        self.records.append(&Line::Conformance(Box::new(checked)))?;
        self.conformance.insert(key, outcome.clone());
        Ok(outcome)
    }
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

struct TrialPlace {
    cell: u32,
    client: Client,
    round: u32,
    part: u32,
    position: u32,
    environment_bytes: u32,
}

fn trial(cell: &Cell, place: TrialPlace, result: TrialResult) -> Trial {
    let (socket, socket_failure) = match result.socket {
        Some(Ok(socket)) => (Some(socket), None),
        Some(Err(reason)) => (None, Some(reason)),
        None => (None, None),
    };
    Trial {
        version: VERSION,
        cell: place.cell,
        rung: cell.rung.to_string(),
        parent: cell.parent.map(|rung| rung.to_string()),
        reference: cell.reference.map(|rung| rung.to_string()),
        null: cell.null.map(|rung| rung.to_string()),
        variant: cell.variant,
        client: place.client,
        original: cell.rung.original().map(str::to_owned),
        array: cell.array.clone(),
        coding: cell.coding,
        connections: cell.concurrency.connections,
        in_flight: cell.concurrency.in_flight,
        in_flight_wanted: cell.in_flight_wanted,
        offered_hz: cell.offered_hz,
        round: place.round,
        part: place.part,
        position: place.position,
        environment_bytes: place.environment_bytes,
        spec: result.spec,
        outcome: result.outcome,
        server: result.server,
        socket,
        socket_failure,
        disturbance: result.machine.disturbance,
        sched_stats: result.machine.sched_stats,
        reference_work_ns: result.machine.reference_work_ns,
        ended_ns: None,
        counts: result.counts,
        profile: result.profile,
        discarded: None,
    }
}
