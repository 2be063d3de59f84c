//! Simulated kernel: short queues, an own list for what does not fit, and time that waits for
//! nobody.
//!
//! ```text
//! push ─▶ queue of 4 ─enter▶ operations in flight ─work▶ completions: queue of 8 ─▶ own list
//!                              ▲ peers, time
//! ```
//! An enter may fail, take a part of the entries, or do a part of the work. A wait lets time pass
//! until something completes. Without a completion in sight, a wait without an end is a violation.
#![allow(unsafe_code)] // Reads and writes the memory of operations, like a kernel.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::squeue;

use super::super::super::jobs::Bell;
use super::super::super::kernel::{Cqe, Kernel, QueueState};
use super::buffer_ring::BufferRing;
use super::chance::Fault;
use super::entry::{Action, Operation};
use super::jobs::SimRunner;
use super::memory;
use super::operations::F_BUFFER;
use super::world::{SimListener, SimSocket, World};
use crate::driver::SHED_INTERVAL;
use crate::driver::jobs::JobRunner;
use crate::sys::socket::{SocketOptions, Unread};

const SUBMISSIONS: usize = 4;
const COMPLETIONS: usize = 8;

/// Most calls of a run without a wait for a place, far more than any needs. A slow peer takes a
/// long response in a thousand steps, and a worker that polls makes some hundred calls for each.
const CALLS_MAX: u64 = 1_000_000;

/// Most calls in a second in which a socket waits for a place. The worker looks for idle
/// connections each [`SHED_INTERVAL`], and polls before each sleep.
const WAITING_CALLS_MAX: u64 = 500 * 1000 / SHED_INTERVAL.as_millis() as u64;

/// Longest time of an enter, in which other programs use the core.
const ENTER_NS_MAX: usize = 2_000_000;

/// Content of memory that a receive may write, before it does.
const UNWRITTEN: u8 = 0xA5;

pub(in super::super) struct SimKernel {
    pub(super) world: Rc<RefCell<World>>,
    entries: VecDeque<(u64, Operation)>,
    /// Numbers of operations for which the queue had no room, by their `user_data`.
    refused: BTreeMap<u64, u64>,
    pub(super) flying: Vec<Flying>,
    queue: VecDeque<Completed>,
    /// Completions for which the queue had no room.
    overflow: VecDeque<Completed>,
    pub(super) buffers: Option<BufferRing>,
    connections_max: usize,
    calls: u64,
    /// Time of the last call.
    called_at: u64,
    /// Time in which a socket waited for a place.
    waited_ns: u64,
    operations: u64,
}

pub(super) struct Flying {
    /// Number among all operations.
    pub(super) id: u64,
    pub(super) operation: Operation,
    /// Bytes moved so far.
    pub(super) done: usize,
    /// Bytes of a send, or of the memory of a receive, as they must be now.
    pub(super) seen: Vec<u8>,
    /// Takes no notice of cancels.
    pub(super) is_running: bool,
}

struct Completed {
    cqe: Cqe,
    /// Operation that is over once this is delivered.
    last_of: Option<u64>,
}

impl SimKernel {
    pub(super) fn new(world: &Rc<RefCell<World>>, connections_max: usize) -> SimKernel {
        SimKernel {
            world: Rc::clone(world),
            entries: VecDeque::new(),
            refused: BTreeMap::new(),
            flying: Vec::new(),
            queue: VecDeque::new(),
            overflow: VecDeque::new(),
            buffers: None,
            connections_max,
            calls: 0,
            called_at: 0,
            waited_ns: 0,
            operations: 0,
        }
    }

    pub(super) fn strikes(&self, fault: Fault) -> bool {
        self.world.borrow_mut().chance.strikes(fault)
    }

    pub(super) fn below(&self, end: usize) -> usize {
        self.world.borrow_mut().chance.below(end)
    }

    pub(super) fn up_to(&self, most: usize) -> usize {
        1 + self.below(most)
    }

    pub(super) fn violation(&self, text: String) {
        self.world.borrow_mut().violation(text);
    }

    fn count_call(&mut self) {
        let world = self.world.borrow();
        if world.has_waiting() {
            self.waited_ns += world.time - self.called_at;
        }
        self.called_at = world.time;
        let calls_max = CALLS_MAX + self.waited_ns * WAITING_CALLS_MAX / 1_000_000_000;
        self.calls += 1;
        assert!(self.calls < calls_max, "the run does not come to an end");
    }

