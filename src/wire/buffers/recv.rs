//! A message that is arriving, in a buffer of its own.
//!
//! [`RecvBuffer`] knows how much is to come, and grows with the bytes that arrive, so an announced
//! length costs no memory. [`SizedBody`] adds the choice between a copy and a loan, and takes a
//! small buffer for its first bytes.
//!
//! A long message begins in the middle of a page. The kernel copies by `rep movsb`, which Zen 3 and
//! 4 run at a sixteenth of the speed when the destination lies 1 to 15 bytes behind the source,
//! modulo the page size (32 KiB within L2, Zen 4, 2026-11-24):
//!
//! | destination less source, modulo 4096 | 0 | 1 to 15 | 16 to 31 | 32 to 4095 |
//! |---|---|---|---|---|
//! | GB/s | 58 | 3.5 | 37 to 56 | 52 to 59 |
//!
//! The case is common: data mostly starts at a page, so a body lies as far behind one as its head
//! is long, and large buffers of malloc begin 16 bytes behind one. The middle is out of reach of
//! heads up to 2 KiB. docs/TRIED.md has the effect on a server.

use super::pool::{GROWTH_BYTES_MIN, Pool, PooledBuf};
use super::slice::Slice;
use super::{DIRECT_BYTES_MIN, LOAN_BYTES_MAX, OWN_BYTES_MIN};

/// Bytes of a message that justify its own buffer, which touches a page at least.
pub(crate) const FIRST_BYTES: usize = 4096;

const PAGE_BYTES: usize = 4096;
const BEGIN: usize = PAGE_BYTES / 2;

#[derive(Debug)]
pub struct Loan {
    /// Message so far; the caller appends within the spare capacity.
    pub buffer: PooledBuf,
    /// Most bytes to append; never 0 and at most the spare capacity.
    pub want: usize,
}

#[derive(Debug, Default)]
pub(crate) struct RecvBuffer {
    /// Message from `start` on. A buffer that grows may move and lose its place in the page; after
    /// a long message it has room for one at any place.
    buffer: PooledBuf,
    start: usize,
    margin: usize,
    lent: Option<usize>,
}

#[derive(Debug, Default)]
pub(crate) struct SizedBody {
    buffer: RecvBuffer,
    remaining: usize,
    /// True after the first loan: a change of the way to receive costs more than it saves.
    direct: bool,
    /// False while `buffer` is empty or small.
    has_buffer: bool,
}

