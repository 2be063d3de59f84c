//! Loop of a worker. One system call per turn submits operations and waits. Then every changed
//! connection gets its next operations, among them one send for all output of the turn. If nothing
//! remains until the peer acts, that send has no completion: a request takes one system call.
//!
//! ```text
//!  ┌▶ wait ──▶ completions ──▶ deadlines ──▶ tasks ◀──▶ settle each changed connection ─┐
//!  └────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! The load generator gives it connected sockets by [`Reactor::adopt`] and calls [`Reactor::turn`].
//! The drop of a reactor cancels operations and waits for them, since the kernel may still write
//! into their buffers; without an answer the buffers are leaked.
#![allow(unsafe_code)] // Drops what the kernel may still use.

use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::acceptor::{Acceptor, Waiting};
use super::connection::RingConnection;
use super::core::Core;
use super::executor::Tasks;
use super::kernel::Kernel;
use super::linux::Linux;
use super::op::{Completion, Key, Kind, Op, Token};
use super::ring::Ring;
use super::slots::Slots;
use super::stream::{self, UringStream};
use super::timers::Due;
use crate::driver::addresses::{Addresses, Place};
use crate::driver::connection::Connection;
use crate::driver::planted_bugs::{PlantedBug, is_planted};
use crate::driver::{Connected, DriverError, LAG_MIN, Options, TRIM_INTERVAL, Urgent, nanoseconds};
use crate::wire::{Pool, WorkerCounts};

const QUIESCE_TIMEOUT: Duration = Duration::from_secs(2);

/// Never reused for another connection.
pub type ConnectionId = Key;

pub struct Reactor<K: Kernel = Linux> {
    pub(super) core: ManuallyDrop<Core<K>>,
    pub(super) connections: ManuallyDrop<Slots<RingConnection<K>>>,
    tasks: Tasks,
    pub(super) acceptors: Vec<Acceptor<K>>,
    pub(super) waiting: VecDeque<Waiting<K>>,
    /// Next look for idle connections, while sockets wait.
    pub(super) next_shed: Instant,
    pub(super) addresses: Addresses,
    pub(super) options: Options,
    pub(super) dirty: Vec<Key>,
    /// Scratch list.
    keys: Vec<Key>,
    completed: Vec<Completion>,
    pub(super) stopped: bool,
    next_trim: Instant,
    /// End of the last wait; `None` during one.
    busy_since: Option<Instant>,
}

impl Reactor<Linux> {
    pub fn new(options: Options) -> Result<Reactor<Linux>, DriverError> {
        Reactor::sharing(options, Pool::default())
    }

    pub fn sharing(options: Options, pool: Pool) -> Result<Reactor<Linux>, DriverError> {
        Ok(Reactor::on(Ring::open()?, options, pool))
    }
}

impl<K: Kernel> Reactor<K> {
    pub(super) fn on(ring: Ring<K>, options: Options, pool: Pool) -> Reactor<K> {
        let core = Core::new(ring, pool, options.counts);
        let tasks = Tasks::new(&core.executor);
        let next_trim = core.now + TRIM_INTERVAL;
        Reactor {
            core: ManuallyDrop::new(core),
            connections: ManuallyDrop::default(),
            tasks,
            acceptors: Vec::new(),
            waiting: VecDeque::new(),
            next_shed: next_trim,
            addresses: Addresses::new(options.address_connections_max),
            options,
            dirty: Vec::new(),
            keys: Vec::new(),
            completed: Vec::new(),
            stopped: false,
            next_trim,
            busy_since: None,
        }
    }

    /// Drives `machine` on a connected socket in blocking mode.
    pub fn adopt(
        &mut self,
        socket: K::Socket,
        machine: Box<dyn Connected>,
    ) -> Result<ConnectionId, DriverError> {
        self.insert(socket, None, None, |_| machine)
    }

    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Requests [`Connected::resume`] in the next turn, before it waits.
    pub fn resume(&mut self, id: ConnectionId) {
        self.core.executor.touch(id);
    }

