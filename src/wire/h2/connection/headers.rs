//! Header blocks, whole before they are looked at: HEADERS and the CONTINUATION frames behind it.
//!
//! A block is kept up to [`BLOCK_BYTES_MAX`] and [`CONTINUATIONS_MAX`] frames. One that lies whole in the input is not
//! kept at all. RFC 9113 sections 4.3, 6.2 and 6.10.

use crate::wire::h2::connection::{Connection, Side};
use crate::wire::h2::error::Fault;
use crate::wire::h2::frame::{self, END_HEADERS, END_STREAM, FrameHead};
use crate::wire::h2::{BLOCK_BYTES_MAX, CONTINUATIONS_MAX};
use crate::wire::{Context, Limit};

/// A header block and what its HEADERS frame said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Block {
    /// Its stream.
    pub(crate) stream: u32,
    /// Nothing follows it.
    pub(crate) end_stream: bool,
    /// The frame is wrong, though the block must still be decoded.
    pub(crate) fault: Option<&'static str>,
}

/// A header block that goes on in CONTINUATION frames.
#[derive(Debug)]
pub(crate) struct OpenBlock {
    pub(crate) block: Block,
    bytes: Vec<u8>,
    frames: usize,
}

impl<S: Side> Connection<S> {
    pub(crate) fn headers(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        rest: &[u8],
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<usize, Fault> {
        if head.stream == 0 {
            return Err(Fault::protocol("HEADERS on stream 0"));
        }
        let (fragment, fault) = frame::headers_fragment(head, payload)?;
        let block = Block { stream: head.stream, end_stream: head.has(END_STREAM), fault };
        if head.has(END_HEADERS) {
            return self.block(block, fragment, rest, cx, with);
        }
        let mut bytes = cx.pool.take(fragment.len());
        bytes.extend_from_slice(fragment);
        self.open_block = Some(OpenBlock { block, bytes, frames: 0 });
        Ok(0)
    }

    pub(crate) fn continuation(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        rest: &[u8],
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<usize, Fault> {
        let Some(mut open) = self.open_block.take() else {
            return Err(Fault::protocol("CONTINUATION without a header block"));
        };
        open.frames += 1;
        if open.frames > CONTINUATIONS_MAX {
            self.guard.counts.hit(Limit::HeaderBlock);
            return Err(Fault::calm(format!("over {CONTINUATIONS_MAX} CONTINUATION frames")));
        }
        if open.bytes.len() + payload.len() > BLOCK_BYTES_MAX {
            self.guard.counts.hit(Limit::HeaderBlock);
            return Err(Fault::calm(format!("header block over {BLOCK_BYTES_MAX} bytes")));
        }
        open.bytes.extend_from_slice(payload);
        if !head.has(END_HEADERS) {
            self.open_block = Some(open);
            return Ok(0);
        }
        let used = self.block(open.block, &open.bytes, rest, cx, with);
        cx.pool.give(open.bytes);
        used
    }

    fn block(
        &mut self,
        block: Block,
        bytes: &[u8],
        rest: &[u8],
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<usize, Fault> {
        let used = S::headers(self, block, bytes, rest, cx, with);
        Ok(self.contain(used, cx, with)?.unwrap_or(0))
    }
}
