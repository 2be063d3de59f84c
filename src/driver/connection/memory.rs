//! Memory of one connection: its pool with an account, and its wait while memory is short.
//!
//! ```text
//!          memory is tight, a body follows, and another connection has the turn
//! reading ────────────────────────────────────────────────────────────────────▶ waiting
//!         ◀────────────────────────────────────────────────────────────────────
//!          at a look each RETRY_TIME: there is memory; or the turn is free and
//!          bytes have come; or the peer has ended
//! ```
//! A time in which bytes wait in the socket does not count for the deadlines of the peer. A silent
//! peer gets no such time, so it gives its memory back by its own deadline.

use std::time::{Duration, Instant};

use crate::sys::socket::Unread;
use crate::wire::{Level, Limit, Pool};

/// Time between two looks for memory.
const RETRY_TIME: Duration = Duration::from_millis(50);

pub(super) struct Memory {
    pool: Pool,
    wait: Option<Wait>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    since: Instant,
    unread: Unread,
}

/// Result of a look for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retried {
    /// Time that does not count for the deadlines of the peer.
    pub(super) paused: Duration,
    pub(super) is_over: bool,
}

impl Memory {
    pub(super) fn new(pool: &Pool) -> Memory {
        Memory { pool: pool.for_connection(), wait: None }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.wait.is_some()
    }

    /// Decides whether the connection reads on. `gathers` is true if it would read a body.
    #[inline]
    pub(super) fn limit_input(&mut self, gathers: impl FnOnce() -> bool, now: Instant) {
        if self.pool.level() >= Level::Tight {
            self.begin_wait(gathers(), now);
        }
    }

    #[cold]
    fn begin_wait(&mut self, gathers: bool, now: Instant) {
        if !gathers {
            self.pool.end_turn();
            self.wait = None;
        } else if self.wait.is_none() && !self.pool.take_turn(now) {
            self.pool.hit(Limit::MemoryWait);
            self.wait = Some(Wait { since: now, unread: Unread::Nothing });
        }
    }

    /// Notes bytes that have arrived.
    #[inline]
    pub(super) fn received(&self, bytes: usize, now: Instant) {
        if self.pool.level() >= Level::Tight {
            self.pool.continue_turn(bytes, now);
        }
    }

    /// Returns the time of the next look for memory.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.wait.map(|wait| wait.since + RETRY_TIME)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }

    /// Notes what the socket holds.
    pub(super) fn note_unread(&mut self, unread: Unread) {
        if let Some(wait) = &mut self.wait {
            wait.unread = unread;
        }
    }

    /// Looks for memory.
    pub(super) fn retry(&mut self, now: Instant) -> Retried {
        let Some(Wait { since, unread }) = self.wait else {
            return Retried { paused: Duration::ZERO, is_over: true };
        };
        self.pool.refresh();
        let is_over = match unread {
            _ if self.pool.level() < Level::Tight => true,
            Unread::End => true,
            Unread::Nothing => false,
            Unread::Bytes => self.pool.take_turn(now),
        };
        let has_input = unread == Unread::Bytes;
        if has_input && !is_over {
            self.pool.wait(now);
        }
        self.wait = (!is_over).then_some(Wait { since: now, unread: Unread::Nothing });
        let paused = if has_input { now.saturating_duration_since(since) } else { Duration::ZERO };
        Retried { paused, is_over }
    }
}

/// Chooses the connection to drop: the one that holds most, unless enough are leaving already.
pub(crate) fn choose_dropped<'a, K>(
    of_worker: &Pool,
    connections: impl Iterator<Item = (K, &'a Pool)>,
) -> Option<K> {
    let mut excess = of_worker.excess_bytes();
    let mut largest: Option<(K, &Pool)> = None;
    for (key, pool) in connections {
        if pool.is_dropped() {
            excess = excess.saturating_sub(pool.held_bytes());
        } else if largest.as_ref().is_none_or(|(_, most)| most.held_bytes() < pool.held_bytes()) {
            largest = Some((key, pool));
        }
    }
    let (key, pool) = largest.filter(|(_, pool)| excess > 0 && pool.held_bytes() > 0)?;
    pool.set_dropped();
    pool.hit(Limit::MemoryDrop);
    Some(key)
}
