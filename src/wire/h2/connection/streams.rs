//! The streams of one connection that outlive the call that opened them.
//!
//! ```text
//!            HEADERS                 END_STREAM                 last frame of the reply
//!  idle ───────────────▶ open ──────────────────▶ half-closed ─────────────────────────▶ closed
//!    │                     └──────────────── RST_STREAM, either side ────────────────────▲
//!    └── HEADERS and all of a message in one input: answered at once, never stored ──────┘
//! ```
//! A stream is in [`Streams`] while it is open or half-closed. Of closed ones nothing is kept but the highest number
//! and, in [`Closed`], what tells a late frame (to be ignored) from a wrong one.
//!
//! Numbers are looked up in an open-addressed table. They are spread over it: side by side, as they come, a thousand
//! of them would be one run, and taking one out closes the gap by going through its run (1000 streams that end in
//! order cost 300 ns each that way). A peer that picks colliding numbers gets no worse than a scan of all its streams.
//!
//! RFC 9113 section 5.1.

use std::collections::VecDeque;
use std::time::Instant;

use crate::wire::Pool;
use crate::wire::h2::connection::incoming::Incoming;
use crate::wire::h2::connection::outgoing::Outgoing;
use crate::wire::h2::flow::{ReceiveWindow, SendWindow};

/// Streams we reset whose late frames are ignored. As many as may be open at once, since all may be reset together.
pub(crate) const RESETS_REMEMBERED: usize = 1024;

/// Ranges of stream numbers that were skipped and may not be used any more.
const SKIPS_REMEMBERED: usize = 16;

/// Slots of a first table of numbers.
const TABLE_SLOTS_MIN: usize = 16;

/// An open or half-closed stream; `T` is what its side knows of it.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    /// Its number.
    pub(crate) id: u32,
    /// The peer has not ended it.
    pub(crate) remote_open: bool,
    /// The message that arrives; `None` drops what comes.
    pub(crate) incoming: Option<Incoming>,
    /// The message that leaves.
    pub(crate) outgoing: Option<Outgoing>,
    /// It is in the queue of those that may send.
    pub(crate) queued: bool,
    /// What we may send.
    pub(crate) send: SendWindow,
    /// What the peer may send.
    pub(crate) receive: ReceiveWindow,
    /// Content announced by `content-length`, and what has arrived.
    pub(crate) content_length: Option<u64>,
    pub(crate) content: u64,
    /// Bytes of its message that are counted among those arriving on the connection.
    pub(crate) reserved: usize,
    /// What its small DATA frames are charged.
    pub(crate) charge: usize,
    /// When the call is to be over, as its caller says.
    pub(crate) deadline: Option<Instant>,
    /// When something last arrived or left.
    pub(crate) touched: Instant,
    /// What its side knows of it.
    pub(crate) data: T,
}

impl<T> Stream<T> {
    /// Bytes waiting to be sent.
    pub(crate) fn unsent(&self) -> usize {
        self.outgoing.as_ref().map_or(0, Outgoing::left)
    }

    /// Gives its buffers to `pool`.
    pub(crate) fn retire(&mut self, pool: &mut Pool) {
        if let Some(incoming) = self.incoming.take() {
            incoming.retire(pool);
        }
        if let Some(outgoing) = self.outgoing.take() {
            outgoing.retire(pool);
        }
    }
}

/// Open and half-closed streams by number.
#[derive(Debug)]
pub(crate) struct Streams<T> {
    slots: Vec<Option<Stream<T>>>,
    free: Vec<u32>,
    /// Number and slot; number 0 is an empty place. A power of two long, or empty.
    table: Vec<(u32, u32)>,
    len: usize,
}

impl<T> Default for Streams<T> {
    fn default() -> Streams<T> {
        Streams { slots: Vec::new(), free: Vec::new(), table: Vec::new(), len: 0 }
    }
}

