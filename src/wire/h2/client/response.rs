//! What comes back to the client half: frames of replies, resets, farewells.
//!
//! A reply is good when it says `:status 200`, a gRPC content type, one message and `grpc-status 0`; of any other the
//! sink gets the reason as text. A short reply whose frames lie in one input is handed on from where it lies; a long
//! one is received into its own buffer.
//!
//! RFC 9113 section 8.1; `doc/PROTOCOL-HTTP2.md` of the gRPC project.

use crate::wire::grpc::{self, Status};
use crate::wire::h2::HEAD_BYTES_FATAL_FACTOR;
use crate::wire::h2::client::{Call, Caller};
use crate::wire::h2::connection::data::over_connection_window;
use crate::wire::h2::connection::incoming::Incoming;
use crate::wire::h2::connection::streams::Absent;
use crate::wire::h2::connection::{Block, Connection, Side};
use crate::wire::h2::error::{ErrorCode, Fault};
use crate::wire::h2::frame::{END_HEADERS, END_STREAM, FrameHead, HEAD_BYTES, Kind};
use crate::wire::{Context, ResponseEvent, Sink};

impl Side for Caller {
    type PerStream = Call;
    type With<'w> = dyn Sink + 'w;

    fn headers(
        c: &mut Connection<Self>,
        block: Block,
        bytes: &[u8],
        rest: &[u8],
        cx: &mut Context<'_>,
        sink: &mut (dyn Sink + '_),
    ) -> Result<usize, Fault> {
        let id = block.stream;
        c.decode_reply(bytes)?;
        let Some(stream) = c.streams.get(id) else {
            return match c.closed.state(id) {
                Absent::Reset => Ok(0),
                Absent::Idle | Absent::Skipped => {
                    Err(Fault::protocol("HEADERS on a stream that was not opened"))
                }
                Absent::Closed => {
                    Err(Fault::connection(ErrorCode::StreamClosed, "HEADERS on a closed stream"))
                }
            };
        };
        if let Some(fault) = block.fault {
            return Err(Fault::Stream(id, ErrorCode::Protocol, fault));
        }
        let head = c.side.heads.latest();
        if stream.data.answered {
            if !block.end_stream {
                let text = "HEADERS behind a reply that do not end it";
                return Err(Fault::Stream(id, ErrorCode::Protocol, text));
            }
            if let Some(fault) = head.trailers_fault() {
                return Err(Fault::Stream(id, ErrorCode::Protocol, fault));
            }
            return c.finish(id, cx, sink).map(|()| 0);
        }
        if let Some(fault) = head.fault() {
            return Err(Fault::Stream(id, ErrorCode::Protocol, fault));
        }
        if head.is_informational() && !block.end_stream {
            return Ok(0);
        }
        stream.data.answered = true;
        stream.data.failure = head.refusal();
        if block.end_stream {
            return c.finish(id, cx, sink).map(|()| 0);
        }
        if stream.data.failure.is_some() {
            return Ok(0);
        }
        let used = c.quick(id, rest, cx, sink)?;
        if used == 0
            && let Some(stream) = c.streams.get(id)
        {
            stream.incoming = Some(Incoming::new(c.limits.body_bytes_max, false));
        }
        Ok(used)
    }

    /// The reply ends with content, so it has no status.
    fn whole(
        c: &mut Connection<Self>,
        id: u32,
        _: &[u8],
        cx: &mut Context<'_>,
        sink: &mut (dyn Sink + '_),
    ) -> Result<(), Fault> {
        Self::ended(c, id, cx, sink)
    }

    /// As [`Side::whole`].
    fn ended(
        c: &mut Connection<Self>,
        id: u32,
        cx: &mut Context<'_>,
        sink: &mut (dyn Sink + '_),
    ) -> Result<(), Fault> {
        let missing = Some("the reply has no trailers".to_owned());
        c.deliver(id, None, missing, cx, sink)
    }

    fn refused(
        c: &mut Connection<Self>,
        id: u32,
        status: Status,
        cx: &mut Context<'_>,
        sink: &mut (dyn Sink + '_),
    ) -> Result<(), Fault> {
        if let Some(call) = c.remove(id, cx) {
            sink.response(call.id, ResponseEvent::Failed(&status.text));
            c.reset(id, ErrorCode::Cancel, cx)?;
        }
        Ok(())
    }

    /// Of a reply that is none, or before there is one.
    fn unwanted(
        c: &mut Connection<Self>,
        id: u32,
        _: &mut Context<'_>,
        _: &mut (dyn Sink + '_),
    ) -> Result<(), Fault> {
        match c.streams.get(id) {
            Some(stream) if !stream.data.answered => {
                Err(Fault::Stream(id, ErrorCode::Protocol, "DATA before HEADERS"))
            }
            _ => Ok(()),
        }
    }

    fn sent(_: &mut Connection<Self>, _: u32, _: &mut Context<'_>) -> Result<(), Fault> {
        Ok(())
    }

    fn dropped(&mut self, call: Call, why: &str, sink: &mut (dyn Sink + '_)) {
        sink.response(call.id, ResponseEvent::Failed(why));
    }

    fn settings(c: &mut Connection<Self>, _: &mut Context<'_>) {
        c.side.block.resize(c.peer.header_table_size);
    }

    fn going_away(
        c: &mut Connection<Self>,
        last: u32,
        why: &str,
        cx: &mut Context<'_>,
        sink: &mut (dyn Sink + '_),
    ) {
        c.side.away = Some(why.to_owned());
        for id in c.streams.ids().into_iter().filter(|id| *id > last) {
            if let Some(call) = c.remove(id, cx) {
                sink.response(call.id, ResponseEvent::Failed(why));
            }
        }
    }

    fn pong(_: &mut Connection<Self>, _: &mut Context<'_>) {}
}

impl Connection<Caller> {
    fn decode_reply(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let bytes_max = self.limits.head_bytes_max.saturating_mul(HEAD_BYTES_FATAL_FACTOR);
        self.side
            .heads
            .decode(bytes, &mut self.decoder, bytes_max)
            .map_err(|error| Fault::connection(ErrorCode::Compression, format!("{error}")))
    }

    /// Hands a reply on whose message and trailers lie in `rest`; returns how much of it that took.
    fn quick(
        &mut self,
        id: u32,
        rest: &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<usize, Fault> {
        let Some((content, trailers)) = whole_reply(id, rest) else { return Ok(0) };
        let limit = self.limits.body_bytes_max;
        let Ok(Some(message)) = grpc::whole(content, false, limit) else { return Ok(0) };
        self.receive.spend(content.len()).map_err(|_| over_connection_window())?;
        self.decode_reply(trailers)?;
        if let Some(fault) = self.side.heads.latest().trailers_fault() {
            return Err(Fault::Stream(id, ErrorCode::Protocol, fault));
        }
        let failure = self.side.heads.latest().failure();
        self.deliver(id, Some(message), failure, cx, sink)?;
        Ok(2 * HEAD_BYTES + content.len() + trailers.len())
    }

    /// The reply on stream `id` is complete; its last block has been decoded.
    fn finish(&mut self, id: u32, cx: &mut Context<'_>, sink: &mut dyn Sink) -> Result<(), Fault> {
        let failure = self.side.heads.latest().failure();
        self.deliver(id, None, failure, cx, sink)
    }

    /// Takes a call out and tells the sink how it ended: by `failure` unless it had failed before, else with a message,
    /// `quick` or what the stream has gathered.
    fn deliver(
        &mut self,
        id: u32,
        quick: Option<&[u8]>,
        failure: Option<String>,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Fault> {
        let Some(stream) = self.streams.get(id) else { return Ok(()) };
        let unfinished = stream.outgoing.is_some();
        let incoming = stream.incoming.take();
        let Some(call) = self.remove(id, cx) else { return Ok(()) };
        match (call.failure.or(failure), quick, incoming) {
            (Some(failure), _, incoming) => {
                if let Some(incoming) = incoming {
                    incoming.retire(cx.pool);
                }
                sink.response(call.id, ResponseEvent::Failed(&failure));
            }
            (None, Some(message), _) => sink.response(call.id, ResponseEvent::Whole(message)),
            (None, None, incoming) => {
                match incoming.unwrap_or_default().finish(cx.pool) {
                    Ok(message) => {
                        sink.response(call.id, ResponseEvent::Whole(message.bytes()));
                        cx.pool.give(message.into_buffer());
                    }
                    Err(status) => sink.response(call.id, ResponseEvent::Failed(&status.text)),
                };
            }
        }
        if unfinished {
            self.reset(id, ErrorCode::Cancel, cx)?;
        }
        Ok(())
    }
}

/// The content and the trailers of stream `id`, if one DATA frame and all of the trailers lie in front of `rest`.
fn whole_reply(id: u32, rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = rest.split_first_chunk()?;
    let head = FrameHead::read(head);
    if head.kind != Kind::Data || head.stream != id || head.flags != 0 {
        return None;
    }
    let (content, rest) = rest.split_at_checked(head.len)?;
    let (head, rest) = rest.split_first_chunk()?;
    let head = FrameHead::read(head);
    let ends = head.flags == END_HEADERS | END_STREAM;
    let whole = head.kind == Kind::Headers && head.stream == id && ends;
    rest.get(..head.len).filter(|_| whole).map(|trailers| (content, trailers))
}
