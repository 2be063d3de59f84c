//! A range of a buffer, which stays alive until the last slice of it is dropped.
//!
//! A buffer with one owner costs no allocation, and becomes shared when a caller asks for a second
//! slice. The last holder returns it to its pool ([`PooledBuf`]).

use std::ops::Range;
use std::rc::Rc;

use bytes::{Buf, Bytes};

use super::OWN_BYTES_MIN;
use super::detached::Detached;
use super::pool::{Charge, FIT_SLACK_MAX, Pool, PooledBuf};

/// Most bytes that a response holds for each byte of it. A pool gives a message no larger buffer.
const HELD_FACTOR_MAX: usize = FIT_SLACK_MAX;

#[derive(Debug)]
pub struct Slice {
    owner: Owner,
    range: Range<usize>,
}

#[derive(Debug)]
enum Owner {
    Alone(PooledBuf),
    Shared(Rc<PooledBuf>),
    Foreign(Bytes),
}

#[derive(Clone, Debug)]
pub enum Part<'a> {
    Copy(&'a [u8]),
    /// Sent without a copy.
    Share(&'a Rc<PooledBuf>, Range<usize>),
}

impl Part<'_> {
    pub fn len(&self) -> usize {
        match self {
            Part::Copy(bytes) => bytes.len(),
            Part::Share(_, range) => range.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Part::Copy(bytes) => bytes,
            Part::Share(buffer, range) => &buffer[range.clone()],
        }
    }
}

impl Slice {
    pub fn new(mut buffer: PooledBuf, range: Range<usize>) -> Slice {
        debug_assert!(range.start <= range.end && range.end <= buffer.len());
        buffer.settle();
        Slice { owner: Owner::Alone(buffer), range }
    }

    pub fn shared(buffer: Rc<PooledBuf>, range: Range<usize>) -> Slice {
        debug_assert!(range.start <= range.end && range.end <= buffer.len());
        Slice { owner: Owner::Shared(buffer), range }
    }

    pub fn len(&self) -> usize {
        self.range.len()
    }

    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    pub fn narrow(mut self, range: Range<usize>) -> Slice {
        debug_assert!(range.start <= range.end && range.end <= self.len());
        self.range = self.range.start + range.start..self.range.start + range.end;
        self
    }

    /// Calls `work` with a `Bytes` of the slice. A buffer with one owner is lent, not copied, and
    /// comes back afterwards; it is copied then if `work` kept a clone.
    pub fn with_bytes<T>(&mut self, work: impl FnOnce(Bytes) -> T) -> T {
        match &mut self.owner {
            Owner::Alone(buffer) => {
                let whole = Bytes::from(std::mem::take(&mut **buffer));
                let result = work(whole.slice(self.range.clone()));
                **buffer = Vec::from(whole);
                result
            }
            Owner::Shared(buffer) => work(Bytes::copy_from_slice(&buffer[self.range.clone()])),
            Owner::Foreign(bytes) => work(bytes.slice(self.range.clone())),
        }
    }

    /// Takes the slice from its account, which remains as the charge of an own buffer; copies out
    /// of a shared one. [`Slice::attach`] joins them again.
    pub(in crate::wire) fn detach(self, pool: &Pool) -> (Detached, Option<Charge>) {
        if let Owner::Foreign(bytes) = self.owner {
            return (Detached::Foreign(bytes.slice(self.range)), None);
        }
        let (buffer, range) = self.into_buffer(pool);
        let (bytes, charge) = buffer.into_parts();
        (Detached::Owned(bytes, range), charge)
    }

    pub(in crate::wire) fn attach(detached: Detached, charge: Option<Charge>) -> Slice {
        match (detached, charge) {
            (Detached::Owned(bytes, range), Some(charge)) => Slice::new(charge.own(bytes), range),
            (Detached::Owned(bytes, range), None) => Slice::new(PooledBuf::from(bytes), range),
            (Detached::Foreign(bytes), _) => Slice::from(bytes),
        }
    }

    /// Cuts off the first `count` bytes as a slice of the same buffer.
    pub(in crate::wire) fn split_to(&mut self, count: usize) -> Slice {
        debug_assert!(count <= self.len());
        if count == self.len() {
            return std::mem::take(self);
        }
        let range = self.range.start..self.range.start + count;
        self.range.start = range.end;
        let owner = self.share();
        Slice { owner, range }
    }

    fn share(&mut self) -> Owner {
        match &mut self.owner {
            Owner::Alone(buffer) => {
                let shared = Rc::new(std::mem::take(buffer));
                self.owner = Owner::Shared(Rc::clone(&shared));
                Owner::Shared(shared)
            }
            Owner::Shared(buffer) => Owner::Shared(Rc::clone(buffer)),
            Owner::Foreign(bytes) => Owner::Foreign(bytes.clone()),
        }
    }

    /// Returns the end of a slice with one owner, and its buffer, to append to both.
    pub(super) fn tail(&mut self) -> Option<(&mut usize, &mut PooledBuf)> {
        match &mut self.owner {
            Owner::Alone(buffer) => Some((&mut self.range.end, buffer)),
            Owner::Shared(_) | Owner::Foreign(_) => None,
        }
    }

