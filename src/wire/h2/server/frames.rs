//! Frames of responses, without the messages of good ones (`message.rs`).
//!
//! Header blocks are literals that no table keeps, so they suit any table size of the peer. After
//! a change of that size the next block says so, as RFC 7541 section 4.2 asks (`update`).
//!
//! ```text
//! call answered   HEADERS :status 200, content-type | DATA prefix, message | HEADERS grpc-status 0
//! call failed     HEADERS :status 200, content-type, grpc-status, grpc-message, END_STREAM
//! not a call      HEADERS :status 4xx, content-type, content-length | DATA text, END_STREAM
//! ```

use http::StatusCode;

use crate::axis::Coding;
use crate::wire::grpc::{self, Code, Status};
use crate::wire::h2::connection::outgoing::Outgoing;
use crate::wire::h2::frame::{END_HEADERS, END_STREAM, HEAD_BYTES, Kind, head_bytes};
use crate::wire::h2::hpack::{TABLE_UPDATE, write_literal};
use crate::wire::handler::PLAIN_TEXT;
use crate::wire::{Context, Pool, PooledBuf, Slice};

// Indices in HPACK's static table, and `:status 200` as an indexed field.
const STATUS: usize = 8;
const ALLOW: usize = 22;
const CONTENT_LENGTH: usize = 28;
const CONTENT_TYPE: usize = 31;
const STATUS_200: u8 = 0x88;
pub(super) const OK_TRAILERS: &[u8] = b"\x00\x0bgrpc-status\x010";
pub(super) const AROUND_BYTES: usize = 128;
const TEXT_BYTES_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct TextResponse {
    status: StatusCode,
    allow: &'static str,
    text: PooledBuf,
    bodiless: bool,
}

impl TextResponse {
    pub(super) fn new(status: StatusCode, text: &str, bodiless: bool, pool: &Pool) -> TextResponse {
        let allow = if status == StatusCode::METHOD_NOT_ALLOWED { "POST" } else { "" };
        let text = pool.adopt([text.as_bytes(), b"\n"].concat());
        TextResponse { status, allow, text, bodiless }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Writes the head; returns the text that follows it.
    pub(super) fn send_head(
        self,
        stream: u32,
        update: bool,
        cx: &mut Context<'_>,
    ) -> Option<Outgoing> {
        let length = self.text.len().to_string();
        let flags = if self.bodiless { END_HEADERS | END_STREAM } else { END_HEADERS };
        cx.out.compose(AROUND_BYTES, cx.pool, |out| {
            write_headers(stream, flags, update, out, |block| {
                write_literal(STATUS, b"", self.status.as_str().as_bytes(), block);
                write_literal(CONTENT_TYPE, b"", PLAIN_TEXT.as_bytes(), block);
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
        outgoing.push(Slice::from(self.text));
        Some(outgoing)
    }
}

#[inline]
pub(super) fn ok_trailers(stream: u32) -> [u8; HEAD_BYTES + OK_TRAILERS.len()] {
    let head = head_bytes(OK_TRAILERS.len(), Kind::Headers, END_HEADERS | END_STREAM, stream);
    let mut frame = [0; HEAD_BYTES + OK_TRAILERS.len()];
    frame[..HEAD_BYTES].copy_from_slice(&head);
    frame[HEAD_BYTES..].copy_from_slice(OK_TRAILERS);
    frame
}

/// Sends a status as the whole response. `codings` are those that the server undoes.
pub(super) fn send_status(
    stream: u32,
    status: &Status,
    update: bool,
    codings: &str,
    cx: &mut Context<'_>,
) {
    cx.out.compose(AROUND_BYTES + status.text.len(), cx.pool, |out| {
        write_headers(stream, END_HEADERS | END_STREAM, update, out, |block| {
            block.push(STATUS_200);
            write_literal(CONTENT_TYPE, b"", grpc::CONTENT_TYPE.as_bytes(), block);
            write_status(status, block);
            if status.code == Code::Unimplemented {
                write_accepted(codings, block);
            }
        });
    });
}

pub(super) fn status_trailers(status: &Status) -> Vec<u8> {
    let mut block = Vec::new();
    write_status(status, &mut block);
    block
}

fn write_status(status: &Status, block: &mut Vec<u8>) {
    let text = grpc::percent_encode(truncated(&status.text));
    write_literal(0, b"grpc-status", status.code.text().as_bytes(), block);
    if !text.is_empty() {
        write_literal(0, b"grpc-message", text.as_bytes(), block);
    }
}

/// Additions to the head of a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extras {
    /// Supported compressions to name; empty for none.
    pub(super) advertise: &'static str,
    /// Begins with a table size update.
    pub(super) update: bool,
    /// Compression of the message.
    pub(super) coding: Coding,
}

impl Extras {
    pub(super) const NONE: Extras =
        Extras { advertise: "", update: false, coding: Coding::Identity };

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.advertise.is_empty() && !self.update && self.coding as u8 == Coding::Identity as u8
    }
}

/// Appends the HEADERS of a response.
pub(super) fn write_ok_head(stream: u32, extras: Extras, content_type: &str, out: &mut Vec<u8>) {
    let Extras { advertise, update, coding } = extras;
    write_headers(stream, END_HEADERS, update, out, |block| {
        block.push(STATUS_200);
        write_literal(CONTENT_TYPE, b"", content_type.as_bytes(), block);
        if coding != Coding::Identity {
            write_literal(0, b"grpc-encoding", coding.token().as_bytes(), block);
        }
        if !advertise.is_empty() {
            write_accepted(advertise, block);
        }
    });
}

fn write_accepted(codings: &str, block: &mut Vec<u8>) {
    write_literal(0, b"grpc-accept-encoding", codings.as_bytes(), block);
}

fn write_headers(
    stream: u32,
    flags: u8,
    update: bool,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let at = out.len();
    out.extend_from_slice(&head_bytes(0, Kind::Headers, flags, stream));
    if update {
        out.push(TABLE_UPDATE);
    }
    write(out);
    let len = out.len() - at - HEAD_BYTES;
    out[at..at + HEAD_BYTES].copy_from_slice(&head_bytes(len, Kind::Headers, flags, stream));
}

fn truncated(text: &str) -> &str {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    &text[..end]
}
