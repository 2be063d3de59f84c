//! One launch of a group: its servers live at the same time, and the load visits them in turns.
//!
//! The load visits one server at a time, in short slices and in a fresh random order each round.
//! So the two sides of a ratio lie less than a round apart, and a slow phase of the machine meets
//! both.
//! A member that fails has its outcome and leaves the group; the others go on. A slice that another
//! program disturbed is repeated.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;

use crate::external::client::Client;
use crate::probe::core_speed;
use crate::probe::disturbance::{Disturbance, MachineSnapshot};
use crate::probe::sched_stats::SchedSnapshot;
use crate::record::trial_spec::TrialSpec;
use crate::record::{Measurement, Outcome, Slice, validity};

use super::cell::Cell;
use super::child::failure;
use super::child::h2load::H2load;
use super::child::process::{Failure, LOAD, ReportFile, Server, SlicedLoad};
use super::preset::Slicing;
use super::trial::{CpuMeter, MachineFacts, TrialResult, TrialRunner, accepted_socket, parse};

/// Repetitions in a launch, as a share of its slices.
const REPETITIONS_MAX: f64 = 0.25;

/// A cell of the group, with the padding of its server's environment.
pub(super) struct Entry<'a> {
    pub(super) cell: &'a Cell,
    pub(super) environment_bytes: u32,
}

struct Member {
    spec: TrialSpec,
    server: Server,
    /// After the server, which ends before the file is removed.
    report: ReportFile,
    load: Load,
    cpu: CpuMeter,
    threads: Option<SchedSnapshot>,
    slices: Vec<Slice>,
    disturbance: Option<Disturbance>,
}

/// Client that loads a server in slices.
enum Load {
    Own(SlicedLoad),
    H2load(Box<H2load>),
}

/// Member of a group, until it fails.
type State = Result<Member, Box<TrialResult>>;

