//! Reactor of a client on poll(2), for a machine where io_uring is forbidden.
//!
//! The reactor drives connected sockets by the policy that all drivers share
//! (`driver::connection`), and has the calls of the ring's reactor that a load generator needs.
//! Each turn costs a call of poll, and one more for each socket that reads or writes. The reactor
//! accepts no connections, so no rung is served by it.
//!
//! ```text
//!  ┌▶ resume ──▶ send all output ──▶ poll ──▶ receive once from each ready socket ──▶ expire ─┐
//!  └──────────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use std::io::{self, ErrorKind, IoSlice, Read as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use socket2::Socket;

use super::connection::{Connection, Step, WorkerCx};
use super::uring::ConnectionId;
use super::{Connected, DriverError, Options, ReadBuffer, SLICES_MAX, nanoseconds};
use crate::wire::{Loan, Pool, WorkerCounts};

pub struct PollReactor {
    options: Options,
    pool: Pool,
    counts: &'static WorkerCounts,
    /// Place of a connection, by the index of its number; `None` after its end, for another one.
    connections: Vec<Option<Polled>>,
    resumed: Vec<usize>,
    read_buffer: Box<ReadBuffer>,
}

struct Polled {
    socket: Socket,
    connection: Connection,
}

impl PollReactor {
    pub fn new(options: Options) -> PollReactor {
        PollReactor {
            counts: options.counts,
            options,
            pool: Pool::default(),
            connections: Vec::new(),
            resumed: Vec::new(),
            read_buffer: ReadBuffer::new(),
        }
    }

    /// Drives `machine` on a connected socket.
    pub fn adopt(
        &mut self,
        socket: OwnedFd,
        machine: Box<dyn Connected>,
    ) -> Result<ConnectionId, DriverError> {
        let socket = Socket::from(socket);
        let what = "make a socket non-blocking";
        socket.set_nonblocking(true).map_err(|source| DriverError::Io { what, source })?;
        let mut connection = Connection::new(machine, &self.options, &self.pool);
        connection.open(&mut cx(self.counts));
        let polled = Some(Polled { socket, connection });
        let free = self.connections.iter().position(Option::is_none);
        let place = free.unwrap_or(self.connections.len());
        match free {
            Some(_) => self.connections[place] = polled,
            None => self.connections.push(polled),
        }
        let index = u32::try_from(place).expect("descriptors are fewer");
        Ok(ConnectionId { index, generation: 0 })
    }

    /// Requests [`Connected::resume`] in the next turn, before it waits.
    pub fn resume(&mut self, id: ConnectionId) {
        self.resumed.push(id.index as usize);
    }

    pub fn counts(&self) -> &WorkerCounts {
        self.counts
    }

    /// Waits for events, at most until `until`, and handles them.
    pub fn turn(&mut self, until: Option<Instant>) -> Result<(), DriverError> {
        for index in std::mem::take(&mut self.resumed) {
            if let Some(Some(polled)) = self.connections.get_mut(index) {
                polled.connection.resume(&mut cx(self.counts));
            }
        }
        self.send();
        let ready = self.wait(until);
        let ready = ready.map_err(|source| DriverError::Io { what: "poll the sockets", source })?;
        let PollReactor { counts, connections, read_buffer, .. } = self;
        for index in ready {
            if let Some(polled) = &mut connections[index] {
                polled.receive(read_buffer, &mut cx(counts));
            }
        }
        for polled in connections.iter_mut().flatten() {
            let mut cx = cx(counts);
            if polled.connection.deadline().is_some_and(|deadline| deadline <= cx.now) {
                polled.connection.expire(&mut cx);
            }
        }
        self.send();
        Ok(())
    }

    /// Sends the output of every connection as far as its socket takes it, and drops those at
    /// their end.
    fn send(&mut self) {
        let PollReactor { counts, connections, .. } = self;
        for slot in connections {
            let Some(polled) = slot else { continue };
            let mut cx = cx(counts);
            while polled.send(&mut cx) {}
            match polled.connection.step(cx.now) {
                Step::Go => {}
                Step::ShutDown => {
                    // It fails if the peer has reset the connection, which is noticed by a read.
                    let _ = polled.socket.shutdown(Shutdown::Write);
                }
                Step::Close => {
                    counts.closed.add(1);
                    *slot = None;
                }
            }
        }
    }

