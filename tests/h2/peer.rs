//! A peer that writes frames by hand and reads what comes back.

use std::collections::BTreeMap;
use std::rc::Rc;

use ndecho::wire::h2::H2;
use ndecho::wire::{Limits, WorkerCounts};

use crate::common::{Driven, Shapes};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const PRIORITY_FLAG: u8 = 32;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const COMPRESSION_ERROR: u32 = 9;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Largest message of the server under test.
pub(crate) const BODY_BYTES_MAX: usize = 3_000_000;

pub(crate) type Server = Driven<H2<Shapes>>;

/// A frame as bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A SETTINGS frame.
pub(crate) fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = pairs
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

pub(crate) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub(crate) fn rst(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// Returns the first bytes of a client.
pub(crate) fn hello() -> Vec<u8> {
    [PREFACE, &settings(&[])].concat()
}

/// A header block of plain literals.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// The fields of a call to `path`, with `more` behind them.
pub(crate) fn call_fields<'a>(
    path: &'a str,
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc+npy"),
    ];
    fields.extend_from_slice(more);
    fields
}

/// A HEADERS frame with all of a block.
pub(crate) fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

/// A message with its prefix.
pub(crate) fn message(bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![0];
    message.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    message.extend_from_slice(bytes);
    message
}

/// A whole call in two frames.
pub(crate) fn call(stream: u32, path: &str, body: &[u8]) -> Vec<u8> {
    let head = headers(stream, 0, &call_fields(path, &[]));
    [head, frame(DATA, END_STREAM, stream, &message(body))].concat()
}

/// A call's head, its content to come.
pub(crate) fn open(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, 0, &call_fields(path, &[]))
}

pub(crate) fn ramp(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

pub(crate) fn limits() -> Rc<Limits> {
    Rc::new(Limits { body_bytes_max: BODY_BYTES_MAX, ..Limits::default() })
}

/// A server like that of [`server`], with counts of its own.
pub(crate) fn counting_server() -> (Server, &'static WorkerCounts) {
    let counts = WorkerCounts::of_worker();
    let mut server = server_within(Limits { counts, ..Limits::clone(&limits()) });
    server.feed(&hello());
    (server, counts)
}

/// A server with limits of its own that has said its hello and heard nothing.
pub(crate) fn server_within(limits: Limits) -> Server {
    Driven::new(H2::new(Shapes, Rc::new(limits)), true)
}

/// A server that has said its hello and heard nothing.
pub(crate) fn silent_server() -> Server {
    Driven::new(H2::new(Shapes, limits()), true)
}

/// A server after both sides' hello.
pub(crate) fn server() -> Server {
    server_after(&hello())
}

/// A server after its own hello and `input`.
pub(crate) fn server_after(input: &[u8]) -> Server {
    let mut server = silent_server();
    server.feed(input);
    server
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn word(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }
}

/// Takes output apart.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at(9);
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        let (payload, rest) = rest.split_at(len);
        let (kind, flags, payload) = (head[3], head[4], payload.to_vec());
        frames.push(Frame { kind, flags, stream, payload });
        bytes = rest;
    }
    frames
}

/// Response on a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) head: Vec<(String, String)>,
    pub(crate) content: Vec<u8>,
    pub(crate) data_frames: usize,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) ended: bool,
    pub(crate) reset: Option<u32>,
}

impl Reply {
    pub(crate) fn field(&self, name: &str) -> &str {
        let fields = self.head.iter().chain(&self.trailers);
        fields.clone().find(|field| field.0 == name).map_or("", |field| &field.1)
    }

    /// The message of a good reply.
    pub(crate) fn message(&self) -> &[u8] {
        assert_eq!((self.field(":status"), self.field("grpc-status")), ("200", "0"), "{self:?}");
        assert!(self.ended);
        let (prefix, message) = self.content.split_at(5);
        assert_eq!(prefix[0], 0);
        let len = u32::from_be_bytes(prefix[1..].try_into().unwrap());
        assert_eq!(len as usize, message.len());
        message
    }

    /// The status of a failed call, and its text.
    pub(crate) fn failure(&self) -> (&str, &str) {
        assert!(self.ended && self.content.is_empty() && self.trailers.is_empty(), "{self:?}");
        assert_eq!(self.field(":status"), "200");
        (self.field("grpc-status"), self.field("grpc-message"))
    }
}

