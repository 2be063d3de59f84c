//! Work of a connection outside of its driver's calls: jobs on other threads, and tasks.

use super::{Connection, State, WorkerCx};
use crate::wire::Job;

impl Connection {
    /// Takes a job to run; [`Connection::resume`] follows its end.
    #[inline]
    pub(crate) fn take_job(&mut self) -> Option<Job> {
        self.outbox.take_job()
    }

    #[cfg(test)]
    pub(crate) fn has_jobs(&self) -> bool {
        self.outbox.has_jobs()
    }

    /// Handles the end of a job, or a change by a task.
    pub(crate) fn resume(&mut self, cx: &mut WorkerCx) {
        if self.state == State::Open {
            self.call(cx, |machine, cx| machine.resume(cx));
            self.ask_for_loan();
        }
    }
}
