//! Bytes on their way out of one connection: small ones coalesced, large payloads in their own buffers.
//!
//! A machine appends; a driver takes a [`Batch`], which owns its bytes until they are sent (the kernel may still be
//! reading them), while the machine goes on appending to the outbox.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::rc::Rc;

use super::Pool;

/// Pending output of one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    segments: VecDeque<Segment>,
    len: usize,
}

/// Output taken from an [`Outbox`] by a driver: the part not yet sent, in order.
#[derive(Debug, Default)]
pub struct Batch {
    segments: VecDeque<Segment>,
    len: usize,
}

#[derive(Debug)]
struct Segment {
    bytes: Bytes,
    range: Range<usize>,
}

#[derive(Debug)]
enum Bytes {
    /// Ours; goes back to the pool.
    Owned(Vec<u8>),
    /// Somebody's who sends it more than once (the load generator's payload).
    Shared(Rc<Vec<u8>>),
}

impl Segment {
    fn as_slice(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Owned(bytes) => &bytes[self.range.clone()],
            Bytes::Shared(bytes) => &bytes[self.range.clone()],
        }
    }
}

impl Outbox {
    /// Bytes pending.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy of `bytes`.
    pub fn copy(&mut self, bytes: &[u8], pool: &mut Pool) {
        let _ = (bytes, pool);
        todo!()
    }

    /// Appends `buffer[range]` without a copy; the buffer returns to the pool once sent.
    pub fn own(&mut self, buffer: Vec<u8>, range: Range<usize>) {
        self.len += range.len();
        self.segments.push_back(Segment { bytes: Bytes::Owned(buffer), range });
    }

    /// Appends `bytes[range]` without a copy, keeping it alive until it is sent.
    pub fn share(&mut self, bytes: Rc<Vec<u8>>, range: Range<usize>) {
        self.len += range.len();
        self.segments.push_back(Segment { bytes: Bytes::Shared(bytes), range });
    }

    /// Moves everything pending into `batch`, which must be empty.
    pub fn take(&mut self, batch: &mut Batch) {
        debug_assert!(batch.is_empty());
        std::mem::swap(&mut self.segments, &mut batch.segments);
        std::mem::swap(&mut self.len, &mut batch.len);
    }
}

impl Batch {
    /// Bytes left to send.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when all is sent.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first unsent pieces, in order; returns how many slots were filled.
    pub fn slices<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slot, segment) in into.iter_mut().zip(&self.segments) {
            *slot = IoSlice::new(segment.as_slice());
            filled += 1;
        }
        filled
    }

    /// Marks the first `sent` bytes as sent and gives emptied buffers back.
    pub fn advance(&mut self, sent: usize, pool: &mut Pool) {
        let _ = (sent, pool);
        todo!()
    }
}
