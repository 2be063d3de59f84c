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
use std::sync::Arc;
use std::time::Instant;

use super::account::{Account, Level, MemoryBudget, WorkerMemory};
use crate::wire::counts::{Limit, WorkerCounts};

/// Most idle bytes; beyond, the coldest buffers are freed. One buffer may exceed the limit alone,
/// so that messages of any size find theirs again.
const IDLE_BYTES_MAX: usize = 256 * 1024 * 1024;

const SMALL_BYTES_MAX: usize = 128 * 1024;
const KEPT_BYTES_MIN: usize = 512;
pub(super) const GROWTH_BYTES_MIN: usize = 64 * 1024;

/// Number of large buffers, from the top, that are searched.
const FIT_SEARCH_MAX: usize = 32;

/// Largest ratio of a buffer to the length asked for; a larger buffer waits for a larger message.
pub(super) const FIT_SLACK_MAX: usize = 8;

/// Buffers of a worker, and the account of one connection that holds some of them.
#[derive(Clone, Debug)]
pub struct Pool(Rc<Holder>);

#[derive(Debug)]
struct Holder {
    idle: Rc<RefCell<Idle>>,
    account: Account,
}

/// Owner that returns its buffer to the pool when dropped, unless made from a `Vec`. The capacity
/// counts as held by the pool's connection, from the last [`PooledBuf::settle`] on.
#[derive(Debug, Default)]
pub struct PooledBuf {
    bytes: Vec<u8>,
    pool: Option<Pool>,
    charged: usize,
}

/// Memory of a connection outside of the buffers of its pool.
#[derive(Debug)]
pub struct Charge {
    pool: Pool,
    bytes: usize,
}

#[derive(Debug)]
struct Idle {
    small: Vec<Vec<u8>>,
    large: VecDeque<Vec<u8>>,
    bytes: usize,
    bytes_max: usize,
    /// Fewest idle since the last trim.
    large_min: usize,
    small_min: usize,
}

impl Pool {
    /// Makes the pool of a worker, which holds memory within `budget`.
    pub fn within(budget: Arc<MemoryBudget>, counts: &'static WorkerCounts) -> Pool {
        let worker = Rc::new(WorkerMemory::new(budget, counts));
        let idle = Idle {
            small: Vec::new(),
            large: VecDeque::new(),
            bytes: 0,
            bytes_max: worker.idle_bytes_max().min(IDLE_BYTES_MAX),
            large_min: 0,
            small_min: 0,
        };
        Pool(Rc::new(Holder { idle: Rc::new(RefCell::new(idle)), account: Account::new(worker) }))
    }

    /// Makes a pool with the same buffers for one connection, which has an account of its own.
    pub fn for_connection(&self) -> Pool {
        let account = Account::new(Rc::clone(self.0.account.worker()));
        Pool(Rc::new(Holder { idle: Rc::clone(&self.0.idle), account }))
    }

    /// Returns an empty buffer, if possible with room for `hint` bytes, a peer's number perhaps.
    pub fn take(&self, hint: usize) -> PooledBuf {
        let idle = self.0.idle.borrow_mut().pop(hint);
        let bytes = idle.unwrap_or_else(|| self.allocate(hint));
        let charged = bytes.capacity();
        self.0.account.add(charged);
        PooledBuf { bytes, pool: Some(self.clone()), charged }
    }

    #[cold]
    fn allocate(&self, hint: usize) -> Vec<u8> {
        let bytes = Vec::with_capacity(hint.min(GROWTH_BYTES_MIN));
        self.resize(bytes.capacity());
        bytes
    }

    /// Makes an owner that gives `bytes` to this pool when dropped.
    pub fn adopt(&self, bytes: Vec<u8>) -> PooledBuf {
        let mut buffer = PooledBuf { bytes, pool: Some(self.clone()), charged: 0 };
        buffer.settle();
        buffer
    }

    /// Returns the account of the process.
    pub(crate) fn budget(&self) -> Arc<MemoryBudget> {
        Arc::clone(self.0.account.worker().budget())
    }

