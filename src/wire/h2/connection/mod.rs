//! What both halves of a connection do: take frames apart and hand each to whom it concerns.
//!
//! ```text
//!  Preface ──▶ Head ─┬─ all of the payload is there ─▶ dispatched from the input, no copy ──▶ Head
//!   (server)         ├─ it is not ──▶ Payload: collected, 16 KiB at most ──▶ dispatched ────▶ Head
//!                    ├─ DATA ──▶ [Pad ──▶] Data: handed on as it comes, or received by loan ─▶ Head
//!                    └─ unknown ──▶ Skip ───────────────────────────────────────────────────▶ Head
//! ```
//! What a header block or a message means is its [`Side`]'s business. Blocks are kept whole in `headers.rs`; a fault of
//! one stream is turned into RST_STREAM, one of the connection into GOAWAY, in `errors.rs`.
//!
//! Memory: a frame that is not DATA is kept up to [`BLOCK_BYTES_MAX`], a header block likewise, messages as `data.rs`
//! says; the rest is a fixed size for each stream, of which there are [`crate::wire::h2::STREAMS_MAX`].
//!
//! RFC 9113 sections 4, 5.4 and 6.

mod control;
pub(crate) mod data;
mod errors;
mod headers;
pub(crate) mod incoming;
pub(crate) mod outgoing;
mod send;
pub(crate) mod streams;

use std::rc::Rc;
use std::time::Instant;

use crate::wire::grpc::Status;
use crate::wire::h2::BLOCK_BYTES_MAX;
use crate::wire::h2::abuse::Guard;
use crate::wire::h2::connection::data::{DataFrame, Lent};
pub(crate) use crate::wire::h2::connection::headers::Block;
use crate::wire::h2::connection::headers::OpenBlock;
use crate::wire::h2::connection::send::Ready;
use crate::wire::h2::connection::streams::{Absent, Closed, Streams};
use crate::wire::h2::error::{ErrorCode, Fault};
use crate::wire::h2::flow::{ReceiveWindow, SendWindow};
use crate::wire::h2::frame::{
    self, END_STREAM, FrameHead, HEAD_BYTES, Kind, PREFACE, PRIORITY_BYTES,
};
use crate::wire::h2::hpack::Decoder;
use crate::wire::h2::settings::Settings;
use crate::wire::{Context, Limit, Limits, WireError};

/// What a half makes of what it receives. Its functions get the whole connection, whose `side` it is.
pub(crate) trait Side: Sized {
    /// What it knows of a stream.
    type PerStream: std::fmt::Debug;
    /// What its caller lends it for a call.
    type With<'w>: ?Sized;

    /// A whole header block. `rest` is the input behind it; returns how much of that was used as well.
    fn headers(
        connection: &mut Connection<Self>,
        block: Block,
        bytes: &[u8],
        rest: &[u8],
        cx: &mut Context<'_>,
        with: &mut Self::With<'_>,
    ) -> Result<usize, Fault>;

    /// `content`, which is not kept, is all of the content of stream `id`, and the peer has ended it.
    fn whole(
        connection: &mut Connection<Self>,
        id: u32,
        content: &[u8],
        cx: &mut Context<'_>,
        with: &mut Self::With<'_>,
    ) -> Result<(), Fault>;

    /// The peer has ended stream `id`.
    fn ended(
        connection: &mut Connection<Self>,
        id: u32,
        cx: &mut Context<'_>,
        with: &mut Self::With<'_>,
    ) -> Result<(), Fault>;

    /// The message on stream `id` cannot be taken.
    fn refused(
        connection: &mut Connection<Self>,
        id: u32,
        status: Status,
        cx: &mut Context<'_>,
        with: &mut Self::With<'_>,
    ) -> Result<(), Fault>;

    /// Content of stream `id` was dropped.
    fn unwanted(
        connection: &mut Connection<Self>,
        id: u32,
        cx: &mut Context<'_>,
        with: &mut Self::With<'_>,
    ) -> Result<(), Fault>;

