//! DATA frames: content on its way to the message of its stream.
//!
//! A frame's whole length leaves the windows; `inbound.rs` and `budget.rs` grant more. Content that
//! lies whole in the input is handed on from there. RFC 9113 sections 5.2 and 6.1.

use super::Connection;
use super::budget::OverBudget;
use super::event::Event;
use super::history::GoneStream;
use super::inbound::WRONG_LENGTH;
use super::stage::{DataFrame, Stage};
use super::stream::Stream;
use crate::wire::grpc::{Code, MessageReader, PREFIX_BYTES, Status};
use crate::wire::h2::STREAM_UNSENT_BYTES_MAX;
use crate::wire::h2::error::{ErrorCode, Fault};
use crate::wire::h2::frame::{
    self, END_HEADERS, END_STREAM, FrameHead, HEAD_BYTES, Kind, PADDED, padding,
};
use crate::wire::handler::NO_MEMORY;
use crate::wire::{Context, Limit, Pace};

#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamEnd<'i> {
    pub(crate) content: &'i [u8],
    pub(crate) trailers: &'i [u8],
    pub(crate) rest: &'i [u8],
}

impl<T: Default> Connection<T> {
    /// Takes all content of `id`, not yet in the table, off `input`, if one DATA frame has it.
    #[inline(always)]
    pub(crate) fn take_content<'i>(
        &mut self,
        id: u32,
        input: &mut &'i [u8],
    ) -> Result<Option<&'i [u8]>, Fault> {
        let Some((head, rest)) = input.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let head = FrameHead::read(head);
        let is_whole = head.kind == Kind::Data && head.stream == id && head.flags == END_STREAM;
        if !is_whole || head.len > self.ours.max_frame_size as usize {
            return Ok(None);
        }
        let Some((content, rest)) = rest.split_at_checked(head.len) else { return Ok(None) };
        self.receive.spend(content.len())?;
        *input = rest;
        Ok(Some(content))
    }

    /// Finds the end of `id` in front of `input`: all content in one DATA frame, and trailers.
    #[inline]
    pub(crate) fn peek_end<'i>(&self, id: u32, input: &'i [u8]) -> Option<StreamEnd<'i>> {
        let (head, rest) = input.split_first_chunk()?;
        let head = FrameHead::read(head);
        if head.kind != Kind::Data || head.stream != id || head.flags != 0 {
            return None;
        }
        let (content, rest) = rest.split_at_checked(head.len)?;
        let (head, rest) = rest.split_first_chunk()?;
        let head = FrameHead::read(head);
        let is_end = head.flags == END_HEADERS | END_STREAM;
        if head.kind != Kind::Headers || head.stream != id || !is_end {
            return None;
        }
        let (trailers, rest) = rest.split_at_checked(head.len)?;
        Some(StreamEnd { content, trailers, rest })
    }

    /// Takes content that [`Connection::peek_end`] has found off the connection's window.
    #[inline]
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        self.receive.spend(bytes)
    }

    /// Takes a message out, and releases its reservation and its charge.
    pub(crate) fn take_message(&mut self, id: u32) -> Option<MessageReader> {
        let inbound = &mut self.streams.get(id)?.inbound;
        self.receive.release(&mut inbound.reservation);
        self.abuse.refund(&mut inbound.charge);
        inbound.take_message()
    }

    /// Takes the head of a DATA frame, or all of it if its content can be handed on from the input.
    #[inline]
    pub(super) fn data_frame<'i>(
        &mut self,
        head: FrameHead,
        input: &mut &'i [u8],
    ) -> Result<Option<Event<'i, T>>, Fault> {
        if head.flags == END_STREAM
            && self.hands_on_content
            && let Some((content, rest)) = input.split_at_checked(head.len)
            && self.receive.allows(head.len)
            && let Some(stream) = self.streams.get(head.stream)
            && stream.state.receives()
            && stream.inbound.takes_whole(head.len)
        {
            *input = rest;
            stream.state.receive_end();
            self.receive.spend(content.len())?;
            return Ok(Some(Event::Content { stream: head.stream, bytes: content }));
        }
        self.data_head(head).map(|()| None)
    }

    fn data_head(&mut self, head: FrameHead) -> Result<(), Fault> {
        if head.stream == 0 {
            return Err(Fault::protocol("DATA on stream 0"));
        }
        self.receive.spend(head.len)?;
        if !head.has(PADDED) {
            return self.data_content(head, head.len, 0);
        }
        if head.len == 0 {
            return Err(padding());
        }
        self.stage = Stage::Pad(head);
        self.data_on_stream(head)
    }

    fn data_on_stream(&mut self, head: FrameHead) -> Result<(), Fault> {
        let id = head.stream;
        let closed = "DATA on a stream that its sender has ended";
        let Some(stream) = self.streams.get(id) else {
            return match self.history.state(id) {
                GoneStream::Idle | GoneStream::Skipped => {
                    Err(Fault::protocol("DATA on an idle stream"))
                }
                GoneStream::Reset => Ok(()),
                GoneStream::Closed => Err(Fault::Stream(id, ErrorCode::StreamClosed, closed)),
            };
        };
        if !stream.state.receives() {
            return Err(Fault::Stream(id, ErrorCode::StreamClosed, closed));
        }
        let overflow = "DATA exceeds the stream's window";
        let spent = stream.inbound.spend(head.len);
        spent.map_err(|_| Fault::Stream(id, ErrorCode::FlowControl, overflow))
    }

    pub(super) fn data_padding(&mut self, head: FrameHead, pad: u8) -> Result<(), Fault> {
        let pad = usize::from(pad);
        let left = (head.len - 1).checked_sub(pad).ok_or_else(padding)?;
        self.data_content(head, left, pad)
    }

    /// Begins the content of a DATA frame, which is read even if its stream is at fault.
    fn data_content(&mut self, head: FrameHead, left: usize, pad: usize) -> Result<(), Fault> {
        let (stream, end_stream) = (head.stream, head.has(END_STREAM));
        self.stage = Stage::Data(DataFrame { stream, left, pad, end_stream, direct: false });
        if !head.has(PADDED) {
            self.data_on_stream(head)?;
        }
        match self.streams.get(stream) {
            Some(stream) if !end_stream => self.abuse.data(left, &mut stream.inbound.charge),
            _ => Ok(()),
        }
    }

    /// Takes part of a DATA frame, up to the end of a message on a stream of messages.
    pub(super) fn data_bytes<'i>(
        &mut self,
        mut frame: DataFrame,
        input: &mut &'i [u8],
        cx: &mut Context<'_>,
    ) -> Result<Option<Event<'i, T>>, Fault> {
        let (id, body_pace) = (frame.stream, self.limits.body_pace());
        let stream = self.streams.get(id).filter(|stream| stream.state.receives());
        let wanted = stream.as_ref().map_or(usize::MAX, |stream| stream.inbound.bytes_wanted());
        let (content, rest) = input.split_at(frame.left.min(input.len()).min(wanted));
        frame.left -= content.len();
        let pad = if frame.left == 0 { frame.pad.min(rest.len()) } else { 0 };
        frame.pad -= pad;
        *input = &rest[pad..];
        self.stage = Stage::Data(frame);
        let Some(stream) = stream.filter(|_| !content.is_empty()) else { return Ok(None) };
        stream.arrived(content.len(), body_pace, cx)?;
        let Some(message) = stream.inbound.message() else {
            return Ok(Some(Event::Discarded { stream: id }));
        };
        let fed = message.feed(content, cx.pool);
        self.abuse.refused(&fed);
        let announced = message.announced().unwrap_or(0);
        let is_whole = stream.inbound.is_message_whole();
        let refused = match fed {
            Ok(false) => None,
            Ok(true) => self.announced(&frame, announced, cx),
            Err(status) => Some(Event::Refused { stream: id, status }),
        };
        Ok(refused.or(is_whole.then_some(Event::Message { stream: id })))
    }

    pub(super) fn end_data_frame<'i>(
        &mut self,
        frame: DataFrame,
        cx: &mut Context<'_>,
    ) -> Result<Option<Event<'i, T>>, Fault> {
        self.stage = Stage::Head;
        if frame.end_stream {
            let ended = self.end_stream(frame.stream)?;
            return Ok(ended.then_some(Event::StreamEnded { stream: frame.stream }));
        }
        self.grant_stream(frame.stream, 0, cx);
        Ok(None)
    }

    fn announced<'i>(
        &mut self,
        frame: &DataFrame,
        announced: usize,
        cx: &mut Context<'_>,
    ) -> Option<Event<'i, T>> {
        let stream = self.streams.get(frame.stream)?;
        if cx.pool.refuses_body() {
            return Some(Event::Refused { stream: frame.stream, status: no_memory() });
        }
        stream.inbound.widen(announced + PREFIX_BYTES);
        match self.receive.reserve(announced, &mut stream.inbound.reservation) {
            Ok(()) => {
                self.grant_stream(frame.stream, frame.left, cx);
                None
            }
            Err(OverBudget(bytes_max)) => {
                self.abuse.counts.hit(Limit::Messages);
                let text =
                    format!("over {bytes_max} bytes of messages are arriving on this connection");
                let status = Status::new(Code::ResourceExhausted, text);
                Some(Event::Refused { stream: frame.stream, status })
            }
        }
    }

    /// Ends the peer's side of a stream; returns false if it is gone or had ended.
    pub(crate) fn end_stream(&mut self, id: u32) -> Result<bool, Fault> {
        let Some(stream) = self.streams.get(id).filter(|stream| stream.state.receives()) else {
            return Ok(false);
        };
        stream.state.receive_end();
        if !stream.inbound.has_announced_length() {
            return Err(Fault::Stream(id, ErrorCode::Protocol, WRONG_LENGTH));
        }
        self.abuse.refund(&mut stream.inbound.charge);
        Ok(true)
    }

    /// Grants a stream's peer more window if its message needs it and few bytes are unsent.
    pub(crate) fn grant_stream(&mut self, id: u32, granted: usize, cx: &mut Context<'_>) {
        if let Some(stream) = self.streams.get(id).filter(|stream| stream.state.receives())
            && stream.unsent_bytes() < STREAM_UNSENT_BYTES_MAX
            && let Some(increment) = stream.inbound.window_update(granted)
        {
            cx.out.copy(&frame::window_update(id, increment), cx.pool);
        }
    }
}

/// Makes the status of a call whose message finds no memory.
pub(crate) fn no_memory() -> Status {
    Status::new(Code::ResourceExhausted, NO_MEMORY)
}

impl<T> Stream<T> {
    pub(super) fn arrived(
        &mut self,
        bytes: usize,
        pace: Pace,
        cx: &Context<'_>,
    ) -> Result<(), Fault> {
        self.progress.moved(bytes, pace, cx.now);
        self.inbound.count(self.id, bytes)
    }
}