    /// Returns true if `part` of the slice may be sent from its buffer: it is long, and no small
    /// part of what it would hold meanwhile.
    pub(in crate::wire) fn is_worth_sharing(&self, part: &Range<usize>) -> bool {
        let held = match &self.owner {
            Owner::Alone(buffer) => buffer.capacity(),
            Owner::Shared(buffer) => buffer.capacity(),
            Owner::Foreign(bytes) => bytes.len(),
        };
        part.len() >= OWN_BYTES_MIN && held / HELD_FACTOR_MAX <= part.len()
    }

    pub(super) fn buffer_len(&self) -> usize {
        self.range.end
    }

    pub(super) fn skip(&mut self, count: usize) {
        self.range.start += count;
    }

    /// Returns a buffer and a range of it; copies out of a shared one.
    pub(super) fn into_buffer(self, pool: &Pool) -> (PooledBuf, Range<usize>) {
        if let Owner::Alone(buffer) = self.owner {
            return (buffer, self.range);
        }
        let mut copy = pool.take(self.len());
        copy.extend_from_slice(self.as_ref());
        (copy, 0..self.len())
    }
}

impl From<Bytes> for Slice {
    fn from(bytes: Bytes) -> Slice {
        let range = 0..bytes.len();
        Slice { owner: Owner::Foreign(bytes), range }
    }
}

impl Default for Slice {
    fn default() -> Slice {
        Slice::from(Bytes::new())
    }
}

impl From<Vec<u8>> for Slice {
    fn from(bytes: Vec<u8>) -> Slice {
        Slice::from(PooledBuf::from(bytes))
    }
}

impl From<PooledBuf> for Slice {
    fn from(buffer: PooledBuf) -> Slice {
        let range = 0..buffer.len();
        Slice::new(buffer, range)
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        match &self.owner {
            Owner::Alone(buffer) => &buffer[self.range.clone()],
            Owner::Shared(buffer) => &buffer[self.range.clone()],
            Owner::Foreign(bytes) => &bytes[self.range.clone()],
        }
    }
}

impl Buf for Slice {
    fn remaining(&self) -> usize {
        self.range.len()
    }

    fn chunk(&self) -> &[u8] {
        self.as_ref()
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.range.len(), "advance past the end of a slice");
        self.range.start += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(pool: &Pool, bytes: &[u8]) -> PooledBuf {
        let mut buffer = Vec::with_capacity(1000);
        buffer.extend_from_slice(bytes);
        pool.adopt(buffer)
    }

    #[test]
    fn the_last_slice_returns_the_buffer() {
        let pool = Pool::default();
        let mut rest = Slice::new(buffer(&pool, b"..abcdef."), 2..8);
        let first = rest.split_to(2);
        let second = rest.split_to(1);
        assert_eq!([first.as_ref(), second.as_ref(), rest.as_ref()], [&b"ab"[..], b"c", b"def"]);
        drop((first, rest));
        assert_eq!(pool.idle_bytes(), 0);
        drop(second);
        assert_eq!(pool.idle_bytes(), 1000);
    }

    #[test]
    fn a_buffer_is_lent_as_bytes_and_comes_back() {
        let pool = Pool::default();
        let mut slice = Slice::new(buffer(&pool, b"..abc."), 2..5);
        let at = slice.as_ref().as_ptr();
        let lent_at = slice.with_bytes(|bytes| {
            assert_eq!(bytes, b"abc"[..]);
            bytes.as_ptr()
        });
        assert_eq!((lent_at, slice.as_ref(), slice.as_ref().as_ptr()), (at, &b"abc"[..], at));
        let kept = slice.with_bytes(|bytes| bytes);
        assert_eq!((kept.as_ref(), slice.as_ref()), (&b"abc"[..], &b"abc"[..]));
        let mut slice = Slice::new(buffer(&pool, b"..abc."), 2..5);
        slice.with_bytes(drop);
        drop(slice);
        assert_eq!(pool.idle_bytes(), 1000);
    }

    #[test]
    fn bytes_of_any_owner_are_read_alike() {
        let pool = Pool::default();
        let shared = Rc::new(buffer(&pool, b"<abc>"));
        let slices = [
            Slice::new(buffer(&pool, b"<abc>"), 0..5),
            Slice::shared(Rc::clone(&shared), 0..5),
            Slice::from(Bytes::from_static(b"<abc>")),
        ];
        for slice in slices {
            let mut slice = slice.narrow(1..4);
            assert_eq!((slice.len(), slice.chunk()), (3, &b"abc"[..]));
            assert_eq!(slice.with_bytes(|bytes| bytes), b"abc"[..]);
            slice.advance(1);
            let (bytes, range) = slice.into_buffer(&pool);
            assert_eq!(bytes[range], *b"bc");
        }
        assert_eq!(**shared, *b"<abc>");
    }
}
