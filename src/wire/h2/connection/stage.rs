//! Position of the input: between frames, inside one, or inside a header block.

use crate::wire::PooledBuf;
use crate::wire::h2::frame::FrameHead;

/// Position of the next byte of input.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// Inside the client's preface.
    Preface,
    /// Before a frame, or inside its head.
    Head,
    /// Inside the payload of a frame that must be whole before it is read.
    Payload(FrameHead),
    /// Before the padding's length in a DATA frame.
    Pad(FrameHead),
    /// Inside a DATA frame, or at its end.
    Data(DataFrame),
    /// Inside a frame that is ignored, with the bytes that are left of it.
    Skip(usize),
}

/// DATA frame of which the head has been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataFrame {
    pub(super) stream: u32,
    /// Bytes of content that have not arrived.
    pub(super) left: usize,
    /// Bytes of padding that have not arrived; they follow the content.
    pub(super) pad: usize,
    pub(super) end_stream: bool,
    /// Set once a loan was made for the frame: the rest of it comes by loans as well.
    pub(super) direct: bool,
}

impl DataFrame {
    pub(super) fn is_complete(self) -> bool {
        self.left + self.pad == 0
    }
}

/// Header block of which CONTINUATION frames are still to come.
#[derive(Debug)]
pub(super) struct OpenBlock {
    pub(super) stream: u32,
    pub(super) end_stream: bool,
    pub(super) fault: Option<&'static str>,
    pub(super) bytes: PooledBuf,
    pub(super) continuations: usize,
}

/// Stream whose message buffer is lent, and the length of the buffer when it left.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenLoan {
    pub(super) stream: u32,
    pub(super) len: usize,
}
