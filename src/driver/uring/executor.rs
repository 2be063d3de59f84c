//! Tasks, sleepers and changed connections of one worker, shared by its reactor and its streams.
//!
//! Tasks run between the completions of a turn and its sends, so their output leaves in one send
//! per connection. Nothing here waits: the reactor does.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::jobs::{Jobs, Waiting};
use super::op::Key;
use crate::driver::WorkerHandle;
use crate::driver::jobs::JobRunner;
use crate::driver::planted_bugs::{PlantedBug, is_planted};
use crate::driver::shutdown::ShutdownFlag;
use crate::wire::{Job, Pool};

pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

pub(super) struct Executor {
    pub(super) pool: Pool,
    pub(super) shutdown: ShutdownFlag,
    /// Read once per turn.
    now: Cell<Instant>,
    turn: Cell<u64>,
    /// Tasks that go on in the next turn.
    deferred: RefCell<Vec<Waker>>,
    touched: RefCell<Vec<Key>>,
    sleepers: RefCell<BTreeMap<(Instant, u64), Waker>>,
    sleeper_count: Cell<u64>,
    spawned: RefCell<Vec<Task>>,
    woken: Arc<Flag>,
    pub(super) jobs: Jobs,
}

impl Executor {
    pub(super) fn new(now: Instant, pool: Pool, jobs: Jobs) -> Rc<Executor> {
        Rc::new(Executor {
            pool,
            shutdown: ShutdownFlag::default(),
            now: Cell::new(now),
            turn: Cell::default(),
            deferred: RefCell::default(),
            touched: RefCell::default(),
            sleepers: RefCell::default(),
            sleeper_count: Cell::default(),
            spawned: RefCell::default(),
            woken: Arc::default(),
            jobs,
        })
    }

    pub(super) fn worker_handle(self: &Rc<Executor>) -> WorkerHandle {
        let executor = Rc::clone(self);
        let clock = Rc::clone(self);
        let sleep = move |at| Box::pin(Sleep::new(&executor, at)) as Task;
        let jobs = Rc::new(TaskJobs(Rc::clone(self)));
        WorkerHandle::new(move || clock.now.get(), sleep, self.shutdown.clone(), jobs)
    }

    /// Starts a task, polled in this turn or the next one.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.spawned.borrow_mut().push(Box::pin(task));
        self.woken.raise();
    }

    /// Requests [`crate::driver::Connected::resume`] for a connection.
    pub(super) fn touch(&self, key: Key) {
        self.touched.borrow_mut().push(key);
    }

    pub(super) fn take_touched(&self, into: &mut Vec<Key>) {
        into.append(&mut self.touched.borrow_mut());
    }

    /// Runs a job of a connection, and then requests [`crate::driver::Connected::resume`].
    pub(super) fn start_job(&self, key: Key, job: Job) {
        job.wake_at_end(self.jobs.waker(Waiting::Connection(key)));
        self.start(job);
    }

    fn start(&self, job: Job) {
        if !self.jobs.start(job) {
            self.end_jobs();
        }
    }

    /// Tells connections and tasks that their jobs have ended.
    pub(super) fn end_jobs(&self) {
        for waiting in self.jobs.take_ended() {
            match waiting {
                Waiting::Connection(key) => self.touch(key),
                Waiting::Task(waker) => waker.wake(),
            }
            if is_planted(PlantedBug::JobEndsLost) {
                break;
            }
        }
    }

    pub(super) fn next_sleeper(&self) -> Option<Instant> {
        self.sleepers.borrow().first_key_value().map(|(&(at, _), _)| at)
    }

    /// Number of the turn.
    pub(super) fn turn(&self) -> u64 {
        self.turn.get()
    }

    /// Wakes a task in the next turn, which begins without a wait.
    pub(super) fn defer(&self, waker: Waker) {
        self.deferred.borrow_mut().push(waker);
    }

    pub(super) fn has_deferred(&self) -> bool {
        !self.deferred.borrow().is_empty()
    }

    /// Begins a turn.
    pub(super) fn tick(&self, now: Instant) {
        self.now.set(now);
        self.turn.set(self.turn.get() + 1);
        self.deferred.borrow_mut().drain(..).for_each(Waker::wake);
        let mut sleepers = self.sleepers.borrow_mut();
        while let Some(first) = sleepers.first_entry().filter(|first| first.key().0 <= now) {
            first.remove().wake();
        }
    }
}

