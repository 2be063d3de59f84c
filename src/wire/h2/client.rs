//! The client half: calls one method of one server, many at once, and hands on each reply's message.
//!
//! A reply is good when it says `:status 200`, a gRPC content type, one message and `grpc-status 0`; of any other the
//! sink gets the reason as text. A short reply whose frames lie in one input is handed on from where it lies.
//!
//! Requests past what the server allows at once (100 until its SETTINGS have come) are parked and sent as others end.
//! Our windows are as wide as they go: the caller asked for every byte that comes.

use std::collections::VecDeque;
use std::rc::Rc;

use super::data::over_connection_window;
use super::fault::{ErrorCode, Fault};
use super::flow::{ReceiveWindow, SendWindow, WINDOW_MAX};
use super::frame::{
    self, END_HEADERS, END_STREAM, FrameHead, HEAD_BYTES, Kind, PREFACE, head_bytes,
};
use super::incoming::Incoming;
use super::machine::{Block, Connection, Side};
use super::outgoing::Outgoing;
use super::reply_head::ReplyHead;
use super::request_block::RequestBlock;
use super::settings::{FRAME_BYTES_MAX, Settings, WINDOW_DEFAULT};
use super::stream::{Absent, Stream};
use super::{HEAD_BYTES_FATAL_FACTOR, PROTOCOL};
use crate::wire::grpc::{self, PREFIX_BYTES, Status};
use crate::wire::{Client, Context, Limits, Loan, Part, Pool, Sink, WireError};

/// Streams that are opened before the server has said how many it allows; RFC 9113 asks servers for at least as many.
const STREAMS_UNTOLD: usize = 100;

/// Our windows.
const WINDOW: u32 = WINDOW_MAX as u32;

/// Highest stream number a client can open.
const STREAM_LAST: u32 = (1 << 31) - 1;

/// Bytes of a request around its message, about.
const AROUND_BYTES: usize = 256;

/// Client half.
#[derive(Debug)]
pub struct H2Client {
    connection: Connection<Caller>,
}

/// What the client half adds to a connection.
#[derive(Debug)]
struct Caller {
    head: ReplyHead,
    block: RequestBlock,
    opened: bool,
    next: u32,
    /// Requests that wait for a stream, by the caller's number.
    parked: VecDeque<(u32, Outgoing)>,
    /// Why no more streams can be opened.
    away: Option<String>,
    /// Requests that failed while no sink was at hand.
    failed: Vec<u32>,
}

/// A call in flight.
#[derive(Debug)]
struct Call {
    /// The caller's number.
    id: u32,
    /// The reply's first block has come.
    answered: bool,
    /// Why it is not a good reply.
    failure: Option<String>,
}

impl H2Client {
    /// A connection that calls `path` of `authority` with messages of `content_type`, whose replies are at most
    /// `limits.body_bytes_max` long.
    pub fn new(authority: &str, path: &str, content_type: &str, limits: Rc<Limits>) -> H2Client {
        let ours = Settings {
            enable_push: false,
            initial_window_size: WINDOW,
            max_frame_size: FRAME_BYTES_MAX,
            ..Settings::default()
        };
        let side = Caller {
            head: ReplyHead::default(),
            block: RequestBlock::new(authority, path, content_type),
            opened: false,
            next: 1,
            parked: VecDeque::new(),
            away: None,
            failed: Vec::new(),
        };
        H2Client { connection: Connection::new(side, limits, ours, WINDOW) }
    }

    /// What the server has allowed so far; the protocol's defaults until its SETTINGS have come.
    pub fn peer_settings(&self) -> Settings {
        self.connection.peer
    }

    /// Sends the preface; the first request does it otherwise.
    pub fn open(&mut self, cx: &mut Context<'_>) {
        if std::mem::replace(&mut self.connection.side.opened, true) {
            return;
        }
        cx.out.copy(PREFACE, cx.pool);
        cx.out.copy(&self.connection.ours.frame(), cx.pool);
        cx.out.copy(&frame::window_update(0, WINDOW - WINDOW_DEFAULT), cx.pool);
    }

    fn settle(&mut self, cx: &mut Context<'_>, sink: &mut dyn Sink) -> Result<(), WireError> {
        let started = self.connection.start_parked(cx, sink);
        started.map_err(|fault| self.connection.abort(fault, cx))
    }
}

impl Client for H2Client {
    fn in_flight_max(&self) -> usize {
        match self.connection.side.away {
            Some(_) => 0,
            None => self.connection.peer.max_concurrent_streams.map_or(usize::MAX, |n| n as usize),
        }
    }

