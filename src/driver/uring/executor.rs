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

use super::op::Key;
use crate::driver::WorkerHandle;
use crate::driver::shutdown::ShutdownFlag;
use crate::wire::Pool;

pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

pub(super) struct Executor {
    pub(super) pool: Pool,
    pub(super) shutdown: ShutdownFlag,
    /// Read once per turn.
    now: Cell<Instant>,
    touched: RefCell<Vec<Key>>,
    sleepers: RefCell<BTreeMap<(Instant, u64), Waker>>,
    sleeper_count: Cell<u64>,
    spawned: RefCell<Vec<Task>>,
    woken: Arc<Flag>,
}

impl Executor {
    pub(super) fn new(now: Instant, pool: Pool) -> Rc<Executor> {
        Rc::new(Executor {
            pool,
            shutdown: ShutdownFlag::default(),
            now: Cell::new(now),
            touched: RefCell::default(),
            sleepers: RefCell::default(),
            sleeper_count: Cell::default(),
            spawned: RefCell::default(),
            woken: Arc::default(),
        })
    }

    pub(super) fn worker_handle(self: &Rc<Executor>) -> WorkerHandle {
        let executor = Rc::clone(self);
        let sleep = move |at| Box::pin(Sleep::new(&executor, at)) as Task;
        WorkerHandle::new(sleep, self.shutdown.clone())
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

    pub(super) fn next_sleeper(&self) -> Option<Instant> {
        self.sleepers.borrow().first_key_value().map(|(&(at, _), _)| at)
    }

    pub(super) fn tick(&self, now: Instant) {
        self.now.set(now);
        let mut sleepers = self.sleepers.borrow_mut();
        while let Some(first) = sleepers.first_entry().filter(|first| first.key().0 <= now) {
            first.remove().wake();
        }
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
}

impl Sleep {
    fn new(executor: &Rc<Executor>, at: Instant) -> Sleep {
        let id = executor.sleeper_count.get();
        executor.sleeper_count.set(id + 1);
        Sleep { executor: Rc::clone(executor), slot: (at, id) }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        if self.slot.0 <= self.executor.now.get() {
            return Poll::Ready(());
        }
        self.executor.sleepers.borrow_mut().insert(self.slot, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.executor.sleepers.borrow_mut().remove(&self.slot);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn tasks_run_when_woken_and_sleep_until_their_time() {
        let begin = Instant::now();
        let executor = Executor::new(begin, Pool::default());
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
        let executor = Executor::new(Instant::now(), Pool::default());
        let worker = executor.worker_handle();
        let mut sleep = Box::pin(worker.sleep_until(Instant::now() + Duration::from_secs(9)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut cx).is_pending());
        drop(sleep);
        assert_eq!(executor.next_sleeper(), None);
    }
}
