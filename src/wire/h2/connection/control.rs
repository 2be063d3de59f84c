//! Frames that govern a connection: SETTINGS, PING, GOAWAY, RST_STREAM, WINDOW_UPDATE and PRIORITY.
//!
//! Each is O(1) and allocates nothing, except a change of the initial window, which touches every
//! open stream and so has a limit. RFC 9113 sections 6.3 to 6.9.

use super::Connection;
use super::event::Event;
use super::history::GoneStream;
use crate::wire::Context;
use crate::wire::h2::error::{ErrorCode, Fault, code_name};
use crate::wire::h2::frame::{self, ACK, FrameHead, GO_AWAY_BYTES, Kind, PING_BYTES};
use crate::wire::h2::settings;

const TEXT_BYTES_MAX: usize = 200;

impl<T: Default> Connection<T> {
    pub(super) fn control_frame<'i>(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<Option<Event<'i, T>>, Fault> {
        match head.kind {
            Kind::Settings => self.settings(head, payload, cx),
            Kind::Ping => self.ping(head, payload, cx),
            Kind::WindowUpdate => self.window_update(head, payload).map(Some),
            Kind::RstStream => self.rst_stream(head, payload, cx),
            Kind::GoAway => go_away(head, payload).map(Some),
            Kind::Priority => self.priority(head, payload).map(|()| None),
            Kind::PushPromise => Err(Fault::protocol("PUSH_PROMISE is not allowed")),
            Kind::Data | Kind::Headers | Kind::Continuation | Kind::Unknown => Ok(None),
        }
    }

    fn settings<'i>(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<Option<Event<'i, T>>, Fault> {
        if head.stream != 0 {
            return Err(Fault::protocol("SETTINGS on a stream"));
        }
        if head.has(ACK) {
            return Ok(None);
        }
        let before = i64::from(self.peer.initial_window_size);
        self.peer.apply(payload)?;
        if settings::names_table_size(payload) {
            self.send.update_table();
        }
        cx.out.copy(&frame::SETTINGS_ACK, cx.pool);
        self.abuse.control_frame(cx.out)?;
        let change = i64::from(self.peer.initial_window_size) - before;
        if change != 0 {
            self.abuse.windows_change(self.streams.capacity(), cx.now)?;
            let text = "INITIAL_WINDOW_SIZE raises a stream's window over 2^31-1";
            for stream in self.streams.iter_mut() {
                let shifted = self.send.shift_stream(stream.id, &mut stream.outbound, change);
                shifted.map_err(|_| Fault::connection(ErrorCode::FlowControl, text))?;
            }
        }
        Ok(Some(Event::Settings))
    }

    fn ping<'i>(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<Option<Event<'i, T>>, Fault> {
        if head.stream != 0 {
            return Err(Fault::protocol("PING on a stream"));
        }
        if head.has(ACK) {
            return Ok(Some(Event::Pong));
        }
        let payload: &[u8; PING_BYTES] = payload
            .try_into()
            .map_err(|_| Fault::connection(ErrorCode::FrameSize, "PING is not 8 bytes long"))?;
        cx.out.copy(&frame::ping(ACK, payload), cx.pool);
        self.abuse.control_frame(cx.out)?;
        Ok(None)
    }

    fn rst_stream<'i>(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<Option<Event<'i, T>>, Fault> {
        let code = frame::word(payload, "RST_STREAM")?;
        let removed = self.remove(head.stream);
        if removed.is_none() {
            match self.history.state(head.stream) {
                GoneStream::Idle | GoneStream::Skipped => {
                    return Err(Fault::protocol("RST_STREAM on an idle stream"));
                }
                GoneStream::Reset => return Ok(None),
                GoneStream::Closed => {}
            }
        }
        self.abuse.reset(cx.now)?;
        Ok(removed.map(|removed| Event::Reset { state: removed.data, code }))
    }

    fn window_update<'i>(
        &mut self,
        head: FrameHead,
        payload: &[u8],
    ) -> Result<Event<'i, T>, Fault> {
        let increment = i64::from(frame::word(payload, "WINDOW_UPDATE")? & 0x7FFF_FFFF);
        let id = head.stream;
        if id == 0 {
            if increment == 0 {
                return Err(Fault::protocol("WINDOW_UPDATE of 0"));
            }
            let text = "the connection's window is over 2^31-1";
            let shifted = self.send.shift(increment);
            shifted.map_err(|_| Fault::connection(ErrorCode::FlowControl, text))?;
            return Ok(Event::WindowOpened);
        }
        let Some(stream) = self.streams.get(id) else {
            return match self.history.state(id) {
                GoneStream::Idle => Err(Fault::protocol("WINDOW_UPDATE on an idle stream")),
                _ => Ok(Event::WindowOpened),
            };
        };
        if increment == 0 {
            return Err(Fault::Stream(id, ErrorCode::Protocol, "WINDOW_UPDATE of 0"));
        }
        let overflow = "the stream's window is over 2^31-1";
        let shifted = self.send.shift_stream(id, &mut stream.outbound, increment);
        shifted.map_err(|_| Fault::Stream(id, ErrorCode::FlowControl, overflow))?;
        Ok(Event::WindowOpened)
    }

    fn priority(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fault> {
        let id = head.stream;
        if id == 0 {
            return Err(Fault::protocol("PRIORITY on stream 0"));
        }
        let on_itself =
            payload.first_chunk().is_some_and(|priority| frame::dependency(priority) == id);
        if !on_itself {
            return Ok(());
        }
        match self.history.state(id) {
            GoneStream::Idle | GoneStream::Skipped => Err(Fault::protocol(frame::SELF_DEPENDENT)),
            _ => Err(Fault::Stream(id, ErrorCode::Protocol, frame::SELF_DEPENDENT)),
        }
    }
}

fn go_away<'i, T>(head: FrameHead, payload: &[u8]) -> Result<Event<'i, T>, Fault> {
    if head.stream != 0 {
        return Err(Fault::protocol("GOAWAY on a stream"));
    }
    let Some((fixed, text)) = payload.split_first_chunk::<GO_AWAY_BYTES>() else {
        return Err(Fault::connection(ErrorCode::FrameSize, "GOAWAY is too short"));
    };
    let [a, b, c, d, code @ ..] = *fixed;
    let last = u32::from_be_bytes([a & 0x7F, b, c, d]);
    let code = u32::from_be_bytes(code);
    let name = code_name(code);
    let text = String::from_utf8_lossy(&text[..text.len().min(TEXT_BYTES_MAX)]);
    let reason = format!("the peer goes away: {name} {text}").trim_end().to_owned();
    Ok(Event::GoAway { last, code, reason })
}
