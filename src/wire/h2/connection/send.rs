//! Send queue: messages that windows hold up, sent stream by stream in turn.
//!
//! A stream is in the queue while it has something to send and, as far as is known, a window. While
//! the connection's window is shut, the queue keeps its order: a thousand messages that share a
//! small window end one by one instead of all at the end. RFC 9113 section 5.2.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::outbound::Outbound;
use super::outgoing::Outgoing;
use super::stream::Stream;
use super::streams::StreamTable;
use crate::wire::h2::flow::{Overflow, SendWindow};
use crate::wire::h2::hpack::TABLE_UPDATE;
use crate::wire::progress::Progress;
use crate::wire::{Context, Pace, PooledBuf, Slice};

/// Most bytes of a turn. Large, since a turn costs a buffer and the outbox holds no copy.
const TURN_BYTES: usize = 1024 * 1024;

/// Send window of a connection, and its streams that may send. `waiting_bytes` is the sum of unsent
/// bytes of queued messages; a stream with `queued` set is in `ready` exactly once.
#[derive(Debug)]
pub(crate) struct SendQueue {
    window: SendWindow,
    ready: VecDeque<u32>,
    turn_bytes: usize,
    waiting_bytes: usize,
    table_update: bool,
}

impl SendQueue {
    pub(super) fn new(window: u32) -> SendQueue {
        let ready = VecDeque::new();
        let (window, table_update) = (SendWindow::new(window), false);
        SendQueue { window, ready, turn_bytes: 0, waiting_bytes: 0, table_update }
    }

    /// Begins the next header block with a table size update.
    pub(super) fn update_table(&mut self) {
        self.table_update = true;
    }

    /// Returns true if the next header block of a half that keeps no table must begin with
    /// [`TABLE_UPDATE`].
    #[inline]
    pub(crate) fn needs_table_update(&self) -> bool {
        self.table_update
    }

    /// Returns true once for each call of [`SendQueue::update_table`] that is not done.
    #[inline]
    pub(crate) fn take_table_update(&mut self) -> bool {
        std::mem::take(&mut self.table_update)
    }

    #[inline]
    pub(crate) fn available(&self) -> usize {
        self.window.available()
    }

    /// Takes bytes that bypassed the queue off the connection's window.
    #[inline]
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.window.spend(bytes);
    }

    #[inline]
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(crate) fn shrink_to(&mut self, streams: usize) {
        self.ready.shrink_to(streams);
    }

    pub(super) fn shift(&mut self, change: i64) -> Result<(), Overflow> {
        self.window.shift(change)
    }

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

    pub(super) fn enqueue<T>(
        &mut self,
        stream: &mut Stream<T>,
        message: Outgoing,
        progress: Progress,
    ) {
        self.waiting_bytes += message.left();
        stream.progress = progress;
        stream.outbound.message = Some(message);
        self.push(stream.id, &mut stream.outbound);
    }

    /// Appends `bytes` to a stream of messages; `trailers` end it.
    pub(super) fn append<T>(
        &mut self,
        stream: &mut Stream<T>,
        bytes: PooledBuf,
        trailers: Option<Cow<'static, [u8]>>,
        progress: Progress,
    ) {
        if !stream.is_sending() {
            stream.progress = progress;
        }
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

    pub(super) fn discard(&mut self, outbound: &mut Outbound) {
        if let Some(message) = outbound.message.take() {
            self.waiting_bytes -= message.left();
        }
    }

    /// Sends until a message ends or no window is open; returns the stream that ended.
    pub(super) fn send<T: Default>(
        &mut self,
        streams: &mut StreamTable<T>,
        frame_bytes_max: usize,
        pace: Pace,
        cx: &mut Context<'_>,
    ) -> Option<u32> {
        while let Some(&id) = self.ready.front() {
            let Some(Stream { outbound, progress, state, .. }) = streams.get(id) else {
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
            if self.table_update && bytes == left {
                self.table_update = !message.begin_trailers(TABLE_UPDATE);
            }
            message.send(id, bytes, frame_bytes_max, cx.out, cx.pool);
            window.spend(bytes);
            self.window.spend(bytes);
            self.waiting_bytes -= bytes;
            self.turn_bytes += bytes;
            if message.left() == 0 && !message.is_idle() {
                *queued = false;
                outbound.message = None;
                state.send_end();
                self.end_turn();
                return Some(id);
            }
            progress.moved(bytes, pace, cx.now);
            if self.turn_bytes == TURN_BYTES {
                self.end_turn();
                self.ready.push_back(id);
            }
        }
        None
    }
}
