//! Account of the memory that peers make a process hold.
//!
//! Held is what belongs to a connection: capacities of bodies that arrive and of responses until
//! they are sent, and the tables of streams. The idle buffers of a pool count for the process,
//! since they are memory, until a shortage frees them. Announced lengths do not count.
//!
//! ```text
//! Account of a connection ─┐
//! Account of a connection ─┴▶ WorkerMemory ──each CHUNK_BYTES──▶ MemoryBudget of the process
//! ```
//! | held by the process | level | effect |
//! |---|---|---|
//! | up to 75 % of the budget | [`Level::Calm`] | |
//! | over 75 % | [`Level::Tight`] | one connection of a worker at a time reads a body |
//! | over 90 % | [`Level::Full`] | new bodies are refused |
//! | over 100 % | [`Level::Over`] | the connection that holds most is dropped |
//!
//! A buffer that goes back to its pool and is taken again changes nothing here but the account of
//! its connection. So a worker in steady state needs no atomic operation.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::wire::counts::{Limit, WorkerCounts};
use crate::wire::progress::{Pace, Progress};

/// Change of a worker's memory that its process learns at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Pace at which the one connection that reads must go on; else another one may.
const TURN_PACE: Pace = Pace { gap: Duration::from_millis(250), rate_min: 1024 * 1024 };

/// Time after which a connection is dropped if others wait and no memory was given back, and bytes
/// that must be received in this time otherwise.
const STARVED_TIME: Duration = Duration::from_secs(3);
const STARVED_BYTES: usize = 3 * 1024 * 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    #[default]
    Calm,
    Tight,
    Full,
    Over,
}

/// Memory of a process for its peers, shared by its workers.
#[derive(Debug)]
pub struct MemoryBudget {
    bytes: AtomicUsize,
    peak_bytes: AtomicUsize,
    bytes_max: usize,
    connection_bytes_max: usize,
    workers: usize,
}

/// Memory that counts for the process until it is dropped.
#[derive(Debug)]
pub(crate) struct HeldBytes {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

/// Memory of one worker.
#[derive(Debug)]
pub(super) struct WorkerMemory {
    budget: Arc<MemoryBudget>,
    counts: &'static WorkerCounts,
    /// Part of the budget for each worker.
    part_bytes: usize,
    bytes: Cell<usize>,
    published_bytes: Cell<usize>,
    level: Cell<Level>,
    turn: Cell<Option<Turn>>,
    wait: Cell<Option<Wait>>,
    /// True once a wait has been too long.
    is_starved: Cell<bool>,
}

/// Right of one connection to read a body while memory is tight.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// Address of its account.
    account: usize,
    progress: Progress,
}

/// Wait of connections for memory: its beginning, and the memory of the worker then.
#[derive(Clone, Copy, Debug)]
struct Wait {
    since: Instant,
    seen: Instant,
    bytes: usize,
}

/// Memory of one connection, or what belongs to a worker.
#[derive(Debug)]
pub(super) struct Account {
    worker: Rc<WorkerMemory>,
    bytes: Cell<usize>,
    bytes_max: usize,
    is_dropped: Cell<bool>,
}

impl MemoryBudget {
    pub fn new(bytes_max: usize, connection_bytes_max: usize, workers: usize) -> MemoryBudget {
        let (bytes, peak_bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        MemoryBudget { bytes, peak_bytes, bytes_max, connection_bytes_max, workers }
    }

    /// Returns the bytes that all workers hold, up to some tens of KiB of each.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn peak_bytes(&self) -> usize {
        self.peak_bytes.load(Ordering::Relaxed)
    }

    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Holds memory for work on any thread, which no connection and no worker counts.
    pub(crate) fn hold(self: &Arc<MemoryBudget>, bytes: usize) -> HeldBytes {
        self.add(bytes);
        HeldBytes { budget: Arc::clone(self), bytes }
    }

