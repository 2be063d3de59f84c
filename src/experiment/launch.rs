//! One launch of a group: its servers live at the same time, and the loads visit them in turns.
//!
//! One client visits one server at a time, in short slices and in a fresh random order each round.
//! So the two sides of a ratio lie less than a round apart, and a slow phase of the machine meets
//! both. All clients of a run visit the same processes.
//! A client that fails has its outcome and leaves; the others go on. A slice that another program
//! disturbed is repeated. A server whose slices took too long has no more of them in the launch.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;

use crate::probe::core_speed;
use crate::probe::disturbance::{Disturbance, MachineSnapshot};
use crate::probe::profile::{NamesFile, Profile, Recorder};
use crate::probe::sched_stats::SchedSnapshot;
use crate::record::trial_spec::TrialSpec;
use crate::record::{Client, Measurement, Outcome, ServerReport, Slice, validity};

use super::any_rung::AnyRung;
use super::cell::Cell;
use super::child::failure::{self, Judgement};
use super::child::foreign::ForeignLoad;
use super::child::process::{Failure, LOAD, ReportFile, Server, SlicedLoad};
use super::preset::Slicing;
use super::trial::{CpuMeter, MachineFacts, TrialResult, TrialRunner, accepted_socket, parse};

/// Repetitions in a launch, as a share of its slices.
const REPETITIONS_MAX: f64 = 0.25;

/// A cell of the group, the clients that load its server, and the padding of the server's
/// environment.
pub(super) struct Entry<'a> {
    pub(super) cell: &'a Cell,
    pub(super) clients: Vec<Client>,
    pub(super) environment_bytes: u32,
}

/// Server of a cell.
struct Member {
    server: Server,
    /// After the server, which ends before the file is removed.
    report: ReportFile,
    threads: Option<SchedSnapshot>,
    /// Samples of the server, from the end of the warm-up.
    recorder: Option<Recorder>,
    /// Names of the functions of a sampled server in Python.
    names: Option<NamesFile>,
    visitors: Vec<State>,
}

/// Load of one client on the server of a member.
struct Visitor {
    spec: TrialSpec,
    load: Load,
    /// CPU time of the server since the start of the last slice.
    cpu: CpuMeter,
    slices: Vec<Slice>,
    /// Time of all slices, repeated ones included.
    took: Duration,
    disturbance: Option<Disturbance>,
}

/// Client that loads a server in slices.
enum Load {
    Own(SlicedLoad),
    Foreign(Box<ForeignLoad>),
}

/// Visitor, until it or its server fails.
type State = Result<Visitor, Box<TrialResult>>;

/// Server of an entry, or the results of its clients if it did not start.
type Started = Result<Member, Vec<TrialResult>>;

/// Order of the visits of a launch, by number of the entry and number of its client.
struct Visits {
    /// All visits, each with the number of rounds in which it is due.
    all: Vec<(usize, usize, u32)>,
    rounds: u32,
    random: Pcg64,
}