    /// Closes a connection in the next turn, without a shutdown of its protocol.
    fn abort(&mut self, id: Key) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.abort();
            mark(&mut self.dirty, id, connection);
        }
    }

    pub fn counts(&self) -> &WorkerCounts {
        self.core.counts
    }

    /// Returns the numbers of things that are gone once every connection has closed.
    #[cfg(test)]
    pub(super) fn leftovers(&self) -> [(&'static str, usize); 5] {
        let executor = &self.core.executor;
        [
            ("connections", self.connections.len()),
            ("sockets without room", self.waiting.len()),
            ("deadlines", self.core.timers.len()),
            ("sleepers", usize::from(executor.next_sleeper().is_some())),
            ("tasks", self.tasks.len()),
        ]
    }

    /// Asserts that no task goes on in the next turn, and that no connection waits for a send that
    /// posts no completion, or has work that nobody has begun: such a wait might last until the
    /// peer gives up.
    #[cfg(test)]
    fn assert_may_sleep(&self) {
        assert!(!self.core.executor.has_deferred(), "a worker sleeps while a task can go on");
        for (_, connection) in self.connections.iter() {
            assert!(!connection.awaits_at_once(), "a worker sleeps while a quiet send is awaited");
            assert!(!connection.has_jobs(), "a worker sleeps while a job is not begun");
        }
    }

    /// Waits for events, at most until `until`, and handles them.
    pub fn turn(&mut self, until: Option<Instant>) -> Result<(), DriverError> {
        self.settle()?;
        let mut completed = std::mem::take(&mut self.completed);
        let (before, waits) = (self.core.now, !self.core.hurry);
        let waited = self.wait(until, &mut completed);
        waited.map_err(|source| DriverError::Io { what: "wait for the ring", source })?;
        self.core.now = self.now();
        if !waits {
            self.note_work(self.core.now - before);
        }
        self.busy_since.get_or_insert(self.core.now);
        for completion in completed.drain(..) {
            self.complete(completion)?;
        }
        self.completed = completed;
        self.expire();
        self.settle()
    }

    fn wait(
        &mut self,
        until: Option<Instant>,
        completed: &mut Vec<Completion>,
    ) -> std::io::Result<()> {
        let Core { ring, hurry, .. } = &mut *self.core;
        if *hurry {
            // Submitting completes these sends but posts no CQE, so poll instead of waiting.
            ring.look()?;
            ring.completions(completed);
            *hurry = ring.has_at_once();
            return Ok(());
        }
        // A job needs the core that a poll would use up.
        if !self.options.busy_poll.is_zero() && !self.core.executor.jobs.is_busy() {
            self.busy_poll(until, completed)?;
            if !completed.is_empty() || until.is_some_and(|until| until <= self.now()) {
                return Ok(());
            }
        }
        match self.timeout(until) {
            // A wait of zero time would still sleep, until a timer of the kernel wakes it.
            Some(Duration::ZERO) => self.core.ring.look()?,
            timeout => {
                #[cfg(test)]
                self.assert_may_sleep();
                self.core.ring.wait(timeout)?;
            }
        }
        self.core.ring.completions(completed);
        Ok(())
    }

    /// Polls until there are completions, at most for [`Options::busy_poll`] and until the next
    /// deadline. Idle time excludes the first poll, which submits, and the last one.
    fn busy_poll(
        &mut self,
        until: Option<Instant>,
        completed: &mut Vec<Completion>,
    ) -> std::io::Result<()> {
        let busy_poll = self.options.busy_poll;
        let longest = self.timeout(until).map_or(busy_poll, |timeout| timeout.min(busy_poll));
        let Core { ring, counts, .. } = &mut *self.core;
        ring.look()?;
        ring.completions(completed);
        let begun = ring.kernel.now();
        let end = begun + longest;
        let mut now = begun;
        while completed.is_empty() && now < end {
            std::hint::spin_loop();
            now = ring.kernel.now();
            ring.look()?;
            ring.completions(completed);
        }
        counts.busy_poll_idle_ns.add(nanoseconds(now - begun));
        Ok(())
    }

    pub(super) fn now(&self) -> Instant {
        self.core.ring.kernel.now()
    }

    /// Returns the time to wait, and counts the time since the last wait.
    fn timeout(&mut self, until: Option<Instant>) -> Option<Duration> {
        let now = self.now();
        if let Some(since) = self.busy_since.take() {
            self.core.counts.turns.add(1);
            self.core.counts.busy_ns.add(nanoseconds(now - since));
            self.note_work(now - self.core.now);
        }
        if self.core.executor.has_deferred() && !is_planted(PlantedBug::DeferredForgotten) {
            return Some(Duration::ZERO);
        }
        let trim = self.core.executor.pool.needs_trim().then_some(self.next_trim);
        let shed = (!self.waiting.is_empty()).then_some(self.next_shed);
        let nearest =
            [until, trim, shed, self.core.timers.next(), self.core.executor.next_sleeper()];
        let nearest = nearest.into_iter().flatten().min()?;
        Some(nearest.saturating_duration_since(now))
    }

    /// Leaves a long time of work out of all deadlines, as no peer was served in it.
    #[inline]
    fn note_work(&mut self, time: Duration) {
        if time >= LAG_MIN {
            self.lag(time);
        }
    }

    #[cold]
    fn lag(&mut self, time: Duration) {
        for key in self.connections.keys() {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.inner.lag(time);
            }
        }
    }

    fn complete(&mut self, completion: Completion) -> Result<(), DriverError> {
        let key = completion.token.key;
        match completion.token.kind {
            Kind::CancelAccept if completion.result == -libc::ENOENT => {
                // It has missed, so `listen` repeats it if it is still needed.
                self.acceptors[key.index as usize].cancelled = false;
            }
            Kind::CancelAccept => {}
            Kind::CancelReceive | Kind::CancelSend => {
                if completion.result < 0
                    && let Some(connection) = self.connections.get_mut(key)
                {
                    connection.cancelled(completion);
                    mark(&mut self.dirty, key, connection);
                }
            }
            Kind::Stop => self.stopped = true,
            Kind::Bell => {
                self.core.executor.jobs.rang();
                self.core.executor.end_jobs();
            }
            Kind::Accept => self.accepted(key.index as usize, completion)?,
            Kind::Receive | Kind::Send => {
                let Some(connection) = self.connections.get_mut(key) else {
                    assert!(is_planted(PlantedBug::ClosedInFlight), "it outlives its operations");
                    return Ok(());
                };
                if completion.token.kind == Kind::Receive {
                    connection.received(completion, &mut self.core);
                } else {
                    connection.sent(completion, &mut self.core);
                }
                mark(&mut self.dirty, key, connection);
            }
        }
        Ok(())
    }

    fn expire(&mut self) {
        let now = self.core.now;
        self.core.executor.tick(now);
        while let Some(due) = self.core.timers.pop(now) {
            match due {
                Due::Listener(_) if is_planted(PlantedBug::AcceptNotRepeated) => {}
                Due::Listener(number) => self.acceptors[number].paused = None,
                Due::Connection(key) => {
                    if let Some(connection) = self.connections.get_mut(key) {
                        connection.expire(key, &mut self.core);
                        mark(&mut self.dirty, key, connection);
                    }
                }
            }
        }
        if now >= self.next_trim {
            self.core.executor.pool.trim();
            self.next_trim = now + TRIM_INTERVAL;
        }
    }

    fn settle(&mut self) -> Result<(), DriverError> {
        self.shed_memory();
        self.make_room()?;
        let mut keys = std::mem::take(&mut self.keys);
        loop {
            self.tasks.run(&self.core.executor);
            self.core.executor.take_touched(&mut keys);
            for key in keys.drain(..) {
                if let Some(connection) = self.connections.get_mut(key) {
                    self.core.with_cx(|cx| connection.inner.resume(cx));
                    mark(&mut self.dirty, key, connection);
                }
            }
            if self.dirty.is_empty() {
                // A connection that is admitted now needs its first operations before the wait.
                self.admit_waiting()?;
                if self.dirty.is_empty() || is_planted(PlantedBug::AdmittedUnsettled) {
                    break;
                }
            }
            std::mem::swap(&mut self.dirty, &mut keys);
            for key in keys.drain(..) {
                self.settle_connection(key);
            }
        }
        self.keys = keys;
        if let Some(fd) = self.core.executor.jobs.take_watch() {
            self.watch(fd, Kind::Bell);
        }
        self.listen();
        Ok(())
    }

    /// Asks for a completion once `fd` is readable.
    pub(super) fn watch(&mut self, fd: RawFd, kind: Kind) {
        let token = Token { kind, key: Key { index: 0, generation: 0 } };
        self.core.push(Op::Watch { fd }, token);
    }

    fn settle_connection(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.settle(key, &mut self.core)
            && let Some(connection) = self.connections.remove(key)
        {
            connection.close(key, &mut self.core);
        }
    }

    pub(super) fn insert(
        &mut self,
        socket: K::Socket,
        place: Option<Place>,
        urgent: Option<Urgent>,
        machine: impl FnOnce(Key) -> Box<dyn Connected>,
    ) -> Result<Key, DriverError> {
        let (options, pool) = (&self.options, &self.core.executor.pool);
        let key = self
            .connections
            .insert(|key| RingConnection::new(socket, Connection::new(machine(key), options, pool)))
            .ok_or_else(too_many)?;
        let connection = self.connections.get_mut(key).expect("just inserted");
        connection.inner.keep(place);
        if let Some(urgent) = urgent {
            connection.inner.limit_to(urgent, self.core.now);
        }
        self.core.with_cx(|cx| connection.inner.open(cx));
        mark(&mut self.dirty, key, connection);
        Ok(key)
    }

    pub(super) fn insert_stream(
        &mut self,
        socket: K::Socket,
        place: Place,
        urgent: Option<Urgent>,
    ) -> Result<UringStream, DriverError> {
        let executor = Rc::clone(&self.core.executor);
        let turn_bytes_max = self.options.turn_bytes_max;
        let mut task_end = None;
        self.insert(socket, Some(place), urgent, |key| {
            let (machine, stream) = stream::pipe(&executor, key, turn_bytes_max);
            task_end = Some(stream);
            Box::new(machine)
        })?;
        Ok(task_end.expect("the pipe was made with the connection"))
    }
}

