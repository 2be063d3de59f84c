//! One trial: a fresh server, a fresh client, both pinned, and what came of it.
//!
//! Whatever goes wrong is an outcome, with a reason in a line: a server that dies or hangs, a reply that is wrong, a
//! trial that takes too long. Nothing a server does ends the run.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::axis::Family;
use crate::probe::core_speed;
use crate::probe::cpu_clock;
use crate::probe::disturbance::{Disturbance, MachineSnapshot};
use crate::probe::sched_stats::{SchedSnapshot, SchedStats};
use crate::probe::tracer::Tracer;
use crate::record::{Counts, Measurement, Outcome, RequestCounts, ServerReport, Variant};

use super::cell::{Cell, Window};
use super::client::PythonClient;
use super::plan::Plan;
use super::preset::SEED_IN_FLIGHT;
use super::process::{self, Failure, READY_TIMEOUT, Server};
use super::run::Bench;
use super::subject::Subject;
use crate::external::{ExternalRung, advice};
use crate::sys::child::ChildError;
use crate::sys::ready_line::READY_LINE;

/// Largest message a server is told to accept, as a multiple of the array: a JSON list of int8 takes six bytes an
/// item, float64 up to 25 for 8.
const MESSAGE_PER_ARRAY: u64 = 8;

/// Largest message a server is told to accept at least; it is the servers' own default.
const MESSAGE_BYTES_MIN: u64 = 192 << 20;

/// Variable that makes a server's environment longer; nothing reads it.
const PADDING: &str = "NDECHO_PADDING";

/// Share of a trial's time below which a server that has not finished was not slow: it did nothing.
const HUNG_SHARE: f64 = 0.01;

/// What came of one trial, with what is known beside.
pub(super) struct Attempt {
    pub(super) outcome: Outcome,
    pub(super) server: Option<ServerReport>,
    pub(super) disturbance: Option<Disturbance>,
    pub(super) sched_stats: Option<SchedStats>,
    /// How long a piece of work took on the server's core before and after.
    pub(super) reference_work_ns: Option<[u64; 2]>,
    /// What requests made the server do, where that was to be counted.
    pub(super) counts: Option<Counts>,
    /// True when it ran out of time, which it would again.
    pub(super) is_hopeless: bool,
}

/// What every trial of a run has in common.
pub(super) struct Trials<'a> {
    pub(super) bench: &'a Bench,
    pub(super) plan: &'a Plan,
    pub(super) stop: &'a AtomicBool,
}

impl From<Outcome> for Attempt {
    fn from(outcome: Outcome) -> Attempt {
        Attempt {
            outcome,
            server: None,
            disturbance: None,
            sched_stats: None,
            reference_work_ns: None,
            counts: None,
            is_hopeless: false,
        }
    }
}