    /// Our message on stream `id` has been sent.
    fn sent(connection: &mut Connection<Self>, id: u32, cx: &mut Context<'_>) -> Result<(), Fault>;

    /// A stream was reset.
    fn dropped(&mut self, data: Self::PerStream, why: &str, with: &mut Self::With<'_>);

    /// The peer's SETTINGS have been applied.
    fn settings(connection: &mut Connection<Self>, cx: &mut Context<'_>);

    /// The peer is going away and has processed nothing past stream `last`.
    fn going_away(
        connection: &mut Connection<Self>,
        last: u32,
        why: &str,
        cx: &mut Context<'_>,
        with: &mut Self::With<'_>,
    );

    /// The peer answered a PING of ours.
    fn pong(connection: &mut Connection<Self>, cx: &mut Context<'_>);
}

/// Where the input stands.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Before the preface's end.
    Preface,
    /// Before a frame, or inside its head.
    Head,
    /// Inside the payload of a frame that must be whole.
    Payload(FrameHead),
    /// Before the padding's length in a DATA frame.
    Pad(FrameHead),
    /// Inside a DATA frame.
    Data(DataFrame),
    /// Inside a frame that means nothing.
    Skip(usize),
}

/// One connection of one half.
#[derive(Debug)]
pub(crate) struct Connection<S: Side> {
    /// The half.
    pub(crate) side: S,
    pub(crate) limits: Rc<Limits>,
    /// What we allow the peer, and what it allows us.
    pub(crate) ours: Settings,
    pub(crate) peer: Settings,
    pub(crate) decoder: Decoder,
    pub(crate) streams: Streams<S::PerStream>,
    pub(crate) closed: Closed,
    /// Streams that may send, in turn.
    pub(crate) ready: Ready,
    pub(crate) send: SendWindow,
    pub(crate) receive: ReceiveWindow,
    pub(crate) guard: Guard,
    /// Most bytes of messages that may be arriving, or waiting to be sent.
    pub(crate) messages_bytes_max: usize,
    /// Bytes of messages that are arriving, as announced.
    pub(crate) arriving_bytes: usize,
    /// Bytes of messages that wait to be sent.
    pub(crate) waiting_bytes: usize,
    pub(crate) stage: Stage,
    pub(crate) lent: Option<Lent>,
    partial: Vec<u8>,
    pub(crate) open_block: Option<OpenBlock>,
    /// The peer's first SETTINGS have come.
    pub(crate) settings_seen: bool,
    /// When the frame or block that is not whole began.
    pub(crate) cut_since: Option<Instant>,
    /// When something last arrived.
    pub(crate) active_at: Instant,
    /// When streams are to be looked through for those that are late.
    pub(crate) sweep_at: Option<Instant>,
    pub(crate) finished: bool,
}

impl<S: Side> Connection<S> {
    /// A connection whose peer may send `window` bytes beside what `ours` allows each stream.
    pub(crate) fn new(side: S, limits: Rc<Limits>, ours: Settings, window: u32) -> Connection<S> {
        Connection {
            side,
            limits,
            ours,
            peer: Settings::default(),
            decoder: Decoder::default(),
            streams: Streams::default(),
            closed: Closed::default(),
            ready: Ready::default(),
            send: SendWindow::new(crate::wire::h2::settings::WINDOW_DEFAULT),
            receive: ReceiveWindow::new(window),
            guard: Guard::default(),
            messages_bytes_max: usize::MAX,
            arriving_bytes: 0,
            waiting_bytes: 0,
            stage: Stage::Head,
            lent: None,
            partial: Vec::new(),
            open_block: None,
            settings_seen: false,
            cut_since: None,
            active_at: Instant::now(),
            sweep_at: None,
            finished: false,
        }
    }

    /// Takes all of `input`.
    pub(crate) fn receive(
        &mut self,
        input: &[u8],
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<(), WireError> {
        let mut rest = input;
        while !rest.is_empty() && !self.finished {
            let used = self.step(rest, cx, with).map_err(|fault| self.abort(fault, cx))?;
            rest = &rest[used..];
        }
        self.rest(cx);
        Ok(())
    }

    /// What is due after each call.
    pub(crate) fn rest(&mut self, cx: &mut Context<'_>) {
        self.active_at = cx.now;
        let is_cut = !self.partial.is_empty()
            || self.open_block.is_some()
            || matches!(self.stage, Stage::Preface | Stage::Payload(_) | Stage::Pad(_));
        self.cut_since = if is_cut { self.cut_since.or(Some(cx.now)) } else { None };
        self.grant_connection(cx);
    }

    /// One step over the front of `input`; returns how much it used.
    fn step(
        &mut self,
        input: &[u8],
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<usize, Fault> {
        match self.stage {
            Stage::Head => {
                if self.partial.is_empty()
                    && let Some((head, rest)) = input.split_first_chunk()
                {
                    let head = FrameHead::read(head);
                    return Ok(HEAD_BYTES + self.frame(head, rest, cx, with)?);
                }
                let taken = self.collect(input, HEAD_BYTES);
                let Some(head) = self.partial.first_chunk() else { return Ok(taken) };
                let head = FrameHead::read(head);
                self.partial.clear();
                Ok(taken + self.frame(head, &input[taken..], cx, with)?)
            }
            Stage::Data(_) => self.data_bytes(input, cx, with),
            Stage::Payload(head) => {
                let taken = self.collect(input, head.len);
                if self.partial.len() < head.len {
                    return Ok(taken);
                }
                self.stage = Stage::Head;
                let payload = std::mem::take(&mut self.partial);
                let used = self.dispatch(head, &payload, &input[taken..], cx, with);
                self.partial = payload;
                self.partial.clear();
                self.partial.shrink_to(PREFACE.len());
                Ok(taken + used?)
            }
            Stage::Pad(head) => self.data_padding(head, input[0], cx, with).map(|()| 1),
            Stage::Skip(left) => {
                let taken = left.min(input.len());
                self.stage = if taken < left { Stage::Skip(left - taken) } else { Stage::Head };
                Ok(taken)
            }
            Stage::Preface => {
                let taken = self.collect(input, PREFACE.len());
                if !PREFACE.starts_with(&self.partial) {
                    return Err(Fault::protocol("not an HTTP/2 connection preface"));
                }
                if self.partial.len() == PREFACE.len() {
                    self.partial.clear();
                    self.stage = Stage::Head;
                }
                Ok(taken)
            }
        }
    }

    /// Keeps the front of `input` until `len` bytes are there.
    fn collect(&mut self, input: &[u8], len: usize) -> usize {
        let taken = input.len().min(len - self.partial.len());
        self.partial.extend_from_slice(&input[..taken]);
        taken
    }

    /// A frame whose head has been read; returns how much of `rest` it used.
    fn frame(
        &mut self,
        head: FrameHead,
        rest: &[u8],
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<usize, Fault> {
        self.check_order(head)?;
        if head.len > self.ours.max_frame_size as usize {
            let text = format!("frame of {} bytes is over the limit", head.len);
            return Err(Fault::connection(ErrorCode::FrameSize, text));
        }
        match head.kind {
            Kind::Data => {
                if head.flags == END_STREAM
                    && let Some(content) = rest.get(..head.len)
                    && self.is_whole_content(head.stream, content.len())
                {
                    let answered = self.whole_content(head.stream, content, cx, with);
                    return self.contain(answered, cx, with).map(|_| head.len);
                }
                self.data_head(head, cx, with).map(|()| 0)
            }
            Kind::Unknown => {
                self.stage = if head.len > 0 { Stage::Skip(head.len) } else { Stage::Head };
                Ok(0)
            }
            Kind::Priority if head.len != PRIORITY_BYTES => {
                self.stage = if head.len > 0 { Stage::Skip(head.len) } else { Stage::Head };
                let fault: Result<(), Fault> = Err(self.bad_priority(head.stream));
                self.contain(fault, cx, with).map(|_| 0)
            }
            _ => {
                self.check_size(head)?;
                let Some((payload, rest)) = rest.split_at_checked(head.len) else {
                    self.stage = Stage::Payload(head);
                    return Ok(self.collect(rest, head.len));
                };
                Ok(head.len + self.dispatch(head, payload, rest, cx, with)?)
            }
        }
    }

    /// The rules on what may follow what.
    fn check_order(&mut self, head: FrameHead) -> Result<(), Fault> {
        if !self.settings_seen {
            if head.kind != Kind::Settings || head.has(frame::ACK) {
                return Err(Fault::protocol("the first frame must be SETTINGS"));
            }
            self.settings_seen = true;
        }
        match &self.open_block {
            Some(open) if head.kind != Kind::Continuation || head.stream != open.block.stream => {
                Err(Fault::protocol("a header block must go on in CONTINUATION frames"))
            }
            None if head.kind == Kind::Continuation => {
                Err(Fault::protocol("CONTINUATION without a header block"))
            }
            _ => Ok(()),
        }
    }

    /// The rules on sizes, before anything of the payload is kept.
    fn check_size(&mut self, head: FrameHead) -> Result<(), Fault> {
        let exact = match head.kind {
            Kind::RstStream | Kind::WindowUpdate => Some(4),
            Kind::Ping => Some(frame::PING_BYTES),
            Kind::Settings if head.has(frame::ACK) => Some(0),
            _ => None,
        };
        if exact.is_some_and(|exact| head.len != exact) {
            let text = format!("{:?} cannot be {} bytes long", head.kind, head.len);
            return Err(Fault::connection(ErrorCode::FrameSize, text));
        }
        if head.len > BLOCK_BYTES_MAX {
            let text = format!("{:?} of {} bytes is over {BLOCK_BYTES_MAX}", head.kind, head.len);
            self.guard.counts.hit(Limit::HeaderBlock);
            return Err(Fault::calm(text));
        }
        Ok(())
    }

    fn bad_priority(&self, stream: u32) -> Fault {
        let text = "PRIORITY is not 5 bytes long";
        match self.closed.state(stream) {
            Absent::Idle => Fault::connection(ErrorCode::FrameSize, text),
            _ => Fault::Stream(stream, ErrorCode::FrameSize, text),
        }
    }

    /// A whole frame other than DATA; returns how much of `rest` was used as well.
    fn dispatch(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        rest: &[u8],
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<usize, Fault> {
        let result = match head.kind {
            Kind::Headers => return self.headers(head, payload, rest, cx, with),
            Kind::Continuation => return self.continuation(head, payload, rest, cx, with),
            Kind::Settings => self.settings(head, payload, cx, with),
            Kind::Ping => self.ping(head, payload, cx),
            Kind::WindowUpdate => self.window_update(head, payload, cx, with),
            Kind::RstStream => self.rst_stream(head, payload, cx, with),
            Kind::GoAway => self.go_away(head, payload, cx, with),
            Kind::Priority => self.priority(head, payload),
            Kind::PushPromise => Err(Fault::protocol("PUSH_PROMISE is not allowed")),
            Kind::Data | Kind::Unknown => Ok(()),
        };
        self.contain(result, cx, with).map(|_| 0)
    }

    /// True when the input ended between two frames.
    pub(crate) fn is_between_frames(&self) -> bool {
        matches!(self.stage, Stage::Head) && self.partial.is_empty() && self.open_block.is_none()
    }
}
