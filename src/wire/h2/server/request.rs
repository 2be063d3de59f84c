//! Request heads: each decides the course of its stream.
//!
//! ```text
//! head ─┬─ breaks a rule ─────────────────▶ RST_STREAM PROTOCOL_ERROR
//!       ├─ no stream left, shutting down ─▶ RST_STREAM REFUSED_STREAM
//!       ├─ too large, not POST, not gRPC ─▶ text response 431, 405, 415 once the content has ended
//!       ├─ refused by the handler ────────▶ status
//!       └─ routed ─┬─ whole message behind it in the input ─▶ answered from there, no stream made
//!                  └─ else ─▶ stream; answered when it ends, or its deadline passes
//! ```
//! RFC 9113 section 8.1; `doc/PROTOCOL-HTTP2.md` of the gRPC project.

use http::StatusCode;

use super::H2;
use super::frames::TextResponse;
use super::head::Method;
use super::shutdown::Shutdown;
use super::state::{Request, RequestState, StreamCall};
use super::timeouts::{STREAMS_KEPT, TRIM_TIME, due};
use crate::axis::Coding;
use crate::wire::grpc::{Code, MessageReader, Status};
use crate::wire::h2::connection::data::no_memory;
use crate::wire::h2::connection::event::HeaderBlock;
use crate::wire::h2::connection::history::GoneStream;
use crate::wire::h2::connection::inbound::WRONG_LENGTH;
use crate::wire::h2::error::{ErrorCode, Fault};
use crate::wire::h2::hpack::HpackError;
use crate::wire::h2::{HEAD_BYTES_FATAL_FACTOR, STREAM_WINDOW, STREAMS_MAX};
use crate::wire::progress::Progress;
use crate::wire::{Context, Handler, Head, Limit, Pool, Routed};

/// Bytes of a peer's field that an answer repeats.
const SHOWN_BYTES_MAX: usize = 64;

impl<H: Handler> H2<H> {
    /// Takes a new request or trailers, and content in `input` that completes the request.
    #[inline]
    pub(super) fn request(
        &mut self,
        block: &HeaderBlock<'_>,
        input: &mut &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let id = block.stream;
        self.decode_head(block.bytes.bytes())?;
        if id.is_multiple_of(2) {
            return Err(Fault::protocol("clients open streams with odd numbers"));
        }
        if id <= self.connection.history.last() {
            return self.trailers(block, cx);
        }
        self.connection.history.open(id);
        self.check_capacity(id)?;
        if let Some(fault) = block.fault.or(self.heads.latest().fault()) {
            return Err(Fault::Stream(id, ErrorCode::Protocol, fault));
        }
        let state = self.classify(cx.pool);
        if block.end_stream {
            return self.answer_without_content(id, state, cx);
        }
        if !matches!(state, Ok(RequestState::Stream(_)))
            && let Some(content) = self.connection.take_content(id, input)?
        {
            return self.answer_inline(id, state, content, cx);
        }
        self.begin(id, state, cx)
    }

    #[inline]
    fn decode_head(&mut self, block: &[u8]) -> Result<(), Fault> {
        let connection = &mut self.connection;
        let bytes_max = connection.limits.head_bytes_max.saturating_mul(HEAD_BYTES_FATAL_FACTOR);
        let decoded = self.heads.decode(block, &mut connection.decoder, bytes_max);
        decoded.map_err(|error| match error {
            HpackError::TooLarge(_) => {
                connection.abuse.counts.hit(Limit::HeaderBlock);
                Fault::calm(format!("header block: {error}"))
            }
            _ => Fault::connection(ErrorCode::Compression, format!("header block: {error}")),
        })
    }

    #[inline]
    fn check_capacity(&mut self, id: u32) -> Result<(), Fault> {
        let is_final = self.shutdown == Shutdown::Final;
        if !is_final && self.connection.streams.len() < STREAMS_MAX as usize {
            return Ok(());
        }
        if !is_final {
            self.connection.abuse.counts.hit(Limit::Streams);
        }
        Err(Fault::Stream(id, ErrorCode::RefusedStream, "no stream is left"))
    }

    fn trailers(&mut self, block: &HeaderBlock<'_>, cx: &mut Context<'_>) -> Result<(), Fault> {
        let id = block.stream;
        let Some(stream) = self.connection.streams.get(id) else {
            return match self.connection.history.state(id) {
                GoneStream::Reset => Ok(()),
                GoneStream::Idle | GoneStream::Skipped => {
                    Err(Fault::protocol("stream numbers must rise"))
                }
                GoneStream::Closed => {
                    Err(Fault::connection(ErrorCode::StreamClosed, "HEADERS on a closed stream"))
                }
            };
        };
        if !stream.state.receives() {
            let text = "HEADERS on a stream that its sender has ended";
            return Err(Fault::Stream(id, ErrorCode::StreamClosed, text));
        }
        if !block.end_stream {
            return Err(Fault::Stream(id, ErrorCode::Protocol, "trailers must end the stream"));
        }
        if let Some(fault) = block.fault.or(self.heads.latest().trailers_fault()) {
            return Err(Fault::Stream(id, ErrorCode::Protocol, fault));
        }
        if self.connection.end_stream(id)? { self.answer_ended(id, cx) } else { Ok(()) }
    }

