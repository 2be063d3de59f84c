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
#![allow(unsafe_code)] // Takes over accepted descriptors and queues operations without pointers.

use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::connection::RingConnection;
use super::core::Core;
use super::executor::{Task, Tasks};
use super::op::{Completion, Key, Kind, Op, Token};
use super::ring::{KernelRing, Ring};
use super::slots::Slots;
use super::stream::{self, UringStream};
use super::timers::Due;
use crate::driver::connection::Connection;
use crate::driver::shutdown::StopSignal;
use crate::driver::{
    Connected, Counters, DriverError, Options, TRIM_INTERVAL, WorkerHandle, accept_pause,
};
use crate::sys::listener::{self, Listener};
use crate::wire::Pool;

const QUIESCE_TIMEOUT: Duration = Duration::from_secs(2);

/// Never reused for another connection.
pub type ConnectionId = Key;

#[derive(Clone)]
pub(super) enum ConnectionFactory {
    Machine(Rc<dyn Fn() -> Box<dyn Connected>>),
    Service(Rc<dyn Fn(UringStream, WorkerHandle) -> Task>),
}

pub struct Reactor<R: Ring = KernelRing> {
    core: ManuallyDrop<Core<R>>,
    connections: ManuallyDrop<Slots<RingConnection>>,
    tasks: Tasks,
    acceptors: Vec<Acceptor>,
    /// Sockets accepted without room, with the number of their listener.
    waiting: VecDeque<(usize, OwnedFd)>,
    options: Options,
    dirty: Vec<Key>,
    /// Scratch list.
    keys: Vec<Key>,
    completed: Vec<Completion>,
    stop: Option<UnixStream>,
    stopped: bool,
    next_trim: Instant,
}

struct Acceptor {
    /// `None` once the worker has taken its backlog and shuts down.
    listener: Option<Listener>,
    factory: ConnectionFactory,
    accepting: bool,
    cancelled: bool,
    paused: Option<Instant>,
}

impl Reactor<KernelRing> {
    pub fn new(options: Options) -> Result<Reactor<KernelRing>, DriverError> {
        Reactor::sharing(options, Pool::default())
    }

    pub fn sharing(options: Options, pool: Pool) -> Result<Reactor<KernelRing>, DriverError> {
        Ok(Reactor::on(KernelRing::open()?, options, pool))
    }
}

impl<R: Ring> Reactor<R> {
    pub fn on(ring: R, options: Options, pool: Pool) -> Reactor<R> {
        let core = Core::new(ring, pool);
        let tasks = Tasks::new(&core.executor);
        let next_trim = core.now + TRIM_INTERVAL;
        Reactor {
            core: ManuallyDrop::new(core),
            connections: ManuallyDrop::default(),
            tasks,
            acceptors: Vec::new(),
            waiting: VecDeque::new(),
            options,
            dirty: Vec::new(),
            keys: Vec::new(),
            completed: Vec::new(),
            stop: None,
            stopped: false,
            next_trim,
        }
    }

