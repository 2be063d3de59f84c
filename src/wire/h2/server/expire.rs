//! Actions of the server when a timeout has passed.

use std::time::Instant;

use super::H2;
use super::state::RequestState;
use super::timeouts::{self, STREAMS_KEPT, TRIM_TIME};
use crate::wire::grpc::{Code, Status};
use crate::wire::h2::PROTOCOL;
use crate::wire::h2::error::{ErrorCode, Fault};
use crate::wire::{Context, Handler, Limit, WireError};

impl<H: Handler> H2<H> {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if self.connection.is_finished() {
            return None;
        }
        let limits = &self.connection.limits;
        let is_idle = self.connection.streams.is_empty();
        let idle = self.timeouts.idle_deadline(limits).filter(|_| is_idle);
        [
            self.timeouts.cut_deadline(limits),
            idle,
            self.shutdown.deadline(),
            self.timeouts.sweep_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn act_on_deadlines(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= cx.now);
        if passed(self.shutdown.deadline()) {
            self.shutdown.confirm(self.connection.history.last(), cx);
        }
        let limits = &self.connection.limits;
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= cx.now);
        let is_idle = self.timeouts.is_idle(limits, cx.now);
        if passed(self.timeouts.cut_deadline(limits)) {
            self.connection.abuse.counts.hit(Limit::HeadTime);
            let text = "timed out inside a frame or header block";
            self.connection.go_away(ErrorCode::NoError, text, cx);
            return Err(WireError::timeout(PROTOCOL, "inside a frame or header block"));
        }
        if passed(self.timeouts.sweep_deadline()) {
            self.sweep(cx).map_err(|fault| self.connection.abort(fault, cx))?;
            // Replies that were given up may have kept the client from sending more.
            self.connection.grant(cx);
        }
        if is_idle && self.connection.streams.is_empty() && !self.connection.is_finished() {
            self.connection.abuse.counts.hit(Limit::IdleTime);
            self.connection.go_away(ErrorCode::NoError, "idle", cx);
        }
        Ok(())
    }

    fn sweep(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        self.timeouts.begin_sweep();
        self.connection.streams.trim();
        self.connection.charge_streams(cx.pool);
        self.connection.send.shrink_to(STREAMS_KEPT);
        for id in self.connection.streams.ids() {
            let Some(stream) = self.connection.streams.get(id) else { continue };
            let due = timeouts::due(stream);
            if due.is_none_or(|due| due > cx.now) {
                self.timeouts.sweep_by(due);
            } else {
                self.connection.abuse.own_frame();
                self.end_late(id, cx)?;
                // An answer may still wait for the peer's windows, for a time of its own.
                if let Some(stream) = self.connection.streams.get(id) {
                    self.timeouts.sweep_by(timeouts::due(stream));
                }
            }
        }
        if self.connection.streams.capacity() > STREAMS_KEPT {
            self.timeouts.sweep_by(cx.now + TRIM_TIME);
        }
        Ok(())
    }

    fn end_late(&mut self, id: u32, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Some(stream) = self.connection.streams.get(id) else { return Ok(()) };
        let counts = self.connection.abuse.counts;
        if stream.is_sending()
            || matches!(&stream.data.state, RequestState::Stream(call) if call.has_head)
        {
            counts.hit(Limit::WindowTime);
            self.connection.remove(id);
            return self.connection.reset(id, ErrorCode::Cancel, cx);
        }
        if matches!(stream.data.state, RequestState::Text(_)) {
            counts.hit(Limit::MessageTime);
            return self.send_refusal(id, cx);
        }
        let text = if stream.data.is_late(cx.now) {
            "the call's deadline has passed"
        } else {
            counts.hit(Limit::MessageTime);
            "the message has stopped arriving"
        };
        self.fail(id, &Status::new(Code::DeadlineExceeded, text), cx)
    }
}
