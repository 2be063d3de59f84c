//! Response messages as frames: HEADERS, DATA with the message, and trailers.
//!
//! ```text
//! HEADERS :status 200, content-type | DATA prefix, message | HEADERS grpc-status 0, END_STREAM
//! └────────────── prologue: equal for most responses ──┘
//! ```
//! A short response is written straight into the outbox; a long one is sent from its own buffers.

use std::ops::Range;

use super::frames::{AROUND_BYTES, Extras, OK_TRAILERS, ok_trailers, write_ok_head};
use crate::axis::Coding;
use crate::wire::grpc::{self, COMPRESSED, PREFIX_BYTES, Status};
use crate::wire::h2::connection::outgoing::Outgoing;
use crate::wire::h2::frame::{HEAD_BYTES, Kind, head_bytes, put_stream};
use crate::wire::{Context, EndedJob, Pool, PooledBuf, Refused, Response, Slice};

/// Stream of a response, and the bytes of DATA that may be sent now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) stream: u32,
    pub(super) bytes_max: usize,
    /// The head begins with a table size update.
    pub(super) update: bool,
    /// Coding of the message, which is long if it has one.
    pub(super) coding: Coding,
}

#[derive(Debug)]
pub(super) enum Written {
    /// Message length with prefix, all in the outbox and not yet off the windows.
    Sent(usize),
    /// Message that waits for a window; the head is in the outbox.
    Held(Outgoing),
}

/// Rare results of a short response, boxed to keep the common result small.
enum Unsent {
    Held(Vec<u8>),
    Failed(Status),
}

#[derive(Debug, Default)]
pub(super) struct MessageWriter {
    prologue: Prologue,
    scratch: Vec<u8>,
    /// Length of the last long answer without its payload, for the next buffer.
    long_answer_bytes: usize,
    /// Codings that no response has named yet; empty afterwards.
    unadvertised: &'static str,
}

impl MessageWriter {
    /// Makes a writer whose first response names `codings`.
    pub(super) fn new(codings: &'static str) -> MessageWriter {
        MessageWriter { unadvertised: codings, ..MessageWriter::default() }
    }

    /// Writes a short message, which `answer` appends as [`crate::wire::Handler::answer`] does.
    ///
    /// The previous prologue goes first, as a guess; a message over the terms is taken back out.
    #[inline]
    pub(super) fn write_short(
        &mut self,
        terms: Terms,
        message: &[u8],
        cx: &mut Context<'_>,
        answer: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<Response, Refused>,
    ) -> Result<Written, Status> {
        let MessageWriter { prologue, scratch, unadvertised, .. } = self;
        let extras = Extras {
            advertise: std::mem::take(unadvertised),
            update: terms.update,
            coding: Coding::Identity,
        };
        let hint = message.len() + AROUND_BYTES;
        let written = cx.out.compose(hint, cx.pool, |out| {
            let start = out.len();
            prologue.write(terms.stream, extras, out);
            let mut message_at = out.len();
            match answer(message, out) {
                Ok(ref reply) => {
                    let payload = &message[reply.payload.start..reply.payload.end];
                    insert_payload(payload, message_at + reply.head_len, scratch, out);
                    if reply.content_type != prologue.content_type {
                        prologue.set(reply.content_type);
                        let guess = start..message_at;
                        prologue.replace(guess, terms.stream, extras, scratch, out);
                        message_at = out.len() - scratch.len();
                    }
                }
                Err(refusal) => return undo(out, start, Unsent::Failed(Status::from(refusal))),
            }
            let len = out.len() - message_at;
            let prefix = match grpc::prefix_of(len) {
                Ok(prefix) => prefix,
                Err(status) => return undo(out, start, Unsent::Failed(status)),
            };
            finish_short(terms, message_at - PREFIX_BYTES - HEAD_BYTES, prefix, out)
        });
        match written {
            Ok(len) => Ok(Written::Sent(len)),
            Err(unsent) => match *unsent {
                Unsent::Failed(status) => Err(status),
                Unsent::Held(message) => {
                    let mut outgoing = Outgoing::new(OK_TRAILERS);
                    outgoing.push(Slice::from(cx.pool.adopt(message)));
                    Ok(Written::Held(outgoing))
                }
            },
        }
    }

    /// Makes the buffer for the answer to a long message; [`MessageWriter::end_long`] takes it.
    pub(super) fn begin_long(&self, pool: &Pool) -> PooledBuf {
        // The length of the previous answer, whose buffer may have no byte more.
        let mut answer = pool.take(self.long_answer_bytes.max(AROUND_BYTES));
        answer.extend_from_slice(&[0; PREFIX_BYTES]);
        answer
    }

