//! How long a server's connection waits for what, and how it is shut down.
//!
//! | waiting for | longest | then |
//! |---|---|---|
//! | the rest of the preface, a frame or a header block | `head_timeout`, not renewed by a trickle | GOAWAY |
//! | more of a message | `body_gap_timeout` | status DEADLINE_EXCEEDED |
//! | a call's own deadline | as it says | status DEADLINE_EXCEEDED, or RST_STREAM CANCEL inside the reply |
//! | a window for a reply | [`WINDOW_TIMEOUT`] | RST_STREAM CANCEL |
//! | a stream | `idle_timeout` | GOAWAY |
//!
//! Streams are not each watched by a timer: `sweep_at` is no later than the first of them is due, and when it comes
//! all are looked through. Memory that many streams at once have needed is given back then, at most a second after the
//! last of them.
//!
//! Shutting down takes two steps, so that no call a client has sent is lost: GOAWAY that allows every stream, with a
//! PING; when that is answered, GOAWAY with the last stream that was seen. RFC 9113 section 6.8.

use std::time::{Duration, Instant};

use crate::wire::grpc::{Code, Status};
use crate::wire::h2::PROTOCOL;
use crate::wire::h2::connection::Connection;
use crate::wire::h2::connection::streams::Stream;
use crate::wire::h2::error::{ErrorCode, Fault};
use crate::wire::h2::frame::{self, PING_BYTES};
use crate::wire::h2::server::{Drain, Server, Work};
use crate::wire::{Context, Handler, Limit, Limits, WireError};

/// How long a reply waits for a window that the client does not open.
pub(crate) const WINDOW_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client may take to answer the PING of a shutdown.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Streams that an idle connection keeps memory for.
const STREAMS_KEPT: usize = 8;

/// How long a connection keeps the memory of more streams than that once none is open.
const TRIM_TIME: Duration = Duration::from_secs(1);

/// What our PING carries that asks whether the client has seen the first GOAWAY.
const DRAIN_PING: [u8; PING_BYTES] = *b"draining";

/// Highest stream number there is.
const STREAM_MAX: u32 = (1 << 31) - 1;

impl<H: Handler> Connection<Server<H>> {
    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.finished {
            return None;
        }
        let cut = self.cut_since.map(|since| since + self.limits.head_timeout);
        let idle = self.streams.is_empty().then(|| self.active_at + self.limits.idle_timeout);
        let drain = match self.side.drain {
            Drain::Told(until) => Some(until),
            Drain::No | Drain::Last => None,
        };
        [cut, idle, drain, self.sweep_at].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn expire(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        if let Drain::Told(until) = self.side.drain
            && until <= cx.now
        {
            self.end_drain(cx);
        }
        if self.cut_since.is_some_and(|since| since + self.limits.head_timeout <= cx.now) {
            self.guard.counts.hit(Limit::HeadTime);
            self.say_goodbye(ErrorCode::NoError, "timed out inside a frame or header block", cx);
            let what = "inside a frame or header block";
            return Err(WireError::timeout(PROTOCOL, what));
        }
        if self.sweep_at.is_some_and(|at| at <= cx.now) {
            self.sweep(cx).map_err(|fault| self.abort(fault, cx))?;
        }
        let idle_over = self.active_at + self.limits.idle_timeout <= cx.now;
        if self.streams.is_empty() && idle_over && !self.finished {
            self.guard.counts.hit(Limit::IdleTime);
            self.say_goodbye(ErrorCode::NoError, "idle", cx);
        }
        Ok(())
    }

    /// A stream was added that is due at the latest at its deadline, or when nothing moves for too long.
    pub(crate) fn sweep_later(
        &mut self,
        remote_open: bool,
        deadline: Option<Instant>,
        cx: &Context<'_>,
    ) {
        let many = self.streams.capacity() > STREAMS_KEPT;
        let gap = if many { TRIM_TIME } else { patience(remote_open, &self.limits) };
        let due = deadline.map_or(cx.now + gap, |deadline| deadline.min(cx.now + gap));
        self.sweep_at = Some(self.sweep_at.map_or(due, |at| at.min(due)));
    }

    fn sweep(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        self.sweep_at = None;
        self.streams.trim();
        self.ready.shrink_to(STREAMS_KEPT);
        for id in self.streams.ids() {
            let Some(stream) = self.streams.get(id) else { continue };
            let due = due(stream, &self.limits);
            if due > cx.now {
                self.sweep_at = Some(self.sweep_at.map_or(due, |at| at.min(due)));
            } else if stream.outgoing.is_some() {
                self.guard.counts.hit(Limit::WindowTime);
                self.remove(id, cx);
                self.reset(id, ErrorCode::Cancel, cx)?;
            } else if matches!(stream.data, Work::Text(_)) {
                self.guard.counts.hit(Limit::MessageTime);
                self.send_refusal(id, cx)?;
            } else {
                let called = stream.deadline.is_some_and(|deadline| deadline <= cx.now);
                if !called {
                    self.guard.counts.hit(Limit::MessageTime);
                }
                let text = match called {
                    true => "the call's deadline has passed",
                    false => "the message has stopped arriving",
                };
                self.fail(id, &Status::new(Code::DeadlineExceeded, text), cx)?;
            }
        }
        if self.streams.capacity() > STREAMS_KEPT {
            let soon = cx.now + TRIM_TIME;
            self.sweep_at = Some(self.sweep_at.map_or(soon, |at| at.min(soon)));
        }
        Ok(())
    }

    /// Begins to shut down.
    pub(crate) fn begin_drain(&mut self, cx: &mut Context<'_>) {
        if self.side.drain != Drain::No || self.finished {
            return;
        }
        let all = frame::go_away(STREAM_MAX, ErrorCode::NoError, "shutting down");
        cx.out.copy(&all, cx.pool);
        cx.out.copy(&frame::ping(0, &DRAIN_PING), cx.pool);
        self.side.drain = Drain::Told(cx.now + DRAIN_TIMEOUT);
    }

    /// The client knows: what it has opened is finished, nothing more is taken.
    pub(crate) fn end_drain(&mut self, cx: &mut Context<'_>) {
        if let Drain::Told(_) = self.side.drain {
            let last = frame::go_away(self.closed.last(), ErrorCode::NoError, "shutting down");
            cx.out.copy(&last, cx.pool);
            self.side.drain = Drain::Last;
        }
    }
}

fn patience(remote_open: bool, limits: &Limits) -> Duration {
    if remote_open { limits.body_gap_timeout } else { WINDOW_TIMEOUT }
}

fn due(stream: &Stream<Work>, limits: &Limits) -> Instant {
    let gap = stream.touched + patience(stream.remote_open, limits);
    stream.deadline.map_or(gap, |deadline| deadline.min(gap))
}
