//! Message buffers, kept between messages so that a server in steady state takes no page fault.
//!
//! The pool never makes a buffer of an announced length: [`Pool::take`] reuses a buffer that is
//! large enough, or returns a small one, which grows with the bytes that arrive ([`super::recv`]).
//!
//! Two stacks, each last in first out, hold small buffers, which are all alike, and large ones,
//! chosen by their room. The clones of a [`Pool`] share the buffers of one worker. No caller's code
//! runs while the stacks are borrowed, so a [`PooledBuf`] may be dropped anywhere.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// Most idle bytes; beyond, the coldest buffers are freed. One buffer may exceed the limit alone,
/// so that messages of any size find theirs again.
const IDLE_BYTES_MAX: usize = 256 * 1024 * 1024;

const SMALL_BYTES_MAX: usize = 128 * 1024;
const KEPT_BYTES_MIN: usize = 512;
pub(super) const GROWTH_BYTES_MIN: usize = 64 * 1024;

/// Number of large buffers, from the top, that are searched.
const FIT_SEARCH_MAX: usize = 32;

/// Largest ratio of a buffer to the length asked for; a larger buffer waits for a larger message.
const FIT_SLACK_MAX: usize = 8;

#[derive(Clone, Debug, Default)]
pub struct Pool(Rc<RefCell<Idle>>);

/// Owner that returns its buffer to the pool when dropped, unless made from a `Vec`.
#[derive(Debug, Default)]
pub struct PooledBuf {
    bytes: Vec<u8>,
    pool: Option<Pool>,
}

#[derive(Debug, Default)]
struct Idle {
    small: Vec<Vec<u8>>,
    large: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Fewest idle since the last trim.
    large_min: usize,
    small_min: usize,
}

impl Pool {
    /// Returns an empty buffer, if possible with room for `hint` bytes, a peer's number perhaps.
    pub fn take(&self, hint: usize) -> PooledBuf {
        let idle = self.0.borrow_mut().pop(hint);
        let bytes = idle.unwrap_or_else(|| Vec::with_capacity(hint.min(GROWTH_BYTES_MIN)));
        self.adopt(bytes)
    }

    /// Makes an owner that gives `bytes` to this pool when dropped.
    pub fn adopt(&self, bytes: Vec<u8>) -> PooledBuf {
        PooledBuf { bytes, pool: Some(self.clone()) }
    }

    /// Frees the buffers that were idle since the last call, about a second ago.
    pub fn trim(&self) {
        self.0.borrow_mut().trim();
    }

    pub fn idle_bytes(&self) -> usize {
        self.0.borrow().bytes
    }
}

impl PooledBuf {
    /// Takes the bytes out of the pool's care.
    pub fn into_vec(mut self) -> Vec<u8> {
        self.pool = None;
        std::mem::take(&mut self.bytes)
    }
}

impl Drop for PooledBuf {
    fn drop(&mut self) {
        if let Some(Pool(idle)) = &self.pool {
            idle.borrow_mut().push(std::mem::take(&mut self.bytes));
        }
    }
}

impl From<Vec<u8>> for PooledBuf {
    fn from(bytes: Vec<u8>) -> PooledBuf {
        PooledBuf { bytes, pool: None }
    }
}

impl Deref for PooledBuf {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for PooledBuf {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Idle {
    fn pop(&mut self, hint: usize) -> Option<Vec<u8>> {
        let fitting = if hint > SMALL_BYTES_MAX { self.pop_large(hint) } else { None };
        let idle = fitting.or_else(|| self.small.pop());
        self.small_min = self.small_min.min(self.small.len());
        self.large_min = self.large_min.min(self.large.len());
        self.bytes -= idle.as_ref().map_or(0, Vec::capacity);
        idle
    }

    fn pop_large(&mut self, hint: usize) -> Option<Vec<u8>> {
        let fits = hint..=hint.saturating_mul(FIT_SLACK_MAX);
        let index = (0..self.large.len())
            .rev()
            .take(FIT_SEARCH_MAX)
            .find(|&index| fits.contains(&self.large[index].capacity()))?;
        self.large.remove(index)
    }

