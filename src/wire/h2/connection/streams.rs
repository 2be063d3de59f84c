//! Table of the open streams of one connection.
//!
//! An open-addressed table finds numbers, spread by a hash: side by side a thousand of them would
//! be one run, and taking one out goes through its run (1000 streams that end in order cost 300 ns
//! each that way). Colliding numbers cost no more than a scan of all streams.

use super::stream::{State, Stream};
use crate::wire::progress::Progress;

const TABLE_SLOTS_MIN: usize = 16;

#[derive(Debug)]
pub(crate) struct StreamTable<T> {
    /// Opened and emptied in place: a move costs more than all else here.
    slots: Vec<Stream<T>>,
    free: Vec<u32>,
    /// Number and slot; number 0 is empty. A power of two long, or empty.
    table: Vec<(u32, u32)>,
    len: usize,
}

impl<T> Default for StreamTable<T> {
    fn default() -> StreamTable<T> {
        StreamTable { slots: Vec::new(), free: Vec::new(), table: Vec::new(), len: 0 }
    }
}

impl<T: Default> StreamTable<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn get(&mut self, id: u32) -> Option<&mut Stream<T>> {
        let (_, slot) = self.table[self.place(id)?];
        self.slots.get_mut(slot as usize)
    }

    #[inline]
    pub(crate) fn open(&mut self, id: u32, progress: Progress) -> &mut Stream<T> {
        if (self.len + 1) * 2 > self.table.len() {
            self.enlarge();
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Stream::idle(progress));
            (self.slots.len() - 1) as u32
        });
        self.put(id, slot);
        self.len += 1;
        let stream = &mut self.slots[slot as usize];
        stream.open(id, progress);
        stream
    }

    /// Takes a stream out; the caller must [`Stream::clear`] it.
    pub(super) fn unlink(&mut self, id: u32) -> Option<&mut Stream<T>> {
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
        self.slots.get_mut(slot as usize)
    }

    pub(crate) fn trim(&mut self) {
        if self.len == 0 {
            *self = StreamTable::default();
        }
    }

    /// Returns the most streams that were open since the last trim, or more.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// Returns the memory of the table.
    pub(crate) fn bytes(&self) -> usize {
        let streams = self.slots.capacity() * size_of::<Stream<T>>();
        streams + size_of_val(self.free.as_slice()) + size_of_val(self.table.as_slice())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream<T>> {
        self.slots.iter_mut().filter(|stream| stream.state != State::Idle)
    }

    pub(crate) fn ids(&self) -> Vec<u32> {
        let open = self.slots.iter().filter(|stream| stream.state != State::Idle);
        open.map(|stream| stream.id).collect()
    }

    /// Fibonacci hashing: spreads numbers in a row.
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
                // First, because number 0 is the connection's and would match an empty place.
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::wire::Pace;

    fn open(streams: &mut StreamTable<u32>, id: u32) {
        let pace = Pace { gap: Duration::ZERO, rate_min: 0 };
        streams.open(id, Progress::start(pace, Instant::now())).data = id * 10;
    }

    fn close(streams: &mut StreamTable<u32>, id: u32) -> Option<u32> {
        let stream = streams.unlink(id)?;
        let data = stream.data;
        stream.clear();
        Some(data)
    }

    #[test]
    fn streams_are_found_whatever_their_numbers() {
        for stride in [2, 64, 4096] {
            let mut streams = StreamTable::default();
            let ids: Vec<u32> = (0..1000).map(|at| 1 + at * stride).collect();
            ids.iter().for_each(|&id| open(&mut streams, id));
            assert_eq!(streams.len(), 1000);
            for &id in ids.iter().step_by(3) {
                assert_eq!(close(&mut streams, id), Some(id * 10));
                assert!(streams.unlink(id).is_none());
            }
            for (at, &id) in ids.iter().enumerate() {
                let found = streams.get(id).map(|s| s.data);
                assert_eq!(found, (at % 3 != 0).then_some(id * 10), "{id} at stride {stride}");
            }
            assert!(streams.get(3).is_none() || stride == 2);
            assert!(streams.get(0).is_none() && streams.unlink(0).is_none());
            ids.iter().for_each(|&id| _ = close(&mut streams, id));
            assert!(streams.is_empty());
        }
    }

    #[test]
    fn numbers_in_a_row_do_not_lie_in_a_row() {
        let mut streams = StreamTable::default();
        for first in [1, 1_000_001] {
            (0..1000).for_each(|at| open(&mut streams, first + 2 * at));
            let runs = streams.table.split(|place| place.0 == 0);
            assert!(runs.map(<[_]>::len).max() <= Some(8));
            (0..1000).for_each(|at| _ = close(&mut streams, first + 2 * at));
        }
    }

    #[test]
    fn slots_are_used_again() {
        let mut streams = StreamTable::default();
        for id in 0..10_000 {
            open(&mut streams, 2 * id + 1);
            if id >= 8 {
                _ = close(&mut streams, 2 * (id - 8) + 1);
            }
        }
        assert!(streams.capacity() <= 16);
        streams.trim();
        assert!(streams.capacity() > 0, "some are open");
        (9_992..10_000).for_each(|id| _ = close(&mut streams, 2 * id + 1));
        streams.trim();
        assert_eq!(streams.capacity(), 0);
    }
}
