//! Server half: events of a connection in, calls of a [`Handler`] out.
//!
//! ```text
//! Headers ──▶ request.rs ─┬─ all of the message follows in the input ─▶ response.rs ─▶ Handler
//!                         └─ else: a stream ─┬─ Content, StreamEnded ─▶ response.rs ─▶ Handler
//!                                            │                   └ long: jobs.rs ─▶ another thread
//!                                            └─ Message, StreamEnded ─▶ stream.rs ───▶ Call
//! responses ▶ message.rs, frames.rs
//! time ─────▶ expire.rs (timeouts.rs, shutdown.rs)
//! ```
//! The half answers each event before the next: responses leave in the order of requests' ends,
//! except for those of jobs.

use std::rc::Rc;
use std::time::{Duration, Instant};

use self::heads::RequestHeads;
use self::message::MessageWriter;
use self::shutdown::Shutdown;
use self::state::Request;
use self::timeouts::Timeouts;
use super::connection::Connection;
use super::connection::event::Event;
use super::error::{ErrorCode, Fault};
use super::frame;
use super::settings::{Settings, WINDOW_DEFAULT};
use super::{
    CONNECTION_WINDOW, FRAME_BYTES_MAX, MESSAGES_BYTES_MAX_FACTOR, STREAM_WINDOW, STREAMS_MAX,
};
use crate::wire::{Context, Handler, Limits, Loan, Machine, Pool, PooledBuf, WireError};

mod expire;
mod frames;
pub(crate) mod head;
mod heads;
mod jobs;
mod message;
mod request;
mod response;
mod shutdown;
mod state;
mod stream;
mod timeouts;

#[derive(Debug)]
pub struct H2<H: Handler> {
    connection: Connection<Request>,
    handler: H,
    heads: RequestHeads,
    messages: MessageWriter,
    shutdown: Shutdown,
    timeouts: Timeouts,
    paused: Vec<u32>,
    /// Streams whose messages are worked on elsewhere; some may be gone.
    working: Vec<u32>,
    /// The peer has ended its side while jobs are running.
    has_ended: bool,
}

impl<H: Handler> H2<H> {
    pub fn new(handler: H, limits: Rc<Limits>) -> H2<H> {
        let ours = Settings {
            max_concurrent_streams: Some(STREAMS_MAX),
            initial_window_size: STREAM_WINDOW,
            max_frame_size: FRAME_BYTES_MAX,
            max_header_list_size: u32::try_from(limits.head_bytes_max).ok(),
            ..Settings::default()
        };
        let messages_bytes_max = limits.body_bytes_max.saturating_mul(MESSAGES_BYTES_MAX_FACTOR);
        let messages_bytes_max = messages_bytes_max.min(limits.connection_bytes_max);
        H2 {
            connection: Connection::server(limits, ours, CONNECTION_WINDOW, messages_bytes_max),
            heads: RequestHeads::default(),
            messages: MessageWriter::new(handler.coding_tokens()),
            handler,
            shutdown: Shutdown::Running,
            timeouts: Timeouts::default(),
            paused: Vec::new(),
            working: Vec::new(),
            has_ended: false,
        }
    }

    pub fn peer_settings(&self) -> Settings {
        self.connection.peer
    }

    pub fn has_paused_calls(&self) -> bool {
        !self.paused.is_empty()
    }

    fn run(
        &mut self,
        mut handled: Result<(), Fault>,
        mut input: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), WireError> {
        loop {
            if let Err(fault) = handled {
                let contained = self.connection.contain(fault, cx);
                contained.map_err(|fault| self.connection.abort(fault, cx))?;
            }
            handled = match self.connection.next_event(&mut input, cx) {
                Ok(Some(event)) => self.handle(&event, &mut input, cx),
                Ok(None) => break,
                Err(fault) => Err(fault),
            };
        }
        self.timeouts.calls(self.connection.history.last(), cx.now);
        let begun = self.connection.begun();
        let cut = self.connection.is_inside_head().then_some(begun);
        let ignored = self.connection.is_inside_ignored().then_some(begun);
        self.timeouts.input(cut, ignored, cx.now);
        self.connection.grant(cx);
        self.timeouts.sends(!cx.out.is_empty());
        self.finish_shutdown();
        Ok(())
    }

