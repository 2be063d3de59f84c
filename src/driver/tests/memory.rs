//! A worker that is short of memory, in a time of its own.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::axis::Family;
use crate::driver::Options;
use crate::driver::connection::memory::choose_dropped;
use crate::driver::connection::{Connection, Step, WorkerCx};
use crate::service::codecs::CodecSet;
use crate::service::echo::EchoService;
use crate::service::handler::EchoHandler;
use crate::sys::socket::Unread;
use crate::wire::h1::{DateClock, H1};
use crate::wire::{Limit, Limits, MemoryBudget, Pool, WorkerCounts};

const MIB: usize = 1024 * 1024;

/// Bytes that a socket gives at once.
const PIECE: usize = 64 * 1024;

/// Time between two looks at the sockets.
const STEP: Duration = Duration::from_millis(10);

struct Worker {
    pool: Pool,
    counts: &'static WorkerCounts,
    now: Instant,
    peers: Vec<Peer>,
    /// Bytes that each connection held when one was dropped, and the number of that one.
    drops: Vec<(Vec<usize>, usize)>,
}

/// Peer whose request lies in the socket.
struct Peer {
    connection: Connection,
    unread: Vec<u8>,
    replied_bytes: usize,
    is_closed: bool,
}

impl Worker {
    fn new(budget_bytes: usize) -> Worker {
        let counts = WorkerCounts::of_worker();
        let budget = Arc::new(MemoryBudget::new(budget_bytes, budget_bytes, 1));
        let pool = Pool::within(budget, counts);
        Worker { pool, counts, now: Instant::now(), peers: Vec::new(), drops: Vec::new() }
    }

    fn connect(&mut self, bodies: &[usize]) {
        let limits = Limits { counts: self.counts, ..Limits::default() };
        let service = EchoService::new(CodecSet::none(), limits.clone(), self.pool.clone());
        let (handler, limits) = (EchoHandler::new(Family::Rest, service), Rc::new(limits));
        let clock = DateClock::new(self.now, Duration::ZERO);
        for len in bodies {
            let machine = H1::new(handler.clone(), Rc::clone(&limits), clock.clone());
            let mut connection =
                Connection::new(Box::new(machine), &Options::default(), &self.pool);
            connection.open(&mut WorkerCx { counts: self.counts, now: self.now });
            let head =
                format!("POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: {len}\r\n\r\n");
            let unread = [head.as_bytes(), &vec![7; *len]].concat();
            self.peers.push(Peer { connection, unread, replied_bytes: 0, is_closed: false });
        }
    }

    /// Does one operation for each connection.
    fn step(&mut self) {
        self.now += STEP;
        self.pool.trim();
        for at in 0..self.peers.len() {
            let mut cx = WorkerCx { counts: self.counts, now: self.now };
            let peer = &mut self.peers[at];
            if !peer.is_closed {
                peer.step(&mut cx);
                self.shed();
            }
        }
    }

    fn shed(&mut self) {
        while self.pool.must_drop() {
            let pools = self.peers.iter().map(|peer| peer.connection.pool()).enumerate();
            let Some(largest) = choose_dropped(&self.pool, pools) else { return };
            let held = self.peers.iter().map(|peer| peer.connection.pool().held_bytes());
            self.drops.push((held.collect(), largest));
            self.peers[largest].connection.drop_for_memory();
        }
    }
}

impl Peer {
    fn step(&mut self, cx: &mut WorkerCx) {
        let sent = self.connection.batch(cx.now).len();
        if sent > 0 {
            self.replied_bytes += sent;
            self.connection.sent(sent, cx);
        }
        if self.connection.step(cx.now) == Step::Close {
            self.is_closed = true;
            return;
        }
        if self.connection.wants_input() {
            self.receive(cx);
        } else if self.connection.deadline().is_some_and(|at| at <= cx.now) {
            if self.connection.asks_for_unread(cx.now) {
                self.connection.note_unread(self.unread());
            }
            self.connection.expire(cx);
        }
    }

    fn receive(&mut self, cx: &mut WorkerCx) {
        let count = self.unread.len().min(PIECE);
        if count == 0 {
            return;
        }
        let Some(mut loan) = self.connection.take_loan() else {
            let piece: Vec<u8> = self.unread.drain(..count).collect();
            return self.connection.feed(&piece, true, cx);
        };
        let count = count.min(loan.want);
        loan.buffer.extend(self.unread.drain(..count));
        self.connection.received(loan, count, cx);
    }

    fn unread(&self) -> Unread {
        if self.unread.is_empty() { Unread::Nothing } else { Unread::Bytes }
    }
}

#[test]
fn bodies_of_which_none_can_end_cost_the_one_that_holds_most() {
    // Two fit beside each other, whatever the addresses add to the capacity of a buffer.
    const LEN: usize = 11 * MIB / 2;
    let mut worker = Worker::new(10 * MIB);
    worker.connect(&[LEN; 3]);
    let steps = (0..2000).find(|_| {
        worker.step();
        let is_over = |peer: &Peer| peer.is_closed || peer.replied_bytes > LEN;
        worker.peers.iter().all(is_over)
    });
    assert!(steps.is_some(), "somebody waits for ever");
    let [(held, dropped)] = &worker.drops[..] else {
        panic!("one connection is dropped: {:?}", worker.drops);
    };
    assert_eq!(held.iter().max(), Some(&held[*dropped]), "the one that holds most: {held:?}");
    for (at, peer) in worker.peers.iter().enumerate() {
        assert_eq!(peer.replied_bytes > LEN, at != *dropped, "{at} of {held:?}");
    }
    let drops = worker.counts.limits().find(|(limit, _)| *limit == Limit::MemoryDrop);
    assert_eq!(drops, Some((Limit::MemoryDrop, 1)));
}