    /// Returns the course of the decoded request, or the status that refuses it.
    #[inline]
    fn classify(&mut self, pool: &Pool) -> Result<RequestState, Status> {
        match self.heads.route() {
            Some(route) if !self.is_head_too_large() => Ok(RequestState::Call(route)),
            _ => self.classify_new(pool),
        }
    }

    fn is_head_too_large(&self) -> bool {
        let (head, limits) = (self.heads.latest(), &self.connection.limits);
        head.bytes > limits.head_bytes_max || head.fields > limits.head_fields_max
    }

    fn classify_new(&mut self, pool: &Pool) -> Result<RequestState, Status> {
        let head = self.heads.latest();
        let text = |status, text: &str| {
            let is_head = head.method() == Method::Head;
            Ok(RequestState::Text(Box::new(TextResponse::new(status, text, is_head, pool))))
        };
        if self.is_head_too_large() {
            let limits = &self.connection.limits;
            let (bytes_max, fields_max) = (limits.head_bytes_max, limits.head_fields_max);
            self.connection.abuse.counts.hit(Limit::Head);
            let over = format!("over {bytes_max} bytes or {fields_max} fields of header");
            return text(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, &over);
        }
        if head.method() != Method::Post {
            return text(StatusCode::METHOD_NOT_ALLOWED, "gRPC calls are POST");
        }
        if !head.is_grpc() {
            let shown = head.content_type.len().min(SHOWN_BYTES_MAX);
            let got = String::from_utf8_lossy(&head.content_type[..shown]);
            let why = format!("content type {got:?} is not application/grpc");
            return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, &why);
        }
        let path_len = memchr::memchr(b'?', &head.path).unwrap_or(head.path.len());
        let seen = Head {
            method: b"POST",
            path: &head.path[..path_len],
            content_type: &head.content_type,
            has_body: true,
            body_len: head.content_length(),
            codings: head.codings(),
        };
        match self.handler.route(&seen).map_err(Status::from)? {
            Routed::Unary(route) => {
                self.heads.set_route(route);
                Ok(RequestState::Call(route))
            }
            Routed::Stream(call) => {
                Ok(RequestState::Stream(Box::new(StreamCall { call, has_head: false })))
            }
        }
    }

    fn answer_without_content(
        &mut self,
        id: u32,
        state: Result<RequestState, Status>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        if self.heads.latest().content_length().is_some_and(|length| length > 0) {
            return Err(Fault::Stream(id, ErrorCode::Protocol, WRONG_LENGTH));
        }
        let status = match state {
            Ok(RequestState::Text(response)) => return self.send_text_inline(id, *response, cx),
            Ok(state @ RequestState::Stream(_)) => {
                self.insert_ended(id, state, cx);
                return self.answer_ended(id, cx);
            }
            Ok(_) => Status::new(Code::Internal, "the call carries no message"),
            Err(status) => status,
        };
        self.refuse(id, &status, cx);
        Ok(())
    }

    fn begin(
        &mut self,
        id: u32,
        state: Result<RequestState, Status>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let state = if state.is_ok() && cx.pool.refuses_body() { Err(no_memory()) } else { state };
        match state {
            Ok(state) => {
                self.open(id, state, false, cx);
                Ok(())
            }
            Err(status) => {
                self.refuse(id, &status, cx);
                self.connection.reset(id, ErrorCode::NoError, cx)
            }
        }
    }

    /// Opens a stream for the response to an ended request.
    pub(super) fn insert_ended(&mut self, id: u32, state: RequestState, cx: &mut Context<'_>) {
        self.open(id, state, true, cx);
    }

    #[inline]
    fn open(&mut self, id: u32, state: RequestState, is_ended: bool, cx: &Context<'_>) {
        let (head, limits) = (self.heads.latest(), &self.connection.limits);
        let is_text = matches!(state, RequestState::Text(_));
        let timeout = head.timeout.filter(|_| !is_text);
        let deadline = timeout.and_then(|timeout| cx.now.checked_add(timeout));
        let progress = Progress::start(limits.body_pace(), cx.now);
        let stream = self.connection.streams.open(id, progress);
        stream.outbound.open(self.connection.peer.initial_window_size);
        if is_ended {
            stream.inbound.open(STREAM_WINDOW, None, None);
            stream.state.receive_end();
        } else {
            let undone = match &state {
                RequestState::Call(route) => route.codings.request,
                _ => Coding::Identity,
            };
            let compression = head.compression(undone);
            let message =
                (!is_text).then(|| MessageReader::new(limits.body_bytes_max, compression));
            stream.inbound.open(STREAM_WINDOW, head.content_length(), message);
            stream.inbound.set_many(matches!(state, RequestState::Stream(_)));
        }
        stream.data = Request { state, deadline };
        self.timeouts.sweep_by(due(stream));
        if self.connection.streams.capacity() > STREAMS_KEPT {
            self.timeouts.sweep_by(cx.now + TRIM_TIME);
            self.connection.charge_streams(cx.pool);
        }
    }
}
