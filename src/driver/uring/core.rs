//! State of a worker that its reactor lends to one connection at a time.
#![allow(unsafe_code)] // Queues operations without pointers.

use std::rc::Rc;
use std::time::Instant;

use super::executor::Executor;
use super::iovec::IoVector;
use super::jobs::Jobs;
use super::kernel::Kernel;
use super::op::{Op, Token};
use super::ring::Ring;
use super::timers::Timers;
use crate::driver::connection::WorkerCx;
use crate::sys::socket::SocketOptions;
use crate::wire::{Pool, WorkerCounts};

pub(super) struct Core<K: Kernel> {
    pub(super) ring: Ring<K>,
    pub(super) timers: Timers,
    pub(super) now: Instant,
    /// Unused lists for vectored sends.
    pub(super) vectors: Vec<IoVector>,
    /// True while a send without a completion is in flight whose end must be noticed soon.
    pub(super) hurry: bool,
    pub(super) counts: &'static WorkerCounts,
    /// Options of the first accepted socket.
    pub(super) socket: Option<SocketOptions>,
    pub(super) executor: Rc<Executor>,
}

impl<K: Kernel> Core<K> {
    pub(super) fn new(ring: Ring<K>, pool: Pool, counts: &'static WorkerCounts) -> Core<K> {
        let now = ring.kernel.now();
        let jobs = Jobs::new(ring.kernel.job_runner(), ring.kernel.bell());
        Core {
            ring,
            timers: Timers::default(),
            now,
            vectors: Vec::new(),
            hurry: false,
            counts,
            socket: None,
            executor: Executor::new(now, pool, jobs),
        }
    }

    pub(super) fn with_cx<T>(&mut self, work: impl FnOnce(&mut WorkerCx) -> T) -> T {
        work(&mut WorkerCx { counts: self.counts, now: self.now })
    }

    pub(super) fn with_buffer(
        &mut self,
        id: u16,
        len: usize,
        work: impl FnOnce(&[u8], &mut WorkerCx),
    ) {
        let input = self.ring.buffer(id, len);
        work(input, &mut WorkerCx { counts: self.counts, now: self.now });
    }

    /// Asks for the early end of an operation; its last completion still follows. A cancel that
    /// completes with ENOENT has missed it.
    pub(super) fn cancel(&mut self, target: Token) {
        self.push(Op::Cancel { target }, target.of_cancel());
    }

    pub(super) fn push(&mut self, op: Op, token: Token) {
        debug_assert!(matches!(op, Op::Accept { .. } | Op::Cancel { .. } | Op::Watch { .. }));
        // SAFETY: these operations point to nothing.
        unsafe { self.ring.push(op, token) };
    }
}
