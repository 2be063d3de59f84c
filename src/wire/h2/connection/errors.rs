//! How streams and connections end early: RST_STREAM for a fault of one stream, GOAWAY for one of all.
//!
//! A reset that the peer has caused counts against it (`abuse.rs`), whoever sends it. RFC 9113 section 5.4.

use crate::wire::h2::PROTOCOL;
use crate::wire::h2::connection::{Connection, Side};
use crate::wire::h2::error::{ErrorCode, Fault};
use crate::wire::h2::frame;
use crate::wire::{Context, WireError};

impl<S: Side> Connection<S> {
    /// Ends the stream that a fault concerns; passes a fault of the connection on.
    pub(crate) fn contain<T>(
        &mut self,
        result: Result<T, Fault>,
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<Option<T>, Fault> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Fault::Stream(id, code, text)) => {
                if let Some(data) = self.remove(id, cx) {
                    self.side.dropped(data, text, with);
                }
                if !matches!(code, ErrorCode::RefusedStream) {
                    self.guard.reset(cx.now)?;
                }
                self.reset(id, code, cx)?;
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Sends RST_STREAM for a stream that is not in `streams` any more.
    pub(crate) fn reset(
        &mut self,
        id: u32,
        code: ErrorCode,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        cx.out.copy(&frame::rst_stream(id, code), cx.pool);
        self.closed.reset(id);
        self.guard.control_frame()
    }

    /// Takes a stream out and gives its buffers back.
    pub(crate) fn remove(&mut self, id: u32, cx: &mut Context<'_>) -> Option<S::PerStream> {
        let slot = self.streams.remove(id)?;
        let stream = slot.as_mut()?;
        self.arriving_bytes -= stream.reserved;
        self.waiting_bytes -= stream.unsent();
        self.guard.give_back(stream.charge);
        stream.retire(cx.pool);
        slot.take().map(|stream| stream.data)
    }

    /// Ends the connection.
    pub(crate) fn abort(&mut self, fault: Fault, cx: &mut Context<'_>) -> WireError {
        let (code, what) = match fault {
            Fault::Connection(code, text) => (code, text),
            Fault::Stream(_, code, text) => (code, text.into()),
        };
        self.say_goodbye(code, &what, cx);
        WireError::violation(PROTOCOL, what).with_code(code as u32)
    }

    /// Sends GOAWAY; nothing more is taken.
    pub(crate) fn say_goodbye(&mut self, code: ErrorCode, text: &str, cx: &mut Context<'_>) {
        cx.out.copy(&frame::go_away(self.closed.last(), code, text), cx.pool);
        self.finished = true;
    }
}
