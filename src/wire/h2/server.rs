//! The server half: a request's head decides, its message is answered.
//!
//! ```text
//! head ─┬─ breaks a rule ─────────────▶ RST_STREAM PROTOCOL_ERROR
//!       ├─ no stream left, draining ──▶ RST_STREAM REFUSED_STREAM
//!       ├─ too large, not POST, not gRPC ─▶ text reply 431, 405, 415 once the content has ended
//!       ├─ refused by the handler ────▶ status
//!       └─ routed ─┬─ whole message behind it in the input ─▶ answered from there, no stream made
//!                  └─ else ─▶ stream; answered when it ends, or its deadline passes
//! ```
//! A status before the content has ended is followed by RST_STREAM NO_ERROR, so that the client stops sending; what
//! still comes is dropped and its window given back.

use std::rc::Rc;
use std::time::Instant;

use super::answer::{self, Answered, Terms, TextReply};
use super::data::{WRONG_LENGTH, over_connection_window};
use super::fault::{ErrorCode, Fault};
use super::flow::{ReceiveWindow, SendWindow};
use super::frame::{self, END_STREAM, FrameHead, HEAD_BYTES, Kind, PING_BYTES};
use super::hpack::HpackError;
use super::incoming::Incoming;
use super::machine::{Block, Connection, Side, Stage};
use super::request_head::{Method, RequestHead};
use super::settings::{Settings, WINDOW_DEFAULT};
use super::stream::{Absent, Stream};
use super::{
    CONNECTION_WINDOW, FRAME_BYTES_MAX, HEAD_BYTES_FATAL_FACTOR, MESSAGES_BYTES_MAX_FACTOR,
    PROTOCOL, REFUSED_CONTENT_MAX, STREAM_WINDOW, STREAMS_MAX,
};
use crate::wire::grpc::{self, Code, Status};
use crate::wire::{
    Context, DIRECT_BYTES_MIN, Handler, Head, Limits, Loan, Machine, Pool, Refusal, Reply, Route,
    WireError,
};

/// The method of `grpc.health.v1` that probes call.
const HEALTH_PATH: &[u8] = b"/grpc.health.v1.Health/Check";

/// `HealthCheckResponse { status: SERVING }`.
const SERVING: &[u8] = &[0x08, 0x01];

/// What our PING carries that asks whether the client has seen the first GOAWAY.
const DRAIN_PING: [u8; PING_BYTES] = *b"draining";

/// Server half.
#[derive(Debug)]
pub struct H2<H: Handler> {
    pub(super) connection: Connection<Server<H>>,
}

/// What the server half adds to a connection.
#[derive(Debug)]
pub(super) struct Server<H> {
    handler: H,
    head: RequestHead,
    scratch: Vec<u8>,
    /// The last reply's content type: the next is likely to have the same.
    content_type: &'static str,
    /// About how much the last long answer took: capacity for the next.
    answer_hint: usize,
    /// The client knows which encodings are spoken.
    advertised: bool,
    pub(super) drain: Drain,
}

/// How far shutting down has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    /// Not at all.
    No,
    /// The client has been told, and may still open streams until it answers, or this moment.
    Told(Instant),
    /// No new streams.
    Last,
}

/// What becomes of a stream's content.
#[derive(Debug)]
pub(super) enum Work {
    /// It is the message of a call.
    Call(Call),
    /// It is dropped, and the request is not a call: its reply.
    Text(Box<TextReply>),
    /// The reply is on its way.
    Answered,
}

/// Who answers a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    Handler(Route),
    Health,
}

