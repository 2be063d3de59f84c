//! Replies of the server half, as frames in the outbox.
//!
//! Header blocks are literals that no table keeps, so they are valid whatever the peer's table size.
//!
//! ```text
//! call answered   HEADERS :status 200, content-type | DATA prefix, message | HEADERS grpc-status 0, END_STREAM
//! call failed     HEADERS :status 200, content-type, grpc-status, grpc-message, END_STREAM
//! not a call      HEADERS :status 4xx, content-type, content-length | DATA text, END_STREAM
//! ```

use std::ops::Range;
use std::rc::Rc;

use crate::wire::buffers::recv::RecvBuffer;
use crate::wire::grpc::{self, Code, PREFIX_BYTES, Status};
use crate::wire::h2::connection::outgoing::Outgoing;
use crate::wire::h2::frame::{END_HEADERS, END_STREAM, HEAD_BYTES, Kind, head_bytes, put_stream};
use crate::wire::h2::hpack::write_literal;
use crate::wire::{Context, Refused, Response};

/// Index of `:status` in the static table.
const STATUS: usize = 8;
/// Index of `allow`.
const ALLOW: usize = 22;
/// Index of `content-length`.
const CONTENT_LENGTH: usize = 28;
/// Index of `content-type`.
const CONTENT_TYPE: usize = 31;

/// `:status 200`, an indexed field.
const STATUS_200: u8 = 0x88;

/// Content type of a failed call.
const GRPC: &str = "application/grpc";

/// Content type of what is not a call.
const TEXT: &str = "text/plain; charset=utf-8";

/// The header block of trailers that say all is well.
pub(crate) const OK_TRAILERS: &[u8] = b"\x00\x0bgrpc-status\x010";

/// Bytes of a reply around its message, about.
const AROUND_BYTES: usize = 128;

/// Most bytes of a text that is sent as `grpc-message` or as content of a refusal.
const TEXT_BYTES_MAX: usize = 1024;

/// A refusal in plain HTTP.
#[derive(Debug)]
pub(crate) struct TextReply {
    status: &'static str,
    allow: &'static str,
    text: String,
    /// The request was HEAD: the text is left out.
    bodiless: bool,
}

impl TextReply {
    /// `status` with the reason in `text`.
    pub(crate) fn new(status: &'static str, text: String, bodiless: bool) -> TextReply {
        let allow = if status == "405" { "POST" } else { "" };
        TextReply { status, allow, text, bodiless }
    }

    /// Writes the head; the text, if there is one, is to be sent behind it.
    pub(crate) fn send_head(self, stream: u32, cx: &mut Context<'_>) -> Option<Outgoing> {
        let text = [self.text.as_bytes(), b"\n"].concat();
        let length = text.len().to_string();
        let flags = if self.bodiless { END_HEADERS | END_STREAM } else { END_HEADERS };
        cx.out.compose(AROUND_BYTES, cx.pool, |out| {
            write_headers(stream, flags, out, |block| {
                write_literal(STATUS, b"", self.status.as_bytes(), block);
                write_literal(CONTENT_TYPE, b"", TEXT.as_bytes(), block);
                write_literal(CONTENT_LENGTH, b"", length.as_bytes(), block);
                if !self.allow.is_empty() {
                    write_literal(ALLOW, b"", self.allow.as_bytes(), block);
                }
            });
        });
        if self.bodiless {
            return None;
        }
        let mut outgoing = Outgoing::new(b"");
        let all = 0..text.len();
        outgoing.push(Rc::new(text), all);
        Some(outgoing)
    }
}

/// What may be sent at once, and what the request says of its reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Its stream.
    pub(crate) stream: u32,
    /// Most bytes of a DATA frame now.
    pub(crate) window: usize,
    /// Whether to say which encodings are spoken.
    pub(crate) advertise: bool,
}

/// What precedes a message: HEADERS, the head of a DATA frame, and the message's prefix. The next reply is likely to
/// have the same but for its numbers, so it is copied from here.
#[derive(Debug, Default)]
pub(crate) struct Front {
    content_type: &'static str,
    bytes: Vec<u8>,
}

impl Front {
    fn make(&mut self, content_type: &'static str) {
        self.content_type = content_type;
        self.bytes.clear();
        let terms = Terms { stream: 0, window: 0, advertise: false };
        write_front(terms, content_type, &mut self.bytes);
    }

