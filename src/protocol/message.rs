//! A reply as borrowed stacks take it: a [`Buf`] of three pieces, so that a payload is sent from the request's bytes.
//!
//! It does not know what it says. Its pieces are reference-counted; the request stays alive until its payload is
//! sent. Empty pieces cost nothing and are never offered.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Head, payload and tail, in this order.
#[derive(Clone, Debug, Default)]
pub struct Message {
    head: Bytes,
    payload: Bytes,
    tail: Bytes,
}

impl Message {
    /// A message whose `payload` is somebody else's bytes.
    pub fn new(head: Bytes, payload: Bytes, tail: Bytes) -> Message {
        Message { head, payload, tail }
    }

    /// The whole in one piece, for stacks that take nothing else; copies unless it is one already.
    pub fn into_bytes(mut self) -> Bytes {
        let len = self.remaining();
        self.copy_to_bytes(len)
    }

    fn front(&mut self) -> &mut Bytes {
        if !self.head.is_empty() {
            &mut self.head
        } else if !self.payload.is_empty() {
            &mut self.payload
        } else {
            &mut self.tail
        }
    }
}

impl From<Bytes> for Message {
    fn from(head: Bytes) -> Message {
        Message { head, ..Message::default() }
    }
}

impl Buf for Message {
    fn remaining(&self) -> usize {
        self.head.len() + self.payload.len() + self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        let pieces = [&self.head, &self.payload];
        pieces.into_iter().find(|piece| !piece.is_empty()).unwrap_or(&self.tail)
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let pieces = [&self.head, &self.payload, &self.tail];
        let filled = pieces.into_iter().filter(|piece| !piece.is_empty());
        into.iter_mut().zip(filled).map(|(slot, piece)| *slot = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining(), "advance stays within the message");
        while count > 0 {
            let front = self.front();
            let step = count.min(front.len());
            front.advance(step);
            count -= step;
        }
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        let front = self.front();
        if len <= front.len() {
            return front.split_to(len);
        }
        let mut whole = bytes::BytesMut::with_capacity(len);
        bytes::BufMut::put(&mut whole, self.take(len));
        whole.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(pieces: [&'static str; 3]) -> Message {
        let [head, payload, tail] = pieces.map(|piece| Bytes::from_static(piece.as_bytes()));
        Message::new(head, payload, tail)
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
                assert!(rest.chunk().is_empty() == (cut == whole.len()));
                assert_eq!(rest.into_bytes(), whole.as_bytes()[cut..]);
            }
        }
    }
}
