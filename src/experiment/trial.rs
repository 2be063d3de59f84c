//! One trial: a fresh server and a fresh client on cores of their own, and the outcome.
//!
//! Every failure of a server or client is an outcome with a reason on one line and ends no run.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::probe::disturbance::{Disturbance, MachineSnapshot};
use crate::probe::profile::{NAME_PYTHON_FUNCTIONS, Profile};
use crate::probe::sched_stats::{SchedSnapshot, SchedStats};
use crate::probe::tracer::Tracer;
use crate::probe::{core_speed, cpu_clock};
use crate::record::trial_spec::{Length, ServerUrl, Target, TrialSpec};
use crate::record::{Counts, Measurement, Outcome, RequestCounts, ServerReport};
use crate::sys::child::ChildError;
use crate::sys::foreign_sockets;
use crate::sys::ready_line::READY_LINE;
use crate::sys::socket::SocketOptions;

use super::any_rung::AnyRung;
use super::cell::Cell;
use super::child::commands::Commands;
use super::child::failure::{self, Judgement};
use super::child::process::{self, Failure, LOAD, READY_TIMEOUT, ReportFile, Server};
use super::child::python::PythonClient;
use super::plan::Plan;
use super::testbed::Testbed;

/// Variable that pads a server's environment. Nothing reads it.
const PADDING: &str = "NDECHO_PADDING";

#[derive(Default)]
pub(super) struct TrialResult {
    pub(super) outcome: Outcome,
    pub(super) server: Option<ServerReport>,
    /// Options of a TCP socket that the server accepted, read from outside of it, or the reason why
    /// they are unknown.
    pub(super) socket: Option<Result<SocketOptions, String>>,
    pub(super) machine: MachineFacts,
    pub(super) counts: Option<Counts>,
    pub(super) profile: Option<Box<Profile>>,
    /// Document of the children; `None` if the Python client loaded the server.
    pub(super) spec: Option<Box<TrialSpec>>,
    /// True if the trial ran out of time, as every further one would.
    pub(super) ran_out_of_time: bool,
}

#[derive(Default)]
pub(super) struct MachineFacts {
    pub(super) disturbance: Option<Disturbance>,
    pub(super) sched_stats: Option<SchedStats>,
    /// Times of a fixed piece of work on the server's core before and after the load.
    pub(super) reference_work_ns: Option<[u64; 2]>,
}

pub(super) struct TrialRunner<'a> {
    pub(super) testbed: &'a Testbed,
    pub(super) plan: &'a Plan,
    pub(super) stop: &'a AtomicBool,
}

impl From<Outcome> for TrialResult {
    fn from(outcome: Outcome) -> TrialResult {
        TrialResult { outcome, ..TrialResult::default() }
    }
}

impl From<Judgement> for TrialResult {
    fn from(Judgement { outcome, ran_out_of_time, .. }: Judgement) -> TrialResult {
        TrialResult { outcome, ran_out_of_time, ..TrialResult::default() }
    }
}

