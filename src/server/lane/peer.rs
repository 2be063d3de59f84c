//! Client of a lane: bytes that are ready, and a count of the replies.
//!
//! ```text
//! hello ─▶ SETTINGS of the server ─▶ their confirmation ─▶ turn ─▶ replies ─▶ turn ...
//! ```
//! The first two steps are those of HTTP/2. A turn that is longer than its first window waits until
//! the server has widened it. A turn is a number of calls; the next one begins when
//! all of them have their replies. In HTTP/2 the stream numbers rise from turn to turn, and each
//! turn grants the bytes that its replies take.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::array::ArrayView;
use crate::axis::{Codec, Encoding, Family};
use crate::codec;
use crate::stack::tuning::STREAM_WINDOW_BYTES;
use crate::wire::h1::H1Client;
use crate::wire::h2::{Allowance, H2Client};
use crate::wire::raw::RawClient;
use crate::wire::{
    ChangingFields, Client, Context, Limits, Outbox, Part, Pool, ResponseEvent, Sink, WireError,
};

use super::LaneError;
use super::replies::Replies;

const AUTHORITY: &str = "127.0.0.1:50051";

/// Timeout that the requests name. No lane takes so long.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// Window of the connection and of each stream for replies. It leaves room to grant more.
const REPLY_WINDOW_BYTES: u32 = 1 << 30;

/// Length of frames that every server takes (RFC 9113, section 4.2).
const FRAME_BYTES: u32 = 16 * 1024;

/// Window of a connection before its first WINDOW_UPDATE (RFC 9113, section 6.9.2).
const FIRST_WINDOW_BYTES: usize = 65_535;

/// Bytes in front of a message of gRPC.
const PREFIX_BYTES: u32 = 5;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;

/// SETTINGS that confirm those of the server.
const SETTINGS_ACK: [u8; 9] = [0, 0, 0, SETTINGS, 1, 0, 0, 0, 0];

/// Bytes on their way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Hello,
    Confirmation,
    Turn,
}

#[derive(Debug)]
pub(super) struct Peer {
    hello: Vec<u8>,
    turn: Turn,
    /// Turns that come before the current one is repeated.
    ready: VecDeque<Turn>,
    calls: u32,
    sending: Sending,
    /// Bytes of them that are sent.
    sent: usize,
    replies: Replies,
    is_asking: bool,
    turns_left: u32,
    /// Bytes of the messages of a turn; `None` before the first one.
    bytes: Option<u64>,
    bytes_min: u64,
    /// True if the first turn must wait for more window.
    needs_window: bool,
}

impl Peer {
    /// Makes the requests of `calls` calls in flight that carry `array`.
    pub(super) fn new(
        family: Family,
        codec: Codec,
        array: &ArrayView<'_>,
        calls: u32,
    ) -> Result<Peer, LaneError> {
        let encoding = codec.encoding();
        let message = message(codec, array)?;
        let limits = Limits::default();
        let fields = Some(ChangingFields::new(1, TIMEOUT, false));
        let (hello, turns) = match family {
            Family::Raw => {
                let mut client = RawClient::new(encoding.id(), &limits);
                (Vec::new(), vec![Turn::constant(requests(&mut client, message, calls))])
            }
            Family::Rest => {
                let (path, content_type) = (encoding.path(), encoding.content_type());
                let client = H1Client::new(AUTHORITY, path, content_type, &limits);
                let client = client.with_json_head(codec::json_head_len(encoding));
                let mut client = client.with_changing_fields(fields);
                (Vec::new(), vec![Turn::constant(requests(&mut client, message, calls))])
            }
            Family::Zmtp => return Err(LaneError::Family(family.scheme())),
            Family::Grpc => grpc(encoding, fields, message, calls)?,
        };
        let sending = if hello.is_empty() { Sending::Turn } else { Sending::Hello };
        let turn_bytes = turns.iter().map(|turn| turn.bytes.len()).max().unwrap_or(0);
        let needs_window = family == Family::Grpc && turn_bytes > FIRST_WINDOW_BYTES;
        let bytes_min = array.data().len() as u64 * u64::from(calls);
        Ok(Peer {
            hello,
            turn: Turn::default(),
            ready: turns.into(),
            calls,
            sending,
            sent: 0,
            replies: Replies::new(family),
            is_asking: false,
            turns_left: 0,
            bytes: None,
            bytes_min,
            needs_window,
        })
    }

    /// Allows `count` more turns.
    pub(super) fn allow(&mut self, count: u32) {
        self.turns_left += count;
    }

    /// Returns true after the replies of the last turn that is allowed.
    pub(super) fn is_done(&self) -> bool {
        self.turns_left == 0 && !self.is_asking
    }

    /// Returns bytes for the server; empty while it has to answer first.
    pub(super) fn input(&mut self) -> &[u8] {
        if self.sent == self.sending().len() {
            self.go_on();
        }
        &self.sending()[self.sent..]
    }

    /// Notes that the first `count` bytes of the input were sent.
    pub(super) fn sent(&mut self, count: usize) {
        self.sent += count;
    }

    fn sending(&self) -> &[u8] {
        match self.sending {
            Sending::Hello => &self.hello,
            Sending::Confirmation => &SETTINGS_ACK,
            Sending::Turn => &self.turn.bytes,
        }
    }

    fn go_on(&mut self) {
        match self.sending {
            Sending::Hello if !self.replies.has_settings => {}
            Sending::Hello => (self.sending, self.sent) = (Sending::Confirmation, 0),
            Sending::Confirmation if self.needs_window && !self.replies.has_window => {}
            Sending::Confirmation | Sending::Turn if self.is_asking || self.turns_left == 0 => {}
            Sending::Confirmation | Sending::Turn => {
                match self.ready.pop_front() {
                    Some(turn) => self.turn = turn,
                    None => self.turn.renew(self.calls),
                }
                (self.sending, self.sent) = (Sending::Turn, 0);
                self.is_asking = true;
                self.turns_left -= 1;
            }
        }
    }

