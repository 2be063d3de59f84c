//! One trial: a fresh server, a fresh client, both pinned, and what came of it.
//!
//! Whatever goes wrong is an outcome, with a reason in a line: a server that dies or hangs, a reply that is wrong, a
//! trial that takes too long. Nothing a server does ends the run.

use std::io::{PipeReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::axis::Family;
use crate::load::conformance;
use crate::probe::core_speed;
use crate::probe::cpu_clock;
use crate::probe::disturbance::{Disturbance, MachineSnapshot};
use crate::probe::sched_stats::{SchedSnapshot, SchedStats};
use crate::probe::tracer::Tracer;
use crate::record::trial_spec::{
    ArraySpec, Knobs, Length, LoadSpec, ServerSpec, ServerUrl, Target, TrialSpec,
};
use crate::record::{Counts, Measurement, Outcome, RequestCounts, ServerReport, Variant};

use super::cell::Cell;
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
    /// The document that the server and the load generator were given, if they were.
    pub(super) spec: Option<Box<TrialSpec>>,
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
            spec: None,
            is_hopeless: false,
        }
    }
}

impl Trials<'_> {
    /// One trial, start to end.
    pub(super) fn attempt(&self, cell: &Cell, environment_bytes: u32) -> Attempt {
        let report = self.bench.out.join("server-report.json");
        let mut spec = self.spec(cell, &report);
        let server = match self.start(cell, &mut spec, environment_bytes) {
            Ok(server) => server,
            Err(failure) => return unstarted(failure),
        };
        let spent = || cpu_clock::process_cpu(server.pid()).map_or(0, |cpu| cpu.total_ns);
        let spent_before = spent();
        let threads = || SchedSnapshot::read(server.pid()).ok();
        let piece_before = core_speed::reference_work_ns(self.bench.cpu_server);
        let (account, threads_before) = (MachineSnapshot::read(), threads());
        let measured = match cell.is_counted {
            false => self.measure(cell, &spec).map(|measured| (measured, None)),
            true => {
                self.count(cell, &spec, &server).map(|(measured, counts)| (measured, Some(counts)))
            }
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
            spec: self.bench.python.is_none().then(|| Box::new(spec)),
            is_hopeless: false,
        }
    }

    /// Asks the rung of `cell` for arrays of every kind. Anything but right replies to all is what came of it.
    pub(super) fn conform(&self, cell: &Cell) -> Option<Outcome> {
        let report = self.bench.out.join("server-report.json");
        let mut spec = self.spec(cell, &report);
        let server = match self.start(cell, &mut spec, 0) {
            Ok(server) => server,
            Err(failure) => return Some(unstarted(failure).outcome),
        };
        let spent = || cpu_clock::process_cpu(server.pid()).map_or(0, |cpu| cpu.total_ns);
        let before = spent();
        spec.load = LoadSpec {
            array: ArraySpec::Conformance { seed: self.plan.seed },
            connections: 1,
            in_flight: 1,
            rate_hz: None,
            warmup: Length::Requests(0),
            window: Length::Requests(conformance::ARRAYS as u64),
            ..spec.load
        };
        if let Err(failure) = self.load(&spec) {
            let spent = Duration::from_nanos(spent().saturating_sub(before));
            return Some(self.abandoned(server, failure, spent).outcome);
        }
        let stopped = server.stop();
        process::collect(&report);
        stopped.err().map(|failure| failed(server_reason(&failure), failure.stderr))
    }

    /// Counts what some requests and twice as many make the server do, once it is warm.
    fn count(
        &self,
        cell: &Cell,
        spec: &TrialSpec,
        server: &Server,
    ) -> Result<(Measurement, Counts), Failure> {
        self.measure(cell, spec)?;
        let counted = |times: u64| {
            let mut spec = spec.clone();
            if let Length::Requests(requests) = &mut spec.load.window {
                *requests *= times;
            }
            let tracer = Tracer::start(server.pid()).map_err(untraced)?;
            let measured = self.measure(cell, &spec);
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

    /// Starts the server of `spec`, and enters in it where that listens.
    fn start(
        &self,
        cell: &Cell,
        spec: &mut TrialSpec,
        environment_bytes: u32,
    ) -> Result<Server, Failure> {
        let (mut command, ready) = match &cell.subject {
            Subject::Own(_) => (self.serve(cell, spec)?, READY_LINE),
            Subject::External(rung) => (self.serve_peer(rung), rung.ready_line()),
        };
        command.env(PADDING, "-".repeat(environment_bytes as usize));
        let within = READY_TIMEOUT.min(self.plan.budget);
        let server = Server::start(&mut command, ready, within, self.stop)?;
        spec.load.targets = vec![Target {
            url: ServerUrl::new(cell.subject.family(), server.address()),
            pid: Some(server.pid()),
        }];
        Ok(server)
    }

    /// Runs the load generator on `spec`.
    fn load(&self, spec: &TrialSpec) -> Result<String, Failure> {
        let mut command = self.child("load");
        command.args(["--spec", "-", "--json"]).stdin(document(spec)?);
        process::ask("load generator", &mut command, self.plan.budget, self.stop)
    }

    fn measure(&self, cell: &Cell, spec: &TrialSpec) -> Result<Measurement, Failure> {
        let answer =
            |mut command, who| process::ask(who, &mut command, self.plan.budget, self.stop);
        match &self.bench.python {
            None => measurement(&self.load(spec)?),
            Some(client) => {
                // A line tells more than the exit status that goes with it.
                let url = &spec.load.target().url;
                let line = match answer(self.load_from(client, cell, url), "Python client") {
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

    /// The document of a trial of `cell`, but for where its server listens.
    fn spec(&self, cell: &Cell, report: &Path) -> TrialSpec {
        let server = ServerSpec {
            rung: cell.subject.to_string(),
            cores: vec![self.bench.cpu_server],
            ..ServerSpec::default()
        };
        let server = match (&cell.subject, cell.variant) {
            (Subject::External(_), _) => server,
            (Subject::Own(_), variant) => ServerSpec {
                is_null: variant == Variant::Null,
                delay: match variant {
                    Variant::Delayed { ns } => Some(Duration::from_nanos(ns)),
                    _ => None,
                },
                body_bytes_max: Some((cell.array.bytes * MESSAGE_PER_ARRAY).max(MESSAGE_BYTES_MIN)),
                report: Some(report.to_owned()),
                ..server
            },
        };
        let load = LoadSpec {
            targets: Vec::new(),
            encoding: cell.subject.encoding(),
            array: match &self.plan.array {
                Some(path) => ArraySpec::File { path: path.clone() },
                None => ArraySpec::float64(cell.array.bytes, 1),
            },
            connections: cell.load.connections,
            in_flight: cell.load.in_flight,
            rate_hz: cell.offered_hz,
            warmup: match cell.is_counted {
                true => Length::Requests(0),
                false => Length::Time(self.plan.warmup),
            },
            settle: self.plan.settle,
            window: cell.window,
            // This process ends it first, so that a trial that takes too long is told from one that fails.
            timeout: 2 * self.plan.budget,
            cpu: Some(self.bench.cpu_client),
            knobs: Knobs { busy_poll: self.bench.busy_poll(self.plan), ..self.plan.knobs.clone() },
        };
        TrialSpec { servers: vec![server], load }
    }

    /// The command that starts the server of `spec`. Another build may be older than the document, so it is told by
    /// the flags that every build has.
    fn serve(&self, cell: &Cell, spec: &TrialSpec) -> Result<Command, Failure> {
        let mut command = child(self.build(cell.variant), "serve");
        if !matches!(cell.variant, Variant::Build { .. }) {
            command.args(["--spec", "-"]).stdin(document(spec)?);
            return Ok(command);
        }
        let server = &spec.servers[0];
        command.arg(&server.rung);
        command.args(["--cpu", &self.bench.cpu_server.to_string()]);
        if let Some(bytes) = server.body_bytes_max {
            command.args(["--max-message", &bytes.to_string()]);
        }
        if let Some(report) = &server.report {
            command.arg("--report").arg(report);
        }
        Ok(command)
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

    fn load_from(&self, client: &PythonClient, cell: &Cell, url: &ServerUrl) -> Command {
        let cpu = self.bench.cpu_client.to_string();
        let mut command = self.child("exec");
        command.args(["--cpu", &cpu, "--"]).arg(&client.python).arg(&client.script);
        command.arg(url.to_string());
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
    command.arg(name).args(["--die-with", &std::process::id().to_string()]).stdin(Stdio::null());
    // A backtrace would push the message out of the lines of stderr that are kept.
    command.env("RUST_BACKTRACE", "0");
    command
}

/// A pipe that holds `spec`, to be a child's stdin. The document is far smaller than a pipe's 64 KiB.
fn document(spec: &TrialSpec) -> Result<PipeReader, Failure> {
    let written = std::io::pipe().and_then(|(reader, mut writer)| {
        writer.write_all(spec.to_json().as_bytes())?;
        Ok(reader)
    });
    written.map_err(|error| Failure {
        error: ChildError::Spawn { program: "a child".to_owned(), reason: error.to_string() },
        said: None,
        stderr: String::new(),
    })
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
