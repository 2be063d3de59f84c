//! Client half: calls one method of one server, and hands each response to a [`Sink`].
//!
//! `request.rs` opens streams, `response.rs` takes what comes back. No call is held back here or
//! sent again; [`Client::in_flight_max`] tells the caller when to ask. Once the server goes away or
//! the stream numbers are used up, the connection ends with an error after the last response. If
//! the server goes away without an error, [`Client::is_leaving`] says so, and the calls that it has
//! not processed are handed back (RFC 9113 section 6.8).

use std::rc::Rc;

use self::head::ResponseHeads;
use self::request_block::RequestBlock;
use self::state::Call;
use super::connection::Connection;
use super::connection::event::Event;
use super::error::{ErrorCode, Fault, code_name};
use super::flow::WINDOW_MAX;
use super::frame::{self, PREFACE};
use super::settings::{FRAME_BYTES_MAX, Settings, WINDOW_DEFAULT};
use super::{PROTOCOL, STREAM_ID_MAX};
use crate::axis::Coding;
use crate::wire::{
    ChangingFields, Client, Context, Limits, Loan, Part, Pool, PooledBuf, ResponseEvent, Sink,
    WireError,
};

mod head;
mod request;
mod request_block;
mod response;
mod state;

/// More might be refused before SETTINGS have said how many streams the server takes.
const STREAMS_BEFORE_SETTINGS: usize = 1;

#[derive(Debug)]
pub struct H2Client {
    connection: Connection<Call>,
    heads: ResponseHeads,
    block: RequestBlock,
    next_stream: u32,
    window: u32,
    /// Coding of the messages, both ways.
    coding: Coding,
    /// Reason why no more streams can be opened; ends the connection after the last response.
    away: Option<WireError>,
}

/// Amounts that a server may send. A longer response widens its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Initial window, at most 2^31 - 1; of the connection at least 65,535 bytes.
    pub window: u32,
    /// Limit from 2^14 to 2^24 - 1.
    pub frame_bytes_max: u32,
}

impl Default for Allowance {
    /// Returns the largest allowance, since the caller asked for every byte that arrives.
    fn default() -> Allowance {
        Allowance { window: WINDOW_MAX as u32, frame_bytes_max: FRAME_BYTES_MAX }
    }
}

impl H2Client {
    pub fn new(
        authority: &str,
        path: &str,
        content_type: &str,
        allowance: Allowance,
        limits: Rc<Limits>,
    ) -> H2Client {
        let Allowance { window, frame_bytes_max } = allowance;
        let ours = Settings {
            enable_push: false,
            initial_window_size: window,
            max_frame_size: frame_bytes_max,
            ..Settings::default()
        };
        H2Client {
            connection: Connection::client(limits, ours, window.max(WINDOW_DEFAULT)),
            heads: ResponseHeads::default(),
            block: RequestBlock::new(authority, path, content_type),
            next_stream: 1,
            window,
            coding: Coding::Identity,
            away: None,
        }
    }

    /// Adds fields that differ in each request.
    #[must_use]
    pub fn with_changing_fields(mut self, fields: Option<ChangingFields>) -> H2Client {
        if let Some(fields) = fields {
            self.block.set_changing(fields);
        }
        self
    }

    /// Names `coding` in each request; the caller sends messages in it.
    #[must_use]
    pub fn with_coding(mut self, coding: Coding) -> H2Client {
        self.coding = coding;
        self.block.set_coding(coding);
        self
    }

    pub fn peer_settings(&self) -> Option<Settings> {
        self.connection.has_peer_settings().then_some(self.connection.peer)
    }

    pub fn own_settings(&self) -> Settings {
        self.connection.ours
    }

    /// Handles `handled` and all events of `input`; fails once no call is in flight or possible.
    fn run(
        &mut self,
        mut handled: Result<(), Fault>,
        mut input: &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        loop {
            if let Err(fault) = handled {
                let contained = self.connection.contain(fault, cx);
                let (call, reason) = contained.map_err(|fault| self.connection.abort(fault, cx))?;
                if let Some(call) = call {
                    sink.response(call.id, ResponseEvent::Failed(reason));
                }
            }
            handled = match self.connection.next_event(&mut input, cx) {
                Ok(Some(event)) => self.handle(event, &mut input, cx, sink),
                Ok(None) => break,
                Err(fault) => Err(fault),
            };
        }
        self.connection.grant(cx);
        match &self.away {
            Some(reason) if self.connection.streams.is_empty() => Err(reason.clone()),
            _ => Ok(()),
        }
    }

