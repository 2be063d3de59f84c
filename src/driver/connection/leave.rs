//! Ends of a connection for the sake of others: its memory or its place is needed.

use std::time::{Duration, Instant};

use super::{Connection, State, WorkerCx};
use crate::driver::addresses::Place;
use crate::driver::{URGENT_TIME, Urgent};
use crate::sys::socket::Unread;
use crate::wire::{LINGER_GAP, Limit, Pool};

/// Shortest idle time of a connection whose place another one gets.
const IDLE_MIN: Duration = Duration::from_millis(200);

/// Shortest idle time of such a connection whose peer has not received its last response.
const UNDELIVERED_TIME: Duration = LINGER_GAP;

impl Connection {
    /// Keeps the place of the connection until it is dropped.
    pub(crate) fn keep(&mut self, place: Option<Place>) {
        self.place = place;
    }

    /// Serves an urgent request for a short time.
    pub(crate) fn limit_to(&mut self, urgent: Urgent, now: Instant) {
        self.ends_at = Some(now + URGENT_TIME);
        if urgent.needs_restriction {
            self.machine.restrict();
        }
    }

    /// Returns the time since which the connection is idle.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let may_end = self.state == State::Open && self.pending() == 0;
        if may_end { self.machine.idle_since() } else { None }
    }

    /// Returns true if the connection may end for the sake of another one: it is idle, and neither
    /// a request nor a response of its peer is under way. `has_unsent` is true while the peer has
    /// not received its last response; it gets more time then.
    pub(crate) fn may_retire(&self, unread: Unread, has_unsent: bool, now: Instant) -> bool {
        let is_delivered = |since: Instant| !has_unsent || since + UNDELIVERED_TIME <= now;
        unread != Unread::Bytes && self.idle_since().is_some_and(is_delivered)
    }

    /// Ends an idle connection, whose place another one needs. It lingers for a short time, as the
    /// peer may not have read its last response.
    pub(crate) fn retire(&mut self, cx: &mut WorkerCx) {
        if self.state == State::Open {
            cx.counts.hit(Limit::IdlePlace);
            self.is_retired = true;
            self.call(cx, |machine, cx| {
                machine.retire(cx);
                Ok(())
            });
        }
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.is_retired
    }

    /// Drops the connection, whose memory is needed.
    pub(crate) fn drop_for_memory(&mut self) {
        self.loan = None;
        self.state = State::Closed;
    }

    pub(crate) fn pool(&self) -> &Pool {
        self.memory.pool()
    }
}

/// Returns up to `count` connections that are idle for longest, each given with the time since
/// which. One that is idle for a moment may have its next request on the way.
pub(crate) fn longest_idle<K>(mut idle: Vec<(Instant, K)>, count: usize, now: Instant) -> Vec<K> {
    idle.retain(|(since, _)| *since + IDLE_MIN <= now);
    idle.sort_by_key(|(since, _)| *since);
    idle.into_iter().take(count).map(|(_, key)| key).collect()
}
