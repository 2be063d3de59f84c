//! Timeouts of a connection and its streams.
//!
//! | what is late | limit | result |
//! |---|---|---|
//! | the rest of a frame or header block | `head_timeout` | GOAWAY |
//! | the next bytes of a message | `body_gap_timeout` | status DEADLINE_EXCEEDED |
//! | a call's own deadline | `grpc-timeout` | status DEADLINE_EXCEEDED, or RST_STREAM CANCEL |
//! | a window for a response | [`WINDOW_TIMEOUT`] | RST_STREAM CANCEL |
//! | a stream | `idle_timeout` | GOAWAY |
//!
//! The sweep comes when the first stream is due, and looks through all. It also frees the memory of
//! many streams, at most a second after the last of them.

use std::time::{Duration, Instant};

use super::state::Request;
use crate::wire::Limits;
use crate::wire::h2::connection::stream::Stream;

/// Longest wait for a window that the client does not open.
const WINDOW_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) const STREAMS_KEPT: usize = 8;

/// Time until the memory of more streams is freed, once none is open.
pub(super) const TRIM_TIME: Duration = Duration::from_secs(1);

/// Times of events and deadlines, `None` before the connection opens.
#[derive(Debug, Default)]
pub(super) struct Timeouts {
    /// Start of the frame or header block that has not arrived in full.
    cut_since: Option<Instant>,
    active_at: Option<Instant>,
    sweep_at: Option<Instant>,
}

impl Timeouts {
    #[inline]
    pub(super) fn input(&mut self, is_cut: bool, now: Instant) {
        self.active_at = Some(now);
        self.cut_since = if is_cut { self.cut_since.or(Some(now)) } else { None };
    }

    pub(super) fn cut_deadline(&self, limits: &Limits) -> Option<Instant> {
        self.cut_since.map(|since| since + limits.head_timeout)
    }

    /// Returns the time at which a connection without streams is closed.
    pub(super) fn idle_deadline(&self, limits: &Limits) -> Option<Instant> {
        self.active_at.map(|active| active + limits.idle_timeout)
    }

    pub(super) fn sweep_deadline(&self) -> Option<Instant> {
        self.sweep_at
    }

    pub(super) fn sweep_by(&mut self, due: Instant) {
        self.sweep_at = Some(self.sweep_at.map_or(due, |at| at.min(due)));
    }

    pub(super) fn begin_sweep(&mut self) {
        self.sweep_at = None;
    }
}

pub(super) fn due(stream: &Stream<Request>, limits: &Limits) -> Instant {
    let gap = if stream.state.receives() { limits.body_gap_timeout } else { WINDOW_TIMEOUT };
    let due = stream.touched + gap;
    stream.data.deadline.map_or(due, |deadline| deadline.min(due))
}
