//! Long work on one message: a machine hands it out as a job, and takes the result later.
//!
//! ```text
//! machine ── Job ──▶ Outbox ──▶ caller ──▶ any thread: Job::run ──┐
//!    └ PendingJob ◀── Machine::jobs_ended ◀── caller ◀── waker ◀──┘
//! ```
//! Both halves share one state. The drop of the machine's half cancels the job: one that waits
//! gives its buffers back at once, and the result of one that runs is dropped on its thread.
//!
//! The buffers of a job count for its connection until it ends. While it runs, the process holds
//! `GROWTH_FACTOR` times the message for what the work may need beyond them; the exact memory
//! counts again at the end. A cancelled job counts until its thread lets go of the buffers.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::buffers::{Charge, Detached, HeldBytes, MemoryBudget, Pool, PooledBuf, Slice};
use super::handler::{Refused, Response, Work};

/// Bytes of scratch and response for each byte of a message. A JSON list of short numbers needs
/// 1.1 for the numbers and 1 for the response.
const GROWTH_FACTOR: usize = 2;

/// Part of a message's length that the scratch should have room for: less room than the response
/// needs, so that a pool does not give the buffer of one for the other.
const SCRATCH_PART: usize = 4;

/// Half of a job for the thread that runs it.
#[derive(Debug)]
pub struct Job(Arc<Shared>);

/// Half of a job for the machine, which takes the result. Its drop cancels the job.
#[derive(Debug)]
pub struct PendingJob {
    shared: Arc<Shared>,
    message: Option<Charge>,
    answer: Option<Charge>,
    scratch: Option<Charge>,
}

/// Result of a job, with the buffers that it had.
#[derive(Debug)]
pub struct EndedJob {
    pub message: Slice,
    /// Bytes before the call, and what the work appended.
    pub answer: PooledBuf,
    pub response: Result<Response, Refused>,
}

struct Shared {
    budget: Arc<MemoryBudget>,
    state: Mutex<State>,
}

enum State {
    Waiting(Parts, Option<Waker>),
    Running(Option<Waker>),
    Ended(Parts, Result<Response, Refused>),
    /// The machine has no more interest. Holds memory while the job still runs.
    Over(#[expect(dead_code, reason = "held only to be dropped")] Option<HeldBytes>),
}

/// Message and buffers of a job.
struct Parts {
    work: Box<dyn Work>,
    message: Detached,
    answer: Vec<u8>,
    scratch: Vec<u8>,
}

/// Makes a job that appends its response to `answer`.
pub fn job(
    work: Box<dyn Work>,
    message: Slice,
    answer: PooledBuf,
    pool: &Pool,
) -> (Job, PendingJob) {
    let scratch = pool.take(message.len() / SCRATCH_PART);
    let (message, message_charge) = message.detach(pool);
    let (answer, answer_charge) = answer.into_parts();
    let (scratch, scratch_charge) = scratch.into_parts();
    let parts = Parts { work, message, answer, scratch };
    let state = Mutex::new(State::Waiting(parts, None));
    let shared = Arc::new(Shared { budget: pool.budget(), state });
    let pending = PendingJob {
        shared: Arc::clone(&shared),
        message: message_charge,
        answer: answer_charge,
        scratch: scratch_charge,
    };
    (Job(shared), pending)
}

impl Job {
    /// Sets what to wake at the end of the job.
    pub fn wake_at_end(&self, waker: Waker) {
        self.0.set_waker(waker);
    }

    /// Does the work, unless the job was cancelled.
    pub fn run(self) {
        let Some(mut parts) = self.0.start() else { return };
        let Parts { work, message, answer, scratch } = &mut parts;
        let there = answer.capacity() + scratch.capacity();
        let growth = (message.as_ref().len().saturating_mul(GROWTH_FACTOR)).saturating_sub(there);
        let held = self.0.budget.hold(growth);
        let response = work.run(message, scratch, answer);
        self.0.end(parts, response);
        drop(held);
    }
}

impl PendingJob {
    /// Returns the result once the job has ended. Call it no more after that.
    pub fn take(&mut self) -> Option<EndedJob> {
        let mut state = self.shared.lock();
        match std::mem::replace(&mut *state, State::Over(None)) {
            State::Ended(parts, response) => {
                drop(state);
                Some(self.rejoin(parts, response))
            }
            other => {
                *state = other;
                None
            }
        }
    }

    /// Returns the result, or sets what to wake at the end of the job.
    pub fn take_or_wake(&mut self, waker: &Waker) -> Option<EndedJob> {
        // The waker comes first: the job may end between the two.
        self.shared.set_waker(waker.clone());
        self.take()
    }

    /// Joins the buffers with their charges.
    fn rejoin(&mut self, parts: Parts, response: Result<Response, Refused>) -> EndedJob {
        let Parts { message, answer, scratch, .. } = parts;
        drop(own(self.scratch.take(), scratch));
        EndedJob {
            message: Slice::attach(message, self.message.take()),
            answer: own(self.answer.take(), answer),
            response,
        }
    }

    fn held_bytes(&self) -> usize {
        let charges = [&self.message, &self.answer, &self.scratch];
        charges.into_iter().flatten().map(Charge::bytes).sum()
    }
}

impl Drop for PendingJob {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let is_running = matches!(*state, State::Running(_));
        let held = is_running.then(|| self.shared.budget.hold(self.held_bytes()));
        let dropped = std::mem::replace(&mut *state, State::Over(held));
        drop(state);
        drop(dropped);
    }
}