/// Sorts output by stream; nothing may follow the end of one but a reset.
pub(crate) fn replies(bytes: &[u8]) -> BTreeMap<u32, Reply> {
    let mut replies: BTreeMap<u32, Reply> = BTreeMap::new();
    for frame in frames(bytes) {
        let stream = frame.stream;
        match frame.kind {
            HEADERS => {
                let reply = replies.entry(stream).or_default();
                assert!(!reply.ended && frame.flags & END_HEADERS != 0, "{frame:?}");
                let fields = fields(&frame.payload);
                let target =
                    if reply.head.is_empty() { &mut reply.head } else { &mut reply.trailers };
                *target = fields;
                reply.ended = frame.flags & END_STREAM != 0;
            }
            DATA => {
                let reply = replies.entry(stream).or_default();
                assert!(!reply.ended && !reply.head.is_empty(), "{frame:?}");
                reply.content.extend_from_slice(&frame.payload);
                reply.data_frames += 1;
                reply.ended = frame.flags & END_STREAM != 0;
            }
            RST_STREAM => replies.entry(stream).or_default().reset = Some(frame.word()),
            _ => {}
        }
    }
    replies
}

/// The reply on `stream`.
pub(crate) fn reply(server: &Server, stream: u32) -> Reply {
    replies(&server.sent).remove(&stream).unwrap_or_default()
}

/// The code and text of the GOAWAY that ended a connection.
pub(crate) fn goodbye(server: &Server) -> Option<(u32, String)> {
    let last = frames(&server.sent).into_iter().rfind(|frame| frame.kind == GOAWAY)?;
    let code = u32::from_be_bytes(last.payload[4..8].try_into().unwrap());
    Some((code, String::from_utf8(last.payload[8..].to_vec()).unwrap()))
}

/// Asserts that `input` ends the connection with `code` and a reason.
pub(crate) fn assert_ends(input: &[u8], code: u32) {
    let mut server = server();
    server.feed(input);
    assert_ended(&server, code);
}

/// Asserts that the connection has ended with `code` and a reason.
pub(crate) fn assert_ended(server: &Server, code: u32) {
    assert!(server.closing(), "the connection goes on");
    let (got, text) = goodbye(server).expect("no GOAWAY");
    assert_eq!(got, code, "{text}");
    assert!(!text.is_empty());
    assert!(server.error.is_some(), "the fault is counted");
}

/// Asserts that `input` resets `stream` with `code`, and that the connection serves on.
pub(crate) fn assert_resets(input: &[u8], stream: u32, code: u32) {
    let mut server = server();
    server.feed(input);
    assert_eq!(reply(&server, stream).reset, Some(code), "{:?}", goodbye(&server));
    assert_serves(&mut server);
}

/// Asserts that a call is still answered.
pub(crate) fn assert_serves(server: &mut Server) {
    assert!(!server.closing(), "{:?}", server.error);
    server.feed(&settings(&[(4, 65_535)]));
    server.feed(&call(999_999, "/reflect", b"still here"));
    assert_eq!(reply(server, 999_999).message(), b"still here");
}

fn fields(mut block: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    // A table size update may begin a block.
    block = block.strip_prefix(&[0x20]).unwrap_or(block);
    while let [first, rest @ ..] = block {
        if *first == 0x88 {
            fields.push((":status".to_owned(), "200".to_owned()));
            block = rest;
            continue;
        }
        assert!(*first < 0x10, "a literal that no table keeps");
        let (name, rest) = match first {
            0x0F => (indexed_name(15 + usize::from(rest[0])).to_owned(), &rest[1..]),
            0 => string(rest),
            index => (indexed_name(usize::from(*index)).to_owned(), rest),
        };
        let (value, rest) = string(rest);
        fields.push((name, value));
        block = rest;
    }
    fields
}

fn indexed_name(index: usize) -> &'static str {
    match index {
        8 => ":status",
        22 => "allow",
        28 => "content-length",
        31 => "content-type",
        other => panic!("name {other}"),
    }
}

fn string(bytes: &[u8]) -> (String, &[u8]) {
    let (mut len, mut rest) = (usize::from(bytes[0]), &bytes[1..]);
    if len == 127 {
        let mut shift = 0;
        loop {
            len += usize::from(rest[0] & 0x7F) << shift;
            shift += 7;
            let more = rest[0] & 0x80 != 0;
            rest = &rest[1..];
            if !more {
                break;
            }
        }
    }
    let (text, rest) = rest.split_at(len);
    (String::from_utf8(text.to_vec()).unwrap(), rest)
}