impl RecvBuffer {
    pub(crate) fn new(len: usize, pool: &Pool) -> RecvBuffer {
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

    pub(crate) fn len(&self) -> usize {
        self.lent.unwrap_or(self.buffer.len()) - self.start
    }

    fn is_lent(&self) -> bool {
        self.lent.is_some()
    }

    pub(crate) fn into_slice(self) -> Slice {
        let range = self.start..self.buffer.len();
        Slice::new(self.buffer, range)
    }

    /// Appends `chunk`, the first of `remaining` bytes.
    pub(crate) fn append(&mut self, chunk: &[u8], remaining: usize) {
        self.make_room(remaining, chunk.len());
        self.buffer.extend_from_slice(chunk);
    }

    /// Offers the buffer for up to `most` bytes; `None` for no bytes or a lent buffer.
    pub(crate) fn lend(&mut self, remaining: usize, most: usize) -> Option<Loan> {
        self.lend_with(remaining, most, GROWTH_BYTES_MIN)
    }

    fn lend_with(&mut self, remaining: usize, most: usize, least: usize) -> Option<Loan> {
        if self.lent.is_some() || most == 0 {
            return None;
        }
        self.make_room(remaining, least);
        let want = self.spare().min(remaining).min(most).min(LOAN_BYTES_MAX);
        self.lent = Some(self.buffer.len());
        Some(Loan { buffer: std::mem::take(&mut self.buffer), want })
    }

    /// Takes the buffer back; returns the number of gained bytes.
    pub(crate) fn repay(&mut self, buffer: PooledBuf) -> usize {
        let before = self.lent.take().unwrap_or_default();
        debug_assert!(buffer.len() >= before);
        self.buffer = buffer;
        self.buffer.len() - before
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn spare(&self) -> usize {
        self.buffer.capacity() - self.buffer.len()
    }

    /// Makes room for at least `least` of the `remaining` bytes.
    ///
    /// The new room is at most the bytes that have arrived, or `least`: memory follows the bytes
    /// received. While memory is tight it is `least`. When the whole rest fits, the margin does as
    /// well: otherwise the next message of that length would not find the buffer in the pool.
    fn make_room(&mut self, remaining: usize, least: usize) {
        let whole = remaining.saturating_add(self.margin.saturating_sub(self.start));
        let grown = if self.buffer.is_tight() { 0 } else { self.buffer.len() };
        let (spare, step) = (self.spare(), grown.max(least));
        if spare < least.min(remaining) || (remaining..whole).contains(&spare) {
            let all = step.max(spare) >= remaining;
            self.buffer.reserve_exact(if all { whole } else { step });
            self.buffer.settle();
        }
    }
}

impl From<PooledBuf> for RecvBuffer {
    fn from(buffer: PooledBuf) -> RecvBuffer {
        RecvBuffer { buffer, ..RecvBuffer::default() }
    }
}

impl SizedBody {
    pub(crate) fn new(len: usize) -> SizedBody {
        SizedBody { remaining: len, ..SizedBody::default() }
    }

    /// Announces `len` more bytes, after all earlier ones have arrived.
    pub(crate) fn expect(&mut self, len: usize) {
        debug_assert!(self.remaining == 0);
        self.remaining = len;
        self.direct = false;
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) fn remaining(&self) -> usize {
        self.remaining
    }

    /// Takes the body's part from the front of `input`; returns its length.
    pub(crate) fn take(&mut self, input: &[u8], pool: &Pool) -> usize {
        let taken = input.len().min(self.remaining);
        if !self.has_buffer && taken > 0 {
            self.choose_buffer(taken, pool);
        }
        self.buffer.append(&input[..taken], self.remaining);
        self.remaining -= taken;
        taken
    }

    /// Makes the buffer for `more` bytes that follow: a small one, or that of the body.
    fn choose_buffer(&mut self, more: usize, pool: &Pool) {
        let len = self.len() + more;
        if len >= FIRST_BYTES.min(self.len() + self.remaining) {
            self.make_buffer(pool);
        } else if self.len() == 0 {
            self.buffer = RecvBuffer::from(pool.take(FIRST_BYTES));
        }
    }

    fn make_buffer(&mut self, pool: &Pool) {
        let body = RecvBuffer::new(self.len().saturating_add(self.remaining), pool);
        let small = std::mem::replace(&mut self.buffer, body);
        if small.len() > 0 {
            self.buffer.append(small.bytes(), self.remaining.saturating_add(small.len()));
        }
        self.has_buffer = true;
    }

    /// Offers a buffer for a long rest: a small one for the first bytes, then that of the body.
    pub(crate) fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        let long_enough = self.remaining >= DIRECT_BYTES_MIN || self.direct;
        if !long_enough || self.buffer.is_lent() {
            return None;
        }
        let mut most = self.remaining;
        if !self.has_buffer && self.len() == 0 {
            self.buffer = RecvBuffer::from(pool.take(FIRST_BYTES));
            most = most.min(FIRST_BYTES);
        } else if !self.has_buffer {
            self.make_buffer(pool);
        }
        let loan = self.buffer.lend_with(self.remaining, most, GROWTH_BYTES_MIN.min(most))?;
        self.direct = true;
        Some(loan)
    }

    pub(crate) fn repay(&mut self, buffer: PooledBuf) -> usize {
        let gained = self.buffer.repay(buffer);
        debug_assert!(gained <= self.remaining);
        self.remaining -= gained;
        gained
    }

    pub(crate) fn into_slice(self) -> Slice {
        self.buffer.into_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(len: usize, step: usize, pool: &Pool) -> RecvBuffer {
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
        let pool = Pool::default();
        for len in [OWN_BYTES_MIN, 100_000, 258_048, 262_144, 1_000_000] {
            for _ in 0..2 {
                drop(gather(len, 30_000, &pool));
            }
            let message = gather(len, 30_000, &pool);
            assert_eq!(message.bytes().as_ptr().addr() % PAGE_BYTES, BEGIN, "{len} bytes");
        }
    }

    fn borrow(len: usize, pool: &Pool) -> RecvBuffer {
        let mut message = RecvBuffer::new(len, pool);
        while message.len() < len {
            let remaining = len - message.len();
            let Loan { mut buffer, want } = message.lend(remaining, remaining).expect("a buffer");
            let len = buffer.len() + want;
            buffer.resize(len, 1);
            message.repay(buffer);
        }
        message
    }

    #[test]
    fn a_buffer_is_found_again_by_a_message_of_any_length() {
        let lens = (1..200).map(|n| n * 4001).filter(|len| *len > 128 * 1024);
        for len in lens.chain([(1 << 20) + 14]) {
            // The first room decides at which lengths the buffer doubles.
            for room in [0, 4096, 100_000] {
                for by_loans in [false, true] {
                    let arrive = |pool: &Pool| {
                        if by_loans { borrow(len, pool) } else { gather(len, 65_536, pool) }
                    };
                    let pool = Pool::default();
                    drop(pool.adopt(Vec::with_capacity(room)));
                    let first = arrive(&pool).buffer.into_vec();
                    let pool = Pool::default();
                    drop(pool.adopt(first));
                    let before = pool.idle_bytes();
                    let message = arrive(&pool);
                    let found = (pool.idle_bytes(), message.buffer.capacity());
                    assert_eq!(found, (0, before), "{len} bytes, {room} at first, {by_loans}");
                }
            }
        }
    }

    #[test]
    fn room_follows_what_has_arrived() {
        let total = 10 << 20;
        let mut message = RecvBuffer::new(total, &Pool::default());
        let (mut room, mut growths) = (message.capacity(), 0);
        while message.len() < total {
            let remaining = total - message.len();
            let Loan { mut buffer, want } = message.lend(remaining, remaining).expect("a buffer");
            let most = (2 * buffer.len()).max(buffer.len() + GROWTH_BYTES_MIN) + PAGE_BYTES;
            assert!((1..=remaining).contains(&want) && buffer.capacity() <= most);
            growths += usize::from(buffer.capacity() > room);
            room = buffer.capacity();
            let len = buffer.len() + want;
            buffer.resize(len, 0);
            message.repay(buffer);
        }
        assert_eq!(message.capacity(), total + PAGE_BYTES);
        assert!((1..12).contains(&growths), "{growths} growths");
        assert!(message.lend(0, 0).is_none());
    }

    #[test]
    fn a_range_of_the_message_is_found_in_its_buffer() {
        for len in [100, OWN_BYTES_MIN] {
            let message = gather(len, 50, &Pool::default());
            let want = message.bytes()[7..60].to_vec();
            assert_eq!(message.into_slice().narrow(7..60).as_ref(), want);
        }
    }

    #[test]
    fn a_lent_buffer_is_not_lent_again_and_does_not_count() {
        let mut message = RecvBuffer::new(100_000, &Pool::default());
        message.append(b"begun", 100_000);
        let Loan { mut buffer, want } = message.lend(99_995, 99_995).expect("a buffer");
        assert!(message.lend(99_995, 99_995).is_none());
        assert_eq!(message.len(), 5);
        assert!(buffer.capacity() - buffer.len() >= want);
        buffer.extend_from_slice(&vec![7; want]);
        assert_eq!(message.repay(buffer), want);
        assert_eq!(message.len(), 5 + want);
    }

    #[test]
    fn a_body_may_come_both_ways() {
        let pool = Pool::default();
        let whole: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        let mut body = SizedBody::new(whole.len());
        assert_eq!(body.take(&whole[..1000], &pool), 1000);
        while body.remaining() > 0 {
            let Loan { mut buffer, want } = body.lend(&pool).expect("a long rest is lent");
            assert!(body.lend(&pool).is_none(), "not twice");
            assert!(buffer.capacity() - buffer.len() >= want);
            let got = want.min(30_001);
            let at = whole.len() - body.remaining();
            buffer.extend_from_slice(&whole[at..][..got]);
            assert_eq!(body.repay(buffer), got);
        }
        assert!(body.lend(&pool).is_none());
        assert_eq!(body.take(b"next", &pool), 0);
        assert_eq!(body.into_slice().as_ref(), whole);
    }

    #[test]
    fn a_short_body_is_not_lent_and_an_announced_one_costs_little() {
        let pool = Pool::default();
        assert!(SizedBody::new(DIRECT_BYTES_MIN - 1).lend(&pool).is_none());
        let mut huge = SizedBody::new(usize::MAX);
        assert_eq!(pool.held_bytes(), 0);
        let Loan { mut buffer, want } = huge.lend(&pool).expect("a long rest is lent");
        assert!(want <= FIRST_BYTES && pool.held_bytes() <= FIRST_BYTES, "for nothing received");
        buffer.extend_from_slice(&[1; 100]);
        huge.repay(buffer);
        assert_eq!(huge.take(&[1; 100], &pool), 100);
        assert!(pool.held_bytes() <= FIRST_BYTES);
        assert_eq!(huge.take(&[1; 200_000], &pool), 200_000);
        assert!(pool.held_bytes() <= 410_000);
        drop(huge);
        assert_eq!(pool.held_bytes(), 0);
    }
}
