//! The two steps of a worker's shutdown.
//!
//! ```text
//! owner                 worker                          connections, borrowed stacks
//! drop(Stopper) ─EOF─▶ StopSignal readable ─set─▶ ShutdownFlag ─wakes─▶ drain
//! ```
//! [`StopSignal`] is a socket, so that a ring and an epoll set can both wait for it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Worker's end: end of file stops the worker.
#[derive(Debug)]
pub struct StopSignal(UnixStream);

/// Owner's end: dropping it stops the worker.
#[derive(Debug)]
pub struct Stopper(#[expect(dead_code, reason = "held only to be dropped")] UnixStream);

pub fn stop_signal() -> std::io::Result<(Stopper, StopSignal)> {
    let (ours, theirs) = UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    Ok((Stopper(ours), StopSignal(theirs)))
}

impl StopSignal {
    pub fn into_stream(self) -> UnixStream {
        self.0
    }
}

/// One-shot flag of a worker; late waiters resolve at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShutdownFlag(Rc<State>);

#[derive(Debug, Default)]
struct State {
    is_set: Cell<bool>,
    waiters: RefCell<BTreeMap<u64, Waker>>,
    waiter_count: Cell<u64>,
}

impl ShutdownFlag {
    pub(crate) fn set(&self) {
        self.0.is_set.set(true);
        let waiters = std::mem::take(&mut *self.0.waiters.borrow_mut());
        waiters.into_values().for_each(Waker::wake);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.is_set.get()
    }

    pub(crate) fn wait(&self) -> ShutdownWait {
        let id = self.0.waiter_count.get();
        self.0.waiter_count.set(id + 1);
        ShutdownWait { flag: self.clone(), id, waker: None }
    }
}

#[derive(Debug)]
pub(crate) struct ShutdownWait {
    flag: ShutdownFlag,
    id: u64,
    /// Waker of the last poll, of which the flag has a copy.
    waker: Option<Waker>,
}

impl Future for ShutdownWait {
    type Output = ();

    fn poll(mut self: Pin<&mut ShutdownWait>, cx: &mut Context<'_>) -> Poll<()> {
        if self.flag.is_set() {
            return Poll::Ready(());
        }
        // A connection polls this at every event, and nearly always with the same waker.
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            self.flag.0.waiters.borrow_mut().insert(self.id, cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for ShutdownWait {
    fn drop(&mut self) {
        self.flag.0.waiters.borrow_mut().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[test]
    fn early_and_late_waiters_resolve_and_dropped_ones_are_forgotten() {
        let flag = ShutdownFlag::default();
        let mut cx = Context::from_waker(Waker::noop());
        let (mut early, mut dropped) = (flag.wait(), flag.wait());
        assert!(Pin::new(&mut early).poll(&mut cx).is_pending());
        assert!(Pin::new(&mut dropped).poll(&mut cx).is_pending());
        drop(dropped);
        assert_eq!(flag.0.waiters.borrow().len(), 1);
        flag.set();
        assert!(Pin::new(&mut early).poll(&mut cx).is_ready());
        assert!(Pin::new(&mut flag.wait()).poll(&mut cx).is_ready());
    }

    #[test]
    fn a_waiter_that_moves_to_another_task_wakes_that_one() {
        let flag = ShutdownFlag::default();
        let tasks = [(); 2].map(|()| Arc::new(Woken::default()));
        let wakers = tasks.clone().map(Waker::from);
        let mut wait = flag.wait();
        for waker in [&wakers[0], &wakers[0], &wakers[1]] {
            assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(waker)).is_pending());
        }
        flag.set();
        assert_eq!(tasks.each_ref().map(|task| task.0.load(Ordering::Relaxed)), [0, 1]);
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Woken>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
