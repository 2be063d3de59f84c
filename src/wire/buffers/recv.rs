//! The bytes of a message that have arrived, in a buffer of their own.
//!
//! It does not know how the message's length was told, only how much is to come. The buffer comes from the pool and
//! grows in step with what arrives, so an announced length costs nothing until its bytes arrive.
//!
//! A long message does not begin where its buffer does but in the middle of a page, since the kernel copies between
//! sockets and buffers by `rep movsb`, and Zen 3 and 4 do that at a sixteenth of their speed when the destination lies
//! 1 to 15 bytes behind the source, the page aside (32 KiB within L2, Zen 4, 2026-11-24):
//!
//! | destination less source, modulo 4096 | 0 | 1 to 15 | 16 to 31 | 32 to 4095 |
//! |---|---|---|---|---|
//! | GB/s | 58 | 3.5 | 37 to 56 | 52 to 59 |
//!
//! That is no rare case: a sender of which everything has been taken begins its next send at the start of a page, so a
//! body lies as far behind one as its head is long, and malloc's large buffers begin 16 bytes behind one. With the 5
//! bytes of a raw frame every message fell into the gap: 1 MiB, one at a time, took 465 µs of the server and takes 181.
//! From the middle of a page heads of up to 2 KiB, of requests and of replies, are out of its reach.

use std::ops::Range;

use super::pool::{GROWTH_BYTES_MIN, Pool};
use super::{LOAN_BYTES_MAX, OWN_BYTES_MIN};

/// What the processor compares of two addresses.
const PAGE_BYTES: usize = 4096;

/// Where in a page a long message begins.
const BEGIN: usize = PAGE_BYTES / 2;

/// A message buffer that a machine lends for a direct receive.
#[derive(Debug)]
pub struct Loan {
    /// The message so far; the caller appends within its spare capacity, which is at least `want`.
    pub buffer: Vec<u8>,
    /// Most bytes that may be appended before the buffer is given back. Never 0.
    pub want: usize,
}

/// A message of which some has arrived.
#[derive(Debug, Default)]
pub(crate) struct RecvBuffer {
    /// The message from `start` on. A buffer that has to grow may move and lose its place, but not the next time: one
    /// that has held a long message has room for it wherever it begins.
    buffer: Vec<u8>,
    start: usize,
    /// Room that the buffer needs beside the message.
    margin: usize,
    /// The buffer is with the caller, and was this long when it left.
    lent: Option<usize>,
}

impl RecvBuffer {
    /// Nothing yet of a message that says it is `len` bytes long.
    pub(crate) fn new(len: usize, pool: &mut Pool) -> RecvBuffer {
        if len < OWN_BYTES_MIN {
            return RecvBuffer::from(pool.take(len));
        }
        let mut buffer = pool.take(len.saturating_add(PAGE_BYTES));
        if buffer.capacity() < PAGE_BYTES {
            buffer.reserve_exact(OWN_BYTES_MIN);
        }
        let start = BEGIN.wrapping_sub(buffer.as_ptr().addr()) % PAGE_BYTES;
        buffer.resize(start, 0);
        RecvBuffer { buffer, start, margin: PAGE_BYTES, lent: None }
    }

    /// Bytes that have arrived; those in a buffer that is lent do not count.
    pub(crate) fn len(&self) -> usize {
        self.lent.unwrap_or(self.buffer.len()) - self.start
    }

    /// The bytes that have arrived.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Where in the buffer a range of the message lies.
    pub(crate) fn range(&self, of_message: &Range<usize>) -> Range<usize> {
        self.start + of_message.start..self.start + of_message.end
    }

    /// The buffer itself.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Takes `chunk`, the first of `remaining` bytes to come.
    pub(crate) fn append(&mut self, chunk: &[u8], remaining: usize) {
        self.make_room(remaining, chunk.len());
        self.buffer.extend_from_slice(chunk);
    }

    /// Offers the buffer for up to `most` of the `remaining` bytes to come; `None` for none, and while it is lent.
    pub(crate) fn lend(&mut self, remaining: usize, most: usize) -> Option<Loan> {
        if self.lent.is_some() || most == 0 {
            return None;
        }
        self.make_room(remaining, GROWTH_BYTES_MIN);
        let want = self.spare().min(remaining).min(most).min(LOAN_BYTES_MAX);
        self.lent = Some(self.buffer.len());
        Some(Loan { buffer: std::mem::take(&mut self.buffer), want })
    }

    /// Takes the lent buffer back; returns how many bytes it gained.
    pub(crate) fn repay(&mut self, buffer: Vec<u8>) -> usize {
        let before = self.lent.take().unwrap_or_default();
        debug_assert!(buffer.len() >= before);
        self.buffer = buffer;
        self.buffer.len() - before
    }

