//! Position of the input: between frames, inside one, or inside a header block.

use crate::wire::PooledBuf;
use crate::wire::h2::frame::FrameHead;

#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    Preface,
    Head,
    /// Inside a payload that must be whole.
    Payload(FrameHead),
    Pad(FrameHead),
    Data(DataFrame),
    /// Bytes left of an ignored frame.
    Skip(usize),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct DataFrame {
    pub(super) stream: u32,
    pub(super) left: usize,
    /// Padding yet to arrive, behind the content.
    pub(super) pad: usize,
    pub(super) end_stream: bool,
    /// Set after the first loan: the rest of the frame comes by loans as well.
    pub(super) direct: bool,
}

impl DataFrame {
    pub(super) fn is_complete(self) -> bool {
        self.left + self.pad == 0
    }
}

#[derive(Debug)]
pub(super) struct OpenBlock {
    pub(super) stream: u32,
    pub(super) end_stream: bool,
    pub(super) fault: Option<&'static str>,
    pub(super) bytes: PooledBuf,
    pub(super) continuations: usize,
}

/// Stream whose message buffer is lent, and the buffer's length at that time.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenLoan {
    pub(super) stream: u32,
    pub(super) len: usize,
}