    /// Writes the answer to a long message, which has a buffer of its own; the payload stays in the
    /// request's.
    pub(super) fn end_long(
        &mut self,
        terms: Terms,
        EndedJob { message, answer: mut edge, response }: EndedJob,
        cx: &mut Context<'_>,
    ) -> Result<Outgoing, Status> {
        let advertise = std::mem::take(&mut self.unadvertised);
        let Terms { update, coding, .. } = terms;
        let extras = Extras { advertise, update, coding };
        self.long_answer_bytes = edge.len();
        let reply = response?;
        let prefix = grpc::prefix_of(edge.len() - PREFIX_BYTES + reply.payload.len())?;
        edge[..PREFIX_BYTES].copy_from_slice(&prefix);
        if coding != Coding::Identity {
            edge[0] = COMPRESSED;
        }
        cx.out.compose(AROUND_BYTES, cx.pool, |out| {
            write_ok_head(terms.stream, extras, reply.content_type, out);
        });
        let mut outgoing = Outgoing::new(OK_TRAILERS);
        let mut edge = Slice::from(edge);
        outgoing.push(edge.split_to(PREFIX_BYTES + reply.head_len));
        outgoing.push(payload(message, reply.payload, cx));
        outgoing.push(edge);
        Ok(outgoing)
    }
}

/// Takes the payload out of its message, with a copy if the message's buffer is too large.
fn payload(message: Slice, range: Range<usize>, cx: &Context<'_>) -> Slice {
    if message.is_worth_sharing(&range) {
        return message.narrow(range);
    }
    let mut copy = cx.pool.take(range.len());
    copy.extend_from_slice(&message.as_ref()[range]);
    Slice::from(copy)
}

/// HEADERS, the head of a DATA frame and the message's prefix, copied into the next response.
#[derive(Debug, Default)]
struct Prologue {
    content_type: &'static str,
    bytes: Vec<u8>,
}

impl Prologue {
    fn set(&mut self, content_type: &'static str) {
        self.content_type = content_type;
        self.bytes.clear();
        write_prologue(0, Extras::NONE, content_type, &mut self.bytes);
    }

    /// Appends the prologue; DATA frame and prefix get their lengths later.
    fn write(&self, stream: u32, extras: Extras, out: &mut Vec<u8>) {
        if !extras.is_empty() || self.bytes.is_empty() {
            return write_prologue(stream, extras, self.content_type, out);
        }
        let at = out.len();
        out.extend_from_slice(&self.bytes);
        put_stream(&mut out[at..], stream);
    }

    /// Replaces the prologue at `guess`; `scratch` then holds the bytes behind it as well.
    fn replace(
        &self,
        guess: Range<usize>,
        stream: u32,
        extras: Extras,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) {
        scratch.clear();
        scratch.extend_from_slice(&out[guess.end..]);
        out.truncate(guess.start);
        self.write(stream, extras, out);
        out.extend_from_slice(scratch);
    }
}

/// Appends a prologue, with zeros for the last [`HEAD_BYTES`] and [`PREFIX_BYTES`].
fn write_prologue(stream: u32, extras: Extras, content_type: &str, out: &mut Vec<u8>) {
    write_ok_head(stream, extras, content_type, out);
    out.extend_from_slice(&[0; HEAD_BYTES + PREFIX_BYTES]);
}

#[cold]
fn undo(out: &mut Vec<u8>, start: usize, unsent: Unsent) -> Result<usize, Box<Unsent>> {
    out.truncate(start);
    Err(Box::new(unsent))
}

/// Completes the DATA frame at `at` and the response, or moves out a message over the terms.
#[inline]
fn finish_short(
    terms: Terms,
    at: usize,
    prefix: [u8; PREFIX_BYTES],
    out: &mut Vec<u8>,
) -> Result<usize, Box<Unsent>> {
    let prefix_at = at + HEAD_BYTES;
    let len = out.len() - prefix_at;
    out[prefix_at..prefix_at + PREFIX_BYTES].copy_from_slice(&prefix);
    if len > terms.bytes_max {
        let held = out[prefix_at..].to_vec();
        return undo(out, at, Unsent::Held(held));
    }
    out[at..prefix_at].copy_from_slice(&head_bytes(len, Kind::Data, 0, terms.stream));
    out.extend_from_slice(&ok_trailers(terms.stream));
    Ok(len)
}

#[inline]
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
