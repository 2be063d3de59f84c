//! Bytes on their way out of one connection: small ones coalesced, large payloads in their own buffers.
//!
//! A machine appends; a driver takes a [`Batch`], which owns its bytes until they are sent (the kernel may still be
//! reading them), while the machine goes on appending to the outbox.
//!
//! ```text
//! copy, compose      own                 copy, compose     share
//! [ coalesced ....]  [ message buffer ]  [ coalesced ..]   [ somebody's ]
//!                                                     ▲ open: the next copy lands here
//! ```
//! No piece is empty, so a vectored write of the first pieces always makes progress. A connection that dies gives
//! its buffers back by [`Outbox::discard`] and [`Batch::discard`].

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::rc::Rc;

use super::OWN_BYTES_MIN;
use super::pool::Pool;
use crate::wire::client::Part;

/// Copies are coalesced up to this many bytes in one buffer: what the kernel takes as one segment on loopback.
const COALESCED_BYTES_MAX: usize = 64 * 1024;

/// Room asked of the pool for a new coalescing buffer.
const COALESCED_BYTES_HINT: usize = 4 * 1024;

/// Pending output of one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    segments: VecDeque<Segment>,
    len: usize,
    /// The last segment is ours to append to: made by `copy` or `compose`, ends where its buffer ends.
    open: bool,
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
    /// Sent more than once, or cut into many pieces: the last piece to go gives it to the pool.
    Shared(Rc<Vec<u8>>),
}

