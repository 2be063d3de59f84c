//! Panics of tasks, which the runtime keeps to itself.

use std::any::Any;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use ::tokio::task::JoinHandle;

use crate::wire::{Alarm, WorkerCounts};

/// Waits for a panic in one of `tasks`, none of which ends before the shutdown.
pub(super) async fn first_panic(tasks: &mut [JoinHandle<()>]) -> Box<dyn Any + Send> {
    poll_fn(|cx| {
        let mut ended = tasks.iter_mut().map(|task| Pin::new(task).poll(cx));
        let failed = ended.find_map(|ended| match ended {
            Poll::Ready(Err(error)) => Some(error),
            _ => None,
        });
        failed.map_or(Poll::Pending, |error| Poll::Ready(error.into_panic()))
    })
    .await
}

/// Tells of a panic in the task of a connection, which the runtime would keep to itself.
pub(super) struct PanicAlarm(pub(super) &'static WorkerCounts);

impl Drop for PanicAlarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.alarm(Alarm::Panicked);
            self.0.closed.add(1);
        }
    }
}
