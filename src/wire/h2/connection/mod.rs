//! Shared core of both halves of a connection: bytes in, [`Event`]s out.
//!
//! ```text
//!  Preface ──▶ Head ─┬─ all of the payload is there ─▶ read from the input, no copy ────────▶ Head
//!   (server)         ├─ it is not ──▶ Payload: collected, for its limit ───▶ read ──────────▶ Head
//!                    ├─ DATA ──▶ [Pad ──▶] Data: handed on as it arrives, or by loan ───────▶ Head
//!                    └─ unknown ──▶ Skip ───────────────────────────────────────────────────▶ Head
//! ```
//! The connection checks frames, keeps windows and streams, and answers what needs no decision
//! (acknowledgements, window updates). A half asks for events in a loop and handles each before the
//! next. [`Connection::contain`] turns a [`Fault`] into RST_STREAM or passes it on to
//! [`Connection::abort`] and GOAWAY.
//!
//! Memory: a header block up to four times `head_bytes_max`; another frame but DATA up to
//! [`CONTROL_BYTES_MAX`]; messages up to the budget; a fixed size for each of at most
//! [`super::STREAMS_MAX`] streams. RFC 9113 sections 4, 5.4 and 6.

use std::borrow::Cow;
use std::rc::Rc;

use self::budget::ReceiveBudget;
use self::event::Event;
use self::history::{GoneStream, StreamHistory};
use self::outgoing::Outgoing;
use self::send::SendQueue;
use self::stage::{OpenBlock, OpenLoan, Stage};
use self::streams::StreamTable;
use super::abuse::AbuseLimits;
use super::error::{ErrorCode, Fault};
use super::frame::{self, FrameHead, HEAD_BYTES, Kind, PREFACE, PRIORITY_BYTES};
use super::hpack::Decoder;
use super::settings::{Settings, WINDOW_DEFAULT};
use super::{CONTROL_BYTES_MAX, HEAD_BYTES_FATAL_FACTOR};
use crate::wire::progress::Progress;
use crate::wire::{Charge, Context, Limit, Limits, Pool, PooledBuf};

mod budget;
mod control;
pub(crate) mod data;
pub(crate) mod errors;
pub(crate) mod event;
mod headers;
pub(crate) mod history;
pub(crate) mod inbound;
mod loan;
pub(crate) mod outbound;
pub(crate) mod outgoing;
mod send;
mod stage;
pub(crate) mod stream;
mod streams;

/// Padding and priority of a HEADERS frame, beside the block.
const HEADERS_BYTES_MORE: usize = 1 + 255 + PRIORITY_BYTES;

/// One connection; `T` is the half's state of a stream.
#[derive(Debug)]
pub(crate) struct Connection<T> {
    pub(crate) limits: Rc<Limits>,
    pub(crate) ours: Settings,
    pub(crate) peer: Settings,
    pub(crate) decoder: Decoder,
    pub(crate) streams: StreamTable<T>,
    pub(crate) history: StreamHistory,
    pub(crate) send: SendQueue,
    pub(crate) abuse: AbuseLimits,
    receive: ReceiveBudget,
    stage: Stage,
    /// Number of units that have begun, each a frame or a header block.
    begun: u32,
    /// Front of a frame head, or of a payload that must be whole.
    partial: PooledBuf,
    open_block: Option<OpenBlock>,
    open_loan: Option<OpenLoan>,
    settings_seen: bool,
    finished: bool,
    /// True if content that lies whole in the input is an event of its own.
    hands_on_content: bool,
    /// Memory of many streams.
    streams_charge: Option<Charge>,
}

