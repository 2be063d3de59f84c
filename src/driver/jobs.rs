//! Thread for long work of a worker, so that one message does not hold up the others.
//!
//! ```text
//! worker ── start ──▶ queue ──▶ thread, on the worker's core ── waker ──▶ worker
//! ```
//! A worker starts its thread with its first job. The thread inherits the core, and the kernel
//! divides it: the worker sleeps most of the time, so it gets the core soon after each event. Jobs
//! run one after the other. Memory bounds their number, since each holds its message.
//!
//! The drop drops jobs that wait. It waits for the thread unless a job runs: the end of a worker
//! has a deadline, and a job has none. The thread ends after such a job.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SendError, Sender};
use std::task::Waker;
use std::thread::{self, JoinHandle};

use crate::wire::Job;

/// Runner of the jobs of one worker, on whose thread it is called.
pub trait JobRunner {
    /// Runs a job elsewhere, or at once if that is not possible.
    fn start(&self, job: Job);

    /// Returns true while jobs wait or run.
    fn is_busy(&self) -> bool;

    /// Makes a waker for another thread that wakes `waker` on the worker.
    fn waker(&self, waker: &Waker) -> Waker {
        waker.clone()
    }
}

/// Runner on the worker's own thread, for measurements without a second thread.
#[derive(Debug, Default)]
pub(crate) struct Inline;

#[derive(Debug, Default)]
pub(crate) struct JobThread {
    running: RefCell<Option<Running>>,
    /// Jobs that have not ended.
    unfinished: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Running {
    queue: Sender<Job>,
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl JobRunner for Inline {
    fn start(&self, job: Job) {
        job.run();
    }

    fn is_busy(&self) -> bool {
        false
    }
}

impl JobRunner for JobThread {
    fn start(&self, job: Job) {
        let mut running = self.running.borrow_mut();
        if running.is_none() {
            *running = Running::start(Arc::clone(&self.unfinished)).ok();
        }
        let Some(running) = &*running else { return job.run() };
        self.unfinished.fetch_add(1, Ordering::Relaxed);
        if let Err(SendError(job)) = running.queue.send(job) {
            self.unfinished.fetch_sub(1, Ordering::Relaxed);
            job.run();
        }
    }

    fn is_busy(&self) -> bool {
        self.unfinished.load(Ordering::Relaxed) > 0
    }
}

impl Running {
    fn start(unfinished: Arc<AtomicUsize>) -> std::io::Result<Running> {
        let (queue, jobs) = mpsc::channel();
        let stopped = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stopped);
        let name = format!("{}-job", thread::current().name().unwrap_or("worker"));
        let work = move || run(&jobs, &is_stopped, &unfinished);
        let thread = thread::Builder::new().name(name).spawn(work)?;
        Ok(Running { queue, stopped, thread })
    }
}

fn run(jobs: &Receiver<Job>, is_stopped: &AtomicBool, unfinished: &AtomicUsize) {
    for job in jobs {
        if !is_stopped.load(Ordering::Relaxed) {
            job.run();
        }
        unfinished.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for JobThread {
    fn drop(&mut self) {
        if let Some(Running { queue, stopped, thread }) = self.running.take() {
            stopped.store(true, Ordering::Relaxed);
            drop(queue);
            if self.unfinished.load(Ordering::Relaxed) == 0 {
                // A panic of the thread was told by Rust when it happened.
                let _ = thread.join();
            }
        }
    }
}