    /// Takes bytes of the server.
    pub(super) fn output(&mut self, bytes: &[u8]) -> Result<(), LaneError> {
        self.replies.feed(bytes)?;
        if self.is_asking && self.replies.count >= self.calls {
            self.is_asking = false;
            let got = self.replies.take();
            let expected = *self.bytes.get_or_insert(got.max(self.bytes_min));
            if got != expected {
                return Err(LaneError::Replies { got, expected });
            }
        }
        Ok(())
    }

    pub(super) fn closed(&self) -> LaneError {
        LaneError::Closed { replies: self.replies.count, calls: self.calls }
    }

    pub(super) fn stuck(&self) -> LaneError {
        LaneError::Stuck { replies: self.replies.count, calls: self.calls }
    }
}

/// Returns the message of a call.
pub(super) fn message(codec: Codec, array: &ArrayView<'_>) -> Result<Vec<u8>, LaneError> {
    match codec::implementation(codec.encoding().own()) {
        Some(codec) => Ok(codec::message(codec, array)?),
        // The server sends back whatever comes.
        None => Ok(array.data().to_vec()),
    }
}

/// Bytes of one turn.
#[derive(Debug, Default)]
struct Turn {
    bytes: Vec<u8>,
    /// Offsets of the stream numbers in `bytes`.
    streams: Vec<usize>,
}

impl Turn {
    fn constant(bytes: Vec<u8>) -> Turn {
        Turn { bytes, streams: Vec::new() }
    }

    /// Keeps the calls in `frames`, for later turns, and grants the `bytes` of their replies.
    fn of_frames(frames: &[u8], reply_bytes: u32) -> Turn {
        let (mut bytes, mut streams, mut rest) = (Vec::new(), Vec::new(), frames);
        while let Some(&[a, b, c, kind, ..]) = rest.first_chunk::<9>() {
            let length = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
            let (frame, later) = rest.split_at(length.min(rest.len()));
            if matches!(kind, DATA | HEADERS) {
                streams.push(bytes.len() + 5);
                bytes.extend_from_slice(frame);
            }
            rest = later;
        }
        bytes.extend_from_slice(&window_update(reply_bytes));
        Turn { bytes, streams }
    }

    /// Gives each of the `calls` calls the next stream number.
    fn renew(&mut self, calls: u32) {
        for at in &self.streams {
            let number = &mut self.bytes[*at..*at + 4];
            let next = number.iter().fold(0, |all, byte| all << 8 | u32::from(*byte));
            number.copy_from_slice(&(next + 2 * calls).to_be_bytes());
        }
    }
}

/// Returns the hello of an HTTP/2 connection and two turns of its calls.
fn grpc(
    encoding: Encoding,
    fields: Option<ChangingFields>,
    message: Vec<u8>,
    calls: u32,
) -> Result<(Vec<u8>, Vec<Turn>), WireError> {
    let allowance = Allowance { window: REPLY_WINDOW_BYTES, frame_bytes_max: FRAME_BYTES };
    let limits = Rc::new(Limits::default());
    let (path, content_type) = (encoding.grpc_path(), encoding.grpc_content_type());
    let client = H2Client::new(AUTHORITY, path, content_type, allowance, limits);
    let mut client = client.with_changing_fields(fields);
    let mut out = Outbox::default();
    let pool = Pool::default();
    let now = Instant::now();
    let mut cx = Context { out: &mut out, pool: &pool, now };
    client.open(&mut cx);
    let hello = cx.out.take_bytes();
    // The real SETTINGS come later. Until then the client would not send long messages.
    let settings = [
        &[0, 0, 6, SETTINGS, 0, 0, 0, 0, 0, 0, 4][..],
        &STREAM_WINDOW_BYTES.to_be_bytes(),
        &window_update(REPLY_WINDOW_BYTES),
    ];
    client.receive(&settings.concat(), &mut cx, &mut Ignored)?;
    let reply_bytes = calls * (PREFIX_BYTES + message.len() as u32);
    let body = Rc::new(message.into());
    let mut ask = |cx: &mut Context<'_>| {
        let parts = [Part::Share(&body, 0..body.len())];
        (0..calls).for_each(|id| client.request(id, &parts, cx));
        cx.out.take_bytes()
    };
    // The first calls fill the tables of both sides for header fields.
    let turns = [ask(&mut cx), ask(&mut cx)];
    Ok((hello, turns.iter().map(|frames| Turn::of_frames(frames, reply_bytes)).collect()))
}

/// Returns `calls` requests.
fn requests(client: &mut dyn Client, message: Vec<u8>, calls: u32) -> Vec<u8> {
    let (mut out, pool, now) = (Outbox::default(), Pool::default(), Instant::now());
    let body = Rc::new(message.into());
    let mut cx = Context { out: &mut out, pool: &pool, now };
    client.open(&mut cx);
    for id in 0..calls {
        client.request(id, &[Part::Share(&body, 0..body.len())], &mut cx);
    }
    cx.out.take_bytes()
}

fn window_update(increment: u32) -> Vec<u8> {
    [&[0, 0, 4, WINDOW_UPDATE, 0, 0, 0, 0, 0][..], &increment.to_be_bytes()].concat()
}

/// Receiver of no responses.
struct Ignored;

impl Sink for Ignored {
    fn response(&mut self, _: u32, _: ResponseEvent<'_>) {}
}