    fn request(&mut self, id: u32, parts: &[Part<'_>], cx: &mut Context<'_>) {
        self.open(cx);
        let connection = &mut self.connection;
        if connection.has_room() && connection.side.parked.is_empty() {
            connection.start(id, parts, cx);
        } else if connection.side.away.is_some() || connection.finished {
            connection.side.failed.push(id);
        } else {
            let outgoing = outgoing(parts);
            connection.side.parked.push_back((id, outgoing));
        }
    }

    fn receive(
        &mut self,
        input: &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        self.open(cx);
        self.connection.receive(input, cx, sink)?;
        self.settle(cx, sink)
    }

    fn lend(&mut self, _: &mut Pool) -> Option<Loan> {
        self.connection.lend()
    }

    fn repay(
        &mut self,
        buffer: Vec<u8>,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        self.connection.repay(buffer, cx, sink)?;
        self.settle(cx, sink)
    }

    fn end(&mut self) -> Result<(), WireError> {
        let side = &self.connection.side;
        let quiet = self.connection.streams.is_empty() && side.parked.is_empty();
        match &side.away {
            _ if quiet => Ok(()),
            Some(why) => Err(WireError::Protocol { protocol: PROTOCOL, what: why.clone() }),
            None => Err(WireError::Truncated { protocol: PROTOCOL }),
        }
    }
}

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
        if stream.data.answered {
            if !block.end_stream {
                let text = "HEADERS behind a reply that do not end it";
                return Err(Fault::Stream(id, ErrorCode::Protocol, text));
            }
            if let Some(fault) = c.side.head.trailers_fault() {
                return Err(Fault::Stream(id, ErrorCode::Protocol, fault));
            }
            return c.finish(id, cx, sink).map(|()| 0);
        }
        if let Some(fault) = c.side.head.fault() {
            return Err(Fault::Stream(id, ErrorCode::Protocol, fault));
        }
        if c.side.head.is_informational() && !block.end_stream {
            return Ok(0);
        }
        stream.data.answered = true;
        stream.data.failure = c.side.head.refusal();
        if block.end_stream {
            return c.finish(id, cx, sink).map(|()| 0);
        }
        if stream.data.failure.is_some() {
            stream.incoming = None;
            return Ok(0);
        }
        c.quick(id, rest, cx, sink)
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
        c.side.head.clear();
        c.finish(id, cx, sink)
    }

    fn refused(
        c: &mut Connection<Self>,
        id: u32,
        status: Status,
        cx: &mut Context<'_>,
        sink: &mut (dyn Sink + '_),
    ) -> Result<(), Fault> {
        if let Some(call) = c.remove(id, cx) {
            sink.reply(call.id, Err(&status.text));
            c.reset(id, ErrorCode::Cancel, cx)?;
        }
        Ok(())
    }

    fn unwanted(
        _: &mut Connection<Self>,
        _: u32,
        _: &mut Context<'_>,
        _: &mut (dyn Sink + '_),
    ) -> Result<(), Fault> {
        Ok(())
    }

    fn sent(_: &mut Connection<Self>, _: u32, _: &mut Context<'_>) -> Result<(), Fault> {
        Ok(())
    }

    fn dropped(&mut self, call: Call, why: &str, sink: &mut (dyn Sink + '_)) {
        sink.reply(call.id, Err(why));
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
                sink.reply(call.id, Err(why));
            }
        }
        for (id, outgoing) in std::mem::take(&mut c.side.parked) {
            outgoing.retire(cx.pool);
            sink.reply(id, Err(why));
        }
    }

    fn pong(_: &mut Connection<Self>, _: &mut Context<'_>) {}
}

impl Connection<Caller> {
    fn decode_reply(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let head = &mut self.side.head;
        head.clear();
        let bytes_max = self.limits.head_bytes_max.saturating_mul(HEAD_BYTES_FATAL_FACTOR);
        self.decoder
            .decode(bytes, bytes_max, |field| head.take(field))
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
        if let Some(fault) = self.side.head.trailers_fault() {
            return Err(Fault::Stream(id, ErrorCode::Protocol, fault));
        }
        self.deliver(id, Some(message), cx, sink)?;
        Ok(2 * HEAD_BYTES + content.len() + trailers.len())
    }

    /// The reply on stream `id` is complete; its last block has been decoded.
    fn finish(&mut self, id: u32, cx: &mut Context<'_>, sink: &mut dyn Sink) -> Result<(), Fault> {
        self.deliver(id, None, cx, sink)
    }

    /// Takes a call out and tells the sink how it ended; its message is `quick`, or what the stream has gathered.
    fn deliver(
        &mut self,
        id: u32,
        quick: Option<&[u8]>,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Fault> {
        let Some(stream) = self.streams.get(id) else { return Ok(()) };
        let unfinished = stream.outgoing.is_some();
        let incoming = stream.incoming.take();
        let Some(call) = self.remove(id, cx) else { return Ok(()) };
        match (call.failure.or_else(|| self.side.head.failure()), quick, incoming) {
            (Some(failure), _, incoming) => {
                if let Some(incoming) = incoming {
                    incoming.retire(cx.pool);
                }
                sink.reply(call.id, Err(&failure));
            }
            (None, Some(message), _) => sink.reply(call.id, Ok(message)),
            (None, None, incoming) => {
                match incoming.unwrap_or_default().finish(cx.pool) {
                    Ok(message) => {
                        sink.reply(call.id, Ok(&message));
                        cx.pool.give(message);
                    }
                    Err(status) => sink.reply(call.id, Err(&status.text)),
                };
            }
        }
        if unfinished {
            self.reset(id, ErrorCode::Cancel, cx)?;
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        let told = self.peer.max_concurrent_streams.map_or(usize::MAX, |n| n as usize);
        let most = if self.settings_seen { told } else { STREAMS_UNTOLD };
        self.side.away.is_none()
            && !self.finished
            && self.side.next <= STREAM_LAST
            && self.streams.len() < most
    }

    /// Opens a stream and sends as much of a request as the windows allow.
    fn start(&mut self, id: u32, parts: &[Part<'_>], cx: &mut Context<'_>) {
        let stream = self.open_stream(id, cx);
        let len = PREFIX_BYTES + parts.iter().map(Part::len).sum::<usize>();
        let window = SendWindow::new(self.peer.initial_window_size).available();
        let window = window.min(self.send.available()).min(self.peer.max_frame_size as usize);
        if len > window {
            self.write_head(stream, cx, |_| {});
            self.queue(stream, outgoing(parts), cx);
            return;
        }
        self.write_head(stream, cx, |out| {
            out.extend_from_slice(&head_bytes(len, Kind::Data, END_STREAM, stream));
            out.extend_from_slice(&grpc::prefix((len - PREFIX_BYTES) as u32));
        });
        cx.out.parts(parts, cx.pool);
        self.send.spend(len);
    }

    fn open_stream(&mut self, id: u32, cx: &Context<'_>) -> u32 {
        let stream = self.side.next;
        self.side.next += 2;
        self.closed.opened(stream);
        self.streams.insert(Stream {
            id: stream,
            remote_open: true,
            incoming: Some(Incoming::new(self.limits.body_bytes_max, false)),
            outgoing: None,
            queued: false,
            send: SendWindow::new(self.peer.initial_window_size),
            receive: ReceiveWindow::new(WINDOW),
            content_length: None,
            content: 0,
            reserved: 0,
            charge: 0,
            deadline: None,
            touched: cx.now,
            data: Call { id, answered: false, failure: None },
        });
        stream
    }

    /// Writes the HEADERS frame of a request and what `more` appends.
    fn write_head(&mut self, stream: u32, cx: &mut Context<'_>, more: impl FnOnce(&mut Vec<u8>)) {
        let block = &mut self.side.block;
        cx.out.compose(AROUND_BYTES, cx.pool, |out| {
            let at = out.len();
            out.extend_from_slice(&[0; HEAD_BYTES]);
            block.write(out);
            let len = out.len() - at - HEAD_BYTES;
            let head = head_bytes(len, Kind::Headers, END_HEADERS, stream);
            out[at..at + HEAD_BYTES].copy_from_slice(&head);
            more(out);
        });
    }

    /// Gives a stream its request, to be sent as windows open.
    fn queue(&mut self, stream: u32, outgoing: Outgoing, cx: &mut Context<'_>) {
        self.hold(stream, outgoing, cx);
        while self.send_ready(cx).is_some() {}
    }

    /// Opens streams for requests that wait for one, as far as the server allows.
    fn start_parked(&mut self, cx: &mut Context<'_>, sink: &mut dyn Sink) -> Result<(), Fault> {
        for id in std::mem::take(&mut self.side.failed) {
            sink.reply(id, Err(self.side.away.as_deref().unwrap_or("the connection is closed")));
        }
        while self.has_room()
            && let Some((id, outgoing)) = self.side.parked.pop_front()
        {
            let stream = self.open_stream(id, cx);
            self.write_head(stream, cx, |_| {});
            self.launch(stream, outgoing, cx, sink)?;
        }
        Ok(())
    }
}

/// A request's message to be sent in pieces.
fn outgoing(parts: &[Part<'_>]) -> Outgoing {
    let len: usize = parts.iter().map(Part::len).sum();
    let mut outgoing = Outgoing::new(b"");
    let mut copied = grpc::prefix(len as u32).to_vec();
    for part in parts {
        match part {
            Part::Copy(bytes) => copied.extend_from_slice(bytes),
            Part::Share(bytes, range) => {
                let before = std::mem::take(&mut copied);
                let all = 0..before.len();
                outgoing.push(Rc::new(before), all);
                outgoing.push(Rc::clone(bytes), range.clone());
            }
        }
    }
    let all = 0..copied.len();
    outgoing.push(Rc::new(copied), all);
    outgoing
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