    /// Counts the call, and lets it fail.
    fn begin_enter(&mut self) -> io::Result<()> {
        self.count_call();
        if self.strikes(Fault::SlowEnter) {
            let time = self.up_to(ENTER_NS_MAX) as u64;
            self.world.borrow_mut().time += time;
        }
        self.world.borrow_mut().advance();
        let faults = [
            (Fault::EnterAgain, libc::EAGAIN),
            (Fault::EnterBusy, libc::EBUSY),
            (Fault::EnterInterrupted, libc::EINTR),
        ];
        for (fault, code) in faults {
            if self.strikes(fault) {
                return Err(io::Error::from_raw_os_error(code));
            }
        }
        Ok(())
    }

    /// Takes entries in order; returns false if some are left.
    fn take_entries(&mut self) -> bool {
        let is_short = self.entries.len() > 1 && self.strikes(Fault::ShortSubmit);
        let count = if is_short { self.up_to(self.entries.len() - 1) } else { self.entries.len() };
        for _ in 0..count {
            let (id, operation) = self.entries.pop_front().expect("there are as many");
            self.start(id, operation);
        }
        !is_short
    }

    /// Gives an operation its number, and guards its memory from now on.
    fn guard(&mut self, operation: &Operation) -> u64 {
        let id = self.operations;
        self.operations += 1;
        operation.memory().into_iter().for_each(|range| memory::pin(range, id));
        id
    }

    fn start(&mut self, id: u64, operation: Operation) {
        self.world.borrow_mut().note([1, operation.user_data, operation.memory().len() as u64]);
        self.check_new(&operation);
        let mut seen = operation.bytes();
        if let Action::ReceiveInto { to, len } = operation.action {
            // SAFETY: by the contract of `push`, `to` has room for `len` bytes.
            unsafe { (to as *mut u8).write_bytes(UNWRITTEN, len) };
            seen = vec![UNWRITTEN; len];
        }
        *self.world.borrow_mut().in_flight.entry(operation.fd).or_default() += 1;
        self.flying.push(Flying { id, operation, done: 0, seen, is_running: false });
        let at = self.flying.len() - 1;
        let must_start = matches!(operation.action, Action::Cancel { .. }) || operation.is_quiet;
        if must_start || self.is_ready(at) && !self.strikes(Fault::LateStart) {
            self.step(at);
        }
    }

    fn check_new(&mut self, operation: &Operation) {
        let is_cancel = matches!(operation.action, Action::Cancel { .. });
        let twin = self
            .flying
            .iter()
            .find(|other| other.operation.user_data == operation.user_data && !is_cancel);
        if let Some(twin) = twin {
            let text = format!("{operation:?} while {:?} is in flight", twin.operation);
            self.violation(text);
        }
        let is_receive =
            matches!(operation.action, Action::Receive { .. } | Action::ReceiveInto { .. });
        if !is_receive {
            return;
        }
        let world = &mut *self.world.borrow_mut();
        let time = world.time;
        if let Some(line) = world.line(operation.fd) {
            line.admitted_at.get_or_insert(time);
        }
        let sockets = world.sockets.values();
        let served = sockets.filter(|&&number| world.peers[number].line.admitted_at.is_some());
        let count = served.count();
        if count > self.connections_max {
            world.violation(format!("{count} connections, at most {}", self.connections_max));
        }
    }

    pub(super) fn is_ready(&self, at: usize) -> bool {
        let Flying { operation, .. } = &self.flying[at];
        let world = &mut *self.world.borrow_mut();
        match operation.action {
            Action::Accept { .. } => !world.backlog.is_empty(),
            Action::Watch => world.is_readable(operation.fd),
            Action::Cancel { .. } => true,
            Action::Receive { .. } | Action::ReceiveInto { .. } => {
                world.line(operation.fd).is_none_or(|line| {
                    !line.inbound.is_empty()
                        || line.peer_has_ended
                        || line.peer_has_reset
                        || line.server_reads_no_more
                })
            }
            Action::Send { .. } | Action::SendMessage { .. } => {
                world.line(operation.fd).is_none_or(|line| {
                    line.outbound.len() < line.room || line.peer_has_reset || line.server_has_ended
                })
            }
        }
    }

