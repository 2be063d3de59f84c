//! Sequences of the events of a connection, with time, for the server halves.
//!
//! An input begins with a script; the rest are the bytes of the peer. [`Session`] drives a machine
//! by the contract of [`ndecho::wire::machine`], as the drivers do, and checks these laws:
//!
//! - An open machine always has a deadline, unless it waits for a job, and [`Machine::expire`] at
//!   that time ends the machine or moves the deadline into the future. So a peer that falls silent
//!   is given up.
//! - A machine that has ended, with jobs that wait, run or have ended, leaves nothing behind.
//! - The output is bounded by the input ([`OUTPUT`]).
//! - A finished machine has no deadline; an end or a retirement finishes it.
//! - Memory is bounded by the input ([`crate::memory`]). When everything is dropped, the accounts
//!   of the connection and of its worker are zero, and no memory is left.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ndecho::wire::h1::{DateClock, H1};
use ndecho::wire::h2::H2;
use ndecho::wire::raw::Raw;
use ndecho::wire::{
    Batch, Charge, Context, Job, Limits, Loan, Machine, MemoryBudget, Outbox, Pool, WireError,
    WorkerCounts,
};

use crate::input::HELLO;
use crate::memory::{Allowance, Meter};
use crate::script::{Script, Setup, Step};
use crate::streams::Streams;

/// Memory of an HTTP/1.1 or raw connection.
///
/// The base has buffers of 4 KiB for the output, a head and an answer, and that of 64 KiB for which
/// a long body asks after its first 4 KiB, twice while it grows. A pipelined request of 23 bytes is
/// refused by a response of 180, which is 8 for each byte, and buffers double.
const PLAIN: Allowance = Allowance { base: 160 * 1024, per_byte: 16 };

/// Memory of an HTTP/2 connection.
///
/// A stream is opened by 13 bytes, and takes about 500 in a table that doubles. A message to a call
/// that streams may make 21 bytes of response for each byte ([`Streams`]), in a buffer that
/// doubles.
const STREAMED: Allowance = Allowance { base: 160 * 1024, per_byte: 100 };

/// Output for the bytes received. The shortest request is 14 bytes long, as an indexed header block
/// and an empty message, and its refusal has a text of up to 200 bytes.
const OUTPUT: Allowance = Allowance { base: 2000, per_byte: 40 };

/// Bytes of a [`Step::Fill`]. They are no HTTP, and complete no frame.
static FILL: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// Longest wait of a client that has not read all output. A driver gives it up then.
const SEND_WAIT_MAX: Duration = Duration::from_secs(30);

/// Deadlines that may pass within one wait: a hundred seconds of a connection that drains.
const DEADLINES_MAX: usize = 2000;

/// Memory that the worker may hold, and the part of it for one connection.
const WORKER_BYTES_MAX: usize = 64 << 20;
const CONNECTION_BYTES_MAX: usize = 512 * 1024;

/// Change of memory that a worker tells its process at once, a few times over.
const PROBE_BYTES: usize = 1 << 20;

/// Checks length-prefixed frames.
pub fn raw_events(data: &[u8]) {
    check(data, PLAIN, b"", Raw::new);
}

/// Checks HTTP/1.1.
pub fn h1_events(data: &[u8]) {
    let clock = || DateClock::new(Instant::now(), Duration::from_secs(784_111_777));
    check(data, PLAIN, b"", |handler, limits| H1::new(handler, limits, clock()));
}

/// Checks HTTP/2, mostly after the first bytes of the client.
pub fn h2_events(data: &[u8]) {
    check(data, STREAMED, HELLO, H2::new);
}

fn check<M: Machine>(
    data: &[u8],
    allowance: Allowance,
    hello: &[u8],
    machine: impl FnOnce(Streams, Rc<Limits>) -> M,
) {
    // The first use of these counts allocates for good.
    WorkerCounts::unread();
    let script = Script::read(data);
    let mut meter = Meter::new(allowance);
    let mut session = None;
    meter.run(|| {
        let limits = Rc::new(limits(&script.setup));
        let handler = Streams { has_jobs: script.setup.has_jobs };
        let session = session.insert(Session::new(machine(handler, limits), &script));
        session.call(|machine, cx| machine.open(cx));
        if !script.setup.has_no_hello {
            session.receive(hello);
        }
        session.received
    });
    let Some(mut session) = session else { return };
    for step in script.steps() {
        meter.run(|| {
            session.step(step);
            session.received
        });
    }
    meter.run(|| {
        session.finish();
        session.received
    });
    let received = session.received;
    meter.run(|| {
        session.leave();
        received
    });
    meter.assert_empty();
}

fn limits(setup: &Setup) -> Limits {
    let usual = Limits::default();
    if !setup.has_small_limits {
        return usual;
    }
    Limits { body_bytes_max: 2000, head_bytes_max: 600, head_fields_max: 12, ..usual }
}