/// Runner of the jobs of tasks. The waker of a task wakes the worker from its own thread only, so
/// it goes by way of the bell.
struct TaskJobs(Rc<Executor>);

impl JobRunner for TaskJobs {
    fn start(&self, job: Job) {
        self.0.start(job);
    }

    fn is_busy(&self) -> bool {
        self.0.jobs.is_busy()
    }

    fn waker(&self, waker: &Waker) -> Waker {
        self.0.jobs.waker(Waiting::Task(waker.clone()))
    }
}

pub(super) struct Tasks {
    running: FuturesUnordered<Task>,
    waker: Waker,
}

impl Tasks {
    pub(super) fn new(executor: &Executor) -> Tasks {
        Tasks { running: FuturesUnordered::new(), waker: Waker::from(Arc::clone(&executor.woken)) }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn run(&mut self, executor: &Executor) {
        while executor.woken.lower() {
            self.running.extend(executor.spawned.borrow_mut().drain(..));
            let mut cx = Context::from_waker(&self.waker);
            while let Poll::Ready(Some(())) = self.running.poll_next_unpin(&mut cx) {}
        }
    }
}

#[derive(Debug, Default)]
struct Flag(AtomicBool);

impl Flag {
    fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn lower(&self) -> bool {
        // A plain load first: nearly always no task is woken.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Acquire)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Flag>) {
        self.raise();
    }

    fn wake_by_ref(self: &Arc<Flag>) {
        self.raise();
    }
}

struct Sleep {
    executor: Rc<Executor>,
    slot: (Instant, u64),
    /// Waker that the executor has.
    waker: Option<Waker>,
}

impl Sleep {
    fn new(executor: &Rc<Executor>, at: Instant) -> Sleep {
        let id = executor.sleeper_count.get();
        executor.sleeper_count.set(id + 1);
        Sleep { executor: Rc::clone(executor), slot: (at, id), waker: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        if self.slot.0 <= self.executor.now.get() {
            return Poll::Ready(());
        }
        // A task polls its sleeps at every event, and nearly always with the same waker.
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            self.executor.sleepers.borrow_mut().insert(self.slot, cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.executor.sleepers.borrow_mut().remove(&self.slot);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::super::jobs::Bell;
    use super::*;
    use crate::driver::jobs::Inline;

    /// Bell of a worker that has none.
    struct NoBell;

    impl Bell for NoBell {
        fn open(&self) -> std::io::Result<std::os::fd::RawFd> {
            Err(std::io::ErrorKind::Unsupported.into())
        }

        fn ring(&self) {}

        fn silence(&self) {}
    }

    pub(in crate::driver::uring) fn executor(now: Instant) -> Rc<Executor> {
        executor_with(Pool::default(), now)
    }

    pub(in crate::driver::uring) fn executor_with(pool: Pool, now: Instant) -> Rc<Executor> {
        let jobs = Jobs::new(Rc::new(Inline), Arc::new(NoBell));
        Executor::new(now, pool, jobs)
    }

    #[test]
    fn tasks_run_when_woken_and_sleep_until_their_time() {
        let begin = Instant::now();
        let executor = executor(begin);
        let mut tasks = Tasks::new(&executor);
        let steps = Rc::new(Cell::new(0));
        let (worker, inner, seen) =
            (executor.worker_handle(), Rc::clone(&executor), Rc::clone(&steps));
        executor.spawn(async move {
            worker.sleep_until(begin + Duration::from_secs(1)).await;
            seen.set(1);
            inner.spawn(async move { seen.set(2) });
        });
        tasks.run(&executor);
        assert_eq!(executor.next_sleeper(), Some(begin + Duration::from_secs(1)));
        executor.tick(begin + Duration::from_millis(999));
        tasks.run(&executor);
        assert_eq!(steps.get(), 0);
        executor.tick(begin + Duration::from_secs(1));
        tasks.run(&executor);
        assert_eq!(
            (steps.get(), executor.next_sleeper(), tasks.running.is_empty()),
            (2, None, true)
        );
    }

    #[test]
    fn a_dropped_sleep_wakes_nobody() {
        let executor = executor(Instant::now());
        let worker = executor.worker_handle();
        let mut sleep = Box::pin(worker.sleep_until(Instant::now() + Duration::from_secs(9)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut cx).is_pending());
        drop(sleep);
        assert_eq!(executor.next_sleeper(), None);
    }
}