impl Shared {
    /// A thread that panicked with the lock has left a whole state: no code of others runs inside.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_waker(&self, waker: Waker) {
        if let State::Waiting(_, slot) | State::Running(slot) = &mut *self.lock() {
            *slot = Some(waker);
        }
    }

    fn start(&self) -> Option<Parts> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Running(None)) {
            State::Waiting(parts, waker) => {
                *state = State::Running(waker);
                Some(parts)
            }
            other => {
                *state = other;
                None
            }
        }
    }

    fn end(&self, parts: Parts, response: Result<Response, Refused>) {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Over(None)) {
            State::Running(waker) => {
                *state = State::Ended(parts, response);
                drop(state);
                waker.into_iter().for_each(Waker::wake);
            }
            cancelled => {
                drop(state);
                drop(parts);
                drop(cancelled);
            }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

fn own(charge: Option<Charge>, bytes: Vec<u8>) -> PooledBuf {
    match charge {
        Some(charge) => charge.own(bytes),
        None => PooledBuf::from(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::wire::WorkerCounts;

    /// Appends the message, and looks at the memory of the process meanwhile.
    struct Copies(Arc<MemoryBudget>, Arc<AtomicUsize>);

    impl Work for Copies {
        fn run(
            &self,
            message: &mut Detached,
            scratch: &mut Vec<u8>,
            out: &mut Vec<u8>,
        ) -> Result<Response, Refused> {
            assert!(scratch.is_empty());
            self.1.store(self.0.bytes(), Ordering::Relaxed);
            out.extend_from_slice(message.as_ref());
            Ok(Response { content_type: "", head_len: message.as_ref().len(), payload: 0..0 })
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Woken>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Case {
        pool: Pool,
        budget: Arc<MemoryBudget>,
        while_running: Arc<AtomicUsize>,
    }

    const MESSAGE_BYTES: usize = 1 << 20;

    impl Case {
        fn new() -> Case {
            let budget = Arc::new(MemoryBudget::new(usize::MAX, usize::MAX, 1));
            let pool = Pool::within(Arc::clone(&budget), WorkerCounts::of_worker());
            Case { pool, budget, while_running: Arc::default() }
        }

        fn job(&self) -> (Job, PendingJob) {
            let work = Copies(Arc::clone(&self.budget), Arc::clone(&self.while_running));
            let message = Slice::from(self.pool.adopt(vec![7; MESSAGE_BYTES]));
            let mut answer = self.pool.take(0);
            answer.extend_from_slice(b"head");
            job(Box::new(work), message, answer, &self.pool)
        }
    }

    #[test]
    fn a_job_runs_on_any_thread_and_its_result_is_taken_once_it_has_ended() {
        let case = Case::new();
        let (job, mut pending) = case.job();
        let woken = Arc::new(Woken::default());
        let before = case.pool.held_bytes();
        assert!(before >= MESSAGE_BYTES, "the message counts while it waits");
        assert!(pending.take_or_wake(&Waker::from(Arc::clone(&woken))).is_none());
        std::thread::spawn(move || job.run()).join().expect("it does not panic");
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        let held = case.while_running.load(Ordering::Relaxed);
        assert!(held >= MESSAGE_BYTES * 5 / 2, "{held}: room for the response as well");
        let EndedJob { message, answer, response } = pending.take().expect("it has ended");
        assert_eq!(response.expect("an answer").head_len, MESSAGE_BYTES);
        assert_eq!((&answer[..4], answer.len()), (&b"head"[..], 4 + MESSAGE_BYTES));
        assert_eq!((message.len(), message.as_ref()[0]), (MESSAGE_BYTES, 7));
        drop((message, answer, pending));
        assert_eq!(case.pool.held_bytes(), 0);
    }

    #[test]
    fn a_cancelled_job_gives_its_buffers_back_at_once_and_does_not_run() {
        let case = Case::new();
        let (job, pending) = case.job();
        drop(pending);
        assert_eq!((case.pool.held_bytes(), case.budget.bytes()), (0, 0));
        job.run();
        assert_eq!(case.while_running.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_job_that_is_cancelled_while_it_runs_counts_until_its_end() {
        let case = Case::new();
        let (job, pending) = case.job();
        let parts = job.0.start().expect("it waits");
        drop(pending);
        assert_eq!(case.pool.held_bytes(), 0, "its connection is gone");
        assert!(case.budget.bytes() >= MESSAGE_BYTES);
        job.0.end(parts, Ok(Response { content_type: "", head_len: 0, payload: 0..0 }));
        assert_eq!(case.budget.bytes(), 0);
    }

    #[test]
    fn a_message_of_foreign_bytes_comes_back_as_it_was() {
        let case = Case::new();
        let work = Copies(Arc::clone(&case.budget), Arc::clone(&case.while_running));
        let message = Slice::from(bytes::Bytes::from_static(b"<abc>")).narrow(1..4);
        let (job, mut pending) = job(Box::new(work), message, case.pool.take(0), &case.pool);
        job.run();
        let EndedJob { message, answer, .. } = pending.take().expect("it has ended");
        assert_eq!((message.as_ref(), &answer[..]), (&b"abc"[..], &b"abc"[..]));
    }
}