impl Trials<'_> {
    /// One trial, start to end.
    pub(super) fn attempt(&self, cell: &Cell, environment_bytes: u32) -> Attempt {
        let report = self.bench.out.join("server-report.json");
        let server = match self.start(cell, &report, environment_bytes) {
            Ok(server) => server,
            Err(failure) => return unstarted(failure),
        };
        let spent = || cpu_clock::process_cpu(server.pid()).map_or(0, |cpu| cpu.total_ns);
        let spent_before = spent();
        let threads = || SchedSnapshot::read(server.pid()).ok();
        let piece_before = core_speed::reference_work_ns(self.bench.cpu_server);
        let (account, threads_before) = (MachineSnapshot::read(), threads());
        let measured = match cell.is_counted {
            false => self.measure(cell, &server).map(|measured| (measured, None)),
            true => self.count(cell, &server).map(|(measured, counts)| (measured, Some(counts))),
        };
        let sched_stats = threads_before.and_then(|before| Some(threads()?.since(&before)));
        let disturbance = account.and_then(MachineSnapshot::until_now);
        let piece_after = core_speed::reference_work_ns(self.bench.cpu_server);
        let (measured, counts) = match measured {
            Ok(measured) => measured,
            Err(failure) => {
                let spent = Duration::from_nanos(spent().saturating_sub(spent_before));
                return self.abandoned(server, failure, spent);
            }
        };
        if let Err(failure) = server.stop() {
            return failed(server_reason(&failure), failure.stderr).into();
        }
        Attempt {
            outcome: Outcome::Measured(Box::new(measured)),
            server: process::collect(&report).and_then(|text| serde_json::from_str(&text).ok()),
            disturbance,
            sched_stats,
            reference_work_ns: piece_before.zip(piece_after).map(<[u64; 2]>::from),
            counts,
            is_hopeless: false,
        }
    }

    /// Asks the rung of `cell` for arrays of every kind. Anything but right replies to all is what came of it.
    pub(super) fn conform(&self, cell: &Cell) -> Option<Outcome> {
        let report = self.bench.out.join("server-report.json");
        let server = match self.start(cell, &report, 0) {
            Ok(server) => server,
            Err(failure) => return Some(unstarted(failure).outcome),
        };
        let spent = || cpu_clock::process_cpu(server.pid()).map_or(0, |cpu| cpu.total_ns);
        let before = spent();
        let mut command = self.client(cell, &server);
        command.args(["--conformance", "--seed", &self.plan.seed.to_string()]);
        let answered = process::ask("load generator", &mut command, self.plan.budget, self.stop);
        if let Err(failure) = answered {
            let spent = Duration::from_nanos(spent().saturating_sub(before));
            return Some(self.abandoned(server, failure, spent).outcome);
        }
        let stopped = server.stop();
        process::collect(&report);
        stopped.err().map(|failure| failed(server_reason(&failure), failure.stderr))
    }

    /// Counts what some requests and twice as many make the server do, once it is warm.
    fn count(&self, cell: &Cell, server: &Server) -> Result<(Measurement, Counts), Failure> {
        self.measure(cell, server)?;
        let counted = |times: u64| {
            let window = match cell.window {
                Window::Requests(requests) => Window::Requests(times * requests),
                time => time,
            };
            let cell = Cell { window, ..cell.clone() };
            let tracer = Tracer::start(server.pid()).map_err(untraced)?;
            let measured = self.measure(&cell, server);
            let traced = tracer.stop();
            let (measured, traced) = (measured?, traced.map_err(untraced)?);
            let counted = RequestCounts {
                requests: measured.requests,
                calls: traced.calls,
                bytes_in: measured.bytes_in,
                bytes_out: measured.bytes_out,
                allocations: traced.allocations,
            };
            Ok((measured, counted))
        };
        let (_, few) = counted(1)?;
        let (measured, many) = counted(2)?;
        Ok((measured, Counts { few, many }))
    }

    fn start(&self, cell: &Cell, report: &Path, environment_bytes: u32) -> Result<Server, Failure> {
        let (mut command, ready) = match &cell.subject {
            Subject::Own(rung) => (self.serve(&rung.to_string(), cell, report), READY_LINE),
            Subject::External(rung) => (self.serve_peer(rung), rung.ready_line()),
        };
        command.env(PADDING, "-".repeat(environment_bytes as usize));
        Server::start(&mut command, ready, READY_TIMEOUT.min(self.plan.budget), self.stop)
    }

    fn measure(&self, cell: &Cell, server: &Server) -> Result<Measurement, Failure> {
        let answer =
            |mut command, who| process::ask(who, &mut command, self.plan.budget, self.stop);
        match &self.bench.python {
            None => measurement(&answer(self.load(cell, server), "load generator")?),
            Some(client) => {
                // A line tells more than the exit status that goes with it.
                let line = match answer(self.load_from(client, cell, server), "Python client") {
                    Ok(line) => line,
                    Err(Failure { said: Some(line), .. }) => line,
                    Err(failure) => return Err(failure),
                };
                PythonClient::measurement(&line).map_err(|reason| Failure {
                    error: ChildError::Died { who: "Python client", how: reason },
                    said: Some(line),
                    stderr: String::new(),
                })
            }
        }
    }

    /// The client failed. Whose fault it is shows in whether the server still lives, and what it did meanwhile.
    fn abandoned(&self, server: Server, failure: Failure, spent: Duration) -> Attempt {
        let budget = self.plan.budget;
        let left = server.abandon();
        if let ChildError::Late { .. } = failure.error {
            let outcome = if spent < budget.mul_f64(HUNG_SHARE) {
                let reason = format!(
                    "the server hangs: {:.1} ms of CPU in the {} s it was given",
                    spent.as_secs_f64() * 1e3,
                    budget.as_secs_f64()
                );
                failed(reason, left.stderr)
            } else {
                Outcome::DidNotFinish { budget_ns: budget.as_nanos() as u64, stderr: left.stderr }
            };
            return Attempt { is_hopeless: true, ..outcome.into() };
        }
        let seen = cause(&failure.stderr).map_or_else(|| failure.error.to_string(), str::to_owned);
        let reason = match cause(&left.stderr) {
            Some(cause) if left.had_died => format!("the server died: {cause}"),
            None if left.had_died => format!("the server died without a word: {seen}"),
            _ => seen,
        };
        failed(reason, left.stderr).into()
    }

    /// The build that serves `variant`.
    fn build(&self, variant: Variant) -> &Path {
        match variant {
            Variant::Build { side, number } => &self.bench.builds[side as usize][number as usize],
            Variant::Usual | Variant::Twin | Variant::Delayed { .. } | Variant::Null => {
                &self.bench.program
            }
        }
    }

    /// This program as a child that ends with it.
    fn child(&self, name: &str) -> Command {
        child(&self.bench.program, name)
    }

    fn serve(&self, rung: &str, cell: &Cell, report: &Path) -> Command {
        let message = (cell.array.bytes * MESSAGE_PER_ARRAY).max(MESSAGE_BYTES_MIN);
        let mut command = child(self.build(cell.variant), "serve");
        command.arg(rung);
        match cell.variant {
            Variant::Delayed { ns } => {
                command.args(["--spin", &format!("{ns}ns")]);
            }
            Variant::Null => {
                command.arg("--undecoded");
            }
            Variant::Usual | Variant::Twin | Variant::Build { .. } => {}
        }
        command.args(["--addr", "127.0.0.1:0", "--cpu", &self.bench.cpu_server.to_string()]);
        command.args(["--max-message", &message.to_string()]);
        command.arg("--report").arg(report);
        command
    }

    fn serve_peer(&self, rung: &ExternalRung) -> Command {
        let env =
            self.bench.environments.path(&rung.server).expect("a cell without one is skipped");
        let cpu = self.bench.cpu_server;
        let mut command = self.child("exec");
        command.args(["--cpu", &cpu.to_string(), "--"]).args(rung.command(env, cpu));
        command.current_dir(&rung.server.folder);
        command
    }

    /// The load generator, but for what it is to send.
    fn client(&self, cell: &Cell, server: &Server) -> Command {
        let mut command = self.child("load");
        command.arg(url(cell, server));
        command.args(["--codec", cell.subject.encoding().name(), "--json"]);
        command.args(["--cpu", &self.bench.cpu_client.to_string()]);
        // Ours is the one that ends it, so that a trial that takes too long is told from one that fails.
        command.args(["--timeout", &format!("{}us", 2 * self.plan.budget.as_micros())]);
        if cell.subject.family() == Family::Grpc {
            command.args(&self.plan.load_flags);
        }
        command
    }

    fn load(&self, cell: &Cell, server: &Server) -> Command {
        let mut command = self.client(cell, server);
        command.args(["--server-pid", &server.pid().to_string()]);
        command.args(["--connections", &cell.load.connections.to_string()]);
        command.args(["--in-flight", &cell.load.in_flight.to_string()]);
        if cell.is_counted {
            command.args(["--warmup", "0"]);
        } else {
            command.args(["--warmup", &format!("{}us", self.plan.warmup.as_micros())]);
        }
        if let Some(settle) = self.plan.settle {
            command.args(["--settle", &format!("{}us", settle.as_micros())]);
        }
        if let Some(rate) = cell.offered_hz {
            command.args(["--rate", &rate.to_string()]);
        }
        let busy_poll = self.bench.busy_poll(self.plan);
        command.args(["--busy-poll", &format!("{}us", busy_poll.as_micros())]);
        if !self.plan.client_spin.is_zero() {
            let spin = self.plan.client_spin.as_nanos();
            command.args(["--spin-per-reply", &format!("{spin}ns")]);
        }
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

    fn load_from(&self, client: &PythonClient, cell: &Cell, server: &Server) -> Command {
        let cpu = self.bench.cpu_client.to_string();
        let mut command = self.child("exec");
        command.args(["--cpu", &cpu, "--"]).arg(&client.python).arg(&client.script);
        command.arg(url(cell, server));
        command.args(["--codec", cell.subject.encoding().name(), "--cpu", &cpu]);
        command.args(["--connections", &cell.load.connections.to_string()]);
        // What is more than its connections can carry waits inside of aiohttp; grpcio sends all that it is given.
        let parallel = match cell.subject.family() {
            Family::Grpc => cell.load.in_flight,
            Family::Rest | Family::Raw => SEED_IN_FLIGHT,
        };
        let rounds = (SEED_IN_FLIGHT / parallel).max(1);
        command.args(["--parallel", &parallel.to_string(), "--rounds", &rounds.to_string()]);
        match &self.plan.array {
            Some(path) => command.arg("--array").arg(path),
            None => command.args(["--points", &cell.array.shape[0].to_string()]),
        };
        command
    }
}

