//! A message body on its way in: copied out of the caller's buffer when it is short, received straight into its own
//! buffer when it is long.
//!
//! It knows a length still to come, not how the length was told.

use super::DIRECT_BYTES_MIN;
use super::pool::Pool;
use super::recv::{Loan, RecvBuffer};

/// The part of a body that has arrived, and how much is to come.
#[derive(Debug, Default)]
pub(in crate::wire) struct Body {
    gathered: RecvBuffer,
    remaining: usize,
    /// A loan was made: the rest comes that way too, because changing the way of receiving costs more than it saves.
    direct: bool,
}

impl Body {
    /// A body of which `len` bytes are to come.
    pub(in crate::wire) fn new(len: usize, pool: &mut Pool) -> Body {
        Body { gathered: RecvBuffer::new(len, pool), remaining: len, direct: false }
    }

    /// Announces `len` more bytes, once what was announced before has arrived.
    pub(in crate::wire) fn expect(&mut self, len: usize) {
        debug_assert!(self.remaining == 0);
        self.remaining = len;
        self.direct = false;
    }

    /// Bytes that have arrived.
    pub(in crate::wire) fn len(&self) -> usize {
        self.gathered.len()
    }

    /// Bytes still to come.
    pub(in crate::wire) fn remaining(&self) -> usize {
        self.remaining
    }

    /// Takes what belongs to the body from the front of `input`; returns how much.
    pub(in crate::wire) fn take(&mut self, input: &[u8]) -> usize {
        let taken = input.len().min(self.remaining);
        self.gathered.append(&input[..taken], self.remaining);
        self.remaining -= taken;
        taken
    }

    /// Offers the buffer for a direct receive when what is to come is long enough.
    pub(in crate::wire) fn lend(&mut self) -> Option<Loan> {
        let long_enough = self.remaining >= DIRECT_BYTES_MIN || self.direct;
        if !long_enough {
            return None;
        }
        let loan = self.gathered.lend(self.remaining, self.remaining)?;
        self.direct = true;
        Some(loan)
    }

    /// Takes the lent buffer back; returns how many bytes it gained.
    pub(in crate::wire) fn repay(&mut self, buffer: Vec<u8>) -> usize {
        let gained = self.gathered.repay(buffer);
        debug_assert!(gained <= self.remaining);
        self.remaining -= gained;
        gained
    }

    /// What has arrived.
    pub(in crate::wire) fn into_gathered(self) -> RecvBuffer {
        self.gathered
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
            let at = whole.len() - body.remaining();
            buffer.extend_from_slice(&whole[at..][..got]);
            assert_eq!(body.repay(buffer), got);
        }
        assert!(body.lend().is_none());
        assert_eq!(body.take(b"next"), 0);
        assert_eq!(body.into_gathered().bytes(), whole);
    }

    #[test]
    fn a_short_body_is_not_lent_and_an_announced_one_costs_little() {
        let mut pool = Pool::default();
        assert!(Body::new(DIRECT_BYTES_MIN - 1, &mut pool).lend().is_none());
        let mut huge = Body::new(usize::MAX, &mut pool);
        assert!(huge.gathered.capacity() <= 64 * 1024);
        assert_eq!(huge.take(&[1; 200_000]), 200_000);
        assert!(huge.gathered.capacity() <= 410_000);
    }
}
