//! A request's head decides what becomes of its stream.
//!
//! ```text
//! head ─┬─ breaks a rule ─────────────▶ RST_STREAM PROTOCOL_ERROR
//!       ├─ no stream left, draining ──▶ RST_STREAM REFUSED_STREAM
//!       ├─ too large, not POST, not gRPC ─▶ text reply 431, 405, 415 once the content has ended
//!       ├─ refused by the handler ────▶ status
//!       └─ routed ─┬─ whole message behind it in the input ─▶ answered from there, no stream made
//!                  └─ else ─▶ stream; answered when it ends, or its deadline passes
//! ```
//! RFC 9113 section 8.1; `doc/PROTOCOL-HTTP2.md` of the gRPC project.

use crate::wire::grpc::{Code, Status};
use crate::wire::h2::connection::data::WRONG_LENGTH;
use crate::wire::h2::connection::incoming::Incoming;
use crate::wire::h2::connection::streams::{Absent, Stream};
use crate::wire::h2::connection::{Block, Connection};
use crate::wire::h2::error::{ErrorCode, Fault};
use crate::wire::h2::flow::{ReceiveWindow, SendWindow};
use crate::wire::h2::frame::{END_STREAM, FrameHead, HEAD_BYTES, Kind};
use crate::wire::h2::hpack::HpackError;
use crate::wire::h2::server::frames::{self, TextReply};
use crate::wire::h2::server::head::Method;
use crate::wire::h2::server::{Drain, Server, Work};
use crate::wire::h2::{FRAME_BYTES_MAX, HEAD_BYTES_FATAL_FACTOR, STREAM_WINDOW, STREAMS_MAX};
use crate::wire::{Context, Handler, Head, Limit, Routed};

impl<H: Handler> Connection<Server<H>> {
    /// A whole header block, on a new stream or behind the content of one. `rest` is the input behind it; returns how
    /// much of that was used as well.
    pub(crate) fn request(
        &mut self,
        block: Block,
        bytes: &[u8],
        rest: &[u8],
        cx: &mut Context<'_>,
        with: &mut (),
    ) -> Result<usize, Fault> {
        let id = block.stream;
        self.decode_head(bytes)?;
        if id.is_multiple_of(2) {
            return Err(Fault::protocol("clients open streams with odd numbers"));
        }
        if id <= self.closed.last() {
            return self.trailers(block, cx, with).map(|()| 0);
        }
        self.closed.opened(id);
        if self.streams.len() >= STREAMS_MAX as usize || self.side.drain == Drain::Last {
            if self.side.drain != Drain::Last {
                self.guard.counts.hit(Limit::Streams);
            }
            return Err(Fault::Stream(id, ErrorCode::RefusedStream, "no stream is left"));
        }
        if let Some(fault) = block.fault.or(self.side.head.fault()) {
            return Err(Fault::Stream(id, ErrorCode::Protocol, fault));
        }
        let work = self.classify();
        if block.end_stream {
            return self.without_content(id, work, cx).map(|()| 0);
        }
        match whole_content(id, rest) {
            Some(content) => {
                self.quick(id, work, content, cx)?;
                Ok(HEAD_BYTES + content.len())
            }
            None => self.begin(id, work, cx).map(|()| 0),
        }
    }

    fn decode_head(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let Server { head, last_block, .. } = &mut self.side;
        if last_block.is(bytes) {
            return Ok(());
        }
        last_block.forget();
        head.clear();
        let bytes_max = self.limits.head_bytes_max.saturating_mul(HEAD_BYTES_FATAL_FACTOR);
        let changes = self.decoder.table_changes();
        let decoded = self.decoder.decode(bytes, bytes_max, |field| head.take(field));
        decoded.map_err(|error| match error {
            HpackError::TooLarge(_) => {
                self.guard.counts.hit(Limit::HeaderBlock);
                Fault::calm(format!("header block: {error}"))
            }
            _ => Fault::connection(ErrorCode::Compression, format!("header block: {error}")),
        })?;
        if self.decoder.table_changes() == changes {
            last_block.remember(bytes);
        }
        Ok(())
    }

