//! Receiving side of a stream: its window, its content and the message inside.

use crate::wire::grpc::{Compression, MessageReader, PREFIX_BYTES};
use crate::wire::h2::abuse::Charge;
use crate::wire::h2::connection::budget::Reservation;
use crate::wire::h2::error::{ErrorCode, Fault};
use crate::wire::h2::flow::{Overflow, ReceiveWindow};

pub(crate) const WRONG_LENGTH: &str = "content-length differs from the content's length";

/// Window beyond the rest of a message: the longest padding and its length byte. A peer that pads
/// every frame could not send its last bytes otherwise.
const PADDING_BYTES_MAX: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Inbound {
    window: ReceiveWindow,
    /// Message that arrives; without one, content is dropped.
    message: Option<MessageReader>,
    /// True if each message is an event of its own.
    is_stream: bool,
    content_length: Option<u64>,
    content_bytes: u64,
    pub(super) reservation: Reservation,
    pub(super) charge: Charge,
}

impl Inbound {
    #[inline]
    pub(crate) fn open(
        &mut self,
        window: u32,
        content_length: Option<u64>,
        message: Option<MessageReader>,
    ) {
        self.window = ReceiveWindow::new(window);
        self.content_length = content_length;
        self.message = message;
    }

    pub(crate) fn set_many(&mut self, is_stream: bool) {
        self.is_stream = is_stream;
    }

    pub(super) fn clear(&mut self) {
        self.message = None;
        self.is_stream = false;
        self.content_bytes = 0;
    }

    /// Returns the bytes so far, without padding.
    pub(crate) fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    pub(crate) fn expect(&mut self, message: MessageReader) {
        self.message = Some(message);
    }

    pub(super) fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// Returns the bytes to the next event on a stream of messages, else no limit.
    pub(super) fn bytes_wanted(&self) -> usize {
        match &self.message {
            Some(message) if self.is_stream => match message.announced() {
                Some(_) => message.remaining(),
                None if message.is_untouched() => PREFIX_BYTES,
                None => 1,
            },
            _ => usize::MAX,
        }
    }

    pub(super) fn is_message_whole(&self) -> bool {
        let is_whole = |m: &MessageReader| m.announced().is_some() && m.remaining() == 0;
        self.is_stream && self.message.as_ref().is_some_and(is_whole)
    }

    pub(super) fn message(&mut self) -> Option<&mut MessageReader> {
        self.message.as_mut()
    }

    /// Drops a message without bytes; returns the meaning of its flag.
    pub(crate) fn drop_untouched(&mut self) -> Compression {
        self.message.take().map_or(Compression::Unnamed, |message| message.compression())
    }

    /// Takes the message out; later content is dropped. The reservation stays.
    pub(super) fn take_message(&mut self) -> Option<MessageReader> {
        self.message.take()
    }

    /// Returns true if `len` bytes end the stream without a fault and may stay in the input.
    #[inline]
    pub(super) fn takes_whole(&self, len: usize) -> bool {
        self.window.allows(len)
            && !self.is_stream
            && self.content_length.is_none_or(|length| length == len as u64)
            && self.message.as_ref().is_some_and(MessageReader::is_untouched)
    }

    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), Overflow> {
        self.window.spend(bytes)
    }

    pub(super) fn count(&mut self, id: u32, bytes: usize) -> Result<(), Fault> {
        self.content_bytes += bytes as u64;
        if self.content_length.is_some_and(|length| length < self.content_bytes) {
            return Err(Fault::Stream(id, ErrorCode::Protocol, WRONG_LENGTH));
        }
        Ok(())
    }

    pub(super) fn has_announced_length(&self) -> bool {
        self.content_length.is_none_or(|length| length == self.content_bytes)
    }

    /// Widens the window so that it does not hold up a message of `bytes`.
    pub(super) fn widen(&mut self, bytes: usize) {
        self.window.widen((bytes + PADDING_BYTES_MAX) as u64);
    }

    /// Returns the increment for the message's rest, `granted` bytes of it already spent.
    pub(super) fn window_update(&mut self, granted: usize) -> Option<u32> {
        let is_last = |message: &&MessageReader| !self.is_stream && message.announced().is_some();
        let announced = self.message.as_ref().filter(is_last);
        let rest = |message: &MessageReader| message.remaining().saturating_sub(granted);
        let expected =
            announced.map_or(u64::MAX, |message| (rest(message) + PADDING_BYTES_MAX) as u64);
        self.window.update(expected)
    }
}