    /// Holds memory for work on any thread, unless the process would then hold so much that it
    /// takes no new bodies.
    pub(crate) fn try_hold(self: &Arc<MemoryBudget>, bytes: usize) -> Option<HeldBytes> {
        let held = self.hold(bytes);
        (self.level(self.bytes()) < Level::Full).then_some(held)
    }

    fn add(&self, change: usize) -> usize {
        let bytes = self.bytes.fetch_add(change, Ordering::Relaxed).wrapping_add(change);
        self.peak_bytes.fetch_max(bytes, Ordering::Relaxed);
        bytes
    }

    fn level(&self, bytes: usize) -> Level {
        let part = |percent: usize| self.bytes_max / 100 * percent;
        match bytes {
            bytes if bytes > self.bytes_max => Level::Over,
            bytes if bytes > part(90) => Level::Full,
            bytes if bytes > part(75) => Level::Tight,
            _ => Level::Calm,
        }
    }
}

impl Default for MemoryBudget {
    /// Makes a budget without a limit, for a client or a test.
    fn default() -> MemoryBudget {
        MemoryBudget::new(usize::MAX, usize::MAX, 1)
    }
}

impl WorkerMemory {
    pub(super) fn new(budget: Arc<MemoryBudget>, counts: &'static WorkerCounts) -> WorkerMemory {
        WorkerMemory {
            part_bytes: budget.bytes_max / budget.workers.max(1),
            budget,
            counts,
            bytes: Cell::new(0),
            published_bytes: Cell::new(0),
            level: Cell::default(),
            turn: Cell::new(None),
            wait: Cell::new(None),
            is_starved: Cell::new(false),
        }
    }

    pub(super) fn budget(&self) -> &Arc<MemoryBudget> {
        &self.budget
    }

    /// Adds a change, which wraps if it is negative. Returns true if the level has risen.
    pub(super) fn add(&self, change: usize) -> bool {
        self.bytes.set(self.bytes.get().wrapping_add(change));
        self.bytes.get().abs_diff(self.published_bytes.get()) >= CHUNK_BYTES && self.publish()
    }

    #[cold]
    fn publish(&self) -> bool {
        let bytes = self.bytes.get();
        let change = bytes.wrapping_sub(self.published_bytes.replace(bytes));
        let level = self.budget.level(self.budget.add(change));
        self.level.replace(level) < level
    }

    /// Learns the changes of other workers.
    pub(super) fn refresh(&self) {
        self.level.set(self.budget.level(self.budget.bytes()));
    }

    pub(super) fn level(&self) -> Level {
        self.level.get()
    }

    /// Returns the most bytes of idle buffers: an eighth of the worker's part of the budget.
    pub(super) fn idle_bytes_max(&self) -> usize {
        self.part_bytes / 8
    }

    /// Returns true if this worker has to drop a connection: the process holds too much, and this
    /// worker at least its part of that; or a wait was too long.
    #[inline]
    pub(super) fn must_drop(&self) -> bool {
        self.is_starved.get() || self.level.get() == Level::Over && self.holds_its_part()
    }

    /// Returns true if this worker holds its part of the budget, or more.
    pub(super) fn holds_its_part(&self) -> bool {
        self.bytes.get() >= self.part_bytes
    }

    /// Returns the bytes to free.
    pub(super) fn excess(&self) -> usize {
        let over = self.budget.bytes().saturating_sub(self.budget.bytes_max);
        if self.is_starved.replace(false) { over.max(1) } else { over }
    }