impl<T: Default> Connection<T> {
    /// Makes a client, whose server may send `window` bytes beyond each stream's allowance.
    pub(crate) fn client(limits: Rc<Limits>, ours: Settings, window: u32) -> Connection<T> {
        Connection {
            abuse: AbuseLimits::new(limits.counts),
            limits,
            ours,
            peer: Settings::default(),
            decoder: Decoder::default(),
            streams: StreamTable::default(),
            history: StreamHistory::default(),
            send: SendQueue::new(WINDOW_DEFAULT),
            receive: ReceiveBudget::new(window, usize::MAX),
            stage: Stage::Head,
            begun: 0,
            partial: PooledBuf::default(),
            open_block: None,
            open_loan: None,
            settings_seen: false,
            finished: false,
            hands_on_content: false,
            streams_charge: None,
        }
    }

    /// Makes a server, which waits for the preface and takes `messages_bytes_max` at once.
    pub(crate) fn server(
        limits: Rc<Limits>,
        ours: Settings,
        window: u32,
        messages_bytes_max: usize,
    ) -> Connection<T> {
        Connection {
            receive: ReceiveBudget::new(window, messages_bytes_max),
            stage: Stage::Preface,
            hands_on_content: true,
            ..Connection::client(limits, ours, window)
        }
    }