    /// Writes it for a reply on `terms`; the DATA frame and the prefix get their lengths later.
    fn write(&self, terms: Terms, out: &mut Vec<u8>) {
        if terms.advertise || self.bytes.is_empty() {
            return write_front(terms, self.content_type, out);
        }
        let at = out.len();
        out.extend_from_slice(&self.bytes);
        put_stream(&mut out[at..], terms.stream);
    }
}

/// Writes what precedes a message, the last [`HEAD_BYTES`] and [`PREFIX_BYTES`] of it as zeros.
fn write_front(terms: Terms, content_type: &str, out: &mut Vec<u8>) {
    write_ok_head(terms, content_type, out);
    out.extend_from_slice(&[0; HEAD_BYTES + PREFIX_BYTES]);
}

/// How far a reply has come.
#[derive(Debug)]
pub(crate) enum Answered {
    /// All of it is in the outbox, with a message of this many bytes, which the windows are yet to lose.
    Sent(usize),
    /// Its head is in the outbox, its message waits.
    Held(Outgoing),
}

/// Answers a short message by `produce`, which is handed the message and writes behind what is in the buffer as
/// [`crate::wire::Handler::answer`] does. `front` is a guess at the reply's, and becomes what it was.
///
/// The reply is written straight into the outbox. What the window does not allow is taken back out of it and returned.
pub(crate) fn answer_short(
    terms: Terms,
    message: &[u8],
    front: &mut Front,
    scratch: &mut Vec<u8>,
    cx: &mut Context<'_>,
    produce: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<Response, Refused>,
) -> Result<Answered, Status> {
    // What the closure returns is moved; the rare cases leave by these, so that it is small.
    let (mut held, mut failed) = (Vec::new(), None);
    let len = cx.out.compose(message.len() + AROUND_BYTES, cx.pool, |out| {
        let start = out.len();
        front.write(terms, out);
        let mut message_at = out.len();
        match produce(message, out) {
            Ok(ref reply) => {
                let payload = &message[reply.payload.start..reply.payload.end];
                insert_payload(payload, message_at + reply.head_len, scratch, out);
                if reply.content_type != front.content_type {
                    front.make(reply.content_type);
                    replace_front(front, terms, start..message_at, scratch, out);
                    message_at = out.len() - scratch.len();
                }
            }
            Err(refusal) => {
                out.truncate(start);
                failed = Some(Status::from(refusal));
                return 0;
            }
        }
        let len = out.len() - message_at;
        let Ok(announced) = u32::try_from(len) else {
            out.truncate(start);
            failed = Some(too_long(len));
            return 0;
        };
        finish_short(terms, message_at - PREFIX_BYTES - HEAD_BYTES, announced, out, &mut held)
    });
    match failed {
        Some(status) => Err(status),
        None if held.is_empty() => Ok(Answered::Sent(len)),
        None => {
            let mut outgoing = Outgoing::new(OK_TRAILERS);
            outgoing.push(Rc::new(held), 0..len);
            Ok(Answered::Held(outgoing))
        }
    }
}

/// Puts another front in place of the one at `wrong`; what was behind it is in `scratch` as well afterwards.
fn replace_front(
    front: &Front,
    terms: Terms,
    wrong: Range<usize>,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    scratch.clear();
    scratch.extend_from_slice(&out[wrong.end..]);
    out.truncate(wrong.start);
    front.write(terms, out);
    out.extend_from_slice(scratch);
}

/// Completes the DATA frame at `at` and ends the reply, or moves the message to `held` when the window is too small
/// for it. Returns the message's length with its prefix.
fn finish_short(
    terms: Terms,
    at: usize,
    announced: u32,
    out: &mut Vec<u8>,
    held: &mut Vec<u8>,
) -> usize {
    let prefix_at = at + HEAD_BYTES;
    let len = out.len() - prefix_at;
    // The flag is 0, as the gap was made.
    out[prefix_at + 1..prefix_at + PREFIX_BYTES].copy_from_slice(&announced.to_be_bytes());
    if len > terms.window {
        held.extend_from_slice(&out[prefix_at..]);
        out.truncate(at);
        return len;
    }
    out[at..prefix_at].copy_from_slice(&head_bytes(len, Kind::Data, 0, terms.stream));
    out.extend_from_slice(&ok_trailers(terms.stream));
    len
}

/// The HEADERS frame that ends a call well.
#[inline]
fn ok_trailers(stream: u32) -> [u8; HEAD_BYTES + OK_TRAILERS.len()] {
    let head = head_bytes(OK_TRAILERS.len(), Kind::Headers, END_HEADERS | END_STREAM, stream);
    let mut frame = [0; HEAD_BYTES + OK_TRAILERS.len()];
    frame[..HEAD_BYTES].copy_from_slice(&head);
    frame[HEAD_BYTES..].copy_from_slice(OK_TRAILERS);
    frame
}

