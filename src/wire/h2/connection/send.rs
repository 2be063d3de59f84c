//! Send queue: messages that windows hold up, sent stream by stream in turn.
//!
//! A stream is in the queue while it has something to send and, as far as is known, a window to
//! send it in. A stream whose own window is shut leaves the queue until an update. When the
//! connection's window is shut, the queue waits as it is, and the first stream goes on with its
//! turn: a thousand messages that share a small window end one by one instead of all at the end.
//!
//! RFC 9113 section 5.2.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::outbound::Outbound;
use super::outgoing::Outgoing;
use super::stream::Stream;
use super::streams::StreamTable;
use crate::wire::h2::flow::{Overflow, SendWindow};
use crate::wire::{Context, PooledBuf, Slice};

/// Most bytes a stream sends in its turn. Large, since a turn costs a buffer and the outbox holds
/// no copy.
const TURN_BYTES: usize = 1024 * 1024;

/// Send window of a connection, and its streams that may send.
///
/// Invariants: `waiting_bytes` is the sum of the unsent bytes of all messages given to
/// [`SendQueue::enqueue`] and not discarded; a stream with `queued` set is in `ready` exactly once.
#[derive(Debug)]
pub(crate) struct SendQueue {
    window: SendWindow,
    ready: VecDeque<u32>,
    /// Bytes that the first stream has sent in its turn.
    turn_bytes: usize,
    waiting_bytes: usize,
}

impl SendQueue {
    /// Makes an empty queue for a peer that takes `window` bytes at first.
    pub(super) fn new(window: u32) -> SendQueue {
        let ready = VecDeque::new();
        SendQueue { window: SendWindow::new(window), ready, turn_bytes: 0, waiting_bytes: 0 }
    }

    /// Returns the bytes that the connection's window allows.
    #[inline]
    pub(crate) fn available(&self) -> usize {
        self.window.available()
    }

    /// Takes bytes that were sent past the queue off the connection's window.
    #[inline]
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.window.spend(bytes);
    }

    /// Returns the bytes of messages that wait to be sent.
    #[inline]
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Reduces the memory of the queue to `streams` places.
    pub(crate) fn shrink_to(&mut self, streams: usize) {
        self.ready.shrink_to(streams);
    }

    /// Opens or narrows the connection's window.
    pub(super) fn shift(&mut self, change: i64) -> Result<(), Overflow> {
        self.window.shift(change)
    }

    /// Opens or narrows a stream's window, and queues the stream if it can send.
    pub(super) fn shift_stream(
        &mut self,
        id: u32,
        outbound: &mut Outbound,
        change: i64,
    ) -> Result<(), Overflow> {
        outbound.window.shift(change)?;
        if outbound.window.available() > 0 {
            self.push(id, outbound);
        }
        Ok(())
    }

    /// Gives a stream its message, to be sent by [`SendQueue::send`].
    pub(super) fn enqueue<T>(
        &mut self,
        stream: &mut Stream<T>,
        message: Outgoing,
        cx: &mut Context<'_>,
    ) {
        self.waiting_bytes += message.left();
        stream.touched = cx.now;
        stream.outbound.message = Some(message);
        self.push(stream.id, &mut stream.outbound);
    }

    /// Appends `bytes` to a stream of messages, and ends it if there are `trailers`.
    pub(super) fn append<T>(
        &mut self,
        stream: &mut Stream<T>,
        bytes: PooledBuf,
        trailers: Option<Cow<'static, [u8]>>,
        cx: &mut Context<'_>,
    ) {
        stream.touched = cx.now;
        self.waiting_bytes += bytes.len();
        let message = stream.outbound.message.get_or_insert_with(Outgoing::open);
        message.push(Slice::from(bytes));
        if let Some(trailers) = trailers {
            message.finish(trailers);
        }
        if !message.is_idle() {
            self.push(stream.id, &mut stream.outbound);
        }
    }

    fn push(&mut self, id: u32, outbound: &mut Outbound) {
        if outbound.message.is_some() && !outbound.queued {
            outbound.queued = true;
            self.ready.push_back(id);
        }
    }

    fn end_turn(&mut self) {
        self.ready.pop_front();
        self.turn_bytes = 0;
    }

    /// Drops the message of a stream that leaves the table.
    pub(super) fn discard(&mut self, outbound: &mut Outbound) {
        if let Some(message) = outbound.message.take() {
            self.waiting_bytes -= message.left();
        }
    }

    /// Sends until a message ends or no window is open; returns the stream whose message has ended.
    pub(super) fn send<T: Default>(
        &mut self,
        streams: &mut StreamTable<T>,
        frame_bytes_max: usize,
        cx: &mut Context<'_>,
    ) -> Option<u32> {
        while let Some(&id) = self.ready.front() {
            let Some(Stream { outbound, touched, state, .. }) = streams.get(id) else {
                self.end_turn();
                continue;
            };
            let Outbound { window, message: Some(message), queued } = outbound else {
                self.end_turn();
                continue;
            };
            let left = message.left();
            let allowed = self.window.available().min(window.available());
            let bytes = left.min(allowed).min(TURN_BYTES - self.turn_bytes);
            if message.is_idle() {
                *queued = false;
                self.end_turn();
                continue;
            }
            if bytes == 0 && left > 0 {
                if self.window.available() == 0 {
                    break;
                }
                *queued = false;
                self.end_turn();
                continue;
            }
            message.send(id, bytes, frame_bytes_max, cx.out, cx.pool);
            window.spend(bytes);
            self.window.spend(bytes);
            self.waiting_bytes -= bytes;
            self.turn_bytes += bytes;
            *touched = cx.now;
            if message.left() == 0 && !message.is_idle() {
                *queued = false;
                outbound.message = None;
                state.send_end();
                self.end_turn();
                return Some(id);
            }
            if self.turn_bytes == TURN_BYTES {
                self.end_turn();
                self.ready.push_back(id);
            }
        }
        None
    }
}
