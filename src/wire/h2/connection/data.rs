//! DATA frames: content on its way to the message of its stream, and what is granted for it.
//!
//! What arrives is credited at once, on the stream and the connection, since the memory it takes is bounded by other
//! means: a message announces its length, and one that would take the connection's messages over
//! [`crate::wire::h2::MESSAGES_BYTES_MAX_FACTOR`] times the largest is refused. While replies that nobody takes hold more than that,
//! nothing is granted for new requests.
//!
//! Windows grow with what is announced, so that a large message is not held up by them, and are updated once for
//! each half. Padding counts and is given back like content.
//!
//! RFC 9113 sections 5.2, 6.1 and 6.9.

use crate::wire::grpc::{Code, PREFIX_BYTES, Status};
use crate::wire::h2::CONNECTION_WINDOW_MAX;
use crate::wire::h2::connection::incoming::Incoming;
use crate::wire::h2::connection::streams::{Absent, Stream};
use crate::wire::h2::connection::{Connection, Side, Stage};
use crate::wire::h2::error::{ErrorCode, Fault};
use crate::wire::h2::frame::{self, END_STREAM, FrameHead, PADDED, padding};
use crate::wire::{Context, DIRECT_BYTES_MIN, Limit, Loan, WireError};

/// Window that is granted beyond what a message lacks: a frame's longest padding and the length of it. A peer that
/// pads every frame could not send its last bytes otherwise.
const PADDING_ROOM: usize = 256;

/// A DATA frame of which some is still to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataFrame {
    stream: u32,
    /// Content still to come.
    left: usize,
    /// Padding still to come, behind the content.
    pad: usize,
    end_stream: bool,
    /// A loan was made for it: the rest comes that way too.
    direct: bool,
}

/// A loan that is out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lent {
    stream: u32,
    /// Length of the buffer when it left.
    before: usize,
}

impl<S: Side> Connection<S> {
    /// True when `len` bytes of content that end stream `id` can be taken from the input as they lie: the rest of the
    /// rules, and every fault, is [`Connection::data_head`]'s business.
    pub(crate) fn is_whole_content(&mut self, id: u32, len: usize) -> bool {
        let connection = self.receive.allows(len);
        self.streams.get(id).is_some_and(|stream| {
            connection
                && stream.remote_open
                && stream.receive.allows(len)
                && stream.content_length.is_none_or(|length| length == len as u64)
                && stream.incoming.as_ref().is_some_and(Incoming::is_untouched)
        })
    }