    /// Bytes that the buffer has room for.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    fn spare(&self) -> usize {
        self.buffer.capacity() - self.buffer.len()
    }

    /// Makes room for at least `least` of the `remaining` bytes to come.
    ///
    /// The room is never more than what has already arrived, or `least`: memory follows bytes received, and a message
    /// is moved at most once for each doubling. Where all of the rest fits, the margin does as well: without it the
    /// next message of that length would not find the buffer in the pool.
    fn make_room(&mut self, remaining: usize, least: usize) {
        let whole = remaining.saturating_add(self.margin.saturating_sub(self.start));
        let (spare, step) = (self.spare(), self.buffer.len().max(least));
        if spare < least.min(remaining) || (remaining..whole).contains(&spare) {
            let all = step.max(spare) >= remaining;
            self.buffer.reserve_exact(if all { whole } else { step });
        }
    }
}

impl From<Vec<u8>> for RecvBuffer {
    fn from(buffer: Vec<u8>) -> RecvBuffer {
        RecvBuffer { buffer, ..RecvBuffer::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(len: usize, step: usize, pool: &mut Pool) -> RecvBuffer {
        let whole: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let mut message = RecvBuffer::new(len, pool);
        while message.len() < len {
            let at = message.len();
            let chunk = &whole[at..len.min(at + step)];
            message.append(chunk, len - at);
        }
        assert_eq!(message.bytes(), whole);
        message
    }

    #[test]
    fn a_long_message_begins_in_the_middle_of_a_page() {
        let mut pool = Pool::default();
        // The first grows with its bytes and may move.
        for len in [OWN_BYTES_MIN, 100_000, 258_048, 262_144, 1_000_000] {
            for _ in 0..2 {
                let buffer = gather(len, 30_000, &mut pool).into_buffer();
                pool.give(buffer);
            }
            let message = gather(len, 30_000, &mut pool);
            assert_eq!(message.bytes().as_ptr().addr() % PAGE_BYTES, BEGIN, "{len} bytes");
            pool.give(message.into_buffer());
        }
    }

    /// As [`gather`], by loans.
    fn borrow(len: usize, pool: &mut Pool) -> RecvBuffer {
        let mut message = RecvBuffer::new(len, pool);
        while message.len() < len {
            let remaining = len - message.len();
            let Loan { mut buffer, want } = message.lend(remaining, remaining).expect("a buffer");
            buffer.resize(buffer.len() + want, 1);
            message.repay(buffer);
        }
        message
    }

    #[test]
    fn a_buffer_is_found_again_by_a_message_of_any_length() {
        let lens = (1..200).map(|n| n * 4001).filter(|len| *len > 128 * 1024);
        for len in lens.chain([(1 << 20) + 14]) {
            // What it is given at first decides at which lengths it doubles.
            for room in [0, 4096, 100_000] {
                for by_loans in [false, true] {
                    let arrive = |pool: &mut Pool| match by_loans {
                        false => gather(len, 65_536, pool),
                        true => borrow(len, pool),
                    };
                    let mut pool = Pool::default();
                    pool.give(Vec::with_capacity(room));
                    let first = arrive(&mut pool).into_buffer();
                    let mut pool = Pool::default();
                    pool.give(first);
                    let before = pool.idle_bytes();
                    let message = arrive(&mut pool);
                    let found = (pool.idle_bytes(), message.buffer.capacity());
                    assert_eq!(found, (0, before), "{len} bytes, {room} at first, {by_loans}");
                }
            }
        }
    }

    #[test]
    fn room_follows_what_has_arrived() {
        let total = 10 << 20;
        let mut message = RecvBuffer::new(total, &mut Pool::default());
        let (mut room, mut growths) = (message.capacity(), 0);
        while message.len() < total {
            let remaining = total - message.len();
            let Loan { mut buffer, want } = message.lend(remaining, remaining).expect("a buffer");
            let most = (2 * buffer.len()).max(buffer.len() + GROWTH_BYTES_MIN) + PAGE_BYTES;
            assert!((1..=remaining).contains(&want) && buffer.capacity() <= most);
            growths += usize::from(buffer.capacity() > room);
            room = buffer.capacity();
            buffer.resize(buffer.len() + want, 0);
            message.repay(buffer);
        }
        assert_eq!(message.capacity(), total + PAGE_BYTES);
        assert!((1..12).contains(&growths), "{growths} growths");
        assert!(message.lend(0, 0).is_none());
    }

    #[test]
    fn a_range_of_the_message_is_found_in_its_buffer() {
        for len in [100, OWN_BYTES_MIN] {
            let message = gather(len, 50, &mut Pool::default());
            let (want, range) = (message.bytes()[7..60].to_vec(), message.range(&(7..60)));
            assert_eq!(message.into_buffer()[range], want);
        }
    }

    #[test]
    fn a_lent_buffer_is_not_lent_again_and_does_not_count() {
        let mut message = RecvBuffer::new(100_000, &mut Pool::default());
        message.append(b"begun", 100_000);
        let Loan { mut buffer, want } = message.lend(99_995, 99_995).expect("a buffer");
        assert!(message.lend(99_995, 99_995).is_none());
        assert_eq!(message.len(), 5);
        assert!(buffer.capacity() - buffer.len() >= want);
        buffer.extend_from_slice(&vec![7; want]);
        assert_eq!(message.repay(buffer), want);
        assert_eq!(message.len(), 5 + want);
    }
}
