//! Deadline of what a borrowed stack sends: its peer has to take output at the pace of a send, as
//! that of an own protocol has to.
//!
//! ```text
//!             the socket takes nothing                    taken enough
//! (no clock) ─────────────────────────▶ blocked ⇄ open ──────────────────▶ (no clock)
//!                                          └─ late ─▶ the write fails, and so ends the stack
//! ```
//! Only blocked time counts. A peer whose socket always has room costs no look at the clock.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::time::Sleep;

use super::net::TokioStream;
use crate::driver::Options;
use crate::wire::progress::{Pace, Progress};
use crate::wire::{Limit, WorkerCounts};

pub(crate) struct Sends {
    pace: Pace,
    counts: &'static WorkerCounts,
    waiting: Option<Waiting>,
}

struct Waiting {
    progress: Progress,
    /// Time since which the socket has had room; `None` while it has none.
    open_since: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl Sends {
    pub(super) fn new(options: &Options) -> Sends {
        Sends { pace: options.send_pace, counts: options.counts, waiting: None }
    }

    /// Notes bytes that the socket has taken, with or without room for more.
    #[inline]
    pub(super) fn moved(&mut self, bytes: usize, has_room: bool) {
        if self.waiting.is_some() {
            self.note(bytes, has_room, Instant::now());
        }
    }

    #[cold]
    fn note(&mut self, bytes: usize, has_room: bool, now: Instant) {
        let Some(waiting) = &mut self.waiting else { return };
        waiting.progress.moved(bytes, self.pace, now);
        if has_room && waiting.progress.due() >= now + self.pace.gap {
            self.waiting = None;
        } else if has_room {
            waiting.open_since.get_or_insert(now);
        }
    }

    /// Waits for room. Ready once the peer is too slow.
    #[cold]
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let (now, pace) = (Instant::now(), self.pace);
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            progress: Progress::start(pace, now),
            open_since: None,
            alarm: Box::pin(::tokio::time::sleep_until((now + pace.gap).into())),
        });
        if let Some(since) = waiting.open_since.take() {
            waiting.progress.pause(now.saturating_duration_since(since));
        }
        loop {
            ready!(waiting.alarm.as_mut().poll(cx));
            let due = waiting.progress.due();
            if due <= Instant::now() {
                self.counts.hit(Limit::StallTime);
                self.counts.peer_faults.add(1);
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            waiting.alarm.as_mut().reset(due.into());
        }
    }
}

/// Stream of a connection whose sends have a deadline.
pub(super) struct PacedStream {
    stream: TokioStream,
    sends: Sends,
}

impl PacedStream {
    pub(super) fn new(stream: TokioStream, sends: Sends) -> PacedStream {
        PacedStream { stream, sends }
    }

    fn judge(
        &mut self,
        written: Poll<io::Result<usize>>,
        len: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(count)) => self.sends.moved(count, count == len),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => return self.sends.poll_late(cx).map(Err),
        }
        written
    }
}

impl AsyncRead for PacedStream {
    fn poll_read(
        mut self: Pin<&mut PacedStream>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for PacedStream {
    fn poll_write(
        mut self: Pin<&mut PacedStream>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(written, bytes.len(), cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut PacedStream>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        let len = slices.iter().map(|slice| slice.len()).sum();
        self.judge(written, len, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut PacedStream>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: Pin<&mut PacedStream>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
