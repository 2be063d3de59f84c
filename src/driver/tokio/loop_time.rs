//! Time of the runtime's loop: its counts, and the part of it that one connection gets.

use std::future::Future as _;
use std::pin::pin;
use std::task::Context;
use std::time::{Duration, Instant};

use ::tokio::runtime::Handle;

use crate::wire::WorkerCounts;
use crate::wire::counts::LoopTime;

/// Longest time in which a connection moves bytes before the others have their turn.
const TURN_TIME_MAX: Duration = Duration::from_millis(1);

/// Tells the counts of the loop's time, which the runtime measures.
pub(super) fn measure(counts: &WorkerCounts) {
    let metrics = Handle::current().metrics();
    counts.measure_loop(move || LoopTime {
        turns: metrics.worker_park_count(0),
        busy: metrics.worker_total_busy_duration(0),
    });
}

/// Turn of one connection, from its first event on.
#[derive(Default)]
pub(super) struct Turn {
    begun: Option<Instant>,
}

impl Turn {
    /// Returns true if the task has to return; the runtime first looks for the events of others and
    /// then polls the task again.
    #[inline]
    pub(super) fn is_over(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let begun = *self.begun.get_or_insert(now);
        let is_over = now.saturating_duration_since(begun) >= TURN_TIME_MAX;
        is_over && pin!(::tokio::task::yield_now()).poll(cx).is_pending()
    }
}