impl<T> Streams<T> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// True when there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The stream numbered `id`.
    pub(crate) fn get(&mut self, id: u32) -> Option<&mut Stream<T>> {
        let (_, slot) = self.table[self.place(id)?];
        self.slots[slot as usize].as_mut()
    }

    /// Adds a stream whose number is new.
    pub(crate) fn insert(&mut self, stream: Stream<T>) {
        if (self.len + 1) * 2 > self.table.len() {
            self.enlarge();
        }
        let id = stream.id;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize] = Some(stream);
        self.put(id, slot);
        self.len += 1;
    }

    /// Takes the stream numbered `id` out and hands over its slot, to be emptied: a stream is some 300 bytes, which
    /// are not moved for what its side knows.
    pub(crate) fn remove(&mut self, id: u32) -> Option<&mut Option<Stream<T>>> {
        let mut hole = self.place(id)?;
        let (_, slot) = self.table[hole];
        let mask = self.table.len() - 1;
        let mut next = (hole + 1) & mask;
        while self.table[next].0 != 0 {
            let home = self.home(self.table[next].0);
            let stays = next.wrapping_sub(home) & mask < next.wrapping_sub(hole) & mask;
            if !stays {
                self.table[hole] = self.table[next];
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.table[hole] = (0, 0);
        self.free.push(slot);
        self.len -= 1;
        Some(&mut self.slots[slot as usize])
    }

    /// Gives memory back that many streams at once have needed, once there are none.
    pub(crate) fn trim(&mut self) {
        if self.len == 0 {
            *self = Streams::default();
        }
    }

    /// Slots that there is memory for.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// All of them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream<T>> {
        self.slots.iter_mut().flatten()
    }

    /// Their numbers.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.slots.iter().flatten().map(|stream| stream.id).collect()
    }

    /// Fibonacci hashing: multiples of the golden ratio lie far apart, also for numbers in a row.
    fn home(&self, id: u32) -> usize {
        let spread = (id >> 1).wrapping_mul(0x9E37_79B9);
        ((u64::from(spread) * self.table.len() as u64) >> 32) as usize
    }

    fn place(&self, id: u32) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let mut place = self.home(id);
        loop {
            match self.table[place].0 {
                // First, so that number 0, the connection's, finds nothing instead of an empty place.
                0 => return None,
                found if found == id => return Some(place),
                _ => place = (place + 1) & (self.table.len() - 1),
            }
        }
    }

    fn put(&mut self, id: u32, slot: u32) {
        let mut place = self.home(id);
        while self.table[place].0 != 0 {
            place = (place + 1) & (self.table.len() - 1);
        }
        self.table[place] = (id, slot);
    }

    fn enlarge(&mut self) {
        let size = (self.table.len() * 2).max(TABLE_SLOTS_MIN);
        let old = std::mem::replace(&mut self.table, vec![(0, 0); size]);
        old.into_iter().filter(|(id, _)| *id != 0).for_each(|(id, slot)| self.put(id, slot));
    }
}

/// What is remembered of streams that are not open.
#[derive(Debug, Default)]
pub(crate) struct Closed {
    /// Highest number that was opened.
    last: u32,
    /// Streams we reset, latest last.
    resets: VecDeque<u32>,
    /// Numbers that were skipped, first and last of each range.
    skips: VecDeque<(u32, u32)>,
}

/// What a stream that is not open is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// Never opened, and may still be.
    Idle,
    /// Never opened, and may not be any more.
    Skipped,
    /// We reset it: the peer may not know yet.
    Reset,
    /// Both sides had ended it, or the peer reset it.
    Closed,
}

impl Closed {
    /// Highest number that was opened.
    pub(crate) fn last(&self) -> u32 {
        self.last
    }

    /// `id`, odd and higher than any before, is opened.
    pub(crate) fn opened(&mut self, id: u32) {
        let expected = if self.last == 0 { 1 } else { self.last + 2 };
        if id > expected {
            if self.skips.len() == SKIPS_REMEMBERED {
                self.skips.pop_front();
            }
            self.skips.push_back((expected, id - 2));
        }
        self.last = id;
    }

