//! Sleep for a task that polls it at every event, and nearly always with the same waker.
//!
//! The runtime is asked by the first poll for a waker, and by the one after it has woken. Tokio's
//! own sleep registers the waker anew at each poll, by two locked instructions.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

pub(crate) struct Sleep {
    sleep: Pin<Box<::tokio::time::Sleep>>,
    bell: Option<Arc<Bell>>,
}

/// Waker that the runtime gets. It wakes the task.
struct Bell {
    task: Waker,
    has_rung: AtomicBool,
}

impl Sleep {
    pub(crate) fn new(at: Instant) -> Sleep {
        Sleep { sleep: Box::pin(::tokio::time::sleep_until(at.into())), bell: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        if self.bell.as_ref().is_some_and(|bell| bell.is_set_for(cx.waker())) {
            return Poll::Pending;
        }
        let bell = Arc::new(Bell { task: cx.waker().clone(), has_rung: AtomicBool::new(false) });
        self.bell = Some(Arc::clone(&bell));
        let polled = self.sleep.as_mut().poll(&mut Context::from_waker(&bell.into()));
        if polled.is_ready() {
            self.bell = None;
        }
        polled
    }
}

impl Bell {
    /// Returns true if the bell is still to ring, for `task`.
    fn is_set_for(&self, task: &Waker) -> bool {
        !self.has_rung.load(Ordering::Acquire) && self.task.will_wake(task)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Bell>) {
        self.has_rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Task>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn the_last_waker_is_woken_and_the_end_is_seen_once_it_is_there() {
        let tasks: [Arc<Task>; 2] = Default::default();
        let wakers = tasks.clone().map(Waker::from);
        let woken = || tasks.each_ref().map(|task| task.0.load(Ordering::Relaxed));
        let mut sleep = Sleep::new(Instant::now() + Duration::from_millis(20));
        let mut poll = |waker: usize| {
            Pin::new(&mut sleep).poll(&mut Context::from_waker(&wakers[waker])).is_ready()
        };
        // The runtime's timers stand still until the first await.
        assert!(!poll(0) && !poll(0) && !poll(1) && !poll(1));
        while woken() == [0, 0] {
            ::tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(woken(), [0, 1]);
        assert!(poll(1) && poll(1));
    }
}