    /// Drives `machine` on a connected socket in blocking mode.
    pub fn adopt(
        &mut self,
        socket: OwnedFd,
        machine: Box<dyn Connected>,
    ) -> Result<ConnectionId, DriverError> {
        self.insert(socket, |_| machine)
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

    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// Waits for events, at most until `until`, and handles them.
    pub fn turn(&mut self, until: Option<Instant>) -> Result<(), DriverError> {
        self.settle()?;
        let mut completed = std::mem::take(&mut self.completed);
        let waited = self.wait(until, &mut completed);
        waited.map_err(|source| DriverError::Io { what: "wait for the ring", source })?;
        self.core.now = Instant::now();
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
            *hurry = completed.is_empty();
            return Ok(());
        }
        if !self.options.busy_poll.is_zero() {
            self.busy_poll(until, completed)?;
            if !completed.is_empty() || until.is_some_and(|until| until <= Instant::now()) {
                return Ok(());
            }
        }
        match self.timeout(until) {
            // A wait of zero time would still sleep, until a timer of the kernel wakes it.
            Some(Duration::ZERO) => self.core.ring.look()?,
            timeout => self.core.ring.wait(timeout)?,
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
        let Core { ring, counters, .. } = &mut *self.core;
        ring.look()?;
        ring.completions(completed);
        let begun = Instant::now();
        let end = begun + longest;
        let mut now = begun;
        while completed.is_empty() && now < end {
            std::hint::spin_loop();
            now = Instant::now();
            ring.look()?;
            ring.completions(completed);
        }
        counters.busy_poll_idle += now - begun;
        Ok(())
    }

    fn timeout(&self, until: Option<Instant>) -> Option<Duration> {
        let trim = (self.core.executor.pool.idle_bytes() > 0).then_some(self.next_trim);
        let nearest = [until, trim, self.core.timers.next(), self.core.executor.next_sleeper()];
        let nearest = nearest.into_iter().flatten().min()?;
        Some(nearest.saturating_duration_since(Instant::now()))
    }

    fn complete(&mut self, completion: Completion) -> Result<(), DriverError> {
        let key = completion.token.key;
        match completion.token.kind {
            Kind::Cancel => {}
            Kind::Stop => self.stopped = true,
            Kind::Accept => self.accepted(key.index as usize, completion)?,
            Kind::Receive | Kind::Send => {
                let connection =
                    self.connections.get_mut(key).expect("a connection outlives its operations");
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
                break;
            }
            std::mem::swap(&mut self.dirty, &mut keys);
            for key in keys.drain(..) {
                self.settle_connection(key);
            }
        }
        self.keys = keys;
        self.admit_waiting()?;
        self.listen();
        Ok(())
    }

    fn settle_connection(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.settle(key, &mut self.core)
            && let Some(connection) = self.connections.remove(key)
        {
            connection.close(key, &mut self.core);
        }
    }

    fn insert(
        &mut self,
        fd: OwnedFd,
        machine: impl FnOnce(Key) -> Box<dyn Connected>,
    ) -> Result<Key, DriverError> {
        let options = &self.options;
        let key = self
            .connections
            .insert(|key| RingConnection::new(fd, Connection::new(machine(key), options)))
            .ok_or_else(too_many)?;
        let connection = self.connections.get_mut(key).expect("just inserted");
        self.core.with_cx(|cx| connection.inner.open(cx));
        mark(&mut self.dirty, key, connection);
        Ok(key)
    }

    fn insert_stream(&mut self, fd: OwnedFd) -> Result<UringStream, DriverError> {
        let executor = Rc::clone(&self.core.executor);
        let mut task_end = None;
        self.insert(fd, |key| {
            let (machine, stream) = stream::pipe(&executor, key);
            task_end = Some(stream);
            Box::new(machine)
        })?;
        Ok(task_end.expect("the pipe was made with the connection"))
    }
}

impl<R: Ring> Reactor<R> {
    pub(super) fn serve(
        &mut self,
        listener: Listener,
        factory: ConnectionFactory,
    ) -> Result<(), DriverError> {
        listener.set_nonblocking(false).map_err(|source| DriverError::Io {
            what: "prepare a listener for the ring",
            source,
        })?;
        let acceptor = Acceptor {
            listener: Some(listener),
            factory,
            accepting: false,
            cancelled: false,
            paused: None,
        };
        self.acceptors.push(acceptor);
        Ok(())
    }

    pub(super) fn run(&mut self, stop: StopSignal) -> Result<Counters, DriverError> {
        let stop = stop.into_stream();
        let token = Token { kind: Kind::Stop, key: Key { index: 0, generation: 0 } };
        self.core.push(Op::Watch { fd: stop.as_raw_fd() }, token);
        self.stop = Some(stop);
        while !self.stopped {
            self.turn(None)?;
        }
        self.drain();
        let end = Instant::now() + self.options.drain_timeout;
        while !self.is_drained() && Instant::now() < end {
            self.turn(Some(end))?;
        }
        Ok(self.core.counters.clone())
    }

    fn is_drained(&self) -> bool {
        let has_closed = |acceptor: &Acceptor| acceptor.listener.is_none();
        self.connections.is_empty()
            && self.waiting.is_empty()
            && self.acceptors.iter().all(has_closed)
    }