    fn has_work(&self) -> bool {
        (0..self.flying.len()).any(|at| self.is_ready(at))
    }

    /// Advances operations that can advance, in any order.
    fn work(&mut self) {
        let is_bounded = self.strikes(Fault::BoundedWork);
        let most = if is_bounded { self.up_to(3) } else { 20 };
        for _ in 0..most {
            let ready: Vec<usize> =
                (0..self.flying.len()).filter(|&at| self.is_ready(at)).collect();
            if ready.is_empty() {
                return;
            }
            self.step(ready[self.below(ready.len())]);
        }
    }

    /// Moves completions from the own list to the queue.
    fn flush(&mut self) {
        while self.queue.len() < COMPLETIONS
            && let Some(completed) = self.overflow.pop_front()
        {
            self.queue.push_back(completed);
        }
    }

    pub(super) fn post(&mut self, user_data: u64, result: i32, flags: u32, last_of: Option<u64>) {
        let completed = Completed { cqe: Cqe { user_data, result, flags }, last_of };
        if self.queue.len() < COMPLETIONS && self.overflow.is_empty() {
            self.queue.push_back(completed);
        } else {
            self.world.borrow_mut().chance.note(Fault::Overflow);
            self.overflow.push_back(completed);
        }
    }

    /// Ends the operation at `at`.
    pub(super) fn end(&mut self, at: usize, result: i32, flags: u32) {
        let Flying { id, operation, .. } = self.flying.swap_remove(at);
        if let Some(count) = self.world.borrow_mut().in_flight.get_mut(&operation.fd) {
            *count -= 1;
        }
        let len = match operation.action {
            Action::Send { len, .. } => len,
            Action::SendMessage { .. } => operation.bytes().len(),
            _ => 0,
        };
        if operation.is_quiet && result == len as i32 {
            memory::unpin(id);
        } else {
            self.post(operation.user_data, result, flags, Some(id));
        }
    }

    /// Lets time pass until there is a completion.
    fn wait(&mut self, end: Option<u64>) -> io::Result<()> {
        loop {
            self.work();
            self.flush();
            if !self.queue.is_empty() {
                return Ok(());
            }
            if self.strikes(Fault::EnterInterrupted) {
                return Err(io::Error::from_raw_os_error(libc::EINTR));
            }
            if self.has_work() {
                continue;
            }
            let mut world = self.world.borrow_mut();
            let next = [world.next_event(), end].into_iter().flatten().min();
            let Some(next) = next else { panic!("the reactor waits for ever") };
            world.time = world.time.max(next);
            world.advance();
            if end.is_some_and(|end| end <= world.time) {
                drop(world);
                self.work();
                self.flush();
                let is_late = self.queue.is_empty();
                return if is_late {
                    Err(io::Error::from_raw_os_error(libc::ETIME))
                } else {
                    Ok(())
                };
            }
        }
    }
}

// SAFETY: the simulation keeps the promises: it writes what it counts, gives each buffer and
// descriptor out once, and forgets the memory of an operation when it posts the last completion.
unsafe impl Kernel for SimKernel {
    /// Few, so that they run out.
    const BUFFERS: u16 = 4;

    const BUFFER_BYTES: usize = 700;

    type Socket = SimSocket;

    type Listener = SimListener;

    unsafe fn register_buffers(&mut self, ring: u64, count: u16, _group: u16) -> io::Result<()> {
        self.buffers = Some(BufferRing::new(ring as usize, count));
        Ok(())
    }

    fn unregister_buffers(&mut self, _group: u16) -> io::Result<()> {
        if let Some(buffers) = self.buffers.take() {
            let completed = self.queue.iter().chain(&self.overflow);
            let posted = completed.filter(|completed| completed.cqe.flags & F_BUFFER != 0).count();
            let missing = buffers.missing() - posted;
            if missing > 0 {
                self.violation(format!("{missing} provided buffers did not come back"));
            }
        }
        Ok(())
    }

    unsafe fn push(&mut self, entry: &squeue::Entry) -> bool {
        let has_room = self.entries.len() < SUBMISSIONS;
        if has_room {
            let operation = Operation::read(entry);
            let known = self.refused.remove(&operation.user_data);
            let id = known.unwrap_or_else(|| self.guard(&operation));
            self.entries.push_back((id, operation));
        }
        has_room
    }

