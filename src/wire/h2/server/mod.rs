//! The server half: [`H2`] as a machine, and what it makes of what a connection receives.
//!
//! What a request's head decides is in `request.rs`, how it is answered in `response.rs`, how long it is waited for and
//! how the connection is shut down in `timeouts.rs`.

mod frames;
pub(crate) mod head;
mod last_block;
mod request;
mod response;
mod timeouts;

use std::rc::Rc;
use std::time::Instant;

use crate::wire::grpc::Status;
use crate::wire::h2::connection::streams::Stream;
use crate::wire::h2::connection::{Block, Connection, Side, Stage};
use crate::wire::h2::error::Fault;
use crate::wire::h2::frame;
use crate::wire::h2::server::frames::{Front, TextReply};
use crate::wire::h2::server::head::RequestHead;
use crate::wire::h2::server::last_block::LastBlock;
use crate::wire::h2::settings::{Settings, WINDOW_DEFAULT};
use crate::wire::h2::{
    CONNECTION_WINDOW, FRAME_BYTES_MAX, MESSAGES_BYTES_MAX_FACTOR, PROTOCOL, REFUSED_CONTENT_MAX,
    STREAM_WINDOW, STREAMS_MAX,
};
use crate::wire::{Context, Handler, LimitCounts, Limits, Loan, Machine, Pool, Route, WireError};

/// Server half.
#[derive(Debug)]
pub struct H2<H: Handler> {
    pub(crate) connection: Connection<Server<H>>,
}

/// What the server half adds to a connection.
#[derive(Debug)]
pub(crate) struct Server<H> {
    pub(crate) handler: H,
    pub(crate) head: RequestHead,
    /// The block that `head` was decoded from.
    pub(crate) last_block: LastBlock,
    pub(crate) scratch: Vec<u8>,
    /// Of the last reply.
    pub(crate) front: Front,
    /// About how much the last long answer took: capacity for the next.
    pub(crate) answer_hint: usize,
    /// The client knows which encodings are spoken.
    pub(crate) advertised: bool,
    pub(crate) drain: Drain,
}

/// How far shutting down has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drain {
    /// Not at all.
    No,
    /// The client has been told, and may still open streams until it answers, or this moment.
    Told(Instant),
    /// No new streams.
    Last,
}

/// What becomes of a stream's content.
#[derive(Debug)]
pub(crate) enum Work {
    /// It is the message of a call.
    Call(Route),
    /// It is dropped, and the request is not a call: its reply.
    Text(Box<TextReply>),
    /// The reply is on its way.
    Answered,
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
            last_block: LastBlock::default(),
            scratch: Vec::new(),
            front: Front::default(),
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
        if quiet { Ok(()) } else { Err(WireError::truncated(PROTOCOL)) }
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

    fn limits(&self) -> LimitCounts {
        self.connection.guard.counts
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
        c.request(block, bytes, rest, cx, with)
    }

    fn whole(
        c: &mut Connection<Self>,
        id: u32,
        content: &[u8],
        cx: &mut Context<'_>,
        with: &mut (),
    ) -> Result<(), Fault> {
        c.answer_whole(id, content, cx, with)
    }

    fn ended(
        c: &mut Connection<Self>,
        id: u32,
        cx: &mut Context<'_>,
        with: &mut (),
    ) -> Result<(), Fault> {
        c.answer_ended(id, cx, with)
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
