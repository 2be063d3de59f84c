//! Peers, sockets and the time of one run.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::jobs::SimJobs;
use super::peer::{Line, Peer};
use crate::wire::Job;

pub(super) const LISTENER: RawFd = 10;
pub(super) const STOP: RawFd = 11;
pub(super) const BELL: RawFd = 12;
const FIRST_SOCKET: RawFd = 100;

/// Longest job: a hundred of them take less time than an answer may.
const JOB_NS_MAX: usize = 4_000_000;

/// Cost of a look at the clock, so that a busy poll comes to an end.
const CLOCK_NS: u64 = 100;

pub(super) struct World {
    /// False for a kernel whose multishot accepts are faulty.
    pub(super) has_multishot_accept: bool,
    pub(super) chance: Chance,
    /// Nanoseconds since the start.
    pub(super) time: u64,
    origin: Instant,
    pub(super) peers: Vec<Peer>,
    /// Connections that nobody has accepted, by the number of their peer.
    pub(super) backlog: VecDeque<usize>,
    /// Open sockets, with the number of their peer.
    pub(super) sockets: BTreeMap<RawFd, usize>,
    /// Operations in flight on each socket.
    pub(super) in_flight: BTreeMap<RawFd, usize>,
    pub(super) stop_at: u64,
    /// Time at which the server has stopped.
    pub(super) ended_at: u64,
    pub(super) is_listening: bool,
    pub(super) jobs: SimJobs,
    pub(super) violations: Vec<String>,
    /// Hash of all that has happened.
    pub(super) trace: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut chance = Chance::new(seed);
        World {
            has_multishot_accept: chance.below(4) > 0,
            chance,
            time: 0,
            origin: Instant::now(),
            peers: Vec::new(),
            backlog: VecDeque::new(),
            sockets: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            stop_at: u64::MAX,
            ended_at: 0,
            is_listening: true,
            jobs: SimJobs::default(),
            violations: Vec::new(),
            trace: 0xCBF2_9CE4_8422_2325,
        }
    }

    pub(super) fn violation(&mut self, text: String) {
        self.violations.push(text);
    }

    pub(super) fn note(&mut self, event: [u64; 3]) {
        for word in event.into_iter().chain([self.time]) {
            self.trace = (self.trace ^ word).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    pub(super) fn instant(&self) -> Instant {
        self.origin + Duration::from_nanos(self.time)
    }

    pub(super) fn look_at_clock(&mut self) -> Instant {
        self.time += CLOCK_NS;
        self.instant()
    }

    pub(super) fn line(&mut self, fd: RawFd) -> Option<&mut Line> {
        let number = *self.sockets.get(&fd)?;
        Some(&mut self.peers[number].line)
    }

    /// Returns true if an accepted socket has no place yet.
    pub(super) fn has_waiting(&self) -> bool {
        self.sockets.values().any(|&number| self.peers[number].line.admitted_at.is_none())
    }

    /// Returns the time of the next event, which is now if one is due.
    pub(super) fn next_event(&self) -> Option<u64> {
        let wakes = self.peers.iter().filter_map(|peer| peer.wake_at);
        let stop = (self.stop_at > self.time && self.stop_at < u64::MAX).then_some(self.stop_at);
        wakes.chain(stop).chain(self.jobs.next()).min()
    }

    /// Starts a job, which ends after the earlier ones and a time by chance.
    pub(super) fn start_job(&mut self, job: Job) {
        let most = [1, 300_000, JOB_NS_MAX][self.chance.below(3)];
        let ns = self.chance.up_to(most) as u64;
        self.note([3, ns, 0]);
        self.jobs.start(job, self.time, ns);
    }

    /// Returns true if a descriptor that the worker watches is readable.
    pub(super) fn is_readable(&self, fd: RawFd) -> bool {
        match fd {
            BELL => self.jobs.bell.is_ringing(),
            _ => self.time >= self.stop_at,
        }
    }

    /// Lets every job end and every peer act that is due.
    pub(super) fn advance(&mut self) {
        self.jobs.run_until(self.time);
        loop {
            let due = self.peers.iter().enumerate().filter_map(|(number, peer)| {
                Some((peer.wake_at.filter(|&at| at <= self.time)?, number))
            });
            let Some((_, number)) = due.min() else { return };
            let is_new = !self.has_connected(number);
            let peer = &mut self.peers[number];
            if is_new && !self.is_listening {
                peer.wake_at = None;
                peer.line.peer_has_reset = true;
                continue;
            }
            peer.act(self.time, self.origin, &mut self.chance);
            if is_new {
                self.backlog.push_back(number);
            }
        }
    }

    /// Lets the peers read what is under way, without a server.
    pub(super) fn let_peers_finish(&mut self) {
        while let Some(next) = self.peers.iter().filter_map(|peer| peer.wake_at).min() {
            self.time = self.time.max(next);
            self.advance();
        }
    }

    fn has_connected(&self, number: usize) -> bool {
        let is_open = self.sockets.values().any(|&other| other == number);
        let line = &self.peers[number].line;
        is_open || self.backlog.contains(&number) || line.server_has_closed
    }

    /// Lets the peer behind `fd` notice a change after a short time.
    pub(super) fn poke(&mut self, fd: RawFd) {
        if let Some(&number) = self.sockets.get(&fd) {
            let at = self.time + self.chance.up_to(500_000) as u64;
            self.peers[number].wake(at);
        }
    }

    /// Opens a socket for the first connection of the backlog.
    pub(super) fn accept(&mut self) -> Option<RawFd> {
        let number = self.backlog.pop_front()?;
        Some(self.open(number))
    }

    pub(super) fn open(&mut self, number: usize) -> RawFd {
        let fd = (FIRST_SOCKET..).find(|fd| !self.sockets.contains_key(fd));
        let fd = fd.expect("numbers do not run out");
        self.sockets.insert(fd, number);
        fd
    }

    fn close(&mut self, fd: RawFd) {
        if self.in_flight.get(&fd).is_some_and(|&count| count > 0) {
            self.violation(format!("socket {fd} was closed with operations in flight"));
        }
        self.poke(fd);
        let loses = self.chance.is_one_in(2);
        let Some(number) = self.sockets.remove(&fd) else {
            return self.violation(format!("socket {fd} was closed twice"));
        };
        let line = &mut self.peers[number].line;
        line.server_has_closed = true;
        line.server_ended_at.get_or_insert(self.time);
        if !line.inbound.is_empty() {
            line.is_cut = true;
            if loses {
                line.outbound.clear();
            }
        }
    }

    pub(super) fn shut_down(&mut self, fd: RawFd, how: Shutdown) {
        self.poke(fd);
        let time = self.time;
        let Some(line) = self.line(fd) else { return };
        if how != Shutdown::Read {
            line.server_has_ended = true;
            line.server_ended_at.get_or_insert(time);
        }
        line.server_reads_no_more |= how != Shutdown::Write;
    }

    fn stop_listening(&mut self) {
        self.is_listening = false;
        for number in std::mem::take(&mut self.backlog) {
            self.peers[number].line.peer_has_reset = true;
            self.peers[number].line.server_has_closed = true;
        }
    }
}

/// Socket of the server; the drop closes it.
pub(in super::super) struct SimSocket {
    pub(super) fd: RawFd,
    pub(super) world: Rc<RefCell<World>>,
}

impl AsRawFd for SimSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.world.borrow_mut().close(self.fd);
    }
}

/// Listener of the server; the drop refuses what nobody has accepted.
pub(in super::super) struct SimListener(pub(super) Rc<RefCell<World>>);

impl AsRawFd for SimListener {
    fn as_raw_fd(&self) -> RawFd {
        LISTENER
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.0.borrow_mut().stop_listening();
    }
}

/// Descriptor that becomes readable when the run is to stop.
pub(super) struct SimStop;

impl AsRawFd for SimStop {
    fn as_raw_fd(&self) -> RawFd {
        STOP
    }
}
