//! Output of the machine of one connection: bytes to send, and jobs to run elsewhere.
//!
//! A machine appends; a driver takes a [`Batch`], which owns its bytes until they are sent (the
//! kernel may still read them).
//!
//! ```text
//! copy, compose      push                copy, compose     push
//! [ coalesced ....]  [ message buffer ]  [ coalesced ..]   [ shared buffer ]
//!                                                     ▲ open: the next copy is appended here
//! ```
//! No slice is empty, so a vectored write always makes progress. A sent slice returns its buffer.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::rc::Rc;

use super::OWN_BYTES_MIN;
use super::pool::{Pool, PooledBuf};
use super::slice::{Part, Slice};
use crate::wire::job::Job;

/// Most bytes of a coalescing buffer: one segment on loopback.
const COALESCED_BYTES_MAX: usize = 64 * 1024;

const COALESCED_BYTES_HINT: usize = 4 * 1024;

#[derive(Debug, Default)]
pub struct Outbox {
    slices: VecDeque<Slice>,
    len: usize,
    /// True while the last slice was made by `compose` and owns the end of its buffer alone.
    open: bool,
    jobs: Vec<Job>,
    batches_sent: u64,
}

/// Output taken from an [`Outbox`] and not yet sent.
#[derive(Debug, Default)]
pub struct Batch {
    slices: VecDeque<Slice>,
    len: usize,
}

impl Outbox {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn copy(&mut self, bytes: &[u8], pool: &Pool) {
        self.compose(bytes.len(), pool, |buffer| buffer.extend_from_slice(bytes));
    }