/// Launches the group and returns the results in the order of `entries`. `seed` decides the order
/// of visits.
pub(super) fn run(
    runner: &TrialRunner<'_>,
    entries: &[Entry<'_>],
    slicing: Slicing,
    seed: u64,
) -> Vec<TrialResult> {
    let start =
        |(number, entry): (usize, &Entry<'_>)| Member::start(runner, entry, number, slicing);
    let mut members: Vec<State> = entries.iter().enumerate().map(start).collect();
    let mut random = Pcg64::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..members.len()).collect();
    let rounds = entries.iter().map(|entry| slicing.rounds(entry.cell.window)).max().unwrap_or(0);
    let slices = rounds as usize * members.len();
    let mut repetitions = (REPETITIONS_MAX * slices as f64) as usize;
    for _ in 0..rounds {
        order.shuffle(&mut random);
        for &index in &order {
            if runner.is_stopped() {
                break;
            }
            let state = std::mem::replace(&mut members[index], Err(Box::default()));
            members[index] = state.and_then(|member| member.visit(runner, &mut repetitions));
        }
    }
    let finish = |state: State| state.map_or_else(|failed| *failed, |member| member.finish(runner));
    members.into_iter().map(finish).collect()
}

impl Member {
    fn start(
        runner: &TrialRunner<'_>,
        entry: &Entry<'_>,
        number: usize,
        slicing: Slicing,
    ) -> State {
        let cell = entry.cell;
        let report = runner.testbed.out.join(format!("server-report-{number}.json"));
        let report = ReportFile::new(report);
        let mut spec = runner.commands().document(cell, report.path());
        runner.commands().in_slices(&mut spec.load, slicing);
        let server = runner
            .start(cell, &mut spec, entry.environment_bytes)
            .map_err(|failure| Box::new(failure::not_ready(failure).into()))?;
        let cpu = CpuMeter::start(server.pid());
        match Load::start(runner, &spec, number) {
            Ok(load) => Ok(Member {
                threads: SchedSnapshot::read(server.pid()).ok(),
                spec,
                report,
                server,
                load,
                cpu,
                slices: Vec::new(),
                disturbance: None,
            }),
            Err(failure) => Err(Box::new(failed(server, failure, &cpu, runner))),
        }
    }

    /// Loads the server for one slice, and again while `repetitions` last and others disturb it.
    fn visit(mut self, runner: &TrialRunner<'_>, repetitions: &mut usize) -> State {
        loop {
            let reference_work_ns = core_speed::reference_work_ns(runner.testbed.cpu_server);
            self.cpu = CpuMeter::start(self.server.pid());
            let snapshot = MachineSnapshot::read();
            let slice = match self.load.slice(runner) {
                Ok(slice) => slice,
                Err(failure) => {
                    return Err(Box::new(failed(self.server, failure, &self.cpu, runner)));
                }
            };
            let disturbance = snapshot.and_then(MachineSnapshot::until_now);
            let is_disturbed = !runner.testbed.shares_core()
                && disturbance.is_some_and(|found| validity::disturbed(&found, 0).is_some());
            if is_disturbed && *repetitions > 0 {
                *repetitions -= 1;
                continue;
            }
            self.disturbance = disturbance.map(|found| found.plus(self.disturbance));
            self.slices.push(Slice { reference_work_ns, is_disturbed, ..slice });
            return Ok(self);
        }
    }

    fn finish(self, runner: &TrialRunner<'_>) -> TrialResult {
        let Member { spec, report, server, load, cpu, threads, slices, disturbance } = self;
        let after = SchedSnapshot::read(server.pid()).ok();
        let socket = accepted_socket(&server);
        let measured = match load.finish(runner) {
            Ok(measured) => Measurement { slices, ..measured },
            Err(failure) => return failed(server, failure, &cpu, runner),
        };
        if let Err(failure) = server.stop() {
            return failure::not_stopped(failure).into();
        }
        let reference = |slice: Option<&Slice>| slice?.reference_work_ns;
        let (first, last) = (measured.slices.first(), measured.slices.last());
        let reference_work_ns = reference(first).zip(reference(last));
        TrialResult {
            outcome: Outcome::Measured(Box::new(measured)),
            server: report.read(),
            machine: MachineFacts {
                disturbance,
                sched_stats: threads.zip(after).map(|(before, after)| after.since(&before)),
                reference_work_ns: reference_work_ns.map(<[u64; 2]>::from),
            },
            socket,
            spec: Some(Box::new(spec)),
            ..TrialResult::default()
        }
    }
}

impl Load {
    fn start(runner: &TrialRunner<'_>, spec: &TrialSpec, number: usize) -> Result<Load, Failure> {
        let commands = runner.commands();
        if runner.plan.client == Client::H2load {
            let body = runner.testbed.out.join(format!("request-{number}"));
            let load = H2load::start(&commands, &spec.load, body, runner.stop)?;
            return Ok(Load::H2load(Box::new(load)));
        }
        let (mut command, lines) = commands.load(spec)?;
        SlicedLoad::start(&mut command, lines, runner.plan.budget, runner.stop).map(Load::Own)
    }

    fn slice(&mut self, runner: &TrialRunner<'_>) -> Result<Slice, Failure> {
        match self {
            Load::Own(load) => parse(LOAD, &load.slice(runner.plan.budget, runner.stop)?),
            Load::H2load(load) => load.slice(&runner.commands(), runner.stop),
        }
    }

    fn finish(self, runner: &TrialRunner<'_>) -> Result<Measurement, Failure> {
        match self {
            Load::Own(load) => parse(LOAD, &load.finish(runner.plan.budget, runner.stop)?),
            Load::H2load(load) => Ok(load.finish()),
        }
    }
}

fn failed(
    server: Server,
    failure: Failure,
    cpu: &CpuMeter,
    runner: &TrialRunner<'_>,
) -> TrialResult {
    failure::not_loaded(server, failure, cpu.spent(), runner.plan.budget).into()
}
