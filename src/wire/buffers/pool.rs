//! Message buffers, kept between messages so that a server in steady state takes no page fault.
//!
//! It never makes a buffer on a length a peer announced: [`Pool::take`] reuses one that is large enough, else hands
//! out a small one, which grows in step with the bytes that arrive (`gathered`). What is kept is bounded, and
//! [`Pool::trim`] lets go of what was not needed lately; the rest goes back to the allocator.
//!
//! Two stacks, each last in first out, so that the buffer touched last is touched next: small ones (every reply
//! head, every short message), which are all alike, and large ones, chosen by room.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Most bytes that lie idle; beyond, the buffers that were touched longest ago are freed. One buffer may exceed it
/// alone, so that messages of any size find theirs again.
const IDLE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A buffer up to this capacity is small: any will do for any short message.
const SMALL_BYTES_MAX: usize = 128 * 1024;

/// Buffers below this capacity are not worth keeping.
const KEPT_BYTES_MIN: usize = 512;

/// A new buffer gets at most this much room, and a full one grows by at least this much.
pub(super) const GROWTH_BYTES_MIN: usize = 64 * 1024;

/// How many large buffers are looked at, from the top, for one that fits.
const FIT_SEARCH_MAX: usize = 32;

/// A large buffer may be this many times larger than asked for; beyond, it is left for a larger message.
const FIT_SLACK_MAX: usize = 8;

/// The pool of one worker, which its driver trims; the driver lends it to machines, borrowed stacks share it.
pub type SharedPool = Rc<RefCell<Pool>>;

/// Two stacks of idle buffers.
#[derive(Debug, Default)]
pub struct Pool {
    small: Vec<Vec<u8>>,
    large: VecDeque<Vec<u8>>,
    idle_bytes: usize,
    /// Fewest large buffers idle at once since the last trim: that many were not needed.
    large_idle_min: usize,
    /// The same for small ones.
    small_idle_min: usize,
}

impl Pool {
    /// An empty buffer, with room for `hint` bytes if an idle one has it. `hint` may come from a peer.
    pub fn take(&mut self, hint: usize) -> Vec<u8> {
        let fitting = if hint > SMALL_BYTES_MAX { self.take_large(hint) } else { None };
        let idle = fitting.or_else(|| self.small.pop());
        self.small_idle_min = self.small_idle_min.min(self.small.len());
        self.large_idle_min = self.large_idle_min.min(self.large.len());
        match idle {
            Some(buffer) => {
                self.idle_bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(hint.min(GROWTH_BYTES_MIN)),
        }
    }

    fn take_large(&mut self, hint: usize) -> Option<Vec<u8>> {
        let fits = hint..=hint.saturating_mul(FIT_SLACK_MAX);
        let at = (0..self.large.len())
            .rev()
            .take(FIT_SEARCH_MAX)
            .find(|&at| fits.contains(&self.large[at].capacity()))?;
        self.large.remove(at)
    }

    /// Gives a buffer back; its content is forgotten.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let room = buffer.capacity();
        if room < KEPT_BYTES_MIN {
            return;
        }
        buffer.clear();
        if room > SMALL_BYTES_MAX {
            self.make_way(room);
            self.large.push_back(buffer);
        } else if room <= IDLE_BYTES_MAX.saturating_sub(self.idle_bytes) {
            self.small.push(buffer);
        } else {
            return;
        }
        self.idle_bytes += room;
    }

    /// Frees the coldest large buffers until `room` more bytes may lie idle.
    fn make_way(&mut self, room: usize) {
        while self.idle_bytes.saturating_add(room) > IDLE_BYTES_MAX
            && let Some(coldest) = self.large.pop_front()
        {
            self.idle_bytes -= coldest.capacity();
        }
    }

    /// Frees the buffers that lay idle ever since the last call. Meant to be called about once a second.
    pub fn trim(&mut self) {
        let cold_large = self.large.drain(..self.large_idle_min.min(self.large.len()));
        let cold_small = self.small.drain(..self.small_idle_min.min(self.small.len()));
        self.idle_bytes -= cold_large.chain(cold_small).map(|cold| cold.capacity()).sum::<usize>();
        self.large_idle_min = self.large.len();
        self.small_idle_min = self.small.len();
    }

    /// Capacity of all idle buffers.
    pub fn idle_bytes(&self) -> usize {
        self.idle_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_given_last_is_taken_first() {
        let mut pool = Pool::default();
        pool.give(Vec::with_capacity(1000));
        pool.give(Vec::with_capacity(2000));
        assert_eq!(pool.take(8).capacity(), 2000);
        assert_eq!(pool.take(8).capacity(), 1000);
        assert_eq!(pool.idle_bytes(), 0);
    }

    #[test]
    fn an_announced_length_allocates_next_to_nothing() {
        let mut pool = Pool::default();
        for hint in [1 << 20, 1 << 30, usize::MAX] {
            assert!(pool.take(hint).capacity() <= GROWTH_BYTES_MIN);
        }
    }

    #[test]
    fn a_large_buffer_goes_to_the_message_it_fits() {
        let mut pool = Pool::default();
        pool.give(Vec::with_capacity(1 << 20));
        pool.give(Vec::with_capacity(64 << 20));
        assert!(pool.take(1 << 18).capacity() < 2 << 20);
        assert!(pool.take(1 << 18).capacity() <= GROWTH_BYTES_MIN, "64 MiB is left alone");
        assert!(pool.take(60 << 20).capacity() >= 60 << 20);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut pool = Pool::default();
        for _ in 0..600 {
            pool.give(Vec::with_capacity(1 << 20));
        }
        assert!(pool.idle_bytes() <= IDLE_BYTES_MAX);
        pool.give(Vec::with_capacity(IDLE_BYTES_MAX + 1));
        assert_eq!((pool.large.len(), pool.idle_bytes()), (1, IDLE_BYTES_MAX + 1), "one alone");
        pool.give(Vec::with_capacity(1 << 20));
        assert_eq!((pool.large.len(), pool.idle_bytes()), (1, 1 << 20), "the coldest goes");
        pool.give(Vec::new());
        assert_eq!(pool.idle_bytes() % (1 << 20), 0);
    }

    #[test]
    fn trim_frees_what_was_not_needed() {
        let mut pool = Pool::default();
        (0..3).for_each(|_| pool.give(Vec::with_capacity(1 << 20)));
        (0..3).for_each(|_| pool.give(Vec::with_capacity(1 << 10)));
        pool.trim();
        let busy = pool.take(1 << 20);
        pool.give(busy);
        pool.trim();
        assert_eq!((pool.large.len(), pool.small.len()), (1, 0));
        assert_eq!(pool.idle_bytes(), 1 << 20);
    }
}