    fn note_refused(&mut self, entry: &squeue::Entry) {
        let operation = Operation::read(entry);
        let id = self.guard(&operation);
        self.refused.insert(operation.user_data, id);
    }

    fn submit(&mut self) -> io::Result<usize> {
        let QueueState { has_task_work, has_overflow, .. } = self.state();
        self.begin_enter()?;
        let before = self.entries.len();
        self.take_entries();
        if has_task_work || has_overflow {
            self.flush();
            self.work();
        }
        Ok(before - self.entries.len())
    }

    fn submit_and_wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        self.begin_enter()?;
        let before = self.entries.len();
        let took_all = self.take_entries();
        let taken = before - self.entries.len();
        if took_all {
            let time = self.world.borrow().time;
            let end = timeout.map(|timeout| time.saturating_add(timeout.as_nanos() as u64));
            let waited = self.wait(end);
            if taken == 0 {
                waited?;
            }
        }
        Ok(taken)
    }

    fn state(&mut self) -> QueueState {
        self.count_call();
        self.world.borrow_mut().advance();
        QueueState {
            is_submitted: self.entries.is_empty(),
            has_task_work: self.has_work(),
            has_overflow: !self.overflow.is_empty(),
        }
    }

    fn completions(&mut self, mut each: impl FnMut(Cqe)) {
        for Completed { cqe, last_of } in std::mem::take(&mut self.queue) {
            last_of.into_iter().for_each(memory::unpin);
            let result = u64::from(cqe.result as u32);
            self.world.borrow_mut().note([2, cqe.user_data, result << 32 | u64::from(cqe.flags)]);
            each(cqe);
        }
    }

    fn now(&self) -> Instant {
        self.world.borrow_mut().look_at_clock()
    }

    fn has_multishot_accept(&self) -> bool {
        self.world.borrow().has_multishot_accept
    }

    fn bell(&self) -> Arc<dyn Bell> {
        Arc::clone(&self.world.borrow().jobs.bell) as _
    }

    fn job_runner(&self) -> Rc<dyn JobRunner> {
        Rc::new(SimRunner(Rc::clone(&self.world)))
    }

    unsafe fn socket(&self, fd: RawFd) -> SimSocket {
        SimSocket { fd, world: Rc::clone(&self.world) }
    }

    fn options(&self, _socket: &SimSocket) -> Option<SocketOptions> {
        None
    }

    fn shut_down(&self, socket: &SimSocket, how: Shutdown) {
        self.world.borrow_mut().shut_down(socket.fd, how);
    }

    fn unread(&self, socket: &SimSocket) -> Unread {
        let mut world = self.world.borrow_mut();
        let time = world.time;
        let Some(line) = world.line(socket.fd) else { return Unread::End };
        match line.inbound.is_empty() {
            false => Unread::Bytes,
            true if line.peer_has_ended || line.peer_has_reset => Unread::End,
            true => line.look_at_nothing(time),
        }
    }

    fn has_unsent(&self, socket: &SimSocket) -> bool {
        let mut world = self.world.borrow_mut();
        world.line(socket.fd).is_some_and(|line| !line.outbound.is_empty())
    }

    fn begins_with(&self, socket: &SimSocket, prefix: &[u8]) -> bool {
        let mut world = self.world.borrow_mut();
        world.line(socket.fd).is_some_and(|line| {
            line.inbound.len() >= prefix.len()
                && line.inbound.iter().zip(prefix).all(|(a, b)| a == b)
        })
    }

    /// Gives all peers one address, so that its limit is seen.
    fn peer_address(&self, _socket: &SimSocket) -> Option<IpAddr> {
        Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    fn backlog(&self, _listener: &SimListener) -> Vec<SimSocket> {
        let mut world = self.world.borrow_mut();
        let descriptors: Vec<RawFd> = std::iter::from_fn(|| world.accept()).collect();
        let world = &self.world;
        descriptors.into_iter().map(|fd| SimSocket { fd, world: Rc::clone(world) }).collect()
    }
}

impl Drop for SimKernel {
    fn drop(&mut self) {
        for Flying { operation, .. } in &self.flying {
            if !operation.memory().is_empty() {
                self.violation(format!("{operation:?} is left"));
            }
        }
    }
}
