//! Calls that take and send any number of messages.
//!
//! ```text
//! Message ─────▶ Call::message ─┐
//! StreamEnded ─▶ Call::end ─────┼─▶ Replies: HEADERS, messages ─▶ finish or error: trailers
//! flushed ─────▶ Call::resume ──┘
//! ```
//! A call whose messages wait for the peer pauses ([`Replies::is_full`]), and its peer gets no more
//! window. It is resumed once the outbox is sent, so the outbox holds one event's messages at most.

use std::borrow::Cow;

use super::H2;
use super::frames::{self, Extras, OK_TRAILERS, write_ok_head};
use super::state::{RequestState, StreamCall};
use crate::wire::grpc::{self, Code, MessageReader, Status};
use crate::wire::h2::STREAM_UNSENT_BYTES_MAX;
use crate::wire::h2::error::Fault;
use crate::wire::{Call, Context, Handler, PooledBuf, Refused, Replies};

struct EventReplies {
    bytes: PooledBuf,
    /// Unsent bytes of earlier messages.
    unsent_bytes: usize,
    is_finished: bool,
    is_too_long: bool,
}

impl Replies for EventReplies {
    fn send(&mut self, message: &[u8]) {
        match u32::try_from(message.len()) {
            Ok(len) if !self.is_finished => {
                self.bytes.extend_from_slice(&grpc::prefix(len));
                self.bytes.extend_from_slice(message);
            }
            Ok(_) => {}
            Err(_) => self.is_too_long = true,
        }
    }

    fn is_full(&self) -> bool {
        self.unsent_bytes + self.bytes.len() >= STREAM_UNSENT_BYTES_MAX
    }

    fn finish(&mut self) {
        self.is_finished = true;
    }
}

impl<H: Handler> H2<H> {
    pub(super) fn pass_message(&mut self, id: u32, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Some(message) = self.connection.take_message(id) else { return Ok(()) };
        let next = MessageReader::new(self.connection.limits.body_bytes_max, message.compression());
        let Some(stream) = self.connection.streams.get(id) else { return Ok(()) };
        stream.inbound.expect(next);
        let message = match message.finish() {
            Ok(message) => message,
            Err(status) => return self.fail(id, &status, cx),
        };
        match self.take_call(id) {
            Some(call) => {
                self.run_call(id, call, cx, |call, to| call.message(message.as_ref(), to))
            }
            None => Ok(()),
        }
    }

    pub(super) fn end_call(
        &mut self,
        id: u32,
        call: Box<StreamCall>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let rest = self.connection.take_message(id).filter(|message| !message.is_untouched());
        if let Some(Err(status)) = rest.map(|message| message.finish()) {
            self.put_call(id, call);
            return self.fail(id, &status, cx);
        }
        self.run_call(id, call, cx, |call, to| call.end(to))
    }

    pub(super) fn resume_calls(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        for id in std::mem::take(&mut self.paused) {
            let Some(stream) = self.connection.streams.get(id) else { continue };
            if stream.unsent_bytes() >= STREAM_UNSENT_BYTES_MAX {
                self.paused.push(id);
                continue;
            }
            self.connection.grant_stream(id, 0, cx);
            if let Some(call) = self.take_call(id) {
                self.run_call(id, call, cx, |call, to| call.resume(to))?;
            }
        }
        Ok(())
    }

    /// Lets a call handle one event, and sends its messages.
    fn run_call(
        &mut self,
        id: u32,
        mut call: Box<StreamCall>,
        cx: &mut Context<'_>,
        event: impl FnOnce(&mut dyn Call, &mut dyn Replies) -> Result<(), Refused>,
    ) -> Result<(), Fault> {
        let unsent_bytes = self.connection.streams.get(id).map_or(0, |s| s.unsent_bytes());
        let bytes = cx.pool.take(0);
        let mut replies =
            EventReplies { bytes, unsent_bytes, is_finished: false, is_too_long: false };
        let handled = event(&mut *call.call, &mut replies).map_err(Status::from);
        let handled =
            handled.and_then(|()| if replies.is_too_long { Err(too_long()) } else { Ok(()) });
        let sends = !replies.bytes.is_empty() || replies.is_finished && handled.is_ok();
        if sends && !call.has_head {
            call.has_head = true;
            let content_type = call.call.content_type();
            let update = self.connection.send.take_table_update();
            let extras = Extras { update, ..Extras::NONE };
            cx.out.compose(frames::AROUND_BYTES, cx.pool, |out| {
                write_ok_head(id, extras, content_type, out);
            });
        }
        let is_full = replies.is_full();
        let EventReplies { bytes, is_finished, .. } = replies;
        match handled {
            Err(status) if call.has_head => {
                let trailers = self.refusal_trailers(&status).into();
                self.finish_call(id, bytes, trailers, cx)
            }
            Err(status) => self.fail(id, &status, cx),
            Ok(()) if is_finished => self.finish_call(id, bytes, OK_TRAILERS.into(), cx),
            Ok(()) => {
                if is_full {
                    self.paused.push(id);
                }
                self.put_call(id, call);
                self.connection.append(id, bytes, None, cx);
                self.flush(cx)
            }
        }
    }

    /// Sends the last messages and the trailers; drops later content.
    pub(super) fn finish_call(
        &mut self,
        id: u32,
        bytes: PooledBuf,
        trailers: Cow<'static, [u8]>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        self.connection.take_message(id);
        drop(self.take_call(id));
        self.connection.append(id, bytes, Some(trailers), cx);
        self.flush(cx)
    }

    pub(super) fn has_head(&mut self, id: u32) -> bool {
        let stream = self.connection.streams.get(id);
        stream.is_some_and(
            |stream| matches!(&stream.data.state, RequestState::Stream(call) if call.has_head),
        )
    }

    fn take_call(&mut self, id: u32) -> Option<Box<StreamCall>> {
        let state = &mut self.connection.streams.get(id)?.data.state;
        match std::mem::replace(state, RequestState::Answered) {
            RequestState::Stream(call) => Some(call),
            other => {
                *state = other;
                None
            }
        }
    }

    fn put_call(&mut self, id: u32, call: Box<StreamCall>) {
        if let Some(stream) = self.connection.streams.get(id) {
            stream.data.state = RequestState::Stream(call);
        }
    }
}

fn too_long() -> Status {
    Status::new(Code::Internal, "response message does not fit gRPC's prefix of 4 GiB")
}