impl<H: Handler> H2<H> {
    /// A connection whose calls `handler` answers.
    pub fn new(handler: H, limits: Rc<Limits>) -> H2<H> {
        let ours = Settings {
            max_concurrent_streams: Some(STREAMS_MAX),
            initial_window_size: STREAM_WINDOW,
            max_frame_size: FRAME_BYTES_MAX,
            max_header_list_size: u32::try_from(limits.head_bytes_max).ok(),
            ..Settings::default()
        };
        let side = Server {
            handler,
            head: RequestHead::default(),
            scratch: Vec::new(),
            content_type: "",
            answer_hint: 0,
            advertised: false,
            drain: Drain::No,
        };
        let mut connection = Connection::new(side, limits, ours, CONNECTION_WINDOW);
        let messages = connection.limits.body_bytes_max.saturating_mul(MESSAGES_BYTES_MAX_FACTOR);
        connection.messages_bytes_max = messages;
        connection.stage = Stage::Preface;
        H2 { connection }
    }

    /// What the client has allowed so far.
    pub fn peer_settings(&self) -> Settings {
        self.connection.peer
    }
}

impl<H: Handler> Machine for H2<H> {
    fn open(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let settings = self.connection.ours.frame();
        let grant = frame::window_update(0, CONNECTION_WINDOW - WINDOW_DEFAULT);
        cx.out.copy(&settings, cx.pool);
        cx.out.copy(&grant, cx.pool);
        self.connection.cut_since = Some(cx.now);
        self.connection.active_at = cx.now;
        Ok(())
    }

    fn receive(&mut self, input: &[u8], cx: &mut Context<'_>) -> Result<(), WireError> {
        self.connection.receive(input, cx, &mut ())?;
        self.finish_drain();
        Ok(())
    }

    fn lend(&mut self, _: &mut Pool) -> Option<Loan> {
        self.connection.lend()
    }

    fn repay(&mut self, buffer: Vec<u8>, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.connection.repay(buffer, cx, &mut ())?;
        self.finish_drain();
        Ok(())
    }

    fn flushed(&mut self, _: &mut Context<'_>) -> Result<(), WireError> {
        self.connection.guard.flushed();
        Ok(())
    }

    fn end(&mut self, _: &mut Context<'_>) -> Result<(), WireError> {
        let quiet = self.connection.is_between_frames() && self.connection.streams.is_empty();
        self.connection.finished = true;
        if quiet { Ok(()) } else { Err(WireError::Truncated { protocol: PROTOCOL }) }
    }

    fn drain(&mut self, cx: &mut Context<'_>) {
        self.connection.begin_drain(cx);
        self.finish_drain();
    }

    fn deadline(&self) -> Option<Instant> {
        self.connection.deadline()
    }

    fn expire(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let expired = self.connection.expire(cx);
        self.finish_drain();
        expired
    }

    fn finished(&self) -> bool {
        self.connection.finished
    }
}

impl<H: Handler> H2<H> {
    fn finish_drain(&mut self) {
        let connection = &mut self.connection;
        if connection.side.drain == Drain::Last && connection.streams.is_empty() {
            connection.finished = true;
        }
    }
}

impl<H: Handler> Side for Server<H> {
    type PerStream = Work;
    type With<'w> = ();

    fn headers(
        c: &mut Connection<Self>,
        block: Block,
        bytes: &[u8],
        rest: &[u8],
        cx: &mut Context<'_>,
        with: &mut (),
    ) -> Result<usize, Fault> {
        let id = block.stream;
        c.decode_head(bytes)?;
        if id.is_multiple_of(2) {
            return Err(Fault::protocol("clients open streams with odd numbers"));
        }
        if id <= c.closed.last() {
            return c.trailers(block, cx, with).map(|()| 0);
        }
        c.closed.opened(id);
        if c.streams.len() >= STREAMS_MAX as usize || c.side.drain == Drain::Last {
            return Err(Fault::Stream(id, ErrorCode::RefusedStream, "no stream is left"));
        }
        if let Some(fault) = block.fault.or(c.side.head.fault()) {
            return Err(Fault::Stream(id, ErrorCode::Protocol, fault));
        }
        let work = c.classify();
        if block.end_stream {
            return c.without_content(id, work, cx).map(|()| 0);
        }
        match whole_content(id, rest) {
            Some(content) => {
                c.quick(id, work, content, cx)?;
                Ok(HEAD_BYTES + content.len())
            }
            None => c.begin(id, work, cx).map(|()| 0),
        }
    }