    /// A header block on a stream that was opened before.
    fn trailers(&mut self, block: Block, cx: &mut Context<'_>, with: &mut ()) -> Result<(), Fault> {
        let id = block.stream;
        let Some(stream) = self.streams.get(id) else {
            return match self.closed.state(id) {
                Absent::Reset => Ok(()),
                Absent::Idle | Absent::Skipped => Err(Fault::protocol("stream numbers must rise")),
                Absent::Closed => {
                    Err(Fault::connection(ErrorCode::StreamClosed, "HEADERS on a closed stream"))
                }
            };
        };
        if !stream.remote_open {
            let text = "HEADERS on a stream that its sender has ended";
            return Err(Fault::Stream(id, ErrorCode::StreamClosed, text));
        }
        if !block.end_stream {
            let text = "HEADERS behind content that do not end it";
            return Err(Fault::Stream(id, ErrorCode::Protocol, text));
        }
        if let Some(fault) = block.fault.or(self.side.head.trailers_fault()) {
            return Err(Fault::Stream(id, ErrorCode::Protocol, fault));
        }
        self.end_stream(id, cx, with)
    }

    /// What is to be done for the request whose head was decoded, or the status that refuses it.
    fn classify(&mut self) -> Result<Work, Status> {
        let Server { handler, head, last_block, .. } = &mut self.side;
        if let Some(route) = last_block.route() {
            return Ok(Work::Call(route));
        }
        let text = |status, text| {
            let bodiless = head.method == Method::Head;
            Ok(Work::Text(Box::new(TextReply::new(status, text, bodiless))))
        };
        let (bytes_max, fields_max) = (self.limits.head_bytes_max, self.limits.head_fields_max);
        if head.bytes > bytes_max || head.fields > fields_max {
            self.guard.counts.hit(Limit::Head);
            let limits = format!("over {bytes_max} bytes or {fields_max} fields of header");
            return text("431", limits);
        }
        if head.method != Method::Post {
            return text("405", "gRPC calls are POST".to_owned());
        }
        if !head.is_grpc() {
            let got = String::from_utf8_lossy(&head.content_type);
            return text("415", format!("content type {got:?} is not application/grpc"));
        }
        let path_len = memchr::memchr(b'?', &head.path).unwrap_or(head.path.len());
        let seen = Head {
            method: b"POST",
            path: &head.path[..path_len],
            content_type: &head.content_type,
            has_body: true,
            body_len: head.content_length,
        };
        let Routed::Unary(route) = handler.route(&seen).map_err(Status::from)? else {
            return Err(Status::new(Code::Unimplemented, "streams of messages are not served"));
        };
        last_block.routed(route);
        Ok(Work::Call(route))
    }

    /// A request that has ended with its head.
    fn without_content(
        &mut self,
        id: u32,
        work: Result<Work, Status>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        if self.side.head.content_length.is_some_and(|length| length > 0) {
            return Err(Fault::Stream(id, ErrorCode::Protocol, WRONG_LENGTH));
        }
        let status = match work {
            Ok(Work::Text(reply)) => {
                self.insert(id, Work::Answered, false, None, cx);
                return self.send_text(id, *reply, cx);
            }
            Ok(_) => Status::new(Code::Internal, "the call carries no message"),
            Err(status) => status,
        };
        frames::send_status(id, &status, cx);
        Ok(())
    }

    /// A request whose content is still to come.
    fn begin(
        &mut self,
        id: u32,
        work: Result<Work, Status>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let work = match work {
            Ok(work) => work,
            Err(status) => {
                frames::send_status(id, &status, cx);
                return self.reset(id, ErrorCode::NoError, cx);
            }
        };
        let incoming = match work {
            Work::Text(_) => None,
            _ => Some(Incoming::new(self.limits.body_bytes_max, self.side.head.encoded)),
        };
        self.insert(id, work, true, incoming, cx);
        Ok(())
    }

    pub(crate) fn insert(
        &mut self,
        id: u32,
        data: Work,
        remote_open: bool,
        incoming: Option<Incoming>,
        cx: &Context<'_>,
    ) {
        let deadline = self.side.head.timeout.and_then(|timeout| cx.now.checked_add(timeout));
        self.streams.insert(Stream {
            id,
            remote_open,
            incoming,
            outgoing: None,
            queued: false,
            send: SendWindow::new(self.peer.initial_window_size),
            receive: ReceiveWindow::new(STREAM_WINDOW),
            content_length: self.side.head.content_length.filter(|_| remote_open),
            content: 0,
            reserved: 0,
            charge: 0,
            deadline,
            touched: cx.now,
            data,
        });
        self.sweep_later(remote_open, deadline, cx);
    }
}

/// The content of the DATA frame at the front of `rest`, if it is all there and all of stream `id`'s content.
fn whole_content(id: u32, rest: &[u8]) -> Option<&[u8]> {
    let (head, rest) = rest.split_first_chunk()?;
    let head = FrameHead::read(head);
    let whole = head.kind == Kind::Data && head.stream == id && head.flags == END_STREAM;
    rest.get(..head.len).filter(|_| whole && head.len <= FRAME_BYTES_MAX as usize)
}