    /// Frees the buffers that were idle since the last call, about a second ago.
    pub fn trim(&self) {
        let freed = self.0.idle.borrow_mut().trim();
        self.resize(freed.wrapping_neg());
        self.refresh();
    }

    /// Returns true if a trim may free memory of this worker, or let it know that it has to.
    pub fn needs_trim(&self) -> bool {
        let worker = self.0.account.worker();
        self.idle_bytes() > 0 || worker.holds_its_part() || worker.level() > Level::Calm
    }

    pub fn idle_bytes(&self) -> usize {
        self.0.idle.borrow().bytes
    }

    /// Makes the account of other memory of this connection, which is 0 at first.
    pub fn charge(&self) -> Charge {
        Charge { pool: self.clone(), bytes: 0 }
    }

    /// Returns the bytes that this connection holds.
    pub fn held_bytes(&self) -> usize {
        self.0.account.bytes()
    }

    /// Returns the shortage of memory, as far as this worker knows.
    #[inline]
    pub fn level(&self) -> Level {
        self.0.account.worker().level()
    }

    /// Learns what other workers hold.
    pub fn refresh(&self) {
        self.0.account.worker().refresh();
        if self.level() >= Level::Tight {
            self.free_idle();
        }
    }

    /// Returns true if this connection may begin no body now; the refusal is counted.
    pub fn refuses_body(&self) -> bool {
        self.0.account.refuses_body()
    }

    /// Counts a limit that this connection has reached.
    pub fn hit(&self, limit: Limit) {
        self.0.account.hit(limit);
    }

    /// Returns true while this connection holds more than its part.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.0.account.is_over()
    }

    pub fn has_room(&self) -> bool {
        self.0.account.has_room()
    }

    /// Takes the turn to read a body while memory is tight; returns false if another connection has
    /// it.
    pub fn take_turn(&self, now: Instant) -> bool {
        self.0.account.take_turn(now)
    }

    pub fn continue_turn(&self, bytes: usize, now: Instant) {
        self.0.account.continue_turn(bytes, now);
    }

    pub fn end_turn(&self) {
        self.0.account.end_turn();
    }

    /// Notes that this connection waits for memory.
    pub fn wait(&self, now: Instant) {
        self.0.account.wait(now);
    }

    /// Returns true if the worker has to drop a connection.
    #[inline]
    pub fn must_drop(&self) -> bool {
        self.0.account.worker().must_drop()
    }

    /// Returns the bytes that the worker has to free by dropping connections.
    pub fn excess_bytes(&self) -> usize {
        self.0.account.worker().excess()
    }

    /// Marks this connection as one that is dropped.
    pub fn set_dropped(&self) {
        self.0.account.set_dropped();
    }

    #[inline]
    pub fn is_dropped(&self) -> bool {
        self.0.account.is_dropped()
    }

    /// Counts a change of memory, which wraps if it is negative.
    fn resize(&self, change: usize) {
        if self.0.account.worker().add(change) {
            self.free_idle();
        }
    }

    fn free_idle(&self) {
        let freed = self.0.idle.borrow_mut().clear();
        self.0.account.worker().add(freed.wrapping_neg());
    }

    /// Takes a buffer that is no longer used.
    fn recycle(&self, bytes: Vec<u8>) {
        let room = bytes.capacity();
        self.0.account.add(room.wrapping_neg());
        let freed =
            if self.level() >= Level::Tight { room } else { self.0.idle.borrow_mut().push(bytes) };
        if freed > 0 {
            self.resize(freed.wrapping_neg());
        }
    }
}

impl Default for Pool {
    fn default() -> Pool {
        Pool::within(Arc::default(), WorkerCounts::unread())
    }
}

impl PooledBuf {
    /// Counts the capacity as it is now.
    #[inline]
    pub fn settle(&mut self) {
        if self.bytes.capacity() != self.charged {
            self.recount();
        }
    }

