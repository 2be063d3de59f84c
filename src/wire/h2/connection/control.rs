//! The frames that govern a connection: SETTINGS, PING, GOAWAY, RST_STREAM, WINDOW_UPDATE and PRIORITY.
//!
//! Each is O(1) and allocates nothing, but for SETTINGS that change the initial window, which touch every open
//! stream. RFC 9113 sections 6.3 to 6.9.

use crate::wire::Context;
use crate::wire::h2::connection::streams::Absent;
use crate::wire::h2::connection::{Connection, Side};
use crate::wire::h2::error::{ErrorCode, Fault, code_name};
use crate::wire::h2::frame::{self, ACK, FrameHead, GO_AWAY_BYTES, PING_BYTES};

/// Most bytes of a peer's GOAWAY text that are repeated in an error.
const TEXT_BYTES_MAX: usize = 200;

impl<S: Side> Connection<S> {
    pub(crate) fn settings(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(Fault::protocol("SETTINGS on a stream"));
        }
        if head.has(ACK) {
            return Ok(());
        }
        let before = i64::from(self.peer.initial_window_size);
        self.peer.apply(payload)?;
        cx.out.copy(&frame::SETTINGS_ACK, cx.pool);
        self.guard.control_frame()?;
        let change = i64::from(self.peer.initial_window_size) - before;
        if change != 0 {
            self.shift_windows(change)?;
        }
        S::settings(self, cx);
        self.pump(cx, with)
    }

    fn shift_windows(&mut self, change: i64) -> Result<(), Fault> {
        for stream in self.streams.iter_mut() {
            stream.send.shift(change).map_err(|_| {
                let text = "INITIAL_WINDOW_SIZE lifts a stream's window over 2^31-1";
                Fault::connection(ErrorCode::FlowControl, text)
            })?;
            if stream.outgoing.is_some() && !stream.queued && stream.send.available() > 0 {
                stream.queued = true;
                self.ready.push(stream.id);
            }
        }
        Ok(())
    }

    pub(crate) fn ping(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(Fault::protocol("PING on a stream"));
        }
        if head.has(ACK) {
            S::pong(self, cx);
            return Ok(());
        }
        let payload: &[u8; PING_BYTES] = payload
            .try_into()
            .map_err(|_| Fault::connection(ErrorCode::FrameSize, "PING is not 8 bytes long"))?;
        cx.out.copy(&frame::ping(ACK, payload), cx.pool);
        self.guard.control_frame()
    }

    pub(crate) fn go_away(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(Fault::protocol("GOAWAY on a stream"));
        }
        let Some((fixed, text)) = payload.split_first_chunk::<GO_AWAY_BYTES>() else {
            return Err(Fault::connection(ErrorCode::FrameSize, "GOAWAY is too short"));
        };
        let [a, b, c, d, code @ ..] = *fixed;
        let last = u32::from_be_bytes([a & 0x7F, b, c, d]);
        let name = code_name(u32::from_be_bytes(code));
        let text = String::from_utf8_lossy(&text[..text.len().min(TEXT_BYTES_MAX)]);
        let why = format!("the peer goes away: {name} {text}");
        S::going_away(self, last, why.trim_end(), cx, with);
        Ok(())
    }

    pub(crate) fn rst_stream(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<(), Fault> {
        let code = frame::word(payload, "RST_STREAM")?;
        match self.remove(head.stream, cx) {
            Some(data) => {
                let why = format!("reset by the peer: {}", code_name(code));
                self.side.dropped(data, &why, with);
                self.guard.reset(cx.now)
            }
            None => match self.closed.state(head.stream) {
                Absent::Idle | Absent::Skipped => {
                    Err(Fault::protocol("RST_STREAM on an idle stream"))
                }
                Absent::Reset => Ok(()),
                Absent::Closed => self.guard.reset(cx.now),
            },
        }
    }

    pub(crate) fn window_update(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        cx: &mut Context<'_>,
        with: &mut S::With<'_>,
    ) -> Result<(), Fault> {
        let increment = i64::from(frame::word(payload, "WINDOW_UPDATE")? & 0x7FFF_FFFF);
        let id = head.stream;
        if id == 0 {
            if increment == 0 {
                return Err(Fault::protocol("WINDOW_UPDATE of 0"));
            }
            self.send.shift(increment).map_err(|_| {
                let text = "the connection's window is over 2^31-1";
                Fault::connection(ErrorCode::FlowControl, text)
            })?;
            return self.pump(cx, with);
        }
        let Some(stream) = self.streams.get(id) else {
            return match self.closed.state(id) {
                Absent::Idle => Err(Fault::protocol("WINDOW_UPDATE on an idle stream")),
                _ => Ok(()),
            };
        };
        if increment == 0 {
            return Err(Fault::Stream(id, ErrorCode::Protocol, "WINDOW_UPDATE of 0"));
        }
        let overflow = "the stream's window is over 2^31-1";
        stream
            .send
            .shift(increment)
            .map_err(|_| Fault::Stream(id, ErrorCode::FlowControl, overflow))?;
        self.enqueue(id);
        self.pump(cx, with)
    }

    pub(crate) fn priority(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fault> {
        if head.stream == 0 {
            return Err(Fault::protocol("PRIORITY on stream 0"));
        }
        let on_itself = payload
            .first_chunk()
            .is_some_and(|priority| frame::dependency(priority) == head.stream);
        match self.closed.state(head.stream) {
            Absent::Idle | Absent::Skipped if on_itself => {
                Err(Fault::protocol(frame::SELF_DEPENDENT))
            }
            _ if on_itself => {
                Err(Fault::Stream(head.stream, ErrorCode::Protocol, frame::SELF_DEPENDENT))
            }
            _ => Ok(()),
        }
    }
}
