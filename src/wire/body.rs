//! A message body on its way in: copied out of the caller's buffer when it is short, received straight into its own
//! buffer when it is long.
//!
//! It knows a length still to come, not how the length was told. Its buffer comes from the pool and grows by
//! [`grow`]'s rule, so an announced length costs nothing until its bytes arrive.

use super::{DIRECT_BYTES_MIN, LOAN_BYTES_MAX, Loan, Pool, grow};

/// The part of a body that has arrived, and how much is to come.
#[derive(Debug, Default)]
pub(super) struct Body {
    buffer: Vec<u8>,
    remaining: usize,
    /// A loan was made: the rest comes that way too, because changing the way of receiving costs more than it saves.
    direct: bool,
    /// The buffer is with the caller, and was this long when it left.
    lent: Option<usize>,
}

impl Body {
    /// A body of which `len` bytes are to come.
    pub(super) fn new(len: usize, pool: &mut Pool) -> Body {
        Body { buffer: pool.take(len), remaining: len, direct: false, lent: None }
    }

    /// Announces `len` more bytes, once what was announced before has arrived.
    pub(super) fn expect(&mut self, len: usize) {
        debug_assert!(self.remaining == 0);
        self.remaining = len;
        self.direct = false;
    }

    /// Bytes that have arrived.
    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes still to come.
    pub(super) fn remaining(&self) -> usize {
        self.remaining
    }

    /// Takes what belongs to the body from the front of `input`; returns how much.
    pub(super) fn take(&mut self, input: &[u8]) -> usize {
        let taken = input.len().min(self.remaining);
        if self.buffer.capacity() - self.buffer.len() < taken {
            let doubled = self.buffer.len().min(self.remaining);
            self.buffer.reserve_exact(taken.max(doubled));
        }
        self.buffer.extend_from_slice(&input[..taken]);
        self.remaining -= taken;
        taken
    }

    /// Offers the buffer for a direct receive when what is to come is long enough.
    pub(super) fn lend(&mut self) -> Option<Loan> {
        let long_enough = self.remaining >= DIRECT_BYTES_MIN || self.direct;
        if self.lent.is_some() || self.remaining == 0 || !long_enough {
            return None;
        }
        let want = grow(&mut self.buffer, self.remaining).min(LOAN_BYTES_MAX);
        self.direct = true;
        self.lent = Some(self.buffer.len());
        Some(Loan { buffer: std::mem::take(&mut self.buffer), want })
    }

    /// Takes the lent buffer back; returns how many bytes it gained.
    pub(super) fn repay(&mut self, buffer: Vec<u8>) -> usize {
        let before = self.lent.take().unwrap_or_default();
        let gained = buffer.len() - before;
        debug_assert!(gained <= self.remaining);
        self.buffer = buffer;
        self.remaining -= gained;
        gained
    }

    /// The bytes that have arrived, in their buffer.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_come_both_ways() {
        let mut pool = Pool::default();
        let whole: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        let mut body = Body::new(whole.len(), &mut pool);
        assert_eq!(body.take(&whole[..1000]), 1000);
        while body.remaining() > 0 {
            let Loan { mut buffer, want } = body.lend().expect("a long rest is lent");
            assert!(body.lend().is_none(), "not twice");
            assert!(buffer.capacity() - buffer.len() >= want);
            let got = want.min(30_001);
            buffer.extend_from_slice(&whole[buffer.len()..][..got]);
            assert_eq!(body.repay(buffer), got);
        }
        assert!(body.lend().is_none());
        assert_eq!(body.take(b"next"), 0);
        assert_eq!(body.into_buffer(), whole);
    }

    #[test]
    fn a_short_body_is_not_lent_and_an_announced_one_costs_little() {
        let mut pool = Pool::default();
        assert!(Body::new(DIRECT_BYTES_MIN - 1, &mut pool).lend().is_none());
        let mut huge = Body::new(usize::MAX, &mut pool);
        assert!(huge.buffer.capacity() <= 64 * 1024);
        assert_eq!(huge.take(&[1; 200_000]), 200_000);
        assert!(huge.buffer.capacity() <= 400_000);
    }
}
