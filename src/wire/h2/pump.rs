//! Sending what windows held up, stream by stream in turn.
//!
//! A stream is in `ready` while it has something to send and, as far as is known, a window to send it in. One whose
//! own window is shut leaves the queue until an update; when the connection's is shut, the queue waits as it is.
//!
//! RFC 9113 section 5.2.

use super::fault::Fault;
use super::machine::{Connection, Side};
use super::outgoing::Outgoing;
use super::stream::Stream;
use crate::wire::Context;

/// Most bytes a stream sends in its turn. Large, since a turn costs a buffer and the outbox holds no copy.
const TURN_BYTES: usize = 1024 * 1024;

impl<S: Side> Connection<S> {
    /// Puts a stream in the queue if it has something to send.
    pub(super) fn enqueue(&mut self, id: u32) {
        let Some(stream) = self.streams.get(id) else { return };
        if stream.outgoing.is_some() && !stream.queued {
            stream.queued = true;
            self.ready.push_back(id);
        }
    }

    /// Gives a stream its message to send.
    pub(super) fn launch(
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
    pub(super) fn hold(&mut self, id: u32, outgoing: Outgoing, cx: &mut Context<'_>) {
        let Some(stream) = self.streams.get(id) else { return outgoing.retire(cx.pool) };
        self.waiting_bytes += outgoing.left();
        stream.touched = cx.now;
        stream.outgoing = Some(outgoing);
        self.enqueue(id);
    }

    /// Sends what the windows allow.
    pub(super) fn pump(
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
    pub(super) fn send_ready(&mut self, cx: &mut Context<'_>) -> Option<u32> {
        while let Some(id) = self.ready.pop_front() {
            let Some(stream) = self.streams.get(id) else { continue };
            let Stream { outgoing: Some(outgoing), send, .. } = stream else { continue };
            let left = outgoing.left();
            let allowed = self.send.available().min(send.available());
            let bytes = left.min(allowed).min(TURN_BYTES);
            if bytes == 0 && left > 0 {
                if self.send.available() == 0 {
                    self.ready.push_front(id);
                    break;
                }
                stream.queued = false;
                continue;
            }
            let frame_max = self.peer.max_frame_size as usize;
            outgoing.send(id, bytes, frame_max, cx.out, cx.pool);
            send.spend(bytes);
            self.send.spend(bytes);
            self.waiting_bytes -= bytes;
            stream.touched = cx.now;
            if outgoing.left() > 0 {
                self.ready.push_back(id);
                continue;
            }
            stream.queued = false;
            stream.outgoing = None;
            return Some(id);
        }
        None
    }
}