/// `program` as a child that ends with this process.
fn child(program: &Path, name: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(name).args(["--die-with", &std::process::id().to_string()]);
    // A backtrace would push the message out of the lines of stderr that are kept.
    command.env("RUST_BACKTRACE", "0");
    command
}

fn url(cell: &Cell, server: &Server) -> String {
    format!("{}://{}", cell.subject.family().scheme(), server.address())
}

/// A server that was not ready; one that took too long would again.
fn unstarted(failure: Failure) -> Attempt {
    let is_hopeless = matches!(failure.error, ChildError::Late { .. });
    let reason = match &failure.error {
        ChildError::Late { after, .. } => format!("the server was not ready after {after:?}"),
        _ => server_reason(&failure),
    };
    Attempt { is_hopeless, ..failed(reason, failure.stderr).into() }
}

/// Why a server failed, in a line, with what to do about it where that is known.
fn server_reason(failure: &Failure) -> String {
    let mut reason = failure.error.to_string();
    for more in [cause(&failure.stderr), advice::find(&failure.stderr)].into_iter().flatten() {
        reason.push_str(": ");
        reason.push_str(more);
    }
    reason
}

/// The line of a child's stderr that says most: the last one, but for a panic's note on backtraces.
fn cause(stderr: &str) -> Option<&str> {
    let is_cause = |line: &&str| !line.trim().is_empty() && !line.starts_with("note: ");
    stderr.lines().rev().find(is_cause).map(|line| line.trim_start_matches("ndecho load: ").trim())
}

/// A server that cannot be traced.
fn untraced(error: std::io::Error) -> Failure {
    let how = format!("cannot be traced: {error}");
    Failure { error: ChildError::Died { who: "server", how }, said: None, stderr: String::new() }
}

fn failed(reason: String, stderr: String) -> Outcome {
    Outcome::Failed { reason, stderr }
}

fn measurement(line: &str) -> Result<Measurement, Failure> {
    serde_json::from_str(line).map_err(|_| Failure {
        error: ChildError::Answer {
            who: "load generator",
            got: line.chars().take(200).collect(),
            expected: "a measurement as JSON".to_owned(),
        },
        said: Some(line.to_owned()),
        stderr: String::new(),
    })
}
