//! Wait of a body that comes in pieces, while memory is short.
//!
//! The levels are those of the own protocols ([`Level`]). But a body waits instead of its
//! connection, and is refused instead of dropping its connection, which may have other calls.
//!
//! ```text
//! over 75 %, and another connection has the turn; or over 90 % ──▶ look again after RETRY_TIME
//! over 90 % for STARVED_TIME, or a wait as long as the longest pause of a body ──▶ refused
//! ```
//! Memory over 90 % may be that of responses which are about to be sent, so a body waits for these
//! first. The last tenth is for input that has arrived: over 100 % a worker drops connections.
//! A body that waits is not read, so its peer can send no more than buffers and windows take.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::driver::{Task, WorkerHandle};
use crate::wire::{Level, Limit, Limits, Pool};

/// Time between two looks for memory.
const RETRY_TIME: Duration = Duration::from_millis(50);

/// Longest wait over 90 % of the budget.
const STARVED_TIME: Duration = Duration::from_secs(3);

/// Reason to refuse a body that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoMemory;

/// Wait of one body for its turn to be read.
#[derive(Default)]
pub(super) struct MemoryWait(Option<Wait>);

struct Wait {
    ends: Instant,
    /// Begin of the time over 90 % of the budget.
    full_since: Option<Instant>,
    sleep: Task,
}

impl MemoryWait {
    pub(super) fn is_over(&self) -> bool {
        self.0.is_none()
    }

    /// Ready once the next piece of the body may be read, or with an error if it is refused.
    #[inline]
    pub(super) fn poll_turn(
        &mut self,
        pool: &Pool,
        limits: &Limits,
        worker: &WorkerHandle,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), NoMemory>> {
        if self.is_over() && pool.level() < Level::Tight {
            return Poll::Ready(Ok(()));
        }
        self.poll_wait(pool, limits.body_gap_timeout, worker, cx)
    }

    #[cold]
    fn poll_wait(
        &mut self,
        pool: &Pool,
        longest: Duration,
        worker: &WorkerHandle,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), NoMemory>> {
        loop {
            pool.refresh();
            let now = worker.now();
            let is_full = pool.level() >= Level::Full;
            let has_turn = pool.level() < Level::Tight || !is_full && pool.take_turn(now);
            if has_turn {
                self.0 = None;
                return Poll::Ready(Ok(()));
            }
            let begin = || {
                pool.hit(Limit::MemoryWait);
                let sleep = Box::pin(worker.sleep_until(now + RETRY_TIME));
                Wait { ends: now + longest, full_since: None, sleep }
            };
            let wait = self.0.get_or_insert_with(begin);
            wait.full_since = is_full.then(|| wait.full_since.unwrap_or(now));
            let is_starved = wait.full_since.is_some_and(|since| now - since >= STARVED_TIME);
            if is_starved || wait.ends <= now {
                self.0 = None;
                pool.hit(if is_starved { Limit::MemoryDrop } else { Limit::Memory });
                return Poll::Ready(Err(NoMemory));
            }
            ready!(wait.sleep.as_mut().poll(cx));
            wait.sleep = Box::pin(worker.sleep_until(now + RETRY_TIME));
        }
    }
}

/// Notes a piece of a body that has arrived.
#[inline]
pub(super) fn received(bytes: usize, pool: &Pool, worker: &WorkerHandle) {
    if pool.level() >= Level::Tight {
        pool.continue_turn(bytes, worker.now());
    }
}

/// Notes the end of a body.
#[inline]
pub(super) fn ended(pool: &Pool) {
    if pool.level() >= Level::Tight {
        pool.end_turn();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::task::Waker;
    use std::time::Instant;

    use super::*;
    use crate::driver::ShutdownFlag;
    use crate::driver::jobs::Inline;
    use crate::wire::{MemoryBudget, WorkerCounts};

    const MIB: usize = 1024 * 1024;

    #[test]
    fn a_body_waits_for_its_turn_and_is_refused_over_90_percent_or_after_the_longest_pause() {
        let time = Rc::new(Cell::new(Instant::now()));
        let now = Rc::clone(&time);
        let sleep = |_| -> Task { Box::pin(std::future::ready(())) };
        let worker = WorkerHandle::new(
            move || now.replace(now.get() + Duration::from_millis(1)),
            sleep,
            ShutdownFlag::default(),
            Rc::new(Inline),
        );
        let budget = Arc::new(MemoryBudget::new(100 * MIB, 100 * MIB, 1));
        let of_worker = Pool::within(budget, WorkerCounts::unread());
        let limits = Limits { body_gap_timeout: Duration::from_millis(100), ..Limits::default() };
        let (first, second) = (of_worker.for_connection(), of_worker.for_connection());
        let mut held = of_worker.charge();
        let mut cx = Context::from_waker(Waker::noop());
        let mut poll =
            |wait: &mut MemoryWait, pool: &Pool| wait.poll_turn(pool, &limits, &worker, &mut cx);
        let (mut of_first, mut of_second) = (MemoryWait::default(), MemoryWait::default());

        held.set(75 * MIB);
        assert_eq!(poll(&mut of_first, &first), Poll::Ready(Ok(())));
        assert_eq!(poll(&mut of_second, &second), Poll::Ready(Ok(())), "memory is free");

        held.set(80 * MIB);
        assert_eq!(poll(&mut of_first, &first), Poll::Ready(Ok(())), "it has the turn");
        let begun = time.get();
        assert_eq!(poll(&mut of_second, &second), Poll::Ready(Err(NoMemory)), "the turn is kept");
        assert!((100..=105).contains(&(time.get() - begun).as_millis()), "the longest pause");
        ended(&first);
        assert_eq!(poll(&mut of_second, &second), Poll::Ready(Ok(())), "the turn is free");

        held.set(91 * MIB);
        let (patient, begun) = (Limits::default(), time.get());
        let starved = of_second.poll_turn(&second, &patient, &worker, &mut cx);
        assert_eq!(starved, Poll::Ready(Err(NoMemory)), "over 90 %");
        assert!((3000..=3005).contains(&(time.get() - begun).as_millis()), "for three seconds");
        held.set(0);
        let free = of_second.poll_turn(&second, &patient, &worker, &mut cx);
        assert_eq!(free, Poll::Ready(Ok(())));
    }
}
