//! Events that a connection reports to its half.

use crate::wire::Pool;
use crate::wire::grpc::Status;
use crate::wire::response::Received;

/// Fact that a half has to act on; `T` is the half's state of a stream.
#[derive(Debug)]
pub(crate) enum Event<'i, T> {
    /// Whole block, which the half must decode even if it refuses the stream.
    Headers(HeaderBlock<'i>),
    /// All content of a stream in one DATA frame that ends it; not kept.
    Content { stream: u32, bytes: &'i [u8] },
    /// Content of a stream that takes no message.
    Discarded { stream: u32 },
    /// Whole message on a stream of messages, for [`super::Connection::take_message`].
    Message { stream: u32 },
    /// Message that breaks a rule of gRPC or a limit.
    Refused { stream: u32, status: Status },
    /// END_STREAM from the peer; the stream's message holds the content.
    StreamEnded { stream: u32 },
    /// RST_STREAM from the peer; the stream is already removed.
    Reset { state: T, code: u32 },
    /// SETTINGS, applied and acknowledged; send windows may have changed.
    Settings,
    /// WINDOW_UPDATE, already applied.
    WindowOpened,
    /// GOAWAY from the peer, which has processed no stream above `last`.
    GoAway { last: u32, code: u32, reason: String },
    /// Answer to our PING.
    Pong,
}

#[derive(Debug)]
pub(crate) struct HeaderBlock<'i> {
    pub(crate) stream: u32,
    pub(crate) end_stream: bool,
    /// Error of the frame; the block must still be decoded to keep the decoder's table in step.
    pub(crate) fault: Option<&'static str>,
    /// Input of the caller, or a pooled buffer if the block came in pieces.
    pub(crate) bytes: Received<'i>,
}

impl HeaderBlock<'_> {
    pub(super) fn into_owned(self, pool: &Pool) -> HeaderBlock<'static> {
        let bytes = match self.bytes {
            Received::Owned(bytes) => bytes,
            Received::Borrowed(bytes) => {
                let mut copy = pool.take(bytes.len());
                copy.extend_from_slice(bytes);
                copy.into()
            }
        };
        let HeaderBlock { stream, end_stream, fault, .. } = self;
        HeaderBlock { stream, end_stream, fault, bytes: Received::Owned(bytes) }
    }
}