/// Puts `payload` at `at`, before what was written there.
fn insert_payload(payload: &[u8], at: usize, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
    if payload.is_empty() {
        return;
    }
    if at == out.len() {
        return out.extend_from_slice(payload);
    }
    scratch.clear();
    scratch.extend_from_slice(&out[at..]);
    out.truncate(at);
    out.extend_from_slice(payload);
    out.extend_from_slice(scratch);
}

/// Answers a long message in a buffer of its own, from which the payload is sent. `hint` is about how much `produce`
/// will write.
pub(crate) fn answer_long(
    terms: Terms,
    message: RecvBuffer,
    hint: usize,
    cx: &mut Context<'_>,
    produce: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<Response, Refused>,
) -> Result<Outgoing, Status> {
    // The hint is the length of the answer before, whose buffer may have no byte more.
    let mut edge = cx.pool.take(hint.max(AROUND_BYTES));
    edge.extend_from_slice(&[0; PREFIX_BYTES]);
    let answered = produce(message.bytes(), &mut edge).map_err(Status::from).and_then(|reply| {
        let len = edge.len() - PREFIX_BYTES + reply.payload.len();
        prefix_of(len).map(|prefix| (reply, prefix))
    });
    let (reply, prefix) = match answered {
        Ok(answered) => answered,
        Err(status) => {
            cx.pool.give(edge);
            cx.pool.give(message.into_buffer());
            return Err(status);
        }
    };
    edge[..PREFIX_BYTES].copy_from_slice(&prefix);
    cx.out.compose(AROUND_BYTES, cx.pool, |out| {
        write_ok_head(terms, reply.content_type, out);
    });
    let mut outgoing = Outgoing::new(OK_TRAILERS);
    let (head_end, end) = (PREFIX_BYTES + reply.head_len, edge.len());
    let edge = Rc::new(edge);
    outgoing.push(Rc::clone(&edge), 0..head_end);
    if reply.payload.is_empty() {
        cx.pool.give(message.into_buffer());
    } else {
        let range = message.range(&reply.payload);
        outgoing.push(Rc::new(message.into_buffer()), range);
    }
    outgoing.push(edge, head_end..end);
    Ok(outgoing)
}

/// Writes the whole reply of a call that failed.
pub(crate) fn send_status(stream: u32, status: &Status, cx: &mut Context<'_>) {
    let text = grpc::percent_encode(truncated(&status.text));
    cx.out.compose(AROUND_BYTES + text.len(), cx.pool, |out| {
        write_headers(stream, END_HEADERS | END_STREAM, out, |block| {
            block.push(STATUS_200);
            write_literal(CONTENT_TYPE, b"", GRPC.as_bytes(), block);
            write_literal(0, b"grpc-status", status.code.text().as_bytes(), block);
            if !text.is_empty() {
                write_literal(0, b"grpc-message", text.as_bytes(), block);
            }
            if status.code == Code::Unimplemented {
                write_accepted(block);
            }
        });
    });
}

fn write_ok_head(terms: Terms, content_type: &str, out: &mut Vec<u8>) {
    write_headers(terms.stream, END_HEADERS, out, |block| {
        block.push(STATUS_200);
        write_literal(CONTENT_TYPE, b"", content_type.as_bytes(), block);
        if terms.advertise {
            write_accepted(block);
        }
    });
}

fn write_accepted(block: &mut Vec<u8>) {
    write_literal(0, b"grpc-accept-encoding", b"identity", block);
}

/// Writes a HEADERS frame around what `write` appends.
fn write_headers(stream: u32, flags: u8, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&head_bytes(0, Kind::Headers, flags, stream));
    write(out);
    let len = out.len() - at - HEAD_BYTES;
    out[at..at + HEAD_BYTES].copy_from_slice(&head_bytes(len, Kind::Headers, flags, stream));
}

fn prefix_of(len: usize) -> Result<[u8; PREFIX_BYTES], Status> {
    u32::try_from(len).map(grpc::prefix).map_err(|_| too_long(len))
}

fn too_long(len: usize) -> Status {
    Status::new(Code::Internal, format!("reply of {len} bytes does not fit gRPC's prefix"))
}

fn truncated(text: &str) -> &str {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    &text[..end]
}
