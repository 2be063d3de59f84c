//! The client half: calls one method of one server, many at once, and hands on each reply's message.
//!
//! `request.rs` opens streams, `response.rs` takes what comes back. A server is asked for nothing beyond the first call
//! before its SETTINGS have said how many it takes at once: further ones might be refused. No call is held back here
//! or sent again; [`Client::in_flight_max`] tells the caller when to ask.
//!
//! A connection ends with an error once its server has gone away, or its stream numbers are used up, and every call
//! has its reply.

mod head;
mod request;
mod request_block;
mod response;

use std::rc::Rc;

use crate::wire::h2::PROTOCOL;
use crate::wire::h2::client::head::ReplyHeads;
use crate::wire::h2::client::request_block::RequestBlock;
use crate::wire::h2::connection::Connection;
use crate::wire::h2::flow::WINDOW_MAX;
use crate::wire::h2::frame::{self, PREFACE};
use crate::wire::h2::settings::{FRAME_BYTES_MAX, Settings, WINDOW_DEFAULT};
use crate::wire::{Client, Context, Limits, Loan, Part, Pool, Sink, WireError};

/// Streams that are opened before the server has said how many it allows.
const STREAMS_UNTOLD: usize = 1;

/// Highest stream number a client can open.
const STREAM_LAST: u32 = (1 << 31) - 1;

/// Client half.
#[derive(Debug)]
pub struct H2Client {
    connection: Connection<Caller>,
}

/// What a server may send us. A reply that is longer than its window widens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Window of each stream, and of the connection, at first; at most 2^31 - 1. A connection has no less than
    /// 65,535 bytes.
    pub window: u32,
    /// Largest frame, 2^14 to 2^24 - 1 bytes.
    pub frame_bytes_max: u32,
}

/// What the client half adds to a connection.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) heads: ReplyHeads,
    pub(crate) block: RequestBlock,
    /// Number of the next stream.
    pub(crate) next: u32,
    /// Window of a new stream.
    pub(crate) window: u32,
    /// Why no more streams can be opened.
    pub(crate) away: Option<String>,
}

/// A call in flight.
#[derive(Debug)]
pub(crate) struct Call {
    /// The caller's number.
    pub(crate) id: u32,
    /// The reply's first block has come.
    pub(crate) answered: bool,
    /// Why it is not a good reply.
    pub(crate) failure: Option<String>,
}

impl Default for Allowance {
    /// As much as there can be: the caller asked for every byte that comes.
    fn default() -> Allowance {
        Allowance { window: WINDOW_MAX as u32, frame_bytes_max: FRAME_BYTES_MAX }
    }
}

impl H2Client {
    /// A connection that calls `path` of `authority` with messages of `content_type`, whose replies are at most
    /// `limits.body_bytes_max` long and come within `allowance`.
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
        let side = Caller {
            heads: ReplyHeads::default(),
            block: RequestBlock::new(authority, path, content_type),
            next: 1,
            window,
            away: None,
        };
        let window = window.max(WINDOW_DEFAULT);
        H2Client { connection: Connection::new(side, limits, ours, window) }
    }

    /// Returns the server's SETTINGS, once they have come.
    pub fn peer_settings(&self) -> Option<Settings> {
        self.connection.settings_seen.then_some(self.connection.peer)
    }

    pub fn own_settings(&self) -> Settings {
        self.connection.ours
    }

    /// An error once nothing is in flight and nothing can be.
    fn settle(&self) -> Result<(), WireError> {
        let connection = &self.connection;
        match (&connection.side.away, connection.streams.is_empty()) {
            (Some(why), true) => Err(gone(why)),
            _ => Ok(()),
        }
    }
}

impl Client for H2Client {
    fn open(&mut self, cx: &mut Context<'_>) {
        cx.out.copy(PREFACE, cx.pool);
        cx.out.copy(&self.connection.ours.frame(), cx.pool);
        let window = self.connection.side.window;
        if window > WINDOW_DEFAULT {
            cx.out.copy(&frame::window_update(0, window - WINDOW_DEFAULT), cx.pool);
        }
    }

    fn in_flight_max(&self) -> usize {
        let connection = &self.connection;
        match connection.peer.max_concurrent_streams {
            _ if connection.side.away.is_some() => 0,
            _ if !connection.settings_seen => STREAMS_UNTOLD,
            told => told.map_or(usize::MAX, |n| n as usize),
        }
    }

    fn request(&mut self, id: u32, parts: &[Part<'_>], cx: &mut Context<'_>) {
        debug_assert!(self.connection.streams.len() < self.in_flight_max());
        self.connection.start(id, parts, cx);
        if self.connection.side.next > STREAM_LAST {
            self.connection.side.away = Some("all its stream numbers are used".to_owned());
        }
    }

    fn receive(
        &mut self,
        input: &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        self.connection.receive(input, cx, sink)?;
        self.settle()
    }

    fn lend(&mut self, _: &mut Pool) -> Option<Loan> {
        self.connection.lend()
    }

    fn repay(
        &mut self,
        buffer: Vec<u8>,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        self.connection.repay(buffer, cx, sink)?;
        self.settle()
    }

    fn flushed(&mut self) {
        self.connection.guard.flushed();
    }

    fn end(&mut self) -> Result<(), WireError> {
        match &self.connection.side.away {
            Some(why) => Err(gone(why)),
            None if self.connection.streams.is_empty() => Ok(()),
            None => Err(WireError::truncated(PROTOCOL)),
        }
    }
}

fn gone(why: &str) -> WireError {
    WireError::violation(PROTOCOL, why.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::wire::Outbox;

    use crate::wire::ResponseEvent;

    struct Last(Option<Result<Vec<u8>, String>>);

    impl Sink for Last {
        fn response(&mut self, _: u32, event: ResponseEvent<'_>) {
            self.0 = match event {
                ResponseEvent::Whole(message) => Some(Ok(message.to_vec())),
                ResponseEvent::Failed(why) => Some(Err(why.to_owned())),
                ResponseEvent::Message(_) | ResponseEvent::End => None,
            };
        }
    }

    #[test]
    fn the_last_stream_number_is_answered_and_ends_the_connection() {
        let limits = Rc::new(Limits::default());
        let mut client =
            H2Client::new("a:1", "/p", "application/grpc", Allowance::default(), limits);
        let (mut out, mut pool, mut sink) = (Outbox::default(), Pool::default(), Last(None));
        let mut cx = Context { out: &mut out, pool: &mut pool, now: Instant::now() };
        client.open(&mut cx);
        client.receive(&Settings::default().frame(), &mut cx, &mut sink).unwrap();
        client.connection.side.next = STREAM_LAST;
        assert!(client.in_flight_max() > 0);
        client.request(0, &[Part::Copy(b"x")], &mut cx);
        assert_eq!(client.in_flight_max(), 0);
        // `:status 200` and `content-type: application/grpc`, a message of one byte, `grpc-status: 0`.
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
