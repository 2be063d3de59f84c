//! Responses as borrowed stacks carry them. A payload is sent from the request's own buffer, which
//! stays alive until then. The types are not `Send`: a connection never leaves its worker.

use std::cell::Cell;
use std::io::IoSlice;
use std::rc::Rc;

use bytes::{Buf, Bytes};

use crate::stack::tuning::UNSENT_BYTES_MAX;
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

/// Turns without progress after which a response is late, at the end of the next one.
pub const TURNS: u32 = 4;

/// Bytes of the responses of a connection.
///
/// Time is cut in turns, so that a response of which nothing is sent is noticed beside others that
/// get on. A response belongs to the turn of its last progress. Only the sums of earlier turns are
/// kept, so a response that is sent in the turn of its beginning costs nothing.
#[derive(Debug, Default)]
pub struct Responses {
    unsent: Cell<usize>,
    sent: Cell<u64>,
    turn: Cell<u32>,
    /// Unsent bytes of the responses of each earlier turn, at the turn's number modulo [`TURNS`].
    of_turns: [Cell<usize>; TURNS as usize],
    /// Bytes that are progress of a response of an earlier turn.
    progress_min: Cell<usize>,
    /// Times that calls had to wait for room.
    waits: Cell<u64>,
}

impl Responses {
    /// Returns the bytes that the stack has not sent.
    pub fn unsent(&self) -> usize {
        self.unsent.get()
    }

    /// Returns true while further calls may be answered.
    pub fn has_room(&self) -> bool {
        self.unsent.get() < UNSENT_BYTES_MAX
    }

    /// Notes that calls wait for room.
    pub fn note_wait(&self) {
        self.waits.set(self.waits.get() + 1);
    }

    /// Returns the times that calls had to wait for room.
    pub fn waits(&self) -> u64 {
        self.waits.get()
    }

    /// Returns the bytes that the stack has sent.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Ends a turn, in which `progress_min` bytes or the end of a response were progress. Returns
    /// true if a response had none in [`TURNS`] turns before.
    pub fn end_turn(&self, progress_min: usize) -> bool {
        let turn = self.turn.get();
        let earlier: usize = self.of_turns.iter().map(Cell::get).sum();
        let sum = self.of_turn(turn);
        let is_late = sum.get() > 0;
        sum.set(sum.get() + self.unsent.get() - earlier);
        self.turn.set(turn.wrapping_add(1));
        self.progress_min.set(progress_min);
        is_late
    }

    fn of_turn(&self, turn: u32) -> &Cell<usize> {
        &self.of_turns[(turn % TURNS) as usize]
    }
}

/// Message that counts among the responses of its connection.
#[derive(Debug)]
pub struct Queued {
    message: Message,
    responses: Rc<Responses>,
    turn: u32,
    /// Bytes sent after that turn.
    moved: usize,
}

impl Queued {
    pub fn new(message: Message, responses: &Rc<Responses>) -> Queued {
        responses.unsent.set(responses.unsent.get() + message.remaining());
        let turn = responses.turn.get();
        Queued { message, responses: Rc::clone(responses), turn, moved: 0 }
    }

    fn is_of_earlier_turn(&self) -> bool {
        self.turn != self.responses.turn.get()
    }

    #[cold]
    fn count_moved(&mut self, count: usize) {
        let Responses { turn, progress_min, .. } = &*self.responses;
        let sum = self.responses.of_turn(self.turn);
        sum.set(sum.get() - count);
        self.moved += count;
        if self.moved >= progress_min.get() {
            sum.set(sum.get() - self.message.remaining());
            (self.turn, self.moved) = (turn.get(), 0);
        }
    }

    #[cold]
    fn leave_turn(&self) {
        let sum = self.responses.of_turn(self.turn);
        sum.set(sum.get() - self.message.remaining());
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
        let Responses { unsent, sent, .. } = &*self.responses;
        unsent.set(unsent.get() - count);
        sent.set(sent.get() + count as u64);
        if self.is_of_earlier_turn() {
            self.count_moved(count);
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let unsent = &self.responses.unsent;
        unsent.set(unsent.get() - self.message.remaining());
        if self.is_of_earlier_turn() {
            self.leave_turn();
        }
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
        let responses = Rc::<Responses>::default();
        let mut first = Queued::new(message(["he", "payload", "t"]), &responses);
        let second = Queued::new(message(["he", "", ""]), &responses);
        assert_eq!(responses.unsent(), 12);
        first.advance(4);
        assert_eq!((responses.unsent(), responses.sent()), (8, 4));
        drop(first);
        drop(second);
        assert_eq!(responses.unsent(), 0);
    }

    /// Returns the number of turns until a response of 22 bytes is late if `count` bytes of it are
    /// sent in each turn, beside another response that begins and ends there.
    fn late_after(count: usize, progress_min: usize) -> Option<usize> {
        let responses = Rc::<Responses>::default();
        let mut slow = Queued::new(message(["head", "payload of it", "tail!"]), &responses);
        let late = (0..22).find(|_| {
            let mut other = Queued::new(message(["he", "payload", "t"]), &responses);
            let is_late = responses.end_turn(progress_min);
            other.advance(10);
            slow.advance(count.min(slow.remaining()));
            is_late
        });
        drop(slow);
        assert_eq!(responses.of_turns.iter().map(Cell::get).sum::<usize>(), 0);
        late
    }

    #[test]
    fn a_response_without_progress_is_late_however_others_get_on() {
        assert_eq!(late_after(0, 1), Some(4));
        assert_eq!(late_after(1, 1), None);
        assert_eq!(late_after(2, 3), None, "progress in two turns");
        assert_eq!(late_after(1, 10), Some(4));
        assert_eq!(late_after(8, 100), None, "its end is in time");
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
