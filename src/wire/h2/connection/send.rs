//! Sending what windows held up, stream by stream in turn.
//!
//! A stream is in [`Ready`] while it has something to send and, as far as is known, a window to send it in. One whose
//! own window is shut leaves the queue until an update; when the connection's is shut, the queue waits as it is, and
//! the first goes on with its turn: a thousand messages that share a small window end one by one and not all at last.
//!
//! RFC 9113 section 5.2.

use std::collections::VecDeque;

use crate::wire::Context;
use crate::wire::h2::connection::outgoing::Outgoing;
use crate::wire::h2::connection::streams::Stream;
use crate::wire::h2::connection::{Connection, Side};
use crate::wire::h2::error::Fault;

/// Most bytes a stream sends in its turn. Large, since a turn costs a buffer and the outbox holds no copy.
const TURN_BYTES: usize = 1024 * 1024;

/// Streams that may send, in turn.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    queue: VecDeque<u32>,
    /// What the first has sent in its turn.
    spent: usize,
}

impl Ready {
    /// Adds a stream, last.
    pub(crate) fn push(&mut self, id: u32) {
        self.queue.push_back(id);
    }

    /// Keeps room for no more than `streams`.
    pub(crate) fn shrink_to(&mut self, streams: usize) {
        self.queue.shrink_to(streams);
    }

    /// The turn of the first is over.
    fn pop(&mut self) {
        self.queue.pop_front();
        self.spent = 0;
    }
}

impl<S: Side> Connection<S> {
    /// Puts a stream in the queue if it has something to send.
    pub(crate) fn enqueue(&mut self, id: u32) {
        let Some(stream) = self.streams.get(id) else { return };
        if stream.outgoing.is_some() && !stream.queued {
            stream.queued = true;
            self.ready.push(id);
        }
    }

    /// Gives a stream its message to send.
    pub(crate) fn launch(
        &mut self,
        id: u32,
        outgoing: Outgoing,
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<(), Fault> {
        self.hold(id, outgoing, cx);
        self.pump(cx, with)
    }

    /// Gives a stream its message, to be sent by the next [`Connection::pump`].
    pub(crate) fn hold(&mut self, id: u32, outgoing: Outgoing, cx: &mut Context<'_>) {
        let Some(stream) = self.streams.get(id) else { return outgoing.retire(cx.pool) };
        self.waiting_bytes += outgoing.left();
        stream.touched = cx.now;
        stream.outgoing = Some(outgoing);
        self.enqueue(id);
    }

    /// Sends what the windows allow.
    pub(crate) fn pump(
        &mut self,
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<(), Fault> {
        while let Some(id) = self.send_ready(cx) {
            let sent = S::sent(self, id, cx);
            self.contain(sent, cx, with)?;
        }
        Ok(())
    }

    /// Sends what the windows allow, up to the end of a stream's message; returns the stream. `None` when nothing
    /// more can be sent.
    pub(crate) fn send_ready(&mut self, cx: &mut Context<'_>) -> Option<u32> {
        while let Some(&id) = self.ready.queue.front() {
            let Some(Stream { outgoing: Some(outgoing), send, touched, queued, .. }) =
                self.streams.get(id)
            else {
                self.ready.pop();
                continue;
            };
            let left = outgoing.left();
            let allowed = self.send.available().min(send.available());
            let bytes = left.min(allowed).min(TURN_BYTES - self.ready.spent);
            if bytes == 0 && left > 0 {
                if self.send.available() == 0 {
                    break;
                }
                *queued = false;
                self.ready.pop();
                continue;
            }
            let frame_max = self.peer.max_frame_size as usize;
            outgoing.send(id, bytes, frame_max, cx.out, cx.pool);
            send.spend(bytes);
            self.send.spend(bytes);
            self.waiting_bytes -= bytes;
            self.ready.spent += bytes;
            *touched = cx.now;
            if outgoing.left() == 0 {
                *queued = false;
                self.ready.pop();
                if let Some(stream) = self.streams.get(id) {
                    stream.outgoing = None;
                }
                return Some(id);
            }
            if self.ready.spent == TURN_BYTES {
                self.ready.pop();
                self.ready.push(id);
            }
        }
        None
    }
}