/// Launches the group and returns the results in the order of `entries`, for each in the order of
/// its clients. `seed` decides the order of visits.
pub(super) fn run(
    runner: &TrialRunner<'_>,
    entries: &[Entry<'_>],
    seed: u64,
) -> Vec<Vec<TrialResult>> {
    let start = |(number, entry): (usize, &Entry<'_>)| Member::start(runner, entry, number);
    let mut members: Vec<Started> = entries.iter().enumerate().map(start).collect();
    let mut visits = Visits::new(runner, entries, seed);
    let mut repetitions = (REPETITIONS_MAX * visits.slices() as f64) as usize;
    for round in 0..visits.rounds {
        for (entry, client, rounds) in visits.due(round) {
            if runner.is_stopped() {
                break;
            }
            let slicing = runner.plan.slicing(entries[entry].clients[client]);
            if let Ok(member) = &mut members[entry]
                && !slicing.is_some_and(|it| member.has_enough(client, it, rounds))
            {
                member.visit(client, runner, &mut repetitions);
            }
        }
    }
    let finish = |member: Started| member.map_or_else(|failed| failed, |it| it.finish(runner));
    members.into_iter().map(finish).collect()
}

impl Visits {
    fn new(runner: &TrialRunner<'_>, entries: &[Entry<'_>], seed: u64) -> Visits {
        // A client visits all of its servers in the same rounds.
        let rounds = |client: Client| {
            let slicing = runner.plan.slicing(client);
            let rounds = |entry: &Entry<'_>| Some(slicing?.rounds(entry.cell.window));
            entries.iter().filter_map(rounds).max().unwrap_or(0)
        };
        let mut all = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            let of_client = |(index, client): (usize, &Client)| (number, index, rounds(*client));
            all.extend(entry.clients.iter().enumerate().map(of_client));
        }
        let most = all.iter().map(|(.., rounds)| *rounds).max().unwrap_or(0);
        Visits { all, rounds: most, random: Pcg64::seed_from_u64(seed) }
    }

    fn slices(&self) -> u32 {
        self.all.iter().map(|(.., rounds)| rounds).sum()
    }

    /// Returns the visits of a round in random order, each with the number of its rounds. A client
    /// with fewer rounds than others has them at even distances.
    fn due(&mut self, round: u32) -> Vec<(usize, usize, u32)> {
        self.all.shuffle(&mut self.random);
        let most = self.rounds;
        let is_due = |own: u32| (round + 1) * own / most > round * own / most;
        let due = self.all.iter().filter(|(.., own)| is_due(*own));
        due.copied().collect()
    }
}

impl Member {
    fn start(runner: &TrialRunner<'_>, entry: &Entry<'_>, number: usize) -> Started {
        let report = runner.testbed.out.join(format!("server-report-{number}.json"));
        let report = ReportFile::new(report);
        let mut spec = runner.commands().document(entry.cell, report.path());
        let server =
            runner.start(entry.cell, &mut spec, entry.environment_bytes).map_err(|failure| {
                let judgement = failure::not_ready(failure);
                entry.clients.iter().map(|_| judgement.clone().into()).collect::<Vec<_>>()
            })?;
        let is_external = matches!(entry.cell.rung, AnyRung::External(_));
        let names_functions = entry.cell.variant.is_profiled() && is_external;
        let names = names_functions.then(|| NamesFile::of_process(server.pid()));
        let (threads, recorder, visitors) = (None, None, Vec::new());
        let mut member = Member { report, server, threads, recorder, names, visitors };
        for (index, client) in entry.clients.iter().enumerate() {
            let cpu = CpuMeter::start(member.server.pid());
            let state = Visitor::start(runner, &spec, *client, number).map_err(|failure| {
                let is_needed = index + 1 < entry.clients.len() || member.has_visitors();
                Box::new(member.judge(failure, cpu.spent(), is_needed, runner).into())
            });
            member.visitors.push(state);
        }
        member.threads = SchedSnapshot::read(member.server.pid()).ok();
        if entry.cell.variant.is_profiled() && member.has_visitors() {
            member.record(runner, number)?;
        }
        Ok(member)
    }

    /// Starts to sample the server. Returns the results of all clients if that is impossible.
    fn record(&mut self, runner: &TrialRunner<'_>, number: usize) -> Result<(), Vec<TrialResult>> {
        let file = runner.testbed.out.join(format!("server-{number}.perf"));
        let core = runner.testbed.cpu_client;
        let launcher = runner.commands().pinned(core);
        match Recorder::start(runner.testbed.sampler, launcher, core, self.server.pid(), &file) {
            Ok(recorder) => self.recorder = Some(recorder),
            Err(error) => {
                let skipped = || Outcome::Skipped { reason: error.to_string() }.into();
                return Err(self.visitors.iter().map(|_| skipped()).collect());
            }
        }
        Ok(())
    }

    fn has_enough(&self, index: usize, slicing: Slicing, rounds: u32) -> bool {
        let is_enough = |it: &Visitor| slicing.is_enough(it.slices.len(), it.took, rounds);
        self.visitors[index].as_ref().is_ok_and(is_enough)
    }

