//! Header blocks: HEADERS and the CONTINUATION frames that follow it.
//!
//! A block in pieces is kept up to four times `head_bytes_max`, and in as many frames as that limit
//! allows for. RFC 9113 sections 4.3, 6.2 and 6.10.

use super::Connection;
use super::event::{Event, HeaderBlock};
use super::stage::OpenBlock;
use crate::wire::h2::CONTINUATIONS_MAX;
use crate::wire::h2::error::Fault;
use crate::wire::h2::frame::{self, END_HEADERS, END_STREAM, FrameHead, Kind};
use crate::wire::response::Received;
use crate::wire::{Context, Limit};

/// Bytes of a block's limit for which [`CONTINUATIONS_MAX`] frames are allowed: half as much as
/// they hold if each is as long as any peer may send.
const BLOCK_BYTES_OF_FRAMES: usize = 64 * 1024;

impl<T: Default> Connection<T> {
    /// Takes a HEADERS or CONTINUATION frame; returns the block if the frame ends it.
    #[inline(always)]
    pub(super) fn header_frame<'p>(
        &mut self,
        head: FrameHead,
        payload: &'p [u8],
        cx: &mut Context<'_>,
    ) -> Result<Option<Event<'p, T>>, Fault> {
        if head.kind == Kind::Continuation {
            return Ok(self.continuation(head, payload)?.map(Event::Headers));
        }
        if head.stream == 0 {
            return Err(Fault::protocol("HEADERS on stream 0"));
        }
        let (fragment, fault) = frame::headers_fragment(head, payload)?;
        let (stream, end_stream) = (head.stream, head.has(END_STREAM));
        if head.has(END_HEADERS) {
            let bytes = Received::Borrowed(fragment);
            let block = HeaderBlock { stream, end_stream, fault, bytes };
            return Ok(Some(Event::Headers(block)));
        }
        let mut bytes = cx.pool.take(fragment.len());
        bytes.extend_from_slice(fragment);
        bytes.settle();
        self.open_block = Some(OpenBlock { stream, end_stream, fault, bytes, continuations: 0 });
        Ok(None)
    }

    fn continuation(
        &mut self,
        head: FrameHead,
        payload: &[u8],
    ) -> Result<Option<HeaderBlock<'static>>, Fault> {
        let Some(mut open) = self.open_block.take() else {
            return Err(Fault::protocol("CONTINUATION without a header block"));
        };
        open.continuations += 1;
        let bytes_max = self.block_bytes_max();
        let frames_max = CONTINUATIONS_MAX * bytes_max.div_ceil(BLOCK_BYTES_OF_FRAMES);
        if open.continuations > frames_max {
            self.abuse.counts.hit(Limit::HeaderBlock);
            return Err(Fault::calm(format!("over {frames_max} CONTINUATION frames")));
        }
        if open.bytes.len() + payload.len() > bytes_max {
            self.abuse.counts.hit(Limit::HeaderBlock);
            return Err(Fault::calm(format!("header block over {bytes_max} bytes")));
        }
        open.bytes.extend_from_slice(payload);
        open.bytes.settle();
        if !head.has(END_HEADERS) {
            self.open_block = Some(open);
            return Ok(None);
        }
        let OpenBlock { stream, end_stream, fault, bytes, .. } = open;
        Ok(Some(HeaderBlock { stream, end_stream, fault, bytes: Received::Owned(bytes.into()) }))
    }
}
