//! Jobs of the simulated worker: they run one after the other, and each ends at its time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::super::jobs::Bell;
use super::world::{BELL, World};
use crate::array::ArrayView;
use crate::axis::Codec;
use crate::codec::npy::Npy;
use crate::codec::{ArrayCodec, Effort, Encoded, Result};
use crate::driver::jobs::JobRunner;
use crate::wire::Job;

/// Jobs that have not ended, with the times of their ends.
#[derive(Default)]
pub(super) struct SimJobs {
    queue: VecDeque<(u64, Job)>,
    pub(super) bell: Arc<SimBell>,
}

/// Flag in place of a descriptor.
#[derive(Default)]
pub(super) struct SimBell(AtomicBool);

/// Runner on the thread of the simulation.
pub(super) struct SimRunner(pub(super) Rc<RefCell<World>>);

impl SimJobs {
    pub(super) fn start(&mut self, job: Job, now: u64, ns: u64) {
        let begin = self.queue.back().map_or(now, |(end, _)| now.max(*end));
        self.queue.push_back((begin + ns, job));
    }

    /// Returns the time of the next end.
    pub(super) fn next(&self) -> Option<u64> {
        self.queue.front().map(|(end, _)| *end)
    }

    pub(super) fn run_until(&mut self, now: u64) {
        while self.next().is_some_and(|end| end <= now)
            && let Some((_, job)) = self.queue.pop_front()
        {
            job.run();
        }
    }
}

impl SimBell {
    pub(super) fn is_ringing(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Bell for SimBell {
    fn open(&self) -> io::Result<RawFd> {
        Ok(BELL)
    }

    fn ring(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn silence(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl JobRunner for SimRunner {
    fn start(&self, job: Job) {
        self.0.borrow_mut().start_job(job);
    }

    fn is_busy(&self) -> bool {
        self.0.borrow().jobs.next().is_some()
    }
}

/// Codec that returns any message, and whose work is long.
#[derive(Debug)]
pub(super) struct SlowReflect;

impl ArrayCodec for SlowReflect {
    fn id(&self) -> Codec {
        Codec::Reflect
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        Npy.decode(body, scratch)
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        Npy.encode(array, out)
    }

    fn effort(&self, _body: &[u8]) -> Effort {
        Effort::Converts
    }

    fn echo<'a>(
        &self,
        body: &'a [u8],
        _: &'a mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded<'a>> {
        out.extend_from_slice(body);
        Ok(Encoded { head_len: body.len(), payload: &[] })
    }
}
