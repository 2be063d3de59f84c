//! Counter of the replies of a connection. It reads heads only, and skips what they announce.

use crate::axis::Family;
use crate::wire::raw::{CODEC_ERROR, HEAD_BYTES as RAW_HEAD_BYTES};

use super::LaneError;

/// Head of an HTTP/2 frame (RFC 9113, section 4.1).
const FRAME_HEAD_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// Flag of DATA and HEADERS, and of SETTINGS that confirm others.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;

/// End of a head of HTTP/1.1.
const HEAD_END: &[u8] = b"\r\n\r\n";
const HEAD_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Replies {
    family: Family,
    head: Vec<u8>,
    /// Bytes behind the head that are still to come.
    rest: usize,
    /// True if those bytes end a reply.
    ends_reply: bool,
    /// Replies since [`Replies::take`], and the bytes of their messages.
    pub(super) count: u32,
    bytes: u64,
    /// True once the server has sent its SETTINGS.
    pub(super) has_settings: bool,
    /// True once the server has widened the window of the connection.
    pub(super) has_window: bool,
}

impl Replies {
    pub(super) fn new(family: Family) -> Replies {
        Replies {
            family,
            head: Vec::with_capacity(HEAD_BYTES_MAX),
            rest: 0,
            ends_reply: false,
            count: 0,
            bytes: 0,
            has_settings: false,
            has_window: false,
        }
    }

    /// Returns the bytes of the messages since the last call, and begins a new count.
    pub(super) fn take(&mut self) -> u64 {
        self.count = 0;
        std::mem::take(&mut self.bytes)
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), LaneError> {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let skipped = self.rest.min(bytes.len());
                bytes = &bytes[skipped..];
                self.rest -= skipped;
            } else {
                bytes = self.feed_head(bytes)?;
            }
            if self.rest == 0 && std::mem::take(&mut self.ends_reply) {
                self.count += 1;
            }
        }
        Ok(())
    }

    /// Takes the part of a head. Returns what stands behind it.
    fn feed_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], LaneError> {
        let length = match self.family {
            Family::Raw => RAW_HEAD_BYTES,
            Family::Grpc => FRAME_HEAD_BYTES,
            Family::Rest => return self.feed_text(bytes),
            Family::Zmtp => return Err(LaneError::Family(self.family.scheme())),
        };
        let (now, later) = bytes.split_at(bytes.len().min(length - self.head.len()));
        self.head.extend_from_slice(now);
        if self.head.len() == length {
            let head = std::mem::take(&mut self.head);
            let read = if length == RAW_HEAD_BYTES { self.raw(&head) } else { self.frame(&head) };
            self.head = head;
            self.head.clear();
            read?;
        }
        Ok(later)
    }

    fn raw(&mut self, head: &[u8]) -> Result<(), LaneError> {
        let &[a, b, c, d, codec] = head else { return Err(broken("a short head")) };
        if codec == CODEC_ERROR {
            return Err(broken("an error instead of a message"));
        }
        self.expect(u32::from_be_bytes([a, b, c, d]) as usize, true, true);
        Ok(())
    }

    fn frame(&mut self, head: &[u8]) -> Result<(), LaneError> {
        let &[a, b, c, kind, flags, ref stream @ ..] = head else {
            return Err(broken("a short head"));
        };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        match kind {
            RST_STREAM => return Err(broken("RST_STREAM")),
            GOAWAY => return Err(broken("GOAWAY")),
            SETTINGS => self.has_settings |= flags & ACK == 0,
            WINDOW_UPDATE => self.has_window |= stream == [0; 4],
            _ => {}
        }
        let ends_reply = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        self.expect(length, ends_reply, kind == DATA);
        Ok(())
    }

    fn feed_text<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], LaneError> {
        // The end of the head may be split between two calls.
        let from = self.head.len().saturating_sub(HEAD_END.len() - 1);
        let before = self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(HEAD_BYTES_MAX)]);
        let Some(end) = memchr::memmem::find(&self.head[from..], HEAD_END) else {
            if self.head.len() > HEAD_BYTES_MAX {
                return Err(broken("an endless head"));
            }
            return Ok(&bytes[self.head.len() - before..]);
        };
        let end = from + end + HEAD_END.len();
        let head = String::from_utf8_lossy(&self.head[..end]).to_ascii_lowercase();
        self.head.clear();
        if !head.starts_with("http/1.1 200") {
            return Err(broken(head.lines().next().unwrap_or_default()));
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|length| length.trim().parse().ok());
        self.expect(length.ok_or_else(|| broken("no content-length"))?, true, true);
        Ok(&bytes[end - before..])
    }

    fn expect(&mut self, rest: usize, ends_reply: bool, is_message: bool) {
        (self.rest, self.ends_reply) = (rest, ends_reply);
        if is_message {
            self.bytes += rest as u64;
        }
    }
}

fn broken(what: &str) -> LaneError {
    LaneError::Server(format!("it sent {what}"))
}