    /// Loads the server for one slice. A client that fails leaves, and the others go on if the
    /// server lives.
    fn visit(&mut self, index: usize, runner: &TrialRunner<'_>, repetitions: &mut usize) {
        let Ok(visitor) = &mut self.visitors[index] else { return };
        let Err(failure) = visitor.visit(&self.server, runner, repetitions) else { return };
        let spent = visitor.cpu.spent();
        let is_needed = self.visitors.iter().filter(|visitor| visitor.is_ok()).count() > 1;
        let judgement = self.judge(failure, spent, is_needed, runner);
        for (other, state) in self.visitors.iter_mut().enumerate() {
            if other == index || (judgement.server_died && state.is_ok()) {
                *state = Err(Box::new(judgement.clone().into()));
            }
        }
    }

    fn finish(mut self, runner: &TrialRunner<'_>) -> Vec<TrialResult> {
        let after = SchedSnapshot::read(self.server.pid()).ok();
        // Waits of the whole launch are those of a client only if no other visited the server.
        let threads = self.threads.take().filter(|_| self.visitors.len() == 1);
        let sched_stats = threads.zip(after).map(|(before, after)| after.since(&before));
        let recording = self.recorder.take().map(end);
        // The file of a program that was replaced is found through its process. An interpreter
        // writes the last names of its functions at its end.
        let (early, late) =
            if self.names.is_some() { (None, recording) } else { (recording, None) };
        let early = early.map(profile);
        let socket = accepted_socket(&self.server);
        let states = std::mem::take(&mut self.visitors);
        let is_needed = states.len() > 1;
        let mut results = Vec::new();
        for state in states {
            let cpu = CpuMeter::start(self.server.pid());
            let finished = state.and_then(|visitor| {
                visitor.finish(runner).map_err(|failure| {
                    Box::new(self.judge(failure, cpu.spent(), is_needed, runner).into())
                })
            });
            results.push(finished);
        }
        let is_lost = results.iter().all(Result::is_err);
        let stopped =
            if is_lost { Ok(()) } else { self.server.stop().map_err(failure::not_stopped) };
        let profile = early.or_else(|| late.map(profile));
        if is_lost {
            return results.into_iter().map(|result| *result.unwrap_or_else(|it| it)).collect();
        }
        let report: Option<ServerReport> = self.report.read();
        let complete = |result: Box<TrialResult>| match (&stopped, &profile) {
            (Err(judgement), _) => judgement.clone().into(),
            (Ok(()), Some(Err(reason))) => Outcome::Skipped { reason: reason.clone() }.into(),
            (Ok(()), profile) => TrialResult {
                profile: profile.clone().and_then(Result::ok),
                server: report.clone(),
                socket: socket.clone(),
                machine: MachineFacts { sched_stats, ..result.machine },
                ..*result
            },
        };
        results.into_iter().map(|result| result.map_or_else(|failed| *failed, complete)).collect()
    }

    fn has_visitors(&self) -> bool {
        self.visitors.iter().any(Result::is_ok)
    }

    /// Judges a client that failed after the server `spent` time on its CPU. Ends the server unless
    /// another client needs it.
    fn judge(
        &mut self,
        failure: Failure,
        spent: Duration,
        is_needed: bool,
        runner: &TrialRunner<'_>,
    ) -> Judgement {
        let left = self.server.abandon(is_needed);
        failure::not_loaded(left, failure, spent, runner.plan.budget)
    }
}

impl Visitor {
    fn start(
        runner: &TrialRunner<'_>,
        spec: &TrialSpec,
        client: Client,
        number: usize,
    ) -> Result<Visitor, Failure> {
        let mut spec = spec.clone();
        let pid = spec.load.target().pid.expect("the runner started the server");
        runner.commands().in_slices(&mut spec.load, client);
        let load = Load::start(runner, &spec, client, number)?;
        let cpu = CpuMeter::start(pid);
        let (slices, took) = (Vec::new(), Duration::ZERO);
        Ok(Visitor { spec, load, cpu, slices, took, disturbance: None })
    }