    /// Returns true while the memory for it is tight.
    pub(super) fn is_tight(&self) -> bool {
        self.pool.as_ref().is_some_and(|pool| pool.level() >= Level::Tight)
    }

    #[cold]
    fn recount(&mut self) {
        let capacity = self.bytes.capacity();
        if let Some(pool) = &self.pool {
            let change = capacity.wrapping_sub(self.charged);
            pool.0.account.add(change);
            pool.resize(change);
        }
        self.charged = capacity;
    }

    /// Takes the bytes out of the pool's care.
    pub fn into_vec(self) -> Vec<u8> {
        self.into_parts().0
    }

    /// Takes the buffer out, and its charge, which [`Charge::own`] joins again.
    pub fn into_parts(mut self) -> (Vec<u8>, Option<Charge>) {
        self.settle();
        let pool = self.pool.take();
        let charge = pool.map(|pool| Charge { pool, bytes: self.charged });
        (std::mem::take(&mut self.bytes), charge)
    }
}

impl Charge {
    /// Changes the memory to `bytes`.
    #[inline]
    pub fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            self.change(bytes);
        }
    }

    #[cold]
    fn change(&mut self, bytes: usize) {
        let change = bytes.wrapping_sub(self.bytes);
        self.pool.0.account.add(change);
        self.pool.resize(change);
        self.bytes = bytes;
    }

    pub(in crate::wire) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes the owner of a buffer that this charge stands for.
    pub fn own(mut self, bytes: Vec<u8>) -> PooledBuf {
        let charged = std::mem::take(&mut self.bytes);
        let mut buffer = PooledBuf { bytes, pool: Some(self.pool.clone()), charged };
        buffer.settle();
        buffer
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Drop for PooledBuf {
    fn drop(&mut self) {
        self.settle();
        if let Some(pool) = &self.pool {
            pool.recycle(std::mem::take(&mut self.bytes));
        }
    }
}

impl From<Vec<u8>> for PooledBuf {
    fn from(bytes: Vec<u8>) -> PooledBuf {
        PooledBuf { charged: bytes.capacity(), bytes, pool: None }
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

    /// Keeps a buffer; returns the bytes that were freed.
    fn push(&mut self, mut buffer: Vec<u8>) -> usize {
        let room = buffer.capacity();
        if room < KEPT_BYTES_MIN {
            return room;
        }
        buffer.clear();
        let mut freed = 0;
        if room > SMALL_BYTES_MAX {
            freed = self.make_way(room);
            self.large.push_back(buffer);
        } else if room <= self.bytes_max.saturating_sub(self.bytes) {
            self.small.push(buffer);
        } else {
            return room;
        }
        self.bytes += room;
        freed
    }

    fn make_way(&mut self, room: usize) -> usize {
        let before = self.bytes;
        while self.bytes.saturating_add(room) > self.bytes_max
            && let Some(coldest) = self.large.pop_front()
        {
            self.bytes -= coldest.capacity();
        }
        before - self.bytes
    }

    /// Frees the buffers that were not needed; returns their bytes.
    fn trim(&mut self) -> usize {
        let cold_large = self.large.drain(..self.large_min.min(self.large.len()));
        let cold_small = self.small.drain(..self.small_min.min(self.small.len()));
        let freed = cold_large.chain(cold_small).map(|cold| cold.capacity()).sum();
        self.bytes -= freed;
        self.large_min = self.large.len();
        self.small_min = self.small.len();
        freed
    }

    /// Frees all buffers; returns their bytes.
    fn clear(&mut self) -> usize {
        self.large = VecDeque::new();
        self.small = Vec::new();
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drop_into(pool: &Pool, capacity: usize) {
        drop(pool.adopt(Vec::with_capacity(capacity)));
    }

    fn large(pool: &Pool) -> usize {
        pool.0.idle.borrow().large.len()
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
        assert_eq!((large(&pool), pool.0.idle.borrow().small.len()), (1, 0));
        assert_eq!(pool.idle_bytes(), 1 << 20);
    }
}