    /// Takes `input` up to the next event, if any. The caller may go on after a stream's fault.
    #[inline]
    pub(crate) fn next_event<'i>(
        &mut self,
        input: &mut &'i [u8],
        cx: &mut Context<'_>,
    ) -> Result<Option<Event<'i, T>>, Fault> {
        loop {
            // `stage` is matched by reference: a copy would load bytes that were just stored.
            let event = match &self.stage {
                Stage::Head if input.is_empty() || self.finished => return Ok(None),
                Stage::Head => {
                    let begins = self.partial.is_empty();
                    if begins && self.open_block.is_none() {
                        self.begun = self.begun.wrapping_add(1);
                    }
                    if begins && let Some((head, rest)) = input.split_first_chunk() {
                        *input = rest;
                        self.frame(FrameHead::read(head), input, cx)?
                    } else if let Some(head) = self.cut_head(input) {
                        self.frame(head, input, cx)?
                    } else {
                        None
                    }
                }
                Stage::Data(frame) if frame.is_complete() => {
                    let frame = *frame;
                    self.end_data_frame(frame, cx)?
                }
                _ if input.is_empty() || self.finished => return Ok(None),
                stage => {
                    let stage = *stage;
                    self.continue_frame(stage, input, cx)?
                }
            };
            if let Some(event) = event {
                return Ok(Some(event));
            }
        }
    }

    fn continue_frame<'i>(
        &mut self,
        stage: Stage,
        input: &mut &'i [u8],
        cx: &mut Context<'_>,
    ) -> Result<Option<Event<'i, T>>, Fault> {
        match stage {
            Stage::Data(frame) => self.data_bytes(frame, input, cx),
            Stage::Payload(head) => self.payload(head, input, cx),
            Stage::Pad(head) => {
                let (pad, rest) = input.split_at(1);
                *input = rest;
                self.data_padding(head, pad[0]).map(|()| None)
            }
            Stage::Skip(left) => {
                let taken = left.min(input.len());
                *input = &input[taken..];
                self.stage = skip(left - taken);
                Ok(None)
            }
            Stage::Preface => self.preface(input).map(|()| None),
            Stage::Head => Ok(None),
        }
    }

    /// Completes a frame head that arrived in pieces.
    fn cut_head(&mut self, input: &mut &[u8]) -> Option<FrameHead> {
        self.collect(input, HEAD_BYTES);
        let head = FrameHead::read(self.partial.first_chunk()?);
        self.partial.clear();
        Some(head)
    }

    /// Moves input to `partial`, until `len` bytes are there.
    fn collect(&mut self, input: &mut &[u8], len: usize) {
        let (taken, rest) = input.split_at(input.len().min(len - self.partial.len()));
        self.partial.extend_from_slice(taken);
        self.partial.settle();
        *input = rest;
    }

    fn preface(&mut self, input: &mut &[u8]) -> Result<(), Fault> {
        self.collect(input, PREFACE.len());
        if !PREFACE.starts_with(&self.partial) {
            return Err(Fault::protocol("not an HTTP/2 connection preface"));
        }
        if self.partial.len() == PREFACE.len() {
            self.partial.clear();
            self.stage = Stage::Head;
        }
        Ok(())
    }

    #[inline]
    fn frame<'i>(
        &mut self,
        head: FrameHead,
        input: &mut &'i [u8],
        cx: &mut Context<'_>,
    ) -> Result<Option<Event<'i, T>>, Fault> {
        self.check_order(head)?;
        if head.len > self.ours.max_frame_size as usize {
            let text = format!("frame of {} bytes is over the limit", head.len);
            return Err(Fault::connection(ErrorCode::FrameSize, text));
        }
        match head.kind {
            Kind::Data => return self.data_frame(head, input),
            Kind::Unknown => {
                self.stage = skip(head.len);
                return Ok(None);
            }
            Kind::Priority if head.len != PRIORITY_BYTES => {
                self.stage = skip(head.len);
                return Err(self.bad_priority(head.stream));
            }
            _ => self.check_size(head)?,
        }
        let Some((payload, rest)) = input.split_at_checked(head.len) else {
            self.stage = Stage::Payload(head);
            if head.len > PREFACE.len() {
                self.partial = cx.pool.take(input.len());
            }
            return Ok(None);
        };
        *input = rest;
        if matches!(head.kind, Kind::Headers | Kind::Continuation) {
            return self.header_frame(head, payload, cx);
        }
        self.control_frame(head, payload, cx)
    }

    /// Collects a payload that did not lie whole in the input.
    fn payload<'i>(
        &mut self,
        head: FrameHead,
        input: &mut &'i [u8],
        cx: &mut Context<'_>,
    ) -> Result<Option<Event<'i, T>>, Fault> {
        self.collect(input, head.len);
        if self.partial.len() < head.len {
            return Ok(None);
        }
        self.stage = Stage::Head;
        let mut payload = std::mem::take(&mut self.partial);
        let event = match head.kind {
            Kind::Headers | Kind::Continuation => {
                self.header_frame(head, &payload, cx).map(|event| match event {
                    Some(Event::Headers(block)) => Some(Event::Headers(block.into_owned(cx.pool))),
                    _ => None,
                })
            }
            _ => self.control_frame(head, &payload, cx),
        };
        if head.len <= PREFACE.len() {
            payload.clear();
            self.partial = payload;
        }
        event
    }

    #[inline]
    fn check_order(&mut self, head: FrameHead) -> Result<(), Fault> {
        if !self.settings_seen {
            if head.kind != Kind::Settings || head.has(frame::ACK) {
                return Err(Fault::protocol("the first frame must be SETTINGS"));
            }
            self.settings_seen = true;
        }
        match &self.open_block {
            Some(open) if head.kind != Kind::Continuation || head.stream != open.stream => {
                Err(Fault::protocol("a header block must go on in CONTINUATION frames"))
            }
            None if head.kind == Kind::Continuation => {
                Err(Fault::protocol("CONTINUATION without a header block"))
            }
            _ => Ok(()),
        }
    }

    /// Checks a frame's length before its payload is kept.
    #[inline]
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
        let most = match head.kind {
            Kind::Headers | Kind::Continuation => {
                self.block_bytes_max().saturating_add(HEADERS_BYTES_MORE)
            }
            _ => CONTROL_BYTES_MAX,
        };
        if head.len > most {
            let text = format!("{:?} of {} bytes is over {most}", head.kind, head.len);
            self.abuse.counts.hit(Limit::HeaderBlock);
            return Err(Fault::calm(text));
        }
        Ok(())
    }

    /// Returns the largest coded header block.
    fn block_bytes_max(&self) -> usize {
        self.limits.head_bytes_max.saturating_mul(HEAD_BYTES_FATAL_FACTOR)
    }

    fn bad_priority(&self, stream: u32) -> Fault {
        let text = "PRIORITY is not 5 bytes long";
        match self.history.state(stream) {
            GoneStream::Idle => Fault::connection(ErrorCode::FrameSize, text),
            _ => Fault::Stream(stream, ErrorCode::FrameSize, text),
        }
    }

    #[inline]
    pub(crate) fn grant(&mut self, cx: &mut Context<'_>) {
        if !self.finished
            && let Some(increment) = self.receive.window_update(self.send.waiting_bytes())
        {
            cx.out.copy(&frame::window_update(0, increment), cx.pool);
        }
    }

    /// Gives a stream its message, for [`Connection::send_next`].
    pub(crate) fn enqueue(&mut self, id: u32, message: Outgoing, cx: &mut Context<'_>) {
        let progress = Progress::start(self.limits.window_pace(), cx.now);
        if let Some(stream) = self.streams.get(id) {
            self.send.enqueue(stream, message, progress);
        }
    }

    /// Appends `bytes` to a stream of messages; `trailers` end it.
    pub(crate) fn append(
        &mut self,
        id: u32,
        bytes: PooledBuf,
        trailers: Option<Cow<'static, [u8]>>,
        cx: &mut Context<'_>,
    ) {
        let progress = Progress::start(self.limits.window_pace(), cx.now);
        if let Some(stream) = self.streams.get(id) {
            self.send.append(stream, bytes, trailers, progress);
        }
    }

    /// Sends until a message ends or no window is open; returns the stream that ended.
    pub(crate) fn send_next(&mut self, cx: &mut Context<'_>) -> Option<u32> {
        let pace = self.limits.window_pace();
        self.send.send(&mut self.streams, self.peer.max_frame_size as usize, pace, cx)
    }

    /// Returns true while messages wait for a window.
    pub(crate) fn is_sending(&self) -> bool {
        self.send.waiting_bytes() > 0
    }

    /// Counts the memory of all streams.
    pub(crate) fn charge_streams(&mut self, pool: &Pool) {
        let bytes = self.streams.bytes();
        self.streams_charge.get_or_insert_with(|| pool.charge()).set(bytes);
    }

    /// Returns true if the next input belongs to a message that is kept. Between two frames it may
    /// also open a window for responses that wait.
    pub(crate) fn is_gathering(&self) -> bool {
        let is_inside = matches!(&self.stage, Stage::Data(frame) if !frame.is_complete());
        let may_stop = is_inside || self.send.waiting_bytes() == 0;
        may_stop && self.receive.is_receiving()
    }

    pub(crate) fn has_peer_settings(&self) -> bool {
        self.settings_seen
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    /// Returns true if no request has begun to arrive: inside other frames, a connection without
    /// streams may end.
    pub(crate) fn is_between_requests(&self) -> bool {
        let is_inside = match self.stage {
            Stage::Preface => true,
            Stage::Payload(head) => matches!(head.kind, Kind::Headers | Kind::Continuation),
            _ => self.open_block.is_some(),
        };
        !is_inside
    }

    pub(crate) fn is_between_frames(&self) -> bool {
        matches!(self.stage, Stage::Head) && self.partial.is_empty() && self.open_block.is_none()
    }

    /// Returns a number that changes with each frame or header block that begins.
    pub(crate) fn begun(&self) -> u32 {
        self.begun
    }

    /// Returns true inside a preface, a frame that must be whole, or a header block.
    #[inline]
    pub(crate) fn is_inside_head(&self) -> bool {
        !self.partial.is_empty()
            || self.open_block.is_some()
            || matches!(self.stage, Stage::Preface | Stage::Payload(_) | Stage::Pad(_))
    }

    /// Returns true inside a frame without meaning: of an unknown kind, or content of a stream that
    /// is gone.
    #[inline]
    pub(crate) fn is_inside_ignored(&mut self) -> bool {
        match self.stage {
            Stage::Skip(_) => true,
            Stage::Data(frame) => self.streams.get(frame.stream).is_none(),
            _ => false,
        }
    }
}

fn skip(left: usize) -> Stage {
    if left > 0 { Stage::Skip(left) } else { Stage::Head }
}