    #[inline]
    fn handle(
        &mut self,
        event: &Event<'_, Request>,
        input: &mut &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        match event {
            Event::Headers(block) => self.request(block, input, cx),
            &Event::Content { stream, bytes } => self.answer_content(stream, bytes, cx),
            &Event::Message { stream } => self.pass_message(stream, cx),
            &Event::StreamEnded { stream } => self.answer_ended(stream, cx),
            &Event::Discarded { stream } => self.refuse_large(stream, cx),
            Event::Refused { stream, status } => self.fail(*stream, status, cx),
            Event::Settings | Event::WindowOpened => self.flush(cx),
            Event::Pong => {
                self.shutdown.confirm(self.connection.history.last(), cx);
                Ok(())
            }
            // A client that goes away closes the connection itself.
            Event::Reset { .. } | Event::GoAway { .. } => Ok(()),
        }
    }

    fn finish_shutdown(&mut self) {
        if self.shutdown == Shutdown::Final && self.connection.streams.is_empty() {
            self.connection.finish();
        }
    }
}

impl<H: Handler> Machine for H2<H> {
    fn open(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let settings = self.connection.ours.frame();
        let grant = frame::window_update(0, CONNECTION_WINDOW - WINDOW_DEFAULT);
        cx.out.copy(&settings, cx.pool);
        cx.out.copy(&grant, cx.pool);
        self.timeouts.input(Some(self.connection.begun()), None, cx.now);
        self.timeouts.calls(0, cx.now);
        self.timeouts.sends(true);
        Ok(())
    }

    fn receive(&mut self, input: &[u8], cx: &mut Context<'_>) -> Result<(), WireError> {
        self.run(Ok(()), input, cx)
    }

    fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        self.connection.lend(pool)
    }

    fn repay(&mut self, buffer: PooledBuf, cx: &mut Context<'_>) -> Result<(), WireError> {
        let repaid = self.connection.repay(buffer, cx);
        self.run(repaid, &[], cx)
    }

    fn jobs_ended(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.end_jobs(cx).map_err(|fault| self.connection.abort(fault, cx))?;
        self.connection.grant(cx);
        self.timeouts.sends(!cx.out.is_empty());
        self.finish_shutdown();
        if self.has_ended { self.end_input() } else { Ok(()) }
    }

    fn flushed(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.connection.abuse.flushed();
        self.timeouts.flushed(cx.now);
        if self.paused.is_empty() {
            return Ok(());
        }
        let resumed = self.resume_calls(cx);
        self.timeouts.sends(!cx.out.is_empty());
        resumed.map_err(|fault| self.connection.abort(fault, cx))
    }

    fn end(&mut self, _: &mut Context<'_>) -> Result<(), WireError> {
        self.end_input()
    }

    fn drain(&mut self, cx: &mut Context<'_>) {
        self.handler.drain();
        if !self.connection.is_finished() {
            self.shutdown.begin(cx);
        }
        self.finish_shutdown();
    }

    fn deadline(&self) -> Option<Instant> {
        self.next_deadline()
    }

    fn expire(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let expired = self.act_on_deadlines(cx);
        self.timeouts.sends(!cx.out.is_empty());
        self.finish_shutdown();
        expired
    }

    fn paused(&mut self, time: Duration) {
        self.timeouts.pause(time);
        self.connection.streams.iter_mut().for_each(|stream| stream.progress.pause(time));
    }

    fn is_gathering(&self) -> bool {
        self.connection.is_gathering()
    }

    fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.connection.is_between_requests() && self.connection.streams.is_empty();
        self.timeouts.called_at().filter(|_| is_idle)
    }

    fn restrict(&mut self) {
        self.handler.restrict();
    }

    fn retire(&mut self, cx: &mut Context<'_>) {
        self.connection.go_away(ErrorCode::NoError, "another connection needs the place", cx);
    }

    fn finished(&self) -> bool {
        self.connection.is_finished()
    }
}

#[cfg(test)]
mod tests;
