//! Job of a protocol that answers in order, and the input that has come meanwhile.
//!
//! The caller stops reading ([`Machine::is_working`]), so this is what it had already received.
//!
//! [`Machine::is_working`]: super::Machine::is_working

use super::buffers::{Pool, PooledBuf, Slice};
use super::handler::Work;
use super::job::{self, EndedJob, PendingJob};
use super::machine::Context;

#[derive(Debug)]
pub(super) struct Working {
    job: PendingJob,
    held: PooledBuf,
    has_ended: bool,
}

/// State after the end of a job.
#[derive(Debug)]
pub(super) struct Resumed {
    pub(super) ended: EndedJob,
    /// Input that the machine has to take now.
    pub(super) held: PooledBuf,
    /// True if the peer has ended its side.
    pub(super) has_ended: bool,
}

impl Working {
    /// Hands the job to the caller.
    pub(super) fn start(work: Box<dyn Work>, message: Slice, cx: &mut Context<'_>) -> Working {
        let answer = cx.pool.take(message.len());
        let (job, pending) = job::job(work, message, answer, cx.pool);
        cx.out.start(job);
        Working { job: pending, held: PooledBuf::default(), has_ended: false }
    }

    /// Keeps input for later.
    pub(super) fn hold(&mut self, input: &[u8], pool: &Pool) {
        if self.held.capacity() == 0 {
            self.held = pool.take(input.len());
        }
        self.held.extend_from_slice(input);
        self.held.settle();
    }

    /// Notes that the peer has ended its side.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }

    /// Returns the result once the job has ended, which ends this state.
    pub(super) fn resume(&mut self) -> Option<Resumed> {
        let ended = self.job.take()?;
        let held = std::mem::take(&mut self.held);
        Some(Resumed { ended, held, has_ended: self.has_ended })
    }
}
