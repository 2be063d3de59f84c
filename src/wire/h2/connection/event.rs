//! Events that a connection reports to its half.

use crate::wire::Pool;
use crate::wire::grpc::Status;
use crate::wire::response::Received;

/// Fact about a stream or the connection that a half has to act on.
///
/// `T` is the state that a half keeps for each stream. An event borrows from the input at most; the
/// connection is free for the half that handles it.
#[derive(Debug)]
pub(crate) enum Event<'i, T> {
    /// A whole header block, which the half must decode even if it refuses the stream.
    Headers(HeaderBlock<'i>),
    /// All the content of a stream in one DATA frame that ends it. The content is not kept.
    Content { stream: u32, bytes: &'i [u8] },
    /// Content of a stream that takes no message; the connection drops it.
    Discarded { stream: u32 },
    /// A whole message on a stream of messages; [`super::Connection::take_message`] returns it.
    Message { stream: u32 },
    /// A message that breaks the rules of gRPC or a limit.
    Refused { stream: u32, status: Status },
    /// END_STREAM from the peer. Content, if any, lies in the stream's message.
    StreamEnded { stream: u32 },
    /// RST_STREAM from the peer. The stream is already removed.
    Reset { state: T, code: u32 },
    /// SETTINGS from the peer, already applied and acknowledged. Send windows may have changed.
    Settings,
    /// WINDOW_UPDATE from the peer, already applied.
    WindowOpened,
    /// GOAWAY from the peer: it has processed no stream above `last`.
    GoAway { last: u32, code: u32, reason: String },
    /// Answer to a PING of ours.
    Pong,
}

/// Header block in compressed form, and the facts of its HEADERS frame.
#[derive(Debug)]
pub(crate) struct HeaderBlock<'i> {
    pub(crate) stream: u32,
    pub(crate) end_stream: bool,
    /// Error of the frame. The block must still be decoded, or the decoder's table goes out of
    /// step.
    pub(crate) fault: Option<&'static str>,
    /// Input of the caller, or a buffer of the pool if the block came in pieces.
    pub(crate) bytes: Received<'i>,
}

impl HeaderBlock<'_> {
    /// Copies the block out of a buffer that does not outlive the call.
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