/// Machine with a driver that follows a script.
struct Session<'a, M> {
    machine: M,
    setup: Setup,
    /// Bytes of the peer that are still to come.
    wire: &'a [u8],
    out: Outbox,
    batch: Batch,
    budget: Arc<MemoryBudget>,
    worker: Pool,
    pool: Pool,
    /// Memory of other connections of the worker.
    pressure: Charge,
    now: Instant,
    loan: Option<Loan>,
    /// Jobs that have not run.
    jobs: VecDeque<Job>,
    is_open: bool,
    is_draining: bool,
    /// The peer has ended its side.
    has_ended: bool,
    /// Time since which too much output is unsent.
    paused: Option<Instant>,
    received: usize,
    sent: usize,
}

impl<'a, M: Machine> Session<'a, M> {
    fn new(machine: M, script: &Script<'a>) -> Session<'a, M> {
        let budget = Arc::new(MemoryBudget::new(WORKER_BYTES_MAX, CONNECTION_BYTES_MAX, 1));
        let worker = Pool::within(Arc::clone(&budget), WorkerCounts::unread());
        let (pool, pressure) = (worker.for_connection(), worker.for_connection().charge());
        Session {
            machine,
            setup: script.setup,
            wire: script.wire,
            out: Outbox::default(),
            batch: Batch::default(),
            budget,
            worker,
            pool,
            pressure,
            now: Instant::now(),
            loan: None,
            jobs: VecDeque::new(),
            is_open: true,
            is_draining: false,
            has_ended: false,
            paused: None,
            received: 0,
            sent: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Receive(count) => self.receive_from_wire(count),
            Step::Fill(count) => self.receive(&FILL[..count.min(FILL.len())]),
            Step::Repay => self.repay_and_ask(),
            Step::Send(count) => self.send(count),
            Step::Wait(time) => self.wait_until(self.now + time),
            Step::Expire(late) => self.expire_late(late),
            Step::Pause(time) if self.is_open => {
                self.now += time;
                self.machine.paused(time);
            }
            Step::End => self.end(),
            Step::Drain => self.drain(),
            Step::Follow(follows) if self.is_open && self.is_draining => {
                self.machine.input_follows(follows);
            }
            Step::EndJob(which) => self.end_job(which),
            Step::Retire => self.retire(),
            Step::Restrict if self.is_open => self.machine.restrict(),
            Step::Pause(_) | Step::Follow(_) | Step::Restrict => {}
            Step::Trim => self.worker.trim(),
            Step::Squeeze(percent) => {
                self.pressure.set(WORKER_BYTES_MAX / 100 * percent);
                self.pool.refresh();
            }
        }
    }

    /// Does what a driver does around each call of the machine, and checks the laws of its state.
    fn call(&mut self, work: impl FnOnce(&mut M, &mut Context<'_>) -> Result<(), WireError>) {
        assert!(self.is_open, "nothing more is required of a machine that has ended");
        let mut cx = Context { out: &mut self.out, pool: &self.pool, now: self.now };
        let failed = work(&mut self.machine, &mut cx).is_err();
        while let Some(job) = self.out.take_job() {
            self.jobs.push_back(job);
        }
        if failed || self.machine.finished() {
            self.is_open = false;
            self.loan = None;
        }
        if self.machine.finished() {
            assert_eq!(self.machine.deadline(), None, "a finished machine waits for nothing");
        }
        if self.is_open && self.jobs.is_empty() {
            assert!(!self.machine.is_working(), "a machine waits for a job that has ended");
            assert!(self.machine.deadline().is_some(), "a silent peer is never given up");
            assert!(!self.has_ended, "a machine goes on after its peer has ended");
        }
        let (made, most) = (self.sent + self.pending(), OUTPUT.bytes_max(self.received));
        assert!(made <= most, "{made} bytes of output for {} of input", self.received);
        self.limit_output();
    }

    /// Stops to read above the limit of unsent bytes, and reads on from half of it.
    fn limit_output(&mut self) {
        let most = self.setup.outbox_bytes_max;
        match self.paused {
            None if self.pending() > most => self.paused = Some(self.now),
            Some(since) if self.pending() <= most / 2 => {
                self.paused = None;
                self.machine.paused(self.now - since);
            }
            _ => {}
        }
    }

    fn pending(&self) -> usize {
        self.out.len() + self.batch.len()
    }

    fn receive_from_wire(&mut self, count: usize) {
        if self.is_open && !self.has_ended && self.paused.is_none() {
            let (now, later) = self.wire.split_at(count.min(self.wire.len()));
            self.wire = later;
            self.receive(now);
        }
    }

    fn receive(&mut self, mut input: &[u8]) {
        if self.has_ended {
            return;
        }
        while !input.is_empty() && self.is_open && self.paused.is_none() {
            let Some(mut loan) = self.loan.take() else {
                self.received += input.len();
                self.call(|machine, cx| machine.receive(input, cx));
                return self.ask_for_loan();
            };
            let (now, later) = input.split_at(input.len().min(loan.want));
            loan.buffer.extend_from_slice(now);
            loan.want -= now.len();
            self.received += now.len();
            input = later;
            let is_full = loan.want == 0;
            self.loan = Some(loan);
            if is_full {
                self.repay_and_ask();
            }
        }
    }

    fn repay(&mut self) {
        if let Some(loan) = self.loan.take() {
            self.call(|machine, cx| machine.repay(loan.buffer, cx));
        }
    }

    fn repay_and_ask(&mut self) {
        self.repay();
        self.ask_for_loan();
    }

    fn ask_for_loan(&mut self) {
        if !self.is_open || self.loan.is_some() {
            return;
        }
        self.loan = self.machine.lend(&self.pool);
        if let Some(Loan { buffer, want }) = &self.loan {
            assert!(*want > 0 && buffer.capacity() - buffer.len() >= *want, "no room for a loan");
        }
    }

    /// Sends `count` bytes; the machine learns when all has been sent.
    fn send(&mut self, count: usize) {
        if self.pending() == 0 {
            return;
        }
        let mut left = count;
        while left > 0 && self.pending() > 0 {
            if self.batch.is_empty() {
                self.out.batch_sent();
                self.out.take(&mut self.batch);
            }
            let mut slots = [IoSlice::new(&[]); 2];
            let filled = self.batch.slices(&mut slots);
            let offered: usize = slots[..filled].iter().map(|slot| slot.len()).sum();
            assert!(offered > 0, "a send would make no progress");
            let sent = offered.min(left);
            self.batch.advance(sent);
            (self.sent, left) = (self.sent + sent, left - sent);
        }
        self.limit_output();
        if self.pending() == 0 && self.is_open {
            self.call(|machine, cx| machine.flushed(cx));
            self.ask_for_loan();
        }
    }

    /// Lets the time pass, and the machine expire at each of its deadlines.
    fn wait_until(&mut self, mut until: Instant) {
        if self.pending() > 0 {
            until = until.min(self.now + SEND_WAIT_MAX);
        }
        let mut deadlines = 0;
        while let Some(at) = self.deadline().filter(|at| *at <= until) {
            self.expire(at);
            deadlines += 1;
            assert!(deadlines < DEADLINES_MAX, "a machine that is not late spins");
        }
        self.now = self.now.max(until);
    }

    fn expire_late(&mut self, late: Duration) {
        if let Some(at) = self.deadline() {
            self.expire(at + late);
        }
    }

    /// Returns the deadline of the machine while input is read.
    fn deadline(&self) -> Option<Instant> {
        if self.is_open && self.paused.is_none() { self.machine.deadline() } else { None }
    }

    fn expire(&mut self, at: Instant) {
        self.now = self.now.max(at);
        self.repay();
        if self.deadline().is_some_and(|at| at <= self.now) {
            self.call(|machine, cx| machine.expire(cx));
            let due = self.deadline().is_some_and(|at| at <= self.now);
            assert!(!due, "a deadline stays in the past");
        }
        self.ask_for_loan();
    }

    fn end(&mut self) {
        if !self.is_open || self.has_ended {
            return;
        }
        self.repay();
        if self.is_open {
            self.has_ended = true;
            self.call(|machine, cx| machine.end(cx));
            self.ask_for_loan();
        }
    }

    /// Runs a job. The machine takes its result if it is still open.
    fn end_job(&mut self, which: usize) {
        let Some(job) = self.jobs.remove(which % self.jobs.len().max(1)) else { return };
        job.run();
        if self.is_open {
            self.call(|machine, cx| machine.jobs_ended(cx));
            self.ask_for_loan();
        }
    }

    fn drain(&mut self) {
        if self.is_open && !std::mem::replace(&mut self.is_draining, true) {
            self.call(|machine, cx| {
                machine.drain(cx);
                Ok(())
            });
            self.ask_for_loan();
        }
    }

    /// Retires the connection if it is idle.
    fn retire(&mut self) {
        if self.is_open && self.pending() == 0 && self.machine.idle_since().is_some() {
            self.call(|machine, cx| {
                machine.retire(cx);
                Ok(())
            });
            assert!(!self.is_open, "a retired machine goes on");
        }
    }

    /// Lets the peer send what is left, and then end or fall silent.
    fn finish(&mut self) {
        self.send(usize::MAX);
        self.receive_from_wire(usize::MAX);
        if !self.setup.falls_silent {
            self.end();
        }
        let mut deadlines = 0;
        while self.is_open {
            self.end_job(0);
            self.send(usize::MAX);
            self.expire_late(Duration::ZERO);
            deadlines += 1;
            assert!(deadlines < DEADLINES_MAX, "a peer that is silent is not given up");
        }
        self.send(usize::MAX);
    }

    /// Drops everything, and checks that the accounts say so.
    fn leave(self) {
        let Session { machine, out, batch, budget, worker, pool, mut pressure, loan, jobs, .. } =
            self;
        drop((machine, out, batch, loan));
        jobs.into_iter().for_each(Job::run);
        assert_eq!(pool.held_bytes(), 0, "bytes stay charged to a connection that is gone");
        pressure.set(0);
        worker.trim();
        worker.trim();
        assert_eq!(worker.idle_bytes(), 0, "two trims free all idle buffers");
        pressure.set(PROBE_BYTES);
        assert_eq!(budget.bytes(), PROBE_BYTES, "bytes stay charged to the worker");
    }
}