    /// We reset `id`.
    pub(crate) fn reset(&mut self, id: u32) {
        if self.resets.len() == RESETS_REMEMBERED {
            self.resets.pop_front();
        }
        self.resets.push_back(id);
    }

    /// What `id` is, given that it is not open.
    pub(crate) fn state(&self, id: u32) -> Absent {
        if id > self.last || id.is_multiple_of(2) {
            return Absent::Idle;
        }
        if self.resets.contains(&id) {
            return Absent::Reset;
        }
        match self.skips.iter().any(|(first, last)| (*first..=*last).contains(&id)) {
            true => Absent::Skipped,
            false => Absent::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(id: u32) -> Stream<u32> {
        Stream {
            id,
            remote_open: true,
            incoming: None,
            outgoing: None,
            queued: false,
            send: SendWindow::new(0),
            receive: ReceiveWindow::new(0),
            content_length: None,
            content: 0,
            reserved: 0,
            charge: 0,
            deadline: None,
            touched: Instant::now(),
            data: id * 10,
        }
    }

    #[test]
    fn streams_are_found_whatever_their_numbers() {
        for stride in [2, 64, 4096] {
            let mut streams = Streams::default();
            let ids: Vec<u32> = (0..1000).map(|at| 1 + at * stride).collect();
            ids.iter().for_each(|&id| streams.insert(stream(id)));
            assert_eq!(streams.len(), 1000);
            for &id in ids.iter().step_by(3) {
                let slot = streams.remove(id).expect("it is there");
                assert_eq!(slot.take().map(|s| s.data), Some(id * 10));
                assert!(streams.remove(id).is_none());
            }
            for (at, &id) in ids.iter().enumerate() {
                let found = streams.get(id).map(|s| s.data);
                assert_eq!(found, (at % 3 != 0).then_some(id * 10), "{id} at stride {stride}");
            }
            assert!(streams.get(3).is_none() || stride == 2);
            assert!(streams.get(0).is_none() && streams.remove(0).is_none());
            ids.iter().for_each(|&id| _ = streams.remove(id));
            assert!(streams.is_empty());
        }
    }

    #[test]
    fn numbers_in_a_row_do_not_lie_in_a_row() {
        let mut streams = Streams::default();
        for first in [1, 1_000_001] {
            (0..1000).for_each(|at| streams.insert(stream(first + 2 * at)));
            let runs = streams.table.split(|place| place.0 == 0);
            assert!(runs.map(<[_]>::len).max() <= Some(8));
            (0..1000).for_each(|at| _ = streams.remove(first + 2 * at));
        }
    }

    #[test]
    fn slots_are_used_again() {
        let mut streams = Streams::default();
        for id in 0..10_000 {
            streams.insert(stream(2 * id + 1));
            if id >= 8 {
                streams.remove(2 * (id - 8) + 1);
            }
        }
        assert!(streams.slots.len() <= 9 && streams.table.len() <= 32);
        streams.trim();
        assert!(streams.capacity() > 0, "some are open");
        (9_992..10_000).for_each(|id| _ = streams.remove(2 * id + 1));
        streams.trim();
        assert_eq!(streams.capacity(), 0);
    }

    #[test]
    fn closed_streams_are_told_apart() {
        let mut closed = Closed::default();
        assert_eq!(closed.state(1), Absent::Idle);
        closed.opened(1);
        closed.opened(7);
        assert_eq!(closed.state(1), Absent::Closed);
        assert_eq!((closed.state(3), closed.state(5)), (Absent::Skipped, Absent::Skipped));
        assert_eq!((closed.state(9), closed.state(2)), (Absent::Idle, Absent::Idle));
        closed.reset(7);
        assert_eq!(closed.state(7), Absent::Reset);
        for id in 0..10_000 {
            closed.opened(11 + 4 * id);
            closed.reset(11 + 4 * id);
        }
        assert_eq!(closed.resets.len(), RESETS_REMEMBERED);
        assert_eq!(closed.skips.len(), SKIPS_REMEMBERED);
        assert_eq!(closed.state(7), Absent::Closed, "forgotten");
    }
}