impl TrialRunner<'_> {
    pub(super) fn run(&self, cell: &Cell, environment_bytes: u32) -> TrialResult {
        let report = self.report();
        let mut spec = self.commands().document(cell, report.path());
        let mut server = match self.start(cell, &mut spec, environment_bytes) {
            Ok(server) => server,
            Err(failure) => return failure::not_ready(failure).into(),
        };
        let cpu = CpuMeter::start(server.pid());
        let probe = MachineProbe::start(server.pid(), self.testbed.cpu_server);
        let measured = if cell.is_counted {
            self.count(cell, &spec, &server).map(|(measured, counts)| (measured, Some(counts)))
        } else {
            self.measure(cell, &spec).map(|measured| (measured, None))
        };
        let machine = probe.finish();
        let (measured, counts) = match measured {
            Ok(measured) => measured,
            Err(failure) => {
                let (spent, left) = (cpu.spent(), server.abandon(false));
                return failure::not_loaded(left, failure, spent, self.plan.budget).into();
            }
        };
        let socket = accepted_socket(&server);
        if let Err(failure) = server.stop() {
            return failure::not_stopped(failure).into();
        }
        TrialResult {
            outcome: Outcome::Measured(Box::new(measured)),
            socket,
            server: report.read(),
            machine,
            counts,
            profile: None,
            spec: self.testbed.python.is_none().then(|| Box::new(spec)),
            ran_out_of_time: false,
        }
    }

    /// Sends arrays of every kind to the rung of `cell`. Returns the outcome if a reply was wrong.
    pub(super) fn check_conformance(&self, cell: &Cell) -> Option<Outcome> {
        let report = self.report();
        let mut spec = self.commands().document(cell, report.path());
        let mut server = match self.start(cell, &mut spec, 0) {
            Ok(server) => server,
            Err(failure) => return Some(failure::not_ready(failure).outcome),
        };
        self.commands().conformance(&cell.rung, &mut spec.load);
        let cpu = CpuMeter::start(server.pid());
        if let Err(failure) = self.load(&spec) {
            let (spent, left) = (cpu.spent(), server.abandon(false));
            return Some(failure::not_loaded(left, failure, spent, self.plan.budget).outcome);
        }
        server.stop().err().map(|failure| failure::not_stopped(failure).outcome)
    }

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
            let tracer = Tracer::start(server.pid()).map_err(failure::untraced)?;
            let measured = self.measure(cell, &spec);
            let traced = tracer.stop();
            let (measured, traced) = (measured?, traced.map_err(failure::untraced)?);
            let counted = RequestCounts {
                requests: measured.requests,
                calls: traced.calls,
                calls_by_name: traced.calls_by_name,
                bytes_in: measured.bytes_in,
                bytes_out: measured.bytes_out,
                allocations: traced.allocations,
            };
            Ok::<_, Failure>((measured, counted))
        };
        let (_, few) = counted(1)?;
        let (measured, many) = counted(2)?;
        Ok((measured, Counts { few, many }))
    }

    pub(super) fn start(
        &self,
        cell: &Cell,
        spec: &mut TrialSpec,
        environment_bytes: u32,
    ) -> Result<Server, Failure> {
        let (mut command, ready) = match &cell.rung {
            AnyRung::Own(_) => (self.commands().serve(cell, spec)?, READY_LINE),
            AnyRung::External(rung) => (self.commands().external(rung), rung.ready_line()),
        };
        if cell.variant.is_profiled() {
            command.env(NAME_PYTHON_FUNCTIONS.0, NAME_PYTHON_FUNCTIONS.1);
        }
        command.env(PADDING, "-".repeat(environment_bytes as usize));
        let within = READY_TIMEOUT.min(self.plan.budget);
        let server = Server::start(&mut command, ready, within, self.stop)?;
        if let AnyRung::External(_) = cell.rung {
            // If it fails, so does the look at them later, and the report tells the reason.
            let _ = foreign_sockets::tune_listeners(server.pid());
        }
        let url = ServerUrl::new(cell.rung.family(), server.address());
        spec.load.targets = vec![Target { url, pid: Some(server.pid()) }];
        Ok(server)
    }

    fn measure(&self, cell: &Cell, spec: &TrialSpec) -> Result<Measurement, Failure> {
        let Some(client) = &self.testbed.python else {
            return parse(LOAD, &self.load(spec)?);
        };
        let mut command = self.commands().python(client, cell, &spec.load.target().url);
        let line = match self.ask("Python client", &mut command) {
            Ok(line) => line,
            // The line tells more than the exit status that goes with it.
            Err(Failure { said: Some(line), .. }) => line,
            Err(failure) => return Err(failure),
        };
        PythonClient::measurement(&line).map_err(|how| Failure {
            said: Some(line),
            ..ChildError::Died { who: "Python client", how }.into()
        })
    }

    fn load(&self, spec: &TrialSpec) -> Result<String, Failure> {
        let (mut command, _) = self.commands().load(spec)?;
        self.ask(LOAD, &mut command)
    }

    fn ask(&self, who: &'static str, command: &mut Command) -> Result<String, Failure> {
        process::ask(who, command, self.plan.budget, self.stop)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn commands(&self) -> Commands<'_> {
        Commands { testbed: self.testbed, plan: self.plan }
    }

    fn report(&self) -> ReportFile {
        ReportFile::new(self.testbed.out.join("server-report.json"))
    }
}

/// Returns the options of a socket of `server`, or the reason why they are unknown; `None` for a
/// Unix socket.
pub(super) fn accepted_socket(server: &Server) -> Option<Result<SocketOptions, String>> {
    let read = foreign_sockets::read_accepted(server.pid(), server.address().tcp()?);
    Some(match read {
        Ok(Some(options)) => Ok(options),
        Ok(None) => Err("the server accepted no further connection".to_owned()),
        Err(error) => Err(error.to_string()),
    })
}

/// Reads a line of JSON that `who` printed.
pub(super) fn parse<T: DeserializeOwned>(who: &'static str, line: &str) -> Result<T, Failure> {
    serde_json::from_str(line).map_err(|_| Failure {
        said: Some(line.to_owned()),
        ..ChildError::Answer {
            who,
            got: line.chars().take(200).collect(),
            expected: "a measurement as JSON".to_owned(),
        }
        .into()
    })
}

pub(super) struct CpuMeter {
    pid: u32,
    start_ns: u64,
}

impl CpuMeter {
    pub(super) fn start(pid: u32) -> CpuMeter {
        CpuMeter { pid, start_ns: total_cpu_ns(pid) }
    }

    pub(super) fn spent(&self) -> Duration {
        Duration::from_nanos(total_cpu_ns(self.pid).saturating_sub(self.start_ns))
    }
}

/// Returns 0 for a process that has ended.
fn total_cpu_ns(pid: u32) -> u64 {
    cpu_clock::process_cpu(pid).map_or(0, |cpu| cpu.total_ns)
}

struct MachineProbe {
    pid: u32,
    cpu_server: usize,
    snapshot: Option<MachineSnapshot>,
    threads: Option<SchedSnapshot>,
    reference_work_ns: Option<u64>,
}

impl MachineProbe {
    fn start(pid: u32, cpu_server: usize) -> MachineProbe {
        let reference_work_ns = core_speed::reference_work_ns(cpu_server);
        let snapshot = MachineSnapshot::read();
        let threads = SchedSnapshot::read(pid).ok();
        MachineProbe { pid, cpu_server, snapshot, threads, reference_work_ns }
    }

    fn finish(self) -> MachineFacts {
        let after = SchedSnapshot::read(self.pid).ok();
        let sched_stats = self.threads.zip(after).map(|(before, after)| after.since(&before));
        let disturbance = self.snapshot.and_then(MachineSnapshot::until_now);
        let after_ns = core_speed::reference_work_ns(self.cpu_server);
        let reference_work_ns = self.reference_work_ns.zip(after_ns).map(<[u64; 2]>::from);
        MachineFacts { disturbance, sched_stats, reference_work_ns }
    }
}