    fn whole(
        c: &mut Connection<Self>,
        id: u32,
        content: &[u8],
        cx: &mut Context<'_>,
        with: &mut (),
    ) -> Result<(), Fault> {
        let Some(Stream { data, incoming, send, deadline, .. }) = c.streams.get(id) else {
            return Ok(());
        };
        let Work::Call(call) = *data else { return Ok(()) };
        let (send, late) = (*send, deadline.is_some_and(|deadline| deadline <= cx.now));
        let encoded = incoming.take().is_some_and(|incoming| incoming.is_encoded());
        *data = Work::Answered;
        let answered = match late {
            true => Err(deadline_exceeded()),
            false => c.answer_content(id, call, content, encoded, send, cx),
        };
        c.settle(id, answered, cx, with)
    }

    fn ended(
        c: &mut Connection<Self>,
        id: u32,
        cx: &mut Context<'_>,
        with: &mut (),
    ) -> Result<(), Fault> {
        let Some(stream) = c.streams.get(id) else { return Ok(()) };
        let call = match std::mem::replace(&mut stream.data, Work::Answered) {
            Work::Call(call) => call,
            Work::Text(reply) => return c.send_text(id, *reply, cx),
            Work::Answered => return Ok(()),
        };
        let late = stream.deadline.is_some_and(|deadline| deadline <= cx.now);
        let reserved = std::mem::take(&mut stream.reserved);
        let Some(incoming) = stream.incoming.take() else { return Ok(()) };
        c.arriving_bytes -= reserved;
        let message = match incoming.finish(cx.pool) {
            Ok(message) if late => {
                cx.pool.give(message);
                return c.fail(id, &deadline_exceeded(), cx);
            }
            Ok(message) => message,
            Err(status) => return c.fail(id, &status, cx),
        };
        c.answer_stream(id, call, message, cx, with)
    }

    fn refused(
        c: &mut Connection<Self>,
        id: u32,
        status: Status,
        cx: &mut Context<'_>,
        _: &mut (),
    ) -> Result<(), Fault> {
        c.fail(id, &status, cx)
    }

    fn unwanted(
        c: &mut Connection<Self>,
        id: u32,
        cx: &mut Context<'_>,
        _: &mut (),
    ) -> Result<(), Fault> {
        let patient = |stream: &Stream<Work>| stream.content <= REFUSED_CONTENT_MAX;
        if c.streams.get(id).is_none_or(|stream| patient(stream)) {
            return Ok(());
        }
        c.send_refusal(id, cx)
    }

    fn sent(c: &mut Connection<Self>, id: u32, cx: &mut Context<'_>) -> Result<(), Fault> {
        c.close(id, cx)
    }

    fn dropped(&mut self, _: Work, _: &str, _: &mut ()) {}

