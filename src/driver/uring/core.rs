//! State of a worker that its reactor lends to one connection at a time.
#![allow(unsafe_code)] // Queues operations without pointers.

use std::rc::Rc;
use std::time::Instant;

use super::executor::Executor;
use super::iovec::IoVector;
use super::op::{Kind, Op, Token};
use super::ring::Ring;
use super::timers::Timers;
use crate::driver::Counters;
use crate::driver::connection::WorkerCx;
use crate::wire::Pool;

pub(super) struct Core<R> {
    pub(super) ring: R,
    pub(super) timers: Timers,
    pub(super) now: Instant,
    /// Unused lists for vectored sends.
    pub(super) vectors: Vec<IoVector>,
    /// True while a send without a completion is in flight whose end must be noticed soon.
    pub(super) hurry: bool,
    pub(super) counters: Counters,
    pub(super) executor: Rc<Executor>,
}

impl<R: Ring> Core<R> {
    pub(super) fn new(ring: R, pool: Pool) -> Core<R> {
        let now = Instant::now();
        Core {
            ring,
            timers: Timers::default(),
            now,
            vectors: Vec::new(),
            hurry: false,
            counters: Counters::default(),
            executor: Executor::new(now, pool),
        }
    }

    pub(super) fn with_cx<T>(&mut self, work: impl FnOnce(&mut WorkerCx<'_>) -> T) -> T {
        let pool = &self.executor.pool;
        work(&mut WorkerCx { pool, counters: &mut self.counters, now: self.now })
    }

    pub(super) fn with_buffer(
        &mut self,
        id: u16,
        len: usize,
        work: impl FnOnce(&[u8], &mut WorkerCx<'_>),
    ) {
        let input = self.ring.buffer(id, len);
        let pool = &self.executor.pool;
        work(input, &mut WorkerCx { pool, counters: &mut self.counters, now: self.now });
    }

    /// Asks for the early end of an operation; its last completion still follows.
    pub(super) fn cancel(&mut self, target: Token) {
        self.push(Op::Cancel { target }, Token { kind: Kind::Cancel, key: target.key });
    }

    pub(super) fn push(&mut self, op: Op, token: Token) {
        debug_assert!(matches!(op, Op::Accept { .. } | Op::Cancel { .. } | Op::Watch { .. }));
        // SAFETY: these operations point to nothing.
        unsafe { self.ring.push(op, token) };
    }
}