    /// Waits until a socket is ready. Returns the places of those that can be read.
    fn wait(&mut self, until: Option<Instant>) -> io::Result<Vec<usize>> {
        let deadlines =
            self.connections.iter().flatten().filter_map(|polled| polled.connection.deadline());
        let until = deadlines.chain(until).min();
        let begun = Instant::now();
        let left = |now: Instant| until.map(|until| until.saturating_duration_since(now));
        let end = begun + left(begun).unwrap_or(Duration::MAX).min(self.options.busy_poll);
        let mut now = begun;
        while now < end {
            let ready = self.poll(Some(Duration::ZERO))?;
            if !ready.is_empty() {
                self.counts.busy_poll_idle_ns.add(nanoseconds(now - begun));
                return Ok(readable(&ready));
            }
            now = Instant::now();
        }
        self.counts.busy_poll_idle_ns.add(nanoseconds(now - begun));
        self.poll(left(now)).map(|ready| readable(&ready))
    }

    /// Returns the places of the sockets that are ready, each with whether it can be read.
    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<Vec<(usize, bool)>> {
        let mut places = Vec::new();
        let mut sockets = Vec::new();
        for (place, slot) in self.connections.iter_mut().enumerate() {
            let Some(Polled { socket, connection }) = slot else { continue };
            let mut events = PollFlags::empty();
            events.set(PollFlags::POLLIN, connection.wants_input());
            events.set(PollFlags::POLLOUT, connection.pending() > 0);
            places.push(place);
            let socket: &Socket = socket;
            sockets.push(PollFd::new(socket.as_fd(), events));
        }
        match ppoll(&mut sockets, timeout.map(TimeSpec::from), None) {
            Ok(_) => {}
            Err(nix::Error::EINTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let ready = places.into_iter().zip(&sockets).filter_map(|(place, socket)| {
            let events = socket.revents().filter(|events| !events.is_empty())?;
            Some((place, events != PollFlags::POLLOUT))
        });
        Ok(ready.collect())
    }
}

impl Polled {
    /// Sends one batch; returns true if another may follow at once.
    fn send(&mut self, cx: &mut WorkerCx) -> bool {
        if self.connection.pending() == 0 {
            return false;
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let filled = self.connection.batch(cx.now).slices(&mut slices);
        match self.socket.send_vectored(&slices[..filled]) {
            Ok(count) => self.connection.sent(count, cx),
            Err(error) if is_temporary(&error) => return false,
            Err(_) => self.connection.vanish(cx),
        }
        true
    }

    fn receive(&mut self, buffer: &mut [u8], cx: &mut WorkerCx) {
        if let Some(loan) = self.connection.take_loan() {
            return self.receive_loan(loan, cx);
        }
        match (&self.socket).read(buffer) {
            Ok(0) => self.connection.end(cx),
            Ok(count) => self.connection.feed(&buffer[..count], count == buffer.len(), cx),
            Err(error) if is_temporary(&error) => {}
            Err(_) => self.connection.vanish(cx),
        }
    }

    fn receive_loan(&mut self, mut loan: Loan, cx: &mut WorkerCx) {
        let (before, want) = (loan.buffer.len(), loan.want);
        let read = (&self.socket).take(want as u64).read_to_end(&mut loan.buffer);
        let count = loan.buffer.len() - before;
        self.connection.received(loan, count, cx);
        match read {
            Ok(count) if count < want => self.connection.end(cx),
            Ok(_) => {}
            Err(error) if is_temporary(&error) => {}
            Err(_) => self.connection.vanish(cx),
        }
    }
}

fn cx(counts: &'static WorkerCounts) -> WorkerCx {
    WorkerCx { counts, now: Instant::now() }
}

fn readable(ready: &[(usize, bool)]) -> Vec<usize> {
    ready.iter().filter(|(_, is_readable)| *is_readable).map(|(place, _)| *place).collect()
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
