//! Early ends: RST_STREAM for a fault of one stream, GOAWAY for a fault of the connection.
//!
//! A reset that the peer caused counts against it, no matter who sends it (RFC 9113 section 5.4).

use super::Connection;
use crate::wire::h2::error::{ErrorCode, Fault};
use crate::wire::h2::{PROTOCOL, frame};
use crate::wire::{Context, WireError};

#[derive(Debug)]
pub(crate) struct Removed<T> {
    pub(crate) data: T,
    /// True if the peer had not ended its side.
    pub(crate) receives: bool,
    pub(crate) is_sending: bool,
}

impl<T: Default> Connection<T> {
    /// Resets the stream at fault; returns its state, if any, and the reason, else the fault.
    pub(crate) fn contain(
        &mut self,
        fault: Fault,
        cx: &mut Context<'_>,
    ) -> Result<(Option<T>, &'static str), Fault> {
        let Fault::Stream(id, code, reason) = fault else { return Err(fault) };
        let state = self.remove(id).map(|removed| removed.data);
        if code != ErrorCode::RefusedStream {
            self.abuse.reset(cx.now)?;
        }
        self.reset(id, code, cx)?;
        Ok((state, reason))
    }

    pub(crate) fn reset(
        &mut self,
        id: u32,
        code: ErrorCode,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        cx.out.copy(&frame::rst_stream(id, code), cx.pool);
        self.history.reset(id);
        self.abuse.control_frame(cx.out)
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<Removed<T>> {
        let stream = self.streams.unlink(id)?;
        let (receives, is_sending) = (stream.state.receives(), stream.is_sending());
        let data = std::mem::take(&mut stream.data);
        self.receive.release(&mut stream.inbound.reservation);
        self.abuse.refund(&mut stream.inbound.charge);
        self.send.discard(&mut stream.outbound);
        stream.clear();
        Some(Removed { data, receives, is_sending })
    }

    pub(crate) fn abort(&mut self, fault: Fault, cx: &mut Context<'_>) -> WireError {
        let (code, what) = match fault {
            Fault::Connection(code, text) => (code, text),
            Fault::Stream(_, code, text) => (code, text.into()),
        };
        self.go_away(code, &what, cx);
        WireError::violation(PROTOCOL, what).with_code(code as u32)
    }

    /// Sends GOAWAY; the connection takes no more input.
    pub(crate) fn go_away(&mut self, code: ErrorCode, text: &str, cx: &mut Context<'_>) {
        cx.out.copy(&frame::go_away(self.history.last(), code, text), cx.pool);
        self.finished = true;
    }
}
