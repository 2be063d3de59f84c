//! `raw`: length-prefixed frames on a byte stream, the floor of the ladder.
//!
//! ```text
//!  0               4       5
//! +---------------+-------+---------------- ...
//! | length (u32 be)| codec |  length bytes of body
//! +---------------+-------+---------------- ...
//! ```
//! `codec` is [`crate::codec::Encoding::id`] of the body; 0xFF marks a line of error text in a
//! response. Frames are answered in order; the peer chooses the number in flight.
//!
//! A body that is not an array is answered with an error. So is a codec without a route or a length
//! over the limit, and the connection closes: frames carry no magic number, so the peer is probably
//! out of step.
use super::buffers::SizedBody;
use super::{Loan, Pool, WireError};

mod client;
mod server;

pub use client::RawClient;
pub use server::Raw;

pub const HEAD_BYTES: usize = 5;
pub const CODEC_ERROR: u8 = 0xFF;
const PROTOCOL: &str = "raw";

/// Next part of a frame; `T` is the decision on its head.
#[derive(Debug)]
enum Stage<T> {
    Head(PartialHead),
    Body(T, SizedBody),
}

#[derive(Debug, Default)]
struct PartialHead {
    bytes: [u8; HEAD_BYTES],
    len: usize,
}

struct FrameHead {
    len: usize,
    codec: u8,
}

impl PartialHead {
    /// Returns the whole head and the rest of `input`, or keeps all of `input`.
    fn take<'a>(&mut self, input: &'a [u8]) -> Option<(FrameHead, &'a [u8])> {
        if self.len == 0
            && let Some((bytes, rest)) = input.split_first_chunk()
        {
            return Some((FrameHead::read(*bytes), rest));
        }
        let taken = input.len().min(HEAD_BYTES - self.len);
        self.bytes[self.len..][..taken].copy_from_slice(&input[..taken]);
        self.len += taken;
        if self.len < HEAD_BYTES {
            return None;
        }
        self.len = 0;
        Some((FrameHead::read(self.bytes), &input[taken..]))
    }
}

impl FrameHead {
    fn read([a, b, c, d, codec]: [u8; HEAD_BYTES]) -> FrameHead {
        FrameHead { len: u32::from_be_bytes([a, b, c, d]) as usize, codec }
    }
}

impl<T> Stage<T> {
    fn start() -> Stage<T> {
        Stage::Head(PartialHead::default())
    }

    fn is_start(&self) -> bool {
        matches!(self, Stage::Head(head) if head.len == 0)
    }

    fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        match self {
            Stage::Head(_) => None,
            Stage::Body(_, body) => body.lend(pool),
        }
    }
}

fn frame_head(len: u32, codec: u8) -> [u8; HEAD_BYTES] {
    let [a, b, c, d] = len.to_be_bytes();
    [a, b, c, d, codec]
}

fn protocol_error(what: String) -> WireError {
    WireError::violation(PROTOCOL, what)
}

fn over_limit(len: usize, limit: usize) -> String {
    format!("frame of {len} bytes is over the limit of {limit}")
}
