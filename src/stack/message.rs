//! Responses as borrowed stacks carry them. A payload is sent from the request's own buffer, which
//! stays alive until then. The types are not `Send`: a connection never leaves its worker.

use std::cell::Cell;
use std::io::IoSlice;
use std::rc::Rc;

use bytes::{Buf, Bytes};

use crate::wire::Slice;

/// Head, payload and tail of a response, in this order. A stack never sees an empty piece.
#[derive(Debug)]
pub struct Message {
    head: Bytes,
    payload: Slice,
    tail: Bytes,
}

impl Message {
    pub fn new(head: Bytes, payload: Slice, tail: Bytes) -> Message {
        Message { head, payload, tail }
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        [&self.head, self.payload.as_ref(), &self.tail]
            .into_iter()
            .filter(|piece| !piece.is_empty())
    }
}

impl From<Bytes> for Message {
    fn from(head: Bytes) -> Message {
        Message { head, payload: Slice::from(Bytes::new()), tail: Bytes::new() }
    }
}

impl Buf for Message {
    fn remaining(&self) -> usize {
        self.head.len() + self.payload.len() + self.tail.len()
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
        let of_payload = (count - of_head).min(self.payload.len());
        self.payload.advance(of_payload);
        self.tail.advance(count - of_head - of_payload);
    }
}

/// Message that counts among the unsent bytes of its connection.
#[derive(Debug)]
pub struct Queued {
    message: Message,
    unsent: Rc<Cell<usize>>,
}

impl Queued {
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
    use crate::wire::Pool;

    fn message([head, payload, tail]: [&'static str; 3]) -> Message {
        let body = Slice::from(Bytes::from(format!("<{payload}>")));
        Message::new(Bytes::from(head), body.narrow(1..1 + payload.len()), Bytes::from(tail))
    }

    #[test]
    fn pieces_follow_each_other_however_they_are_taken() {
        for pieces in [["he", "payload", "t"], ["", "payload", ""], ["he", "", "t"], ["", "", ""]] {
            let whole = pieces.concat();
            for cut in 0..=whole.len() {
                let mut rest = message(pieces);
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
    fn a_queued_message_counts_until_it_is_sent_or_dropped() {
        let unsent = Rc::default();
        let mut first = Queued::new(message(["he", "payload", "t"]), &unsent);
        let second = Queued::new(message(["he", "", ""]), &unsent);
        assert_eq!(unsent.get(), 12);
        first.advance(4);
        assert_eq!(unsent.get(), 8);
        drop(first);
        drop(second);
        assert_eq!(unsent.get(), 0);
    }

    #[test]
    fn the_buffer_of_a_request_returns_to_its_pool_after_its_response() {
        let pool = Pool::default();
        let mut buffer = pool.adopt(Vec::with_capacity(4321));
        buffer.extend_from_slice(b"payload");
        let response = Message::new(Bytes::new(), Slice::from(buffer), Bytes::new());
        assert_eq!((response.chunk(), pool.idle_bytes()), (&b"payload"[..], 0));
        drop(response);
        assert_eq!(pool.idle_bytes(), 4321);
    }
}