    /// Judges a wait for memory that goes on.
    fn judge_wait(&self, now: Instant) {
        let bytes = self.bytes.get();
        let goes_on = |wait: &Wait| {
            let is_same = now.saturating_duration_since(wait.seen) < STARVED_TIME;
            is_same && bytes + CHUNK_BYTES > wait.bytes && bytes < wait.bytes + STARVED_BYTES
        };
        let begun = Wait { since: now, seen: now, bytes };
        let wait = self.wait.get().filter(goes_on).unwrap_or(begun);
        if now.saturating_duration_since(wait.since) < STARVED_TIME {
            return self.wait.set(Some(Wait { seen: now, ..wait }));
        }
        self.wait.set(None);
        self.is_starved.set(true);
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.budget.add(self.bytes.wrapping_neg());
    }
}

impl Drop for WorkerMemory {
    fn drop(&mut self) {
        self.budget.add(self.published_bytes.get().wrapping_neg());
    }
}

impl Account {
    pub(super) fn new(worker: Rc<WorkerMemory>) -> Account {
        let bytes_max = worker.budget.connection_bytes_max;
        Account { worker, bytes: Cell::new(0), bytes_max, is_dropped: Cell::new(false) }
    }

    pub(super) fn worker(&self) -> &Rc<WorkerMemory> {
        &self.worker
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Adds a change, which wraps if it is negative.
    #[inline]
    pub(super) fn add(&self, change: usize) {
        self.bytes.set(self.bytes.get().wrapping_add(change));
    }

    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.bytes.get() > self.bytes_max
    }

    /// Returns true once half of the limit is free again.
    pub(super) fn has_room(&self) -> bool {
        self.bytes.get() <= self.bytes_max / 2
    }

    /// Returns true, and counts it, if no new body is taken.
    pub(super) fn refuses_body(&self) -> bool {
        let is_full = self.worker.level() >= Level::Full;
        let refuses = is_full || self.is_over();
        if refuses {
            self.hit(if is_full { Limit::Memory } else { Limit::ConnectionMemory });
        }
        refuses
    }

    pub(super) fn hit(&self, limit: Limit) {
        self.worker.counts.hit(limit);
    }

    /// Marks the connection as one that is dropped.
    pub(super) fn set_dropped(&self) {
        self.is_dropped.set(true);
    }

    #[inline]
    pub(super) fn is_dropped(&self) -> bool {
        self.is_dropped.get()
    }

    /// Takes the turn to read, or keeps it; returns false while another connection has it.
    pub(super) fn take_turn(&self, now: Instant) -> bool {
        let turn = self.worker.turn.get().filter(|turn| turn.progress.due() > now);
        let is_ours = turn.is_none_or(|turn| turn.account == self.address());
        if turn.is_none() {
            let progress = Progress::start(TURN_PACE, now);
            self.worker.turn.set(Some(Turn { account: self.address(), progress }));
        }
        is_ours
    }

    /// Notes `bytes` that this connection has received.
    pub(super) fn continue_turn(&self, bytes: usize, now: Instant) {
        if let Some(mut turn) = self.worker.turn.get()
            && turn.account == self.address()
        {
            turn.progress.moved(bytes, TURN_PACE, now);
            self.worker.turn.set(Some(turn));
        }
    }

    pub(super) fn end_turn(&self) {
        if self.worker.turn.get().is_some_and(|turn| turn.account == self.address()) {
            self.worker.turn.set(None);
        }
    }

