//! A run: every round tries every cell once, each with fresh processes, and each result is written as it ends.
//!
//! Nothing here is measured in this process and nothing is reported: it starts children, waits and writes lines. A
//! trial that fails is a record like any other and the run goes on; a cell that ran out of its time is not tried
//! again. Between trials, and only then, the caller is told how far it is.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::record::{Line, Outcome, Trial, VERSION};

use super::cell::Cell;
use super::client::PythonClient;
use super::order;
use super::peers::environment::Environments;
use super::plan::Plan;
use super::trial::{Attempt, Trials};

/// The file of records in a run's folder.
pub const RECORDS: &str = "records.jsonl";

/// Where and with what a plan is run.
#[derive(Debug)]
pub struct Bench {
    /// This program, to be started as server and as load generator.
    pub program: PathBuf,
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

/// How far a run is, told between trials.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Trials done.
    pub done: usize,
    /// Trials in all.
    pub total: usize,
    /// What comes next.
    pub next: &'a Cell,
    /// Round of what comes next, from 0.
    pub round: u32,
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
    /// True when the run was stopped before its end.
    pub interrupted: bool,
}

/// Runs `plan`; `header` opens the file of records, `tell` hears before each trial.
pub fn run(
    bench: &Bench,
    plan: &Plan,
    header: Line,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Step<'_>),
) -> anyhow::Result<Tally> {
    let mut records = Records::create(&bench.out)?;
    records.append(&header)?;
    let trials = Trials { bench, plan, stop };
    let mut hopeless: Vec<Option<String>> =
        plan.cells.iter().map(|cell| cell.skip.clone()).collect();
    let mut tally = Tally::default();
    let total = plan.cells.len() * plan.rounds as usize;
    for (round, order) in (0..).zip(order::rounds(plan.cells.len(), plan.rounds, plan.seed)) {
        for (position, index) in order.into_iter().enumerate() {
            let cell = &plan.cells[index];
            tell(Step { done: tally.trials(), total, next: cell, round });
            let result = match &hopeless[index] {
                Some(reason) => Outcome::Skipped { reason: reason.clone() }.into(),
                None => trials.attempt(cell),
            };
            if stop.load(Ordering::Relaxed) {
                return Ok(Tally { interrupted: true, ..tally });
            }
            tally.count(&result.outcome);
            if result.is_hopeless {
                hopeless[index] = Some(format!("did not finish in round {}", round + 1));
            }
            let place = Place { cell: index as u32, round, position: position as u32 };
            records.append(&trial(cell, place, result))?;
        }
    }
    Ok(tally)
}

impl Tally {
    fn trials(&self) -> usize {
        self.measured + self.failed + self.unfinished + self.skipped
    }

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
}

fn trial(cell: &Cell, place: Place, attempt: Attempt) -> Line {
    Line::Trial(Box::new(Trial {
        version: VERSION,
        cell: place.cell,
        rung: cell.subject.to_string(),
        parent: cell.parent.map(|rung| rung.to_string()),
        reference: cell.reference.map(|rung| rung.to_string()),
        original: cell.subject.original().map(str::to_owned),
        array: cell.array.clone(),
        connections: cell.load.connections,
        in_flight: cell.load.in_flight,
        in_flight_wanted: cell.in_flight_wanted,
        round: place.round,
        position: place.position,
        outcome: attempt.outcome,
        server: attempt.server,
        disturbance: attempt.disturbance,
    }))
}

/// The growing file of a run.
struct Records {
    file: File,
    path: PathBuf,
}

impl Records {
    /// A new file in `folder`; a file that is there already is an error, records are not overwritten.
    fn create(folder: &Path) -> anyhow::Result<Records> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let path = folder.join(RECORDS);
        let file =
            File::create_new(&path).with_context(|| format!("cannot begin {}", path.display()))?;
        Ok(Records { file, path })
    }

    fn append(&mut self, line: &Line) -> anyhow::Result<()> {
        let mut text = serde_json::to_string(line).expect("a record is plain data");
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .with_context(|| format!("cannot write to {}", self.path.display()))
    }
}