    #[inline]
    fn handle(
        &mut self,
        event: Event<'_, Call>,
        input: &mut &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Fault> {
        match event {
            Event::Headers(block) => self.headers(&block, input, cx, sink),
            Event::StreamEnded { stream } => {
                let failure = Some("the response has no trailers".to_owned());
                self.deliver(stream, failure, cx, sink)
            }
            Event::Discarded { stream } => self.discarded(stream),
            Event::Refused { stream, status } => self.refuse(stream, &status, cx, sink),
            Event::Reset { state: call, code } => {
                let reason = format!("reset by the peer: {}", code_name(code));
                sink.response(call.id, ResponseEvent::Failed(&reason));
                Ok(())
            }
            Event::Settings => {
                self.block.resize(self.connection.peer.header_table_size);
                self.flush(cx);
                Ok(())
            }
            Event::WindowOpened => {
                self.flush(cx);
                Ok(())
            }
            Event::GoAway { last, code, reason } => {
                let away = WireError::violation(PROTOCOL, reason).with_code(code);
                self.drop_calls_after(last, &away, sink);
                self.away = Some(away);
                Ok(())
            }
            // A client's connection has no event of whole content: content without trailers is a
            // fault, and must be the same fault as in pieces.
            Event::Content { .. } | Event::Message { .. } | Event::Pong => Ok(()),
        }
    }
}

impl Client for H2Client {
    fn open(&mut self, cx: &mut Context<'_>) {
        cx.out.copy(PREFACE, cx.pool);
        cx.out.copy(&self.connection.ours.frame(), cx.pool);
        if self.window > WINDOW_DEFAULT {
            cx.out.copy(&frame::window_update(0, self.window - WINDOW_DEFAULT), cx.pool);
        }
    }

    fn in_flight_max(&self) -> usize {
        match self.connection.peer.max_concurrent_streams {
            _ if self.away.is_some() => 0,
            _ if !self.connection.has_peer_settings() => STREAMS_BEFORE_SETTINGS,
            allowed => allowed.map_or(usize::MAX, |streams| streams as usize),
        }
    }

    fn is_leaving(&self) -> bool {
        self.away.as_ref().is_some_and(is_graceful)
    }

    fn request(&mut self, id: u32, parts: &[Part<'_>], cx: &mut Context<'_>) {
        debug_assert!(self.connection.streams.len() < self.in_flight_max());
        self.start(id, parts, cx);
        if self.next_stream > STREAM_ID_MAX {
            self.away = Some(WireError::violation(PROTOCOL, "all its stream numbers are used"));
        }
    }

    fn receive(
        &mut self,
        input: &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        self.run(Ok(()), input, cx, sink)
    }

    fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        self.connection.lend(pool)
    }

    fn repay(
        &mut self,
        buffer: PooledBuf,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        let repaid = self.connection.repay(buffer, cx);
        self.run(repaid, &[], cx, sink)
    }

    fn flushed(&mut self) {
        self.connection.abuse.flushed();
    }

    fn end(&mut self) -> Result<(), WireError> {
        match &self.away {
            Some(reason) => Err(reason.clone()),
            None if self.connection.streams.is_empty() => Ok(()),
            None => Err(WireError::truncated(PROTOCOL)),
        }
    }
}

/// Returns true for NO_ERROR, and for stream numbers that are used up, which has no code.
fn is_graceful(away: &WireError) -> bool {
    away.code.is_none_or(|code| code == ErrorCode::NoError as u32)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::wire::Outbox;

    struct Last(Option<Result<Vec<u8>, String>>);

    impl Sink for Last {
        fn response(&mut self, _: u32, event: ResponseEvent<'_>) {
            self.0 = match event {
                ResponseEvent::Whole(message) | ResponseEvent::Coded(message) => {
                    Some(Ok(message.to_vec()))
                }
                ResponseEvent::Failed(why) => Some(Err(why.to_owned())),
                ResponseEvent::Message(_) | ResponseEvent::End | ResponseEvent::Unprocessed => None,
            };
        }
    }

    #[test]
    fn the_last_stream_number_is_answered_and_ends_the_connection() {
        let limits = Rc::new(Limits::default());
        let mut client =
            H2Client::new("a:1", "/p", "application/grpc", Allowance::default(), limits);
        let (mut out, pool, mut sink) = (Outbox::default(), Pool::default(), Last(None));
        let mut cx = Context { out: &mut out, pool: &pool, now: Instant::now() };
        client.open(&mut cx);
        client.receive(&Settings::default().frame(), &mut cx, &mut sink).unwrap();
        client.next_stream = STREAM_ID_MAX;
        assert!(client.in_flight_max() > 0);
        client.request(0, &[Part::Copy(b"x")], &mut cx);
        assert_eq!(client.in_flight_max(), 0);
        // `:status 200`, `content-type: application/grpc`, a message of one byte, `grpc-status: 0`.
        let reply = [
            b"\0\0\x14\x01\x04\x7f\xff\xff\xff\x88\x0f\x10\x10application/grpc",
            &b"\0\0\x06\x00\x00\x7f\xff\xff\xff\0\0\0\0\x01x"[..],
            b"\0\0\x0f\x01\x05\x7f\xff\xff\xff\x00\x0bgrpc-status\x010",
        ];
        let ended = client.receive(&reply.concat(), &mut cx, &mut sink);
        assert_eq!(sink.0, Some(Ok(b"x".to_vec())));
        assert_eq!(ended.unwrap_err().to_string(), "h2: all its stream numbers are used");
    }
}