    /// Loads the server for one slice, and again while `repetitions` last and others disturb it.
    fn visit(
        &mut self,
        server: &Server,
        runner: &TrialRunner<'_>,
        repetitions: &mut usize,
    ) -> Result<(), Failure> {
        loop {
            let reference_work_ns = core_speed::reference_work_ns(runner.testbed.cpu_server);
            self.cpu = CpuMeter::start(server.pid());
            let (snapshot, start) = (MachineSnapshot::read(), Instant::now());
            let slice = self.load.slice(runner)?;
            self.took += start.elapsed();
            let disturbance = snapshot.and_then(MachineSnapshot::until_now);
            let is_disturbed = !runner.testbed.shares_core()
                && disturbance.is_some_and(|found| validity::disturbed(&found, 0).is_some());
            if is_disturbed && *repetitions > 0 {
                *repetitions -= 1;
                continue;
            }
            self.disturbance = disturbance.map(|found| found.plus(self.disturbance));
            self.slices.push(Slice { reference_work_ns, is_disturbed, ..slice });
            return Ok(());
        }
    }

    /// Ends the load. The facts of the server are not known yet.
    fn finish(self, runner: &TrialRunner<'_>) -> Result<Box<TrialResult>, Failure> {
        let Visitor { spec, load, slices, disturbance, .. } = self;
        let measured = Measurement { slices, ..load.finish(runner)? };
        let reference = |slice: Option<&Slice>| slice?.reference_work_ns;
        let (first, last) = (measured.slices.first(), measured.slices.last());
        let reference_work_ns = reference(first).zip(reference(last)).map(<[u64; 2]>::from);
        let machine = MachineFacts { disturbance, sched_stats: None, reference_work_ns };
        let outcome = Outcome::Measured(Box::new(measured));
        let spec = Some(Box::new(spec));
        Ok(Box::new(TrialResult { outcome, machine, spec, ..TrialResult::default() }))
    }
}

impl Load {
    fn start(
        runner: &TrialRunner<'_>,
        spec: &TrialSpec,
        client: Client,
        number: usize,
    ) -> Result<Load, Failure> {
        let commands = runner.commands();
        let body = runner.testbed.out.join(format!("request-{number}-{}", client.name()));
        match ForeignLoad::start(client, &commands, &spec.load, body, runner.stop) {
            Some(load) => load.map(|load| Load::Foreign(Box::new(load))),
            None => {
                let (mut command, lines) = commands.load(spec)?;
                let load = SlicedLoad::start(&mut command, lines, runner.plan.budget, runner.stop)?;
                Ok(Load::Own(load))
            }
        }
    }

    fn slice(&mut self, runner: &TrialRunner<'_>) -> Result<Slice, Failure> {
        match self {
            Load::Own(load) => parse(LOAD, &load.slice(runner.plan.budget, runner.stop)?),
            Load::Foreign(load) => load.slice(&runner.commands(), runner.stop),
        }
    }

    fn finish(self, runner: &TrialRunner<'_>) -> Result<Measurement, Failure> {
        match self {
            Load::Own(load) => parse(LOAD, &load.finish(runner.plan.budget, runner.stop)?),
            Load::Foreign(load) => Ok(load.finish()),
        }
    }
}

/// Ends the recording of a server.
fn end(recorder: Recorder) -> Result<PathBuf, String> {
    recorder.stop().map_err(|error| error.to_string())
}

/// Attributes the samples of a recording, and removes its file.
fn profile(recording: Result<PathBuf, String>) -> Result<Box<Profile>, String> {
    let file = recording?;
    let profile = Profile::read(&file).map_err(|error| error.to_string());
    let _ = std::fs::remove_file(&file);
    Ok(Box::new(profile?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_with_fewer_rounds_visits_all_its_servers_in_the_same_ones() {
        let all = vec![(0, 0, 6), (0, 1, 2), (1, 0, 6), (1, 1, 2)];
        let mut visits = Visits { all, rounds: 6, random: Pcg64::seed_from_u64(1) };
        assert_eq!(visits.slices(), 16);
        let due: Vec<Vec<(usize, usize, u32)>> = (0..6).map(|round| visits.due(round)).collect();
        let of = |client: usize| -> Vec<usize> {
            let count =
                |due: &Vec<(usize, usize, u32)>| due.iter().filter(|it| it.1 == client).count();
            due.iter().map(count).collect()
        };
        assert_eq!((of(0), of(1)), (vec![2; 6], vec![0, 0, 2, 0, 0, 2]));
        assert!(due.windows(2).any(|pair| pair[0] != pair[1]), "the order changes");
    }
}