impl Segment {
    fn as_slice(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Owned(bytes) => &bytes[self.range.clone()],
            Bytes::Shared(bytes) => &bytes[self.range.clone()],
        }
    }

    fn retire(self, pool: &mut Pool) {
        match self.bytes {
            Bytes::Owned(bytes) => pool.give(bytes),
            Bytes::Shared(bytes) => {
                if let Ok(bytes) = Rc::try_unwrap(bytes) {
                    pool.give(bytes);
                }
            }
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
        self.compose(bytes.len(), pool, |buffer| buffer.extend_from_slice(bytes));
    }

    /// Lets `write` append to the open coalescing buffer, in which room for `hint` bytes is likely. `write` may take
    /// back what it appended, never what was there before.
    pub fn compose<R>(
        &mut self,
        hint: usize,
        pool: &mut Pool,
        write: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> R {
        let room_left = |last: &Segment| last.range.end + hint <= COALESCED_BYTES_MAX;
        if !self.open || !self.segments.back().is_some_and(room_left) {
            let buffer = pool.take(hint.max(COALESCED_BYTES_HINT));
            self.segments.push_back(Segment { bytes: Bytes::Owned(buffer), range: 0..0 });
            self.open = true;
        }
        let Some(Segment { bytes: Bytes::Owned(buffer), range }) = self.segments.back_mut() else {
            unreachable!("the open segment is the last and owned");
        };
        let result = write(buffer);
        debug_assert!(buffer.len() >= range.end, "compose took away what was pending");
        self.len += buffer.len() - range.end;
        range.end = buffer.len();
        if buffer.is_empty() {
            self.segments.pop_back().into_iter().for_each(|empty| empty.retire(pool));
            self.open = false;
        }
        result
    }

    /// Appends the pieces of a message: copies, and large shared ones without a copy.
    pub fn parts(&mut self, parts: &[Part<'_>], pool: &mut Pool) {
        for part in parts {
            match part {
                Part::Copy(bytes) => self.copy(bytes, pool),
                Part::Share(bytes, range) if range.len() < OWN_BYTES_MIN => {
                    self.copy(&bytes[range.clone()], pool);
                }
                Part::Share(bytes, range) => self.share(Rc::clone(bytes), range.clone(), pool),
            }
        }
    }

    /// Appends `buffer[range]` without a copy; the buffer returns to the pool once sent.
    pub fn own(&mut self, buffer: Vec<u8>, range: Range<usize>, pool: &mut Pool) {
        self.push(Segment { bytes: Bytes::Owned(buffer), range }, pool);
    }

    /// Appends `bytes[range]` without a copy, keeping it alive until it is sent.
    pub fn share(&mut self, bytes: Rc<Vec<u8>>, range: Range<usize>, pool: &mut Pool) {
        self.push(Segment { bytes: Bytes::Shared(bytes), range }, pool);
    }

    fn push(&mut self, segment: Segment, pool: &mut Pool) {
        if segment.range.is_empty() {
            return segment.retire(pool);
        }
        debug_assert!(segment.as_slice().len() == segment.range.len());
        self.len += segment.range.len();
        self.segments.push_back(segment);
        self.open = false;
    }

    /// Moves everything pending into `batch`, which must be empty.
    pub fn take(&mut self, batch: &mut Batch) {
        debug_assert!(batch.is_empty());
        std::mem::swap(&mut self.segments, &mut batch.segments);
        std::mem::swap(&mut self.len, &mut batch.len);
        self.open = false;
    }

    /// Drops everything pending; the buffers return to the pool.
    pub fn discard(&mut self, pool: &mut Pool) {
        self.segments.drain(..).for_each(|segment| segment.retire(pool));
        self.len = 0;
        self.open = false;
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

    /// The first unsent pieces, in order; returns how many slots were filled. None of them is empty.
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
        debug_assert!(sent <= self.len);
        let mut left = sent.min(self.len);
        self.len -= left;
        while let Some(first) = self.segments.front_mut() {
            let taken = left.min(first.range.len());
            first.range.start += taken;
            left -= taken;
            if !first.range.is_empty() {
                break;
            }
            if let Some(spent) = self.segments.pop_front() {
                spent.retire(pool);
            }
        }
    }

    /// Takes the first piece out, for a driver whose operations own their buffers. A shared one is copied.
    pub fn pop(&mut self, pool: &mut Pool) -> Option<(Vec<u8>, Range<usize>)> {
        let Segment { bytes, range } = self.segments.pop_front()?;
        self.len -= range.len();
        match bytes {
            Bytes::Owned(buffer) => Some((buffer, range)),
            Bytes::Shared(bytes) => {
                let mut copy = pool.take(range.len());
                copy.extend_from_slice(&bytes[range.clone()]);
                Some((copy, 0..range.len()))
            }
        }
    }

    /// Puts a piece back in front.
    pub fn unpop(&mut self, buffer: Vec<u8>, range: Range<usize>) {
        self.len += range.len();
        self.segments.push_front(Segment { bytes: Bytes::Owned(buffer), range });
    }

    /// Drops what was not sent; the buffers return to the pool.
    pub fn discard(&mut self, pool: &mut Pool) {
        self.segments.drain(..).for_each(|segment| segment.retire(pool));
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(outbox: &mut Outbox, step: usize, pool: &mut Pool) -> Vec<u8> {
        let mut batch = Batch::default();
        outbox.take(&mut batch);
        let mut sent = Vec::new();
        while !batch.is_empty() {
            let mut slots = [IoSlice::new(&[]); 3];
            let filled = batch.slices(&mut slots);
            let flat: Vec<u8> = slots[..filled].iter().flat_map(|s| s.iter().copied()).collect();
            let now = flat.len().min(step);
            assert!(now > 0, "a batch that is not empty offers bytes");
            sent.extend_from_slice(&flat[..now]);
            batch.advance(now, pool);
        }
        assert_eq!(batch.slices(&mut [IoSlice::new(&[]); 1]), 0);
        sent
    }

    #[test]
    fn pieces_come_out_in_order_at_any_send_size() {
        for step in 1..20 {
            let (mut outbox, mut pool) = (Outbox::default(), Pool::default());
            outbox.copy(b"ab", &mut pool);
            outbox.copy(b"", &mut pool);
            outbox.copy(b"cd", &mut pool);
            outbox.own(b"xxefghxx".to_vec(), 2..6, &mut pool);
            outbox.own(b"gone".to_vec(), 2..2, &mut pool);
            outbox.share(Rc::new(b"..ij".to_vec()), 2..4, &mut pool);
            outbox.share(Rc::new(b"none".to_vec()), 0..0, &mut pool);
            outbox.copy(b"k", &mut pool);
            assert_eq!(outbox.len(), 11);
            assert_eq!(drained(&mut outbox, step, &mut pool), b"abcdefghijk");
            assert!(outbox.is_empty());
        }
    }

    #[test]
    fn copies_share_one_buffer_until_it_is_full() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::default());
        for _ in 0..COALESCED_BYTES_MAX / 64 {
            outbox.copy(&[7; 64], &mut pool);
        }
        assert_eq!(outbox.segments.len(), 1);
        outbox.copy(&[8; 64], &mut pool);
        assert_eq!(outbox.segments.len(), 2);
    }

    #[test]
    fn what_is_taken_is_not_appended_to() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::default());
        outbox.copy(b"first", &mut pool);
        let mut batch = Batch::default();
        outbox.take(&mut batch);
        outbox.copy(b"second", &mut pool);
        assert_eq!(batch.len(), 5);
        assert_eq!(drained(&mut outbox, 100, &mut pool), b"second");
        batch.discard(&mut pool);
        assert!(batch.is_empty());
    }

    #[test]
    fn small_replies_touch_the_same_buffer_again() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::default());
        let mut address = None;
        for _ in 0..10 {
            outbox.copy(b"reply", &mut pool);
            let first = outbox.segments[0].as_slice().as_ptr();
            assert_eq!(*address.get_or_insert(first), first);
            drained(&mut outbox, 100, &mut pool);
        }
    }

    #[test]
    fn a_composition_taken_back_leaves_nothing() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::default());
        let failed: Result<(), ()> = outbox.compose(9, &mut pool, |buffer| {
            let mark = buffer.len();
            buffer.extend_from_slice(b"half a reply");
            buffer.truncate(mark);
            Err(())
        });
        assert_eq!(failed, Err(()));
        assert!(outbox.is_empty());
        assert_eq!(outbox.segments.len(), 0);
        outbox.copy(b"x", &mut pool);
        outbox.discard(&mut pool);
        assert!(outbox.is_empty());
    }
}
