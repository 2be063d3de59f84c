//! Messages as borrowed stacks carry them: [`Body`] is a whole request, [`Message`] a reply in three pieces, so that
//! a payload is sent from where the request's bytes lie; [`Queued`] is one whose connection counts what is unsent.
//!
//! Neither knows what it says. A request stays alive until its payload is sent; then its buffer returns to the
//! worker's pool. Not `Send`: a connection never leaves its worker.

use std::cell::Cell;
use std::io::IoSlice;
use std::ops::{Deref, Range};
use std::rc::Rc;

use bytes::{Buf, Bytes};

use crate::wire::SharedPool;

/// The bytes of a whole request.
#[derive(Clone, Debug)]
pub enum Body {
    /// They came in one piece and lie where the stack put them.
    Piece(Bytes),
    /// They were put together in a buffer of the worker's pool.
    Collected(Rc<Collected>),
}

/// A buffer that returns to its pool.
#[derive(Debug)]
pub struct Collected {
    buffer: Vec<u8>,
    pool: SharedPool,
}

/// Head, payload and tail of a reply, in this order; a piece may be empty and is then never offered.
#[derive(Clone, Debug)]
pub struct Message {
    head: Bytes,
    payload: Body,
    range: Range<usize>,
    tail: Bytes,
}

impl Body {
    /// A request in a buffer of `pool`.
    pub fn collected(buffer: Vec<u8>, pool: &SharedPool) -> Body {
        Body::from(Collected { buffer, pool: Rc::clone(pool) })
    }
}

impl From<Collected> for Body {
    fn from(collected: Collected) -> Body {
        Body::Collected(Rc::new(collected))
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Body::Piece(bytes) => bytes,
            Body::Collected(collected) => &collected.buffer,
        }
    }
}

impl Collected {
    /// An empty buffer for a message of about `hint` bytes, which may be a peer's word.
    pub fn new(pool: &SharedPool, hint: usize) -> Collected {
        let buffer = pool.borrow_mut().take(hint);
        Collected { buffer, pool: Rc::clone(pool) }
    }

    /// Appends a piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// True before the first byte.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

impl Drop for Collected {
    fn drop(&mut self) {
        self.pool.borrow_mut().give(std::mem::take(&mut self.buffer));
    }
}

impl Message {
    /// `head`, then `payload[range]` where it lies, then `tail`.
    pub fn new(head: Bytes, payload: &Body, range: Range<usize>, tail: Bytes) -> Message {
        debug_assert!(range.end <= payload.len());
        Message { head, payload: payload.clone(), range, tail }
    }

    fn payload(&self) -> &[u8] {
        &self.payload[self.range.clone()]
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        [&self.head, self.payload(), &self.tail].into_iter().filter(|piece| !piece.is_empty())
    }
}

impl From<Bytes> for Message {
    fn from(head: Bytes) -> Message {
        let payload = Body::Piece(Bytes::new());
        Message { head, payload, range: 0..0, tail: Bytes::new() }
    }
}

impl Buf for Message {
    fn remaining(&self) -> usize {
        self.head.len() + self.range.len() + self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        self.pieces().next().unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        into.iter_mut().zip(self.pieces()).map(|(slot, piece)| *slot = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, count: usize) {
        let of_head = count.min(self.head.len());
        self.head.advance(of_head);
        let of_payload = (count - of_head).min(self.range.len());
        self.range.start += of_payload;
        self.tail.advance(count - of_head - of_payload);
    }
}

/// A message that counts among what its connection has not sent yet.
#[derive(Debug)]
pub struct Queued {
    message: Message,
    unsent: Rc<Cell<usize>>,
}

impl Queued {
    /// `message`, counted in `unsent` until it is sent or dropped.
    pub fn new(message: Message, unsent: &Rc<Cell<usize>>) -> Queued {
        unsent.set(unsent.get() + message.remaining());
        Queued { message, unsent: Rc::clone(unsent) }
    }
}

impl Buf for Queued {
    fn remaining(&self) -> usize {
        self.message.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.message.chunk()
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        self.message.chunks_vectored(into)
    }

    fn advance(&mut self, count: usize) {
        self.message.advance(count);
        self.unsent.set(self.unsent.get() - count);
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.unsent.set(self.unsent.get() - self.message.remaining());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message([head, payload, tail]: [&'static str; 3], pool: &SharedPool) -> Message {
        let body = Body::collected(format!("<{payload}>").into_bytes(), pool);
        Message::new(Bytes::from(head), &body, 1..1 + payload.len(), Bytes::from(tail))
    }

    #[test]
    fn pieces_follow_each_other_however_they_are_taken() {
        let pool = SharedPool::default();
        for pieces in [["he", "payload", "t"], ["", "payload", ""], ["he", "", "t"], ["", "", ""]] {
            let whole = pieces.concat();
            for cut in 0..=whole.len() {
                let mut rest = message(pieces, &pool);
                rest.advance(cut);
                assert_eq!(rest.remaining(), whole.len() - cut);
                let mut slots = [IoSlice::new(&[]); 4];
                let filled = rest.chunks_vectored(&mut slots);
                let slots: Vec<&[u8]> = slots[..filled].iter().map(|slot| &slot[..]).collect();
                assert_eq!(slots.concat(), whole.as_bytes()[cut..]);
                assert!(slots.iter().all(|slot| !slot.is_empty()));
                assert_eq!(rest.chunk(), slots.first().copied().unwrap_or_default());
            }
        }
    }

    #[test]
    fn what_is_queued_counts_until_it_is_sent_or_dropped() {
        let (pool, unsent) = (SharedPool::default(), Rc::default());
        let mut first = Queued::new(message(["he", "payload", "t"], &pool), &unsent);
        let second = Queued::new(message(["he", "", ""], &pool), &unsent);
        assert_eq!(unsent.get(), 12);
        first.advance(4);
        assert_eq!(unsent.get(), 8);
        drop(first);
        drop(second);
        assert_eq!(unsent.get(), 0);
    }

    #[test]
    fn a_collected_body_returns_to_its_pool_once_its_reply_is_gone() {
        let pool = SharedPool::default();
        let mut buffer = Vec::with_capacity(4321);
        buffer.extend_from_slice(b"payload");
        let body = Body::collected(buffer, &pool);
        let reply = Message::new(Bytes::new(), &body, 0..7, Bytes::new());
        drop(body);
        assert_eq!(reply.chunk(), b"payload");
        drop(reply);
        assert_eq!(pool.borrow_mut().take(4321).capacity(), 4321);
    }
}
