//! Timeouts of a connection and its streams.
//!
//! | what is late | limit | result |
//! |---|---|---|
//! | the rest of a frame or header block | `head_timeout` | GOAWAY |
//! | bytes of a message | `body_gap_timeout`, `rate_min` | status DEADLINE_EXCEEDED |
//! | a call's own deadline | `grpc-timeout` | status DEADLINE_EXCEEDED, or RST_STREAM CANCEL |
//! | window for a response | `window_timeout`, `rate_min` | RST_STREAM CANCEL |
//! | a stream, after all output has been sent | `idle_timeout` | GOAWAY |
//!
//! [`crate::wire::progress`] has the meaning of a time with a rate. A time in which the caller does
//! not read does not count, except for a call's own deadline.
//!
//! The sweep comes when the first stream is due, and looks through all. It also frees the memory of
//! many streams, at most a second after the last of them.

use std::time::{Duration, Instant};

use super::state::Request;
use crate::wire::Limits;
use crate::wire::h2::connection::stream::Stream;

pub(super) const STREAMS_KEPT: usize = 8;

/// Time until the memory of more streams is freed, once none is open.
pub(super) const TRIM_TIME: Duration = Duration::from_secs(1);

/// Times of events and deadlines, `None` before the connection opens.
#[derive(Debug, Default)]
pub(super) struct Timeouts {
    /// Start of the frame or header block that has not arrived in full, and its number.
    cut: Option<(Instant, u32)>,
    /// Number of an ignored frame that has not arrived in full. Its bytes are no activity.
    ignored: Option<u32>,
    active_at: Option<Instant>,
    /// Highest stream so far, and the time of its input.
    called: Option<(u32, Instant)>,
    sweep_at: Option<Instant>,
    is_sending: bool,
}

impl Timeouts {
    /// Notes input. `cut` is the number of a frame or header block that goes on, `ignored` that of
    /// a frame without meaning.
    #[inline]
    pub(super) fn input(&mut self, cut: Option<u32>, ignored: Option<u32>, now: Instant) {
        if ignored.is_none() || ignored != self.ignored {
            self.active_at = Some(now);
        }
        self.ignored = ignored;
        self.cut = cut.map(|cut| match self.cut {
            Some((since, same)) if same == cut => (since, cut),
            _ => (now, cut),
        });
    }

    /// Notes the highest stream after input.
    #[inline]
    pub(super) fn calls(&mut self, last: u32, now: Instant) {
        if self.called.is_none_or(|(before, _)| before != last) {
            self.called = Some((last, now));
        }
    }

    /// Returns the time of the last new stream, or of the beginning.
    pub(super) fn called_at(&self) -> Option<Instant> {
        self.called.map(|(_, at)| at)
    }

    /// Notes output that [`Timeouts::flushed`] follows.
    #[inline]
    pub(super) fn sends(&mut self, sends: bool) {
        self.is_sending |= sends;
    }

    #[inline]
    pub(super) fn flushed(&mut self, now: Instant) {
        self.is_sending = false;
        self.active_at = Some(now);
    }

    /// Returns true if a connection without streams is to be closed. During output, the time starts
    /// again: a driver may notice late that all has been sent, so there is a deadline meanwhile.
    pub(super) fn is_idle(&mut self, limits: &Limits, now: Instant) -> bool {
        let is_due = self.idle_deadline(limits).is_some_and(|at| at <= now);
        if is_due && self.is_sending {
            self.active_at = Some(now);
        }
        is_due && !self.is_sending
    }

    /// Leaves a time out, in which no input was read.
    pub(super) fn pause(&mut self, time: Duration) {
        self.cut = self.cut.map(|(since, cut)| (since + time, cut));
        self.active_at = self.active_at.map(|at| at + time);
    }

    pub(super) fn cut_deadline(&self, limits: &Limits) -> Option<Instant> {
        self.cut.map(|(since, _)| since + limits.head_timeout)
    }

    /// Returns the time at which a connection without streams is closed.
    pub(super) fn idle_deadline(&self, limits: &Limits) -> Option<Instant> {
        self.active_at.map(|active| active + limits.idle_timeout)
    }

    pub(super) fn sweep_deadline(&self) -> Option<Instant> {
        self.sweep_at
    }

    pub(super) fn sweep_by(&mut self, due: impl Into<Option<Instant>>) {
        if let Some(due) = due.into() {
            self.sweep_at = Some(self.sweep_at.map_or(due, |at| at.min(due)));
        }
    }

    pub(super) fn begin_sweep(&mut self) {
        self.sweep_at = None;
    }
}

/// Returns the time at which a stream is late. One that waits for its job has its own deadline
/// only.
pub(super) fn due(stream: &Stream<Request>) -> Option<Instant> {
    if stream.data.is_working() {
        return stream.data.deadline;
    }
    let due = stream.progress.due();
    Some(stream.data.deadline.map_or(due, |deadline| deadline.min(due)))
}