    fn push(&mut self, mut buffer: Vec<u8>) {
        let room = buffer.capacity();
        if room < KEPT_BYTES_MIN {
            return;
        }
        buffer.clear();
        if room > SMALL_BYTES_MAX {
            self.make_way(room);
            self.large.push_back(buffer);
        } else if room <= IDLE_BYTES_MAX.saturating_sub(self.bytes) {
            self.small.push(buffer);
        } else {
            return;
        }
        self.bytes += room;
    }

    fn make_way(&mut self, room: usize) {
        while self.bytes.saturating_add(room) > IDLE_BYTES_MAX
            && let Some(coldest) = self.large.pop_front()
        {
            self.bytes -= coldest.capacity();
        }
    }

    fn trim(&mut self) {
        let cold_large = self.large.drain(..self.large_min.min(self.large.len()));
        let cold_small = self.small.drain(..self.small_min.min(self.small.len()));
        self.bytes -= cold_large.chain(cold_small).map(|cold| cold.capacity()).sum::<usize>();
        self.large_min = self.large.len();
        self.small_min = self.small.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drop_into(pool: &Pool, capacity: usize) {
        drop(pool.adopt(Vec::with_capacity(capacity)));
    }

    fn large(pool: &Pool) -> usize {
        pool.0.borrow().large.len()
    }

    #[test]
    fn the_buffer_dropped_last_is_taken_first() {
        let pool = Pool::default();
        drop_into(&pool, 1000);
        drop_into(&pool, 2000);
        let (first, second) = (pool.take(8), pool.take(8));
        assert_eq!((first.capacity(), second.capacity()), (2000, 1000));
        assert_eq!(pool.idle_bytes(), 0);
        drop(first.into_vec());
        assert_eq!(pool.idle_bytes(), 0, "taken out of the pool for good");
    }

    #[test]
    fn an_announced_length_allocates_next_to_nothing() {
        let pool = Pool::default();
        for hint in [1 << 20, 1 << 30, usize::MAX] {
            assert!(pool.take(hint).capacity() <= GROWTH_BYTES_MIN);
        }
    }

    #[test]
    fn a_large_buffer_goes_to_the_message_it_fits() {
        let pool = Pool::default();
        drop_into(&pool, 1 << 20);
        drop_into(&pool, 64 << 20);
        let (first, second, third) = (pool.take(1 << 18), pool.take(1 << 18), pool.take(60 << 20));
        assert!(first.capacity() < 2 << 20);
        assert!(second.capacity() <= GROWTH_BYTES_MIN, "64 MiB is left alone");
        assert!(third.capacity() >= 60 << 20);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let pool = Pool::default();
        for _ in 0..600 {
            drop_into(&pool, 1 << 20);
        }
        assert!(pool.idle_bytes() <= IDLE_BYTES_MAX);
        drop_into(&pool, IDLE_BYTES_MAX + 1);
        assert_eq!((large(&pool), pool.idle_bytes()), (1, IDLE_BYTES_MAX + 1), "one alone");
        drop_into(&pool, 1 << 20);
        assert_eq!((large(&pool), pool.idle_bytes()), (1, 1 << 20), "the coldest goes");
        drop(pool.adopt(Vec::new()));
        assert_eq!(pool.idle_bytes() % (1 << 20), 0);
    }

    #[test]
    fn trim_frees_what_was_not_needed() {
        let pool = Pool::default();
        (0..3).for_each(|_| drop_into(&pool, 1 << 20));
        (0..3).for_each(|_| drop_into(&pool, 1 << 10));
        pool.trim();
        let busy = pool.take(1 << 20);
        drop(busy);
        pool.trim();
        assert_eq!((large(&pool), pool.0.borrow().small.len()), (1, 0));
        assert_eq!(pool.idle_bytes(), 1 << 20);
    }
}
