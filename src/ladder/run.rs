//! A run: every round tries every cell once, each with fresh processes, and each result is written as it ends.
//!
//! Nothing here is measured in this process and nothing is reported: it starts children, waits and writes lines. A
//! trial that fails is a record like any other and the run goes on; a cell that did not finish in its time is not
//! tried again. Between trials, and only then, the caller is told how far it is.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::protocol::Family;
use crate::record::{Disturbance, Line, Measurement, Outcome, ServerReport, Trial, VERSION};
use crate::sys::host::Account;

use super::cell::{Cell, Window};
use super::order;
use super::plan::Plan;
use super::process::{self, ChildError, Failure, Server};

/// The file of records in a run's folder.
pub const RECORDS: &str = "records.jsonl";

/// Largest message a server is told to accept, as a multiple of the array: a JSON list of int8 takes six bytes an
/// item, float64 up to 25 for 8.
const MESSAGE_PER_ARRAY: u64 = 8;

/// Largest message a server is told to accept at least; it is the servers' own default.
const MESSAGE_BYTES_MIN: u64 = 192 << 20;

/// Where and with what a plan is run.
#[derive(Clone, Debug)]
pub struct Bench {
    /// This program, to be started as server and as load generator.
    pub program: PathBuf,
    /// Core of every server.
    pub cpu_server: usize,
    /// Core of the load generator.
    pub cpu_client: usize,
    /// Folder for the records; made if it is not there.
    pub out: PathBuf,
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

struct Trials<'a> {
    bench: &'a Bench,
    plan: &'a Plan,
    stop: &'a AtomicBool,
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
            if let Outcome::DidNotFinish { .. } = result.outcome {
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

/// What came of one trial, with what is known beside.
struct Attempt {
    outcome: Outcome,
    server: Option<ServerReport>,
    disturbance: Option<Disturbance>,
}

impl From<Outcome> for Attempt {
    fn from(outcome: Outcome) -> Attempt {
        Attempt { outcome, server: None, disturbance: None }
    }
}

fn trial(cell: &Cell, place: Place, attempt: Attempt) -> Line {
    Line::Trial(Box::new(Trial {
        version: VERSION,
        cell: place.cell,
        rung: cell.rung.to_string(),
        parent: cell.parent.map(|rung| rung.to_string()),
        reference: cell.reference.map(|rung| rung.to_string()),
        array: cell.array.clone(),
        connections: cell.load.connections,
        in_flight: cell.load.in_flight,
        round: place.round,
        position: place.position,
        outcome: attempt.outcome,
        server: attempt.server,
        disturbance: attempt.disturbance,
    }))
}

impl Trials<'_> {
    /// One trial, start to end.
    fn attempt(&self, cell: &Cell) -> Attempt {
        let report = self.bench.out.join("server-report.json");
        let server = match Server::start(&mut self.serve(cell, &report), self.stop) {
            Ok(server) => server,
            Err(failure) => return failed(failure).into(),
        };
        let load = &mut self.load(cell, &server);
        let account = Account::open();
        let answer = process::ask("load generator", load, self.plan.budget, self.stop);
        let disturbance = account.and_then(Account::close);
        let measured = match answer.and_then(|line| measurement(&line)) {
            Ok(measured) => measured,
            Err(failure) => return self.abandoned(server, failure).into(),
        };
        if let Err(failure) = server.stop() {
            return failed(failure).into();
        }
        Attempt {
            outcome: Outcome::Measured(Box::new(measured)),
            server: process::collect(&report).and_then(|text| serde_json::from_str(&text).ok()),
            disturbance,
        }
    }

    /// The load generator failed: the server's stderr may say why, so both are kept.
    fn abandoned(&self, server: Server, failure: Failure) -> Outcome {
        let stderr = [failure.stderr, server.abandon()];
        let stderr = stderr.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
        match failure.error {
            ChildError::Late { .. } => {
                Outcome::DidNotFinish { budget_ns: self.plan.budget.as_nanos() as u64 }
            }
            error => failed(Failure { error, stderr: stderr.join("\n") }),
        }
    }

    fn child(&self, name: &str) -> Command {
        let mut command = Command::new(&self.bench.program);
        command.arg(name).args(["--die-with", &std::process::id().to_string()]);
        // A backtrace would push the message out of the lines of stderr that are kept.
        command.env("RUST_BACKTRACE", "0");
        command
    }

    fn serve(&self, cell: &Cell, report: &Path) -> Command {
        let message = (cell.array.bytes * MESSAGE_PER_ARRAY).max(MESSAGE_BYTES_MIN);
        let mut command = self.child("serve");
        command.arg(cell.rung.to_string());
        command.args(["--addr", "127.0.0.1:0", "--cpu", &self.bench.cpu_server.to_string()]);
        command.args(["--max-message", &message.to_string()]);
        command.arg("--report").arg(report);
        command
    }

    fn load(&self, cell: &Cell, server: &Server) -> Command {
        let scheme = match cell.rung.family() {
            Family::Raw => "raw",
            Family::Rest => "http",
            Family::Grpc => "grpc",
        };
        let mut command = self.child("load");
        command.arg(format!("{scheme}://{}", server.address()));
        command.args(["--codec", cell.rung.encoding().name(), "--json"]);
        command.args(["--cpu", &self.bench.cpu_client.to_string()]);
        command.args(["--server-pid", &server.pid().to_string()]);
        command.args(["--connections", &cell.load.connections.to_string()]);
        command.args(["--in-flight", &cell.load.in_flight.to_string()]);
        command.args(["--warmup", &format!("{}us", self.plan.warmup.as_micros())]);
        // Ours is the one that ends it, so that a trial that takes too long is told from one that fails.
        command.args(["--timeout", &format!("{}us", 2 * self.plan.budget.as_micros())]);
        match cell.window {
            Window::Time(time) => command.args(["--duration", &format!("{}us", time.as_micros())]),
            Window::Requests(count) => command.args(["--requests", &count.to_string()]),
        };
        match &self.plan.array {
            Some(path) => command.arg("--array").arg(path),
            None => command.args(["--size", &cell.array.bytes.to_string()]),
        };
        command
    }
}

fn failed(failure: Failure) -> Outcome {
    Outcome::Failed { reason: failure.error.to_string(), stderr: failure.stderr }
}

fn measurement(line: &str) -> Result<Measurement, Failure> {
    serde_json::from_str(line).map_err(|_| Failure {
        error: ChildError::Answer {
            who: "load generator",
            got: line.chars().take(200).collect(),
            expected: "a measurement as JSON",
        },
        stderr: String::new(),
    })
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
