//! Responses: header blocks, messages and the ends of calls.
//!
//! A good response says `:status 200`, a gRPC content type, one message and `grpc-status 0`; the
//! sink gets the fault of any other as text. A short response that lies in one input is handed on
//! from there. RFC 9113 section 8.1.

use super::{H2Client, is_graceful};
use crate::wire::grpc::{self, COMPRESSED, Compression, MessageReader, Status};
use crate::wire::h2::HEAD_BYTES_FATAL_FACTOR;
use crate::wire::h2::connection::errors::Removed;
use crate::wire::h2::connection::event::HeaderBlock;
use crate::wire::h2::connection::history::GoneStream;
use crate::wire::h2::error::{ErrorCode, Fault};
use crate::wire::{Context, ResponseEvent, Sink, WireError};

impl H2Client {
    /// Takes a header block, and a message and trailers that follow it in `input`.
    #[inline]
    pub(super) fn headers(
        &mut self,
        block: &HeaderBlock<'_>,
        input: &mut &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Fault> {
        let id = block.stream;
        self.decode(block.bytes.bytes())?;
        let Some(stream) = self.connection.streams.get(id) else { return self.gone_stream(id) };
        if let Some(fault) = block.fault {
            return Err(Fault::Stream(id, ErrorCode::Protocol, fault));
        }
        let head = self.heads.latest();
        if stream.data.has_head {
            return self.trailers(block, cx, sink);
        }
        if let Some(fault) = head.fault() {
            return Err(Fault::Stream(id, ErrorCode::Protocol, fault));
        }
        if head.is_informational() && !block.end_stream {
            return Ok(());
        }
        stream.data.has_head = true;
        stream.data.failure = head.refusal();
        if block.end_stream {
            return self.deliver(id, head.failure(), cx, sink);
        }
        let compression = head.compression(self.coding);
        if stream.data.failure.is_some() || self.deliver_inline(id, compression, input, cx, sink)? {
            return Ok(());
        }
        if let Some(stream) = self.connection.streams.get(id) {
            let bytes_max = self.connection.limits.body_bytes_max;
            stream.inbound.expect(MessageReader::new(bytes_max, compression));
        }
        Ok(())
    }

    fn gone_stream(&self, id: u32) -> Result<(), Fault> {
        match self.connection.history.state(id) {
            GoneStream::Reset => Ok(()),
            GoneStream::Idle | GoneStream::Skipped => {
                Err(Fault::protocol("HEADERS on a stream that was not opened"))
            }
            GoneStream::Closed => {
                Err(Fault::connection(ErrorCode::StreamClosed, "HEADERS on a closed stream"))
            }
        }
    }

    fn trailers(
        &mut self,
        block: &HeaderBlock<'_>,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Fault> {
        let id = block.stream;
        if !block.end_stream {
            return Err(Fault::Stream(id, ErrorCode::Protocol, "trailers must end the stream"));
        }
        if let Some(fault) = self.heads.latest().trailers_fault() {
            return Err(Fault::Stream(id, ErrorCode::Protocol, fault));
        }
        self.deliver(id, self.heads.latest().failure(), cx, sink)
    }

    #[inline]
    fn decode(&mut self, block: &[u8]) -> Result<(), Fault> {
        let bytes_max = self.connection.limits.head_bytes_max;
        let bytes_max = bytes_max.saturating_mul(HEAD_BYTES_FATAL_FACTOR);
        self.heads
            .decode(block, &mut self.connection.decoder, bytes_max)
            .map_err(|error| Fault::connection(ErrorCode::Compression, format!("{error}")))
    }

    /// Hands on a response whose message and trailers lie in `input`; returns false if they do not.
    #[inline]
    fn deliver_inline(
        &mut self,
        id: u32,
        compression: Compression,
        input: &mut &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<bool, Fault> {
        let Some(end) = self.connection.peek_end(id, input) else { return Ok(false) };
        let bytes_max = self.connection.limits.body_bytes_max;
        let Ok(Some(message)) = grpc::whole(end.content, compression, bytes_max) else {
            return Ok(false);
        };
        *input = end.rest;
        self.connection.spend(end.content.len())?;
        self.decode(end.trailers)?;
        if let Some(fault) = self.heads.latest().trailers_fault() {
            return Err(Fault::Stream(id, ErrorCode::Protocol, fault));
        }
        let failure = self.heads.latest().failure();
        let event = event(message, end.content[0] == COMPRESSED);
        self.report(id, Ok(event), failure, cx, sink)?;
        Ok(true)
    }

    /// Drops content of a failed response. DATA before any response is a fault.
    pub(super) fn discarded(&mut self, id: u32) -> Result<(), Fault> {
        match self.connection.streams.get(id) {
            Some(stream) if !stream.data.has_head => {
                Err(Fault::Stream(id, ErrorCode::Protocol, "DATA before HEADERS"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn refuse(
        &mut self,
        id: u32,
        status: &Status,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Fault> {
        if let Some(Removed { data: call, .. }) = self.connection.remove(id) {
            sink.response(call.id, ResponseEvent::Failed(&status.text));
            self.connection.reset(id, ErrorCode::Cancel, cx)?;
        }
        Ok(())
    }

    /// Ends the calls that a departing server has not processed.
    pub(super) fn drop_calls_after(&mut self, last: u32, away: &WireError, sink: &mut dyn Sink) {
        for id in self.connection.streams.ids().into_iter().filter(|id| *id > last) {
            if let Some(Removed { data: call, .. }) = self.connection.remove(id) {
                let event = match is_graceful(away) {
                    true => ResponseEvent::Unprocessed,
                    false => ResponseEvent::Failed(&away.detail),
                };
                sink.response(call.id, event);
            }
        }
    }

    /// Ends a call whose message the stream has collected; `failure` comes from the last block.
    pub(super) fn deliver(
        &mut self,
        id: u32,
        failure: Option<String>,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Fault> {
        let message = self.connection.take_message(id).unwrap_or_default();
        let is_compressed = message.is_compressed();
        match message.finish() {
            Ok(message) => {
                let event = event(message.as_ref(), is_compressed);
                self.report(id, Ok(event), failure, cx, sink)
            }
            Err(status) => self.report(id, Err(&status), failure, cx, sink),
        }
    }

    /// Removes a call; reports an earlier failure, else `failure`, else the message.
    fn report(
        &mut self,
        id: u32,
        event: Result<ResponseEvent<'_>, &Status>,
        failure: Option<String>,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Fault> {
        let Some(removed) = self.connection.remove(id) else { return Ok(()) };
        let call = removed.data;
        match (&call.failure.or(failure), event) {
            (Some(failure), _) => sink.response(call.id, ResponseEvent::Failed(failure)),
            (None, Ok(event)) => sink.response(call.id, event),
            (None, Err(status)) => sink.response(call.id, ResponseEvent::Failed(&status.text)),
        };
        if removed.is_sending { self.connection.reset(id, ErrorCode::Cancel, cx) } else { Ok(()) }
    }
}

fn event(message: &[u8], is_compressed: bool) -> ResponseEvent<'_> {
    if is_compressed { ResponseEvent::Coded(message) } else { ResponseEvent::Whole(message) }
}