impl<K: Kernel> Drop for Reactor<K> {
    fn drop(&mut self) {
        let end = self.now() + QUIESCE_TIMEOUT;
        let mut is_over = is_planted(PlantedBug::DropDoesNotWait);
        self.waiting.clear();
        self.core.executor.shutdown.set();
        for key in self.connections.keys() {
            self.abort(key);
        }
        while !is_over && !self.connections.is_empty() {
            // This may run because of a panic, and a second one would end the process at once.
            let turned = catch_unwind(AssertUnwindSafe(|| self.turn(Some(end))));
            is_over = !matches!(turned, Ok(Ok(()))) || self.now() >= end;
        }
        if self.connections.is_empty() {
            // SAFETY: each is dropped once, here, and not used after. No operation in flight points
            // to memory: connections own all such operations, and none is left.
            unsafe {
                ManuallyDrop::drop(&mut self.connections);
                ManuallyDrop::drop(&mut self.core);
            }
        }
    }
}

pub(super) fn mark<K: Kernel>(dirty: &mut Vec<Key>, key: Key, connection: &mut RingConnection<K>) {
    if !std::mem::replace(&mut connection.dirty, true) {
        dirty.push(key);
    }
}

fn too_many() -> DriverError {
    let source = std::io::Error::other(format!("expected at most {}", Key::INDEX_END));
    DriverError::Io { what: "count connections", source }
}