    /// Takes all of a stream's content from the input, where [`Connection::is_whole_content`] allows it.
    pub(crate) fn whole_content(
        &mut self,
        id: u32,
        content: &[u8],
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<(), Fault> {
        self.receive.spend(content.len()).map_err(|_| over_connection_window())?;
        if let Some(stream) = self.streams.get(id) {
            stream.remote_open = false;
        }
        S::whole(self, id, content, cx, with)
    }

    /// The head of a DATA frame. Its whole length is taken off the windows at once.
    pub(crate) fn data_head(
        &mut self,
        head: FrameHead,
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<(), Fault> {
        if head.stream == 0 {
            return Err(Fault::protocol("DATA on stream 0"));
        }
        self.receive.spend(head.len).map_err(|_| over_connection_window())?;
        let verdict = self.data_on_stream(head);
        self.contain(verdict, cx, with)?;
        if !head.has(PADDED) {
            return self.data_content(head, head.len, 0, cx, with);
        }
        if head.len == 0 {
            return Err(padding());
        }
        self.stage = Stage::Pad(head);
        Ok(())
    }

    fn data_on_stream(&mut self, head: FrameHead) -> Result<(), Fault> {
        let id = head.stream;
        let Some(stream) = self.streams.get(id) else {
            return match self.closed.state(id) {
                Absent::Idle | Absent::Skipped => Err(Fault::protocol("DATA on an idle stream")),
                Absent::Reset => Ok(()),
                Absent::Closed => Err(closed(id)),
            };
        };
        if !stream.remote_open {
            return Err(closed(id));
        }
        let overflow = "DATA exceeds the stream's window";
        stream
            .receive
            .spend(head.len)
            .map_err(|_| Fault::Stream(id, ErrorCode::FlowControl, overflow))?;
        Ok(())
    }

    /// The length of a DATA frame's padding.
    pub(crate) fn data_padding(
        &mut self,
        head: FrameHead,
        pad: u8,
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<(), Fault> {
        let pad = usize::from(pad);
        let left = (head.len - 1).checked_sub(pad).ok_or_else(padding)?;
        self.data_content(head, left, pad, cx, with)
    }

    fn data_content(
        &mut self,
        head: FrameHead,
        left: usize,
        pad: usize,
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<(), Fault> {
        let (stream, end_stream) = (head.stream, head.has(END_STREAM));
        if !end_stream && let Some(stream) = self.streams.get(stream) {
            stream.charge += self.guard.data(left)?;
        }
        let frame = DataFrame { stream, left, pad, end_stream, direct: false };
        self.data_goes_on(frame, cx, with)
    }

    /// The next bytes of a DATA frame; returns how much of `input` belongs to it.
    pub(crate) fn data_bytes(
        &mut self,
        input: &[u8],
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<usize, Fault> {
        let Stage::Data(mut frame) = self.stage else { return Ok(0) };
        let content = frame.left.min(input.len());
        frame.left -= content;
        let pad = frame.pad.min(input.len() - content);
        frame.pad -= pad;
        if content > 0 {
            let fed = self.feed(&frame, &input[..content], cx, with);
            self.contain(fed, cx, with)?;
        }
        self.data_goes_on(frame, cx, with)?;
        Ok(content + pad)
    }

    fn data_goes_on(
        &mut self,
        frame: DataFrame,
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<(), Fault> {
        if frame.left + frame.pad > 0 {
            self.stage = Stage::Data(frame);
            return Ok(());
        }
        self.stage = Stage::Head;
        if frame.end_stream {
            let ended = self.end_stream(frame.stream, cx, with);
            return self.contain(ended, cx, with).map(|_| ());
        }
        self.grant_stream(frame.stream, 0, cx);
        Ok(())
    }

    fn feed(
        &mut self,
        frame: &DataFrame,
        bytes: &[u8],
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<(), Fault> {
        let id = frame.stream;
        let Some(stream) = self.streams.get(id).filter(|stream| stream.remote_open) else {
            return Ok(());
        };
        stream.arrived(bytes.len(), cx)?;
        let Some(incoming) = &mut stream.incoming else {
            return S::unwanted(self, id, cx, with);
        };
        let fed = incoming.feed(bytes, cx.pool);
        self.guard.refused(&fed);
        match fed {
            Ok(false) => Ok(()),
            Ok(true) => {
                let announced = incoming.announced().unwrap_or(0);
                self.announced(frame, announced, cx, with)
            }
            Err(status) => S::refused(self, id, status, cx, with),
        }
    }

    /// A message has said how long it is.
    fn announced(
        &mut self,
        frame: &DataFrame,
        announced: usize,
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<(), Fault> {
        let Some(stream) = self.streams.get(frame.stream) else { return Ok(()) };
        stream.reserved = announced;
        stream.receive.widen((announced + PREFIX_BYTES + PADDING_ROOM) as u64);
        self.arriving_bytes += announced;
        let budget = self.messages_bytes_max;
        if self.arriving_bytes > budget {
            self.guard.counts.hit(Limit::Messages);
            let text = format!("over {budget} bytes of messages are arriving on this connection");
            let status = Status::new(Code::ResourceExhausted, text);
            return S::refused(self, frame.stream, status, cx, with);
        }
        let window = (2 * announced as u64).min(CONNECTION_WINDOW_MAX);
        self.receive.widen(window);
        self.grant_stream(frame.stream, frame.left, cx);
        Ok(())
    }

    /// The peer has ended a stream.
    pub(crate) fn end_stream(
        &mut self,
        id: u32,
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<(), Fault> {
        let Some(stream) = self.streams.get(id).filter(|stream| stream.remote_open) else {
            return Ok(());
        };
        stream.remote_open = false;
        if stream.content_length.is_some_and(|length| length != stream.content) {
            return Err(Fault::Stream(id, ErrorCode::Protocol, WRONG_LENGTH));
        }
        let charge = std::mem::take(&mut stream.charge);
        self.guard.give_back(charge);
        S::ended(self, id, cx, with)
    }

    /// Lets a stream's peer send on, if what its message still lacks does not fit in its window. `granted` bytes of
    /// it have been taken off the window already.
    fn grant_stream(&mut self, id: u32, granted: usize, cx: &mut Context<'_>) {
        let Some(stream) = self.streams.get(id).filter(|stream| stream.remote_open) else {
            return;
        };
        let announced = stream.incoming.as_ref().filter(|i| i.announced().is_some());
        let expected = announced
            .map_or(u64::MAX, |i| (i.remaining().saturating_sub(granted) + PADDING_ROOM) as u64);
        if let Some(increment) = stream.receive.update(expected) {
            cx.out.copy(&frame::window_update(id, increment), cx.pool);
        }
    }

    /// Lets the peer send on in all, unless it does not take what it asked for.
    pub(crate) fn grant_connection(&mut self, cx: &mut Context<'_>) {
        if !self.finished
            && self.waiting_bytes <= self.messages_bytes_max
            && let Some(increment) = self.receive.update(u64::MAX)
        {
            cx.out.copy(&frame::window_update(0, increment), cx.pool);
        }
    }

    /// Offers the buffer of a message of which a long piece is due in the current frame.
    pub(crate) fn lend(&mut self) -> Option<Loan> {
        let Stage::Data(frame) = &mut self.stage else { return None };
        if self.lent.is_some() || (frame.left < DIRECT_BYTES_MIN && !frame.direct) {
            return None;
        }
        let incoming = self.streams.get(frame.stream)?.incoming.as_mut()?;
        let loan = incoming.lend(frame.left)?;
        frame.direct = true;
        self.lent = Some(Lent { stream: frame.stream, before: loan.buffer.len() });
        Some(loan)
    }

    /// Takes a lent buffer back.
    pub(crate) fn repay(
        &mut self,
        buffer: Vec<u8>,
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<(), WireError> {
        let Some(Lent { stream: id, before }) = self.lent.take() else {
            cx.pool.give(buffer);
            return Ok(());
        };
        let gained = buffer.len() - before;
        let mut arrived = Ok(());
        match self.streams.get(id) {
            Some(Stream { incoming: Some(incoming), .. }) => incoming.repay(buffer),
            _ => cx.pool.give(buffer),
        }
        if let Some(stream) = self.streams.get(id) {
            arrived = stream.arrived(gained, cx);
        }
        let Stage::Data(mut frame) = self.stage else { return Ok(()) };
        debug_assert!(gained <= frame.left);
        frame.left -= gained.min(frame.left);
        let gone_on =
            self.contain(arrived, cx, with).and_then(|_| self.data_goes_on(frame, cx, with));
        gone_on.map_err(|fault| self.abort(fault, cx))?;
        self.rest(cx);
        Ok(())
    }
}

impl<T> Stream<T> {
    /// Content has arrived.
    fn arrived(&mut self, bytes: usize, cx: &Context<'_>) -> Result<(), Fault> {
        self.touched = cx.now;
        self.content += bytes as u64;
        if self.content_length.is_some_and(|length| length < self.content) {
            return Err(Fault::Stream(self.id, ErrorCode::Protocol, WRONG_LENGTH));
        }
        Ok(())
    }
}

/// A `content-length` that does not hold.
pub(crate) const WRONG_LENGTH: &str = "content-length differs from the content's";

/// More DATA than the connection's window allows.
pub(crate) fn over_connection_window() -> Fault {
    Fault::connection(ErrorCode::FlowControl, "DATA exceeds the connection's window")
}

fn closed(id: u32) -> Fault {
    Fault::Stream(id, ErrorCode::StreamClosed, "DATA on a stream that its sender has ended")
}