    pub(super) fn wait(&self, now: Instant) {
        self.worker.judge_wait(now);
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl Drop for Account {
    /// Another account may get the same address.
    fn drop(&mut self) {
        self.end_turn();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn worker(budget: &Arc<MemoryBudget>) -> Rc<WorkerMemory> {
        Rc::new(WorkerMemory::new(Arc::clone(budget), WorkerCounts::of_worker()))
    }

    #[test]
    fn levels_follow_what_all_workers_hold() {
        let budget = Arc::new(MemoryBudget::new(100 * MIB, 100 * MIB, 2));
        let (first, second) = (worker(&budget), worker(&budget));
        assert!(!first.add(75 * MIB));
        assert_eq!((first.level(), second.level()), (Level::Calm, Level::Calm));
        assert!(second.add(MIB), "over 75 %");
        assert!(!second.add(MIB));
        assert_eq!((first.level(), second.level()), (Level::Calm, Level::Tight));
        first.refresh();
        assert_eq!(first.level(), Level::Tight);
        assert!(first.add(14 * MIB));
        assert_eq!((first.level(), first.must_drop()), (Level::Full, false));
        assert!(first.add(10 * MIB));
        second.refresh();
        assert_eq!((first.level(), second.level()), (Level::Over, Level::Over));
        assert!(first.must_drop() && !second.must_drop(), "the one that holds its part");
        assert_eq!((first.excess(), budget.peak_bytes()), (MIB, 101 * MIB));
        assert!(!first.add(90_usize.wrapping_mul(MIB).wrapping_neg()));
        assert_eq!((first.level(), budget.bytes()), (Level::Calm, 11 * MIB));
        drop((first, second));
        assert_eq!((budget.bytes(), budget.peak_bytes()), (0, 101 * MIB));
    }

    #[test]
    fn one_connection_at_a_time_has_the_turn_while_it_goes_on() {
        let worker = worker(&Arc::new(MemoryBudget::default()));
        let account = || Box::new(Account::new(Rc::clone(&worker)));
        let (first, second) = (account(), account());
        let now = Instant::now();
        let later = |ms: u64| now + Duration::from_millis(ms);
        assert!(first.take_turn(now) && !second.take_turn(now));
        assert!(first.take_turn(later(200)) && !second.take_turn(later(249)));
        first.continue_turn(MIB, later(249));
        assert!(!second.take_turn(later(251)));
        first.continue_turn(1, later(490));
        assert!(second.take_turn(later(500)), "a byte is too little");
        assert!(!first.take_turn(later(501)));
        first.end_turn();
        assert!(!first.take_turn(later(501)), "it was not its own");
        second.end_turn();
        assert!(first.take_turn(later(501)));
        drop(first);
        assert!(second.take_turn(later(502)), "the turn ends with its connection");
    }

    #[test]
    fn a_wait_without_memory_given_back_is_too_long_once() {
        let worker = worker(&Arc::new(MemoryBudget::default()));
        let account = Account::new(Rc::clone(&worker));
        let mut now = Instant::now();
        let mut starved_after = |steps: usize, change: usize| {
            worker.is_starved.set(false);
            (1..=steps).find(|_| {
                now += Duration::from_millis(100);
                worker.add(change);
                account.wait(now);
                worker.must_drop()
            })
        };
        assert_eq!(starved_after(60, 0), Some(31));
        assert_eq!(starved_after(60, 1000), Some(31), "next to nothing was received");
        assert_eq!(starved_after(60, MIB), None, "it goes on");
        assert_eq!(starved_after(60, MIB.wrapping_neg()), None, "memory comes back");
        assert_eq!((worker.excess(), worker.must_drop()), (0, false));
    }

    #[test]
    fn a_connection_over_its_part_takes_no_more_bodies() {
        let budget = Arc::new(MemoryBudget::new(100 * MIB, 10 * MIB, 1));
        let worker = worker(&budget);
        let account = Account::new(Rc::clone(&worker));
        account.add(10 * MIB);
        assert!(!account.refuses_body() && !account.has_room());
        account.add(1);
        assert!(account.refuses_body());
        let count = |limit: Limit| {
            let mut counts = worker.counts.limits();
            counts.find(|(of, _)| *of == limit).map(|(_, count)| count)
        };
        assert_eq!([Limit::Memory, Limit::ConnectionMemory].map(count), [Some(0), Some(1)]);
        worker.add(91 * MIB);
        assert!(account.refuses_body());
        assert_eq!([Limit::Memory, Limit::ConnectionMemory].map(count), [Some(1), Some(1)]);
        account.add((5 * MIB + 1).wrapping_neg());
        assert!(account.has_room());
    }
}