    /// Lets `write` append to the open buffer, with room for about `hint` bytes. `write` may remove
    /// only bytes that it appended.
    pub fn compose<R>(
        &mut self,
        hint: usize,
        pool: &Pool,
        write: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> R {
        let room_left = |last: &Slice| last.buffer_len() + hint <= COALESCED_BYTES_MAX;
        if !self.open || !self.slices.back().is_some_and(room_left) {
            let buffer = pool.take(hint.max(COALESCED_BYTES_HINT));
            self.slices.push_back(Slice::from(buffer));
            self.open = true;
        }
        let Some((last, buffer)) = self.slices.back_mut().and_then(Slice::tail) else {
            unreachable!("the open slice is the last and owned alone");
        };
        let result = write(buffer);
        buffer.settle();
        debug_assert!(buffer.len() >= *last, "compose took away what was pending");
        self.len += buffer.len() - *last;
        *last = buffer.len();
        if buffer.is_empty() {
            self.slices.pop_back();
            self.open = false;
        }
        result
    }

    pub fn parts(&mut self, parts: &[Part<'_>], pool: &Pool) {
        for part in parts {
            match part {
                Part::Copy(bytes) => self.copy(bytes, pool),
                Part::Share(bytes, range) if range.len() < OWN_BYTES_MIN => {
                    self.copy(&bytes[range.clone()], pool);
                }
                Part::Share(bytes, range) => {
                    self.push(Slice::shared(Rc::clone(bytes), range.clone()));
                }
            }
        }
    }

    pub fn push(&mut self, slice: Slice) {
        if !slice.is_empty() {
            self.len += slice.len();
            self.slices.push_back(slice);
            self.open = false;
        }
    }

    /// Asks the caller to run a job. The caller calls [`Machine::jobs_ended`] after its end.
    ///
    /// [`Machine::jobs_ended`]: crate::wire::Machine::jobs_ended
    pub fn start(&mut self, job: Job) {
        self.jobs.push(job);
    }

    /// Takes the next job to run.
    #[inline]
    pub fn take_job(&mut self) -> Option<Job> {
        if self.jobs.is_empty() { None } else { Some(self.jobs.remove(0)) }
    }

    #[cfg(test)]
    pub(crate) fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Notes that all bytes of the last batch have been sent, or that there was none.
    #[inline]
    pub fn batch_sent(&mut self) {
        self.batches_sent += 1;
    }

    #[inline]
    pub(crate) fn batches_sent(&self) -> u64 {
        self.batches_sent
    }

    /// Moves all pending bytes into the empty `batch`.
    pub fn take(&mut self, batch: &mut Batch) {
        debug_assert!(batch.is_empty());
        std::mem::swap(&mut self.slices, &mut batch.slices);
        std::mem::swap(&mut self.len, &mut batch.len);
        self.open = false;
    }

    /// Moves all pending bytes into one buffer, for a use without a socket.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        let (mut batch, mut bytes) = (Batch::default(), Vec::with_capacity(self.len()));
        self.take(&mut batch);
        while !batch.is_empty() {
            let mut slots = [IoSlice::new(&[]); 8];
            let filled = batch.slices(&mut slots);
            let before = bytes.len();
            slots[..filled].iter().for_each(|slot| bytes.extend_from_slice(slot));
            batch.advance(bytes.len() - before);
        }
        bytes
    }
}

impl Batch {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `into` with the first unsent slices, none empty; returns their number.
    pub fn slices<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slot, slice) in into.iter_mut().zip(&self.slices) {
            *slot = IoSlice::new(slice.as_ref());
            filled += 1;
        }
        filled
    }

    pub fn advance(&mut self, sent: usize) {
        debug_assert!(sent <= self.len);
        let mut left = sent.min(self.len);
        self.len -= left;
        while let Some(first) = self.slices.front_mut() {
            let taken = left.min(first.len());
            first.skip(taken);
            left -= taken;
            if !first.is_empty() {
                break;
            }
            self.slices.pop_front();
        }
    }

    /// Takes the first slice out, for a driver whose operations own their buffers.
    pub fn pop_front(&mut self, pool: &Pool) -> Option<(PooledBuf, Range<usize>)> {
        let slice = self.slices.pop_front()?;
        self.len -= slice.len();
        Some(slice.into_buffer(pool))
    }

    pub fn push_front(&mut self, slice: Slice) {
        self.len += slice.len();
        self.slices.push_front(slice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(bytes: &[u8], range: Range<usize>) -> Slice {
        Slice::new(bytes.to_vec().into(), range)
    }

    fn drained(outbox: &mut Outbox, step: usize) -> Vec<u8> {
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
            batch.advance(now);
        }
        assert_eq!(batch.slices(&mut [IoSlice::new(&[]); 1]), 0);
        sent
    }

    #[test]
    fn pieces_come_out_in_order_at_any_send_size() {
        for step in 1..20 {
            let (mut outbox, pool) = (Outbox::default(), Pool::default());
            outbox.copy(b"ab", &pool);
            outbox.copy(b"", &pool);
            outbox.copy(b"cd", &pool);
            outbox.push(slice(b"xxefghxx", 2..6));
            outbox.push(slice(b"gone", 2..2));
            outbox.push(Slice::shared(Rc::new(PooledBuf::from(b"..ij".to_vec())), 2..4));
            outbox.copy(b"k", &pool);
            assert_eq!(outbox.len(), 11);
            assert_eq!(drained(&mut outbox, step), b"abcdefghijk");
            assert!(outbox.is_empty());
        }
    }

    #[test]
    fn copies_share_one_buffer_until_it_is_full() {
        let (mut outbox, pool) = (Outbox::default(), Pool::default());
        for _ in 0..COALESCED_BYTES_MAX / 64 {
            outbox.copy(&[7; 64], &pool);
        }
        assert_eq!(outbox.slices.len(), 1);
        outbox.copy(&[8; 64], &pool);
        assert_eq!(outbox.slices.len(), 2);
    }

    #[test]
    fn what_is_taken_is_not_appended_to() {
        let (mut outbox, pool) = (Outbox::default(), Pool::default());
        outbox.copy(b"first", &pool);
        let mut batch = Batch::default();
        outbox.take(&mut batch);
        outbox.copy(b"second", &pool);
        assert_eq!(batch.len(), 5);
        assert_eq!(drained(&mut outbox, 100), b"second");
        batch.advance(5);
        assert!(batch.is_empty());
    }

    #[test]
    fn small_replies_touch_the_same_buffer_again() {
        let (mut outbox, pool) = (Outbox::default(), Pool::default());
        let mut address = None;
        for _ in 0..10 {
            outbox.copy(b"reply", &pool);
            let first = outbox.slices[0].as_ref().as_ptr();
            assert_eq!(*address.get_or_insert(first), first);
            drained(&mut outbox, 100);
        }
    }

    #[test]
    fn a_composition_taken_back_leaves_nothing() {
        let (mut outbox, pool) = (Outbox::default(), Pool::default());
        let failed: Result<(), ()> = outbox.compose(9, &pool, |buffer| {
            let mark = buffer.len();
            buffer.extend_from_slice(b"half a reply");
            buffer.truncate(mark);
            Err(())
        });
        assert_eq!(failed, Err(()));
        assert!(outbox.is_empty());
        assert_eq!(outbox.slices.len(), 0);
        outbox.copy(b"x", &pool);
        assert_eq!(drained(&mut outbox, 1), b"x");
    }
}
