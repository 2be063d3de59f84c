//! Calls whose work is long, and is done on another thread while other streams go on.
//!
//! ```text
//! message whole ─▶ Working ─┬─ job ended ─────────────▶ response
//!                           ├─ the call's deadline ───▶ status DEADLINE_EXCEEDED ─┬▶ job cancelled
//!                           └─ RST_STREAM ────────────────────────────────────────┘
//! ```
//! Only the call's own deadline runs meanwhile. A peer that has ended its side gets the responses
//! that its windows have room for.

use super::H2;
use super::message::{Terms, Written};
use super::state::RequestState;
use super::timeouts::due;
use crate::axis::Coding;
use crate::wire::h2::PROTOCOL;
use crate::wire::h2::error::Fault;
use crate::wire::job::{self, EndedJob};
use crate::wire::{Context, Handler, Slice, WireError, Work};

impl<H: Handler> H2<H> {
    pub(super) fn start_job(
        &mut self,
        id: u32,
        reply: Coding,
        work: Box<dyn Work>,
        message: Slice,
        cx: &mut Context<'_>,
    ) {
        let Some(stream) = self.connection.streams.get(id) else { return };
        let answer = self.messages.begin_long(cx.pool);
        let (job, pending) = job::job(work, message, answer, cx.pool);
        stream.data.state = RequestState::Working(Box::new(pending), reply);
        self.working.push(id);
        cx.out.start(job);
    }

    /// Answers the calls whose jobs have ended.
    pub(super) fn end_jobs(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        for id in std::mem::take(&mut self.working) {
            let Some(stream) = self.connection.streams.get(id) else { continue };
            let RequestState::Working(job, reply) = &mut stream.data.state else { continue };
            let reply = *reply;
            match job.take() {
                Some(ended) => {
                    stream.data.state = RequestState::Answered;
                    self.send_ended(id, reply, ended, cx)?;
                }
                None => self.working.push(id),
            }
        }
        Ok(())
    }

    fn send_ended(
        &mut self,
        id: u32,
        coding: Coding,
        ended: EndedJob,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let terms = Terms { coding, ..self.terms(id, 0) };
        let written = self.messages.end_long(terms, ended, cx).map(Written::Held);
        self.note_update(terms, &written);
        self.settle(id, written, cx)?;
        // The response may wait for the peer's windows, and has a time for that.
        if let Some(stream) = self.connection.streams.get(id) {
            self.timeouts.sweep_by(due(stream));
        }
        Ok(())
    }

    /// Handles the end of the peer's side.
    pub(super) fn end_input(&mut self) -> Result<(), WireError> {
        let Self { working, connection, .. } = self;
        working.retain(|id| connection.streams.get(*id).is_some());
        if !working.is_empty() && connection.is_between_frames() {
            self.has_ended = true;
            return Ok(());
        }
        let quiet = connection.is_between_frames() && connection.streams.is_empty();
        connection.finish();
        if quiet { Ok(()) } else { Err(WireError::truncated(PROTOCOL)) }
    }
}