    /// Begins the shutdown. Connections of the backlog come first, since their requests may have
    /// been sent before it.
    fn drain(&mut self) {
        self.core.executor.shutdown.set();
        for (number, acceptor) in self.acceptors.iter().enumerate() {
            let backlog = acceptor.listener.iter().flat_map(listener::backlog);
            self.waiting.extend(backlog.map(|socket| (number, socket)));
        }
        for key in self.connections.keys() {
            if let Some(connection) = self.connections.get_mut(key) {
                self.core.with_cx(|cx| connection.inner.drain(cx));
                mark(&mut self.dirty, key, connection);
            }
        }
    }

    /// Keeps an accept in flight on each listener while there is room for connections.
    fn listen(&mut self) {
        let draining = self.core.executor.shutdown.is_set();
        let room = !draining && self.connections.len() < self.options.connections_max() as usize;
        for (number, acceptor) in self.acceptors.iter_mut().enumerate() {
            let token = accept_token(number);
            if acceptor.accepting && !room && !std::mem::replace(&mut acceptor.cancelled, true) {
                self.core.cancel(token);
            } else if !acceptor.accepting
                && room
                && acceptor.paused.is_none()
                && let Some(listener) = &acceptor.listener
            {
                acceptor.accepting = true;
                acceptor.cancelled = false;
                self.core.push(Op::Accept { fd: listener.as_raw_fd() }, token);
            } else if !acceptor.accepting && draining {
                acceptor.listener = None;
            }
        }
    }

    fn accepted(&mut self, number: usize, completion: Completion) -> Result<(), DriverError> {
        let acceptor = &mut self.acceptors[number];
        acceptor.accepting = completion.more;
        if completion.result >= 0 {
            // SAFETY: the kernel has just made this descriptor for us; it has no other owner.
            let fd = unsafe { OwnedFd::from_raw_fd(completion.result) };
            self.waiting.push_back((number, fd));
            return self.admit_waiting();
        }
        if completion.result != -libc::ECANCELED {
            let pause = accept_pause(&std::io::Error::from_raw_os_error(-completion.result));
            let until = (!pause.is_zero()).then(|| self.core.now + pause);
            self.core.timers.arm(until, Due::Listener(number), &mut acceptor.paused);
        }
        Ok(())
    }

    fn admit_waiting(&mut self) -> Result<(), DriverError> {
        while self.connections.len() < self.options.connections_max() as usize
            && let Some((number, fd)) = self.waiting.pop_front()
        {
            self.core.counters.accept(&fd);
            match self.acceptors[number].factory.clone() {
                ConnectionFactory::Machine(make) => {
                    let key = self.insert(fd, |_| make())?;
                    if self.core.executor.shutdown.is_set()
                        && let Some(connection) = self.connections.get_mut(key)
                    {
                        self.core.with_cx(|cx| connection.inner.drain(cx));
                    }
                }
                ConnectionFactory::Service(serve) => {
                    let stream = self.insert_stream(fd)?;
                    self.core.executor.spawn(serve(stream, self.core.executor.worker_handle()));
                }
            }
        }
        Ok(())
    }
}

impl<R: Ring> Drop for Reactor<R> {
    fn drop(&mut self) {
        let end = Instant::now() + QUIESCE_TIMEOUT;
        self.waiting.clear();
        self.core.executor.shutdown.set();
        for key in self.connections.keys() {
            self.abort(key);
        }
        let mut result = Ok(());
        while result.is_ok() && !self.connections.is_empty() && Instant::now() < end {
            result = self.turn(Some(end));
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

fn mark(dirty: &mut Vec<Key>, key: Key, connection: &mut RingConnection) {
    if !std::mem::replace(&mut connection.dirty, true) {
        dirty.push(key);
    }
}

fn accept_token(number: usize) -> Token {
    Token { kind: Kind::Accept, key: Key { index: number as u32, generation: 0 } }
}

fn too_many() -> DriverError {
    let source = std::io::Error::other(format!("expected at most {}", Key::INDEX_END));
    DriverError::Io { what: "count connections", source }
}
