//! Jobs of a worker on the ring. Another thread runs them, and a bell tells the ring of their end.
//!
//! ```text
//! job thread:  waker ──▶ list of ends, then the bell ──▶ Watch completes
//! worker:      silences the bell, then takes the list ──▶ Connected::resume, wakers of tasks
//! ```
//! A worker without jobs has no bell. The bell is watched from the first job on.

use std::cell::Cell;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use super::op::Key;
use crate::driver::jobs::JobRunner;
use crate::driver::planted_bugs::{PlantedBug, is_planted};
use crate::wire::Job;

/// Descriptor that any thread can make readable.
pub trait Bell: Send + Sync {
    /// Makes the descriptor at the first call.
    fn open(&self) -> io::Result<RawFd>;

    fn ring(&self);

    /// Makes the descriptor unreadable until the next ring.
    fn silence(&self);
}

/// Party that waits for a job.
#[derive(Clone)]
pub(super) enum Waiting {
    Connection(Key),
    Task(Waker),
}

pub(super) struct Jobs {
    runner: Rc<dyn JobRunner>,
    ends: Arc<Ends>,
    is_watched: Cell<bool>,
    /// Bell to watch.
    to_watch: Cell<Option<RawFd>>,
}

struct Ends {
    waiting: Mutex<Vec<Waiting>>,
    bell: Arc<dyn Bell>,
}

struct EndWaker {
    ends: Arc<Ends>,
    waiting: Waiting,
}

impl Jobs {
    pub(super) fn new(runner: Rc<dyn JobRunner>, bell: Arc<dyn Bell>) -> Jobs {
        let ends = Arc::new(Ends { waiting: Mutex::default(), bell });
        Jobs { runner, ends, is_watched: Cell::new(false), to_watch: Cell::new(None) }
    }

    /// Runs a job, elsewhere if possible. Returns false if it has ended already.
    pub(super) fn start(&self, job: Job) -> bool {
        let Ok(bell) = self.ends.bell.open() else {
            job.run();
            return false;
        };
        if !self.is_watched.replace(true) {
            self.to_watch.set(Some(bell));
        }
        self.runner.start(job);
        true
    }

    pub(super) fn is_busy(&self) -> bool {
        self.runner.is_busy()
    }

    /// Makes a waker for the thread that runs jobs.
    pub(super) fn waker(&self, waiting: Waiting) -> Waker {
        Waker::from(Arc::new(EndWaker { ends: Arc::clone(&self.ends), waiting }))
    }

    /// Returns the bell if it is to be watched now.
    #[inline]
    pub(super) fn take_watch(&self) -> Option<RawFd> {
        self.to_watch.take()
    }

    /// Notes that the watch has completed.
    pub(super) fn rang(&self) {
        self.ends.bell.silence();
        if !is_planted(PlantedBug::BellForgotten) {
            self.to_watch.set(self.ends.bell.open().ok());
        }
    }

    /// Takes those whose jobs have ended.
    pub(super) fn take_ended(&self) -> Vec<Waiting> {
        std::mem::take(&mut *self.ends.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Wake for EndWaker {
    fn wake(self: Arc<EndWaker>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<EndWaker>) {
        let mut waiting = self.ends.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(self.waiting.clone());
        drop(waiting);
        self.ends.bell.ring();
    }
}