    fn settings(_: &mut Connection<Self>, _: &mut Context<'_>) {}

    fn going_away(_: &mut Connection<Self>, _: u32, _: &str, _: &mut Context<'_>, _: &mut ()) {
        // A client that goes away ends the connection itself; until then its open calls are answered.
    }

    fn pong(c: &mut Connection<Self>, cx: &mut Context<'_>) {
        c.end_drain(cx);
    }
}

/// The content of the DATA frame at the front of `rest`, if it is all there and all of stream `id`'s content.
fn whole_content(id: u32, rest: &[u8]) -> Option<&[u8]> {
    let (head, rest) = rest.split_first_chunk()?;
    let head = FrameHead::read(head);
    let whole = head.kind == Kind::Data && head.stream == id && head.flags == END_STREAM;
    rest.get(..head.len).filter(|_| whole && head.len <= FRAME_BYTES_MAX as usize)
}

fn deadline_exceeded() -> Status {
    Status::new(Code::DeadlineExceeded, "the call's deadline has passed")
}

/// Answers one message, whatever kind of call it is.
fn produce<H: Handler>(
    handler: &mut H,
    call: Call,
    message: &[u8],
    out: &mut Vec<u8>,
) -> Result<Reply, (Refusal, String)> {
    match call {
        Call::Handler(route) => handler.answer(route, message, out),
        Call::Health => {
            out.extend_from_slice(SERVING);
            let head_len = SERVING.len();
            Ok(Reply { content_type: "application/grpc", codec_id: 0, head_len, payload: 0..0 })
        }
    }
}

impl<H: Handler> Connection<Server<H>> {
    fn decode_head(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let head = &mut self.side.head;
        head.clear();
        let bytes_max = self.limits.head_bytes_max.saturating_mul(HEAD_BYTES_FATAL_FACTOR);
        self.decoder.decode(bytes, bytes_max, |field| head.take(field)).map_err(|error| match error
        {
            HpackError::TooLarge(_) => Fault::calm(format!("header block: {error}")),
            _ => Fault::connection(ErrorCode::Compression, format!("header block: {error}")),
        })
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
        let Server { handler, head, .. } = &mut self.side;
        let text = |status, text| {
            let bodiless = head.method == Method::Head;
            Ok(Work::Text(Box::new(TextReply::new(status, text, bodiless))))
        };
        let (bytes_max, fields_max) = (self.limits.head_bytes_max, self.limits.head_fields_max);
        if head.bytes > bytes_max || head.fields > fields_max {
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
        let path = &head.path[..path_len];
        if path == HEALTH_PATH {
            return Ok(Work::Call(Call::Health));
        }
        let seen = Head {
            method: b"POST",
            path,
            content_type: &head.content_type,
            codec_id: None,
            has_body: true,
            body_len: head.content_length,
        };
        let route = handler.route(&seen).map_err(Status::from)?;
        Ok(Work::Call(Call::Handler(route)))
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
        answer::send_status(id, &status, cx);
        Ok(())
    }

    /// A request whose content is all of one DATA frame in the input.
    fn quick(
        &mut self,
        id: u32,
        work: Result<Work, Status>,
        content: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        self.receive.spend(content.len()).map_err(|_| over_connection_window())?;
        if self.side.head.content_length.is_some_and(|length| length != content.len() as u64) {
            return Err(Fault::Stream(id, ErrorCode::Protocol, WRONG_LENGTH));
        }
        let answered = match work {
            Ok(Work::Call(_)) if self.side.head.timeout.is_some_and(|time| time.is_zero()) => {
                Err(deadline_exceeded())
            }
            Ok(Work::Call(call)) => {
                let send = SendWindow::new(self.peer.initial_window_size);
                self.answer_content(id, call, content, self.side.head.encoded, send, cx)
            }
            Ok(Work::Text(reply)) => {
                self.insert(id, Work::Answered, false, None, cx);
                return self.send_text(id, *reply, cx);
            }
            Ok(Work::Answered) => return Ok(()),
            Err(status) => Err(status),
        };
        match answered {
            Ok(Answered::Sent(len)) => {
                self.send.spend(len);
                Ok(())
            }
            Ok(Answered::Held(outgoing)) => {
                self.insert(id, Work::Answered, false, None, cx);
                self.launch(id, outgoing, cx, &mut ())
            }
            Err(status) => {
                answer::send_status(id, &status, cx);
                Ok(())
            }
        }
    }

    fn answer_content(
        &mut self,
        id: u32,
        call: Call,
        content: &[u8],
        encoded: bool,
        send: SendWindow,
        cx: &mut Context<'_>,
    ) -> Result<Answered, Status> {
        let limit = self.limits.body_bytes_max;
        let Some(message) = grpc::whole(content, encoded, limit)? else {
            let text = format!("the call ended inside its message, {} bytes came", content.len());
            return Err(Status::new(Code::Internal, text));
        };
        let terms = self.terms(id, send);
        let Server { handler, content_type, scratch, .. } = &mut self.side;
        answer::answer_short(terms, message, content_type, scratch, cx, |message, out| {
            produce(handler, call, message, out)
        })
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
                answer::send_status(id, &status, cx);
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

    fn insert(
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

    /// A whole message of a stream has arrived.
    fn answer_stream(
        &mut self,
        id: u32,
        call: Call,
        message: Vec<u8>,
        cx: &mut Context<'_>,
        with: &mut (),
    ) -> Result<(), Fault> {
        let Some(Stream { send, .. }) = self.streams.get(id) else {
            cx.pool.give(message);
            return Ok(());
        };
        let send = *send;
        let terms = self.terms(id, send);
        let Server { handler, content_type, scratch, answer_hint, .. } = &mut self.side;
        let answered = if message.len() < DIRECT_BYTES_MIN {
            let answered =
                answer::answer_short(terms, &message, content_type, scratch, cx, |message, out| {
                    produce(handler, call, message, out)
                });
            cx.pool.give(message);
            answered
        } else {
            answer::answer_long(terms, message, *answer_hint, cx, |message, out| {
                let reply = produce(handler, call, message, out);
                *answer_hint = out.len();
                reply
            })
            .map(Answered::Held)
        };
        self.settle(id, answered, cx, with)
    }

    /// Does what is left to do for a call on a stream, once it is answered.
    fn settle(
        &mut self,
        id: u32,
        answered: Result<Answered, Status>,
        cx: &mut Context<'_>,
        with: &mut (),
    ) -> Result<(), Fault> {
        match answered {
            Ok(Answered::Sent(len)) => {
                self.send.spend(len);
                self.close(id, cx)
            }
            Ok(Answered::Held(outgoing)) => self.launch(id, outgoing, cx, with),
            Err(status) => self.fail(id, &status, cx),
        }
    }

    fn terms(&mut self, stream: u32, send: SendWindow) -> Terms {
        let window = self.send.available().min(send.available());
        let window = window.min(self.peer.max_frame_size as usize);
        let advertise = !std::mem::replace(&mut self.side.advertised, true);
        Terms { stream, window, advertise }
    }

    /// Ends a stream's call with a status.
    pub(super) fn fail(
        &mut self,
        id: u32,
        status: &Status,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        answer::send_status(id, status, cx);
        self.close(id, cx)
    }

    /// Sends the reply to a request that is not a call, if it is not on its way.
    pub(super) fn send_refusal(&mut self, id: u32, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Some(stream) = self.streams.get(id) else { return Ok(()) };
        if !matches!(stream.data, Work::Text(_)) {
            return Ok(());
        }
        match std::mem::replace(&mut stream.data, Work::Answered) {
            Work::Text(reply) => self.send_text(id, *reply, cx),
            Work::Call(_) | Work::Answered => Ok(()),
        }
    }

    fn send_text(&mut self, id: u32, reply: TextReply, cx: &mut Context<'_>) -> Result<(), Fault> {
        match reply.send_head(id, cx) {
            Some(outgoing) => self.launch(id, outgoing, cx, &mut ()),
            None => self.close(id, cx),
        }
    }

    /// Our side of a stream is done; the client is asked to stop if its side is not.
    fn close(&mut self, id: u32, cx: &mut Context<'_>) -> Result<(), Fault> {
        let remote_open = self.streams.get(id).is_some_and(|stream| stream.remote_open);
        self.remove(id, cx);
        if remote_open {
            self.reset(id, ErrorCode::NoError, cx)?;
        }
        Ok(())
    }

    pub(super) fn send_drain_ping(&mut self, cx: &mut Context<'_>) {
        cx.out.copy(&frame::ping(0, &DRAIN_PING), cx.pool);
    }
}
