//! Promise: the thread of a worker runs its jobs in order, and ends with the worker.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::driver::jobs::{JobRunner as _, JobThread};
use crate::sys::affinity;
use crate::wire::{Detached, Job, PendingJob, Pool, Refused, Response, Slice, Work, job};

/// Number of a job, and the cores on which it runs.
type Begun = (usize, Vec<usize>);

/// Work that tells of its begin, and waits for permission to end.
struct Step {
    number: usize,
    begun: Mutex<Sender<Begun>>,
    may_end: Arc<Mutex<Receiver<()>>>,
}

impl Work for Step {
    fn run(
        &self,
        _message: &mut Detached,
        _scratch: &mut Vec<u8>,
        _out: &mut Vec<u8>,
    ) -> Result<Response, Refused> {
        let begun = self.begun.lock().expect("no panic with it");
        begun.send((self.number, affinity::cores())).expect("the test listens");
        // An error means that the test permits all.
        let _ = self.may_end.lock().expect("no panic with it").recv();
        Ok(Response { content_type: "", head_len: 0, payload: 0..0 })
    }
}

struct Case {
    pool: Pool,
    begun: (Sender<Begun>, Receiver<Begun>),
    permits: Option<Sender<()>>,
    may_end: Arc<Mutex<Receiver<()>>>,
}

impl Case {
    fn new() -> Case {
        let (permits, may_end) = channel();
        let (permits, may_end) = (Some(permits), Arc::new(Mutex::new(may_end)));
        Case { pool: Pool::default(), begun: channel(), permits, may_end }
    }

    fn job(&self, number: usize) -> (Job, PendingJob) {
        let (begun, may_end) = (Mutex::new(self.begun.0.clone()), Arc::clone(&self.may_end));
        let work = Step { number, begun, may_end };
        job::job(Box::new(work), Slice::default(), self.pool.take(0), &self.pool)
    }

    fn next_begun(&self) -> Begun {
        self.begun.1.recv().expect("it begins")
    }
}

/// Waits for at most twenty seconds.
fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it takes too long");
}

#[test]
fn jobs_run_in_order_on_the_core_of_their_worker() {
    let worker = thread::spawn(|| {
        let core = affinity::cores()[0];
        affinity::pin(core).expect("it is allowed");
        let (mut case, thread) = (Case::new(), JobThread::default());
        let pending: Vec<PendingJob> = (0..3)
            .map(|number| {
                let (job, pending) = case.job(number);
                thread.start(job);
                pending
            })
            .collect();
        assert!(thread.is_busy());
        case.permits = None;
        for number in 0..3 {
            assert_eq!(case.next_begun(), (number, vec![core]));
        }
        until(|| !thread.is_busy());
        drop(thread);
        pending.into_iter().all(|mut pending| pending.take().is_some())
    });
    assert!(worker.join().expect("no panic"), "all have ended");
}

#[test]
fn the_end_of_a_worker_does_not_wait_for_a_job_that_runs() {
    let (mut case, thread) = (Case::new(), JobThread::default());
    let (running, mut pending) = case.job(1);
    let (waiting, mut never) = case.job(2);
    thread.start(running);
    thread.start(waiting);
    assert_eq!(case.next_begun().0, 1);
    drop(thread);
    assert!(pending.take().is_none(), "the job waits for its permit");
    case.permits = None;
    until(|| pending.take().is_some());
    assert!(never.take().is_none(), "the end dropped what waited");
}
