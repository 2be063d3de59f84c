//! Writer of the head of a response: status line, content type, length, date.
//!
//! A server with a clock must send Date (RFC 9110 section 6.6.1). A machine reads no clock, so
//! [`DateClock`] holds one moment of both clocks and formats the text once a second.

use std::io::Write;
use std::time::{Duration, Instant, UNIX_EPOCH};

use http::StatusCode;
use httpdate::HttpDate;

use crate::axis::Coding;

pub(super) const HEAD_BYTES_HINT: usize = 192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    Implied,
    /// Answer to HTTP/1.0.
    KeepAlive,
    Close,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseHead<'a> {
    pub(super) status: StatusCode,
    pub(super) content_type: &'a str,
    pub(super) len: usize,
    /// Coding of the content.
    pub(super) coding: Coding,
    /// Length of the JSON before other bytes; `None` without the field.
    pub(super) json_head_len: Option<usize>,
    /// Value of Allow; empty without the field.
    pub(super) allow: &'a str,
    /// Value of Accept-Encoding; empty without the field.
    pub(super) accept_encoding: &'a str,
    pub(super) connection: Connection,
    pub(super) date: &'a [u8],
}

impl ResponseHead<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.reserve(HEAD_BYTES_HINT + self.content_type.len() + self.allow.len());
        write_status_line(self.status, out);
        if !self.content_type.is_empty() {
            out.extend_from_slice(b"Content-Type: ");
            out.extend_from_slice(self.content_type.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        if self.coding != Coding::Identity {
            for part in ["Content-Encoding: ", self.coding.token(), "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(itoa::Buffer::new().format(self.len).as_bytes());
        if let Some(len) = self.json_head_len {
            out.extend_from_slice(b"\r\nInference-Header-Content-Length: ");
            out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
        }
        out.extend_from_slice(b"\r\nDate: ");
        out.extend_from_slice(self.date);
        if !self.allow.is_empty() {
            out.extend_from_slice(b"\r\nAllow: ");
            out.extend_from_slice(self.allow.as_bytes());
        }
        if !self.accept_encoding.is_empty() {
            out.extend_from_slice(b"\r\nAccept-Encoding: ");
            out.extend_from_slice(self.accept_encoding.as_bytes());
        }
        out.extend_from_slice(match self.connection {
            Connection::Implied => b"\r\n\r\n",
            Connection::KeepAlive => b"\r\nConnection: keep-alive\r\n\r\n",
            Connection::Close => b"\r\nConnection: close\r\n\r\n",
        });
    }
}

fn write_status_line(status: StatusCode, out: &mut Vec<u8>) {
    let reason = match status {
        StatusCode::OK => return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
        // The name of RFC 9110; that of the crate is older.
        StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
        _ => status.canonical_reason().unwrap_or_default(),
    };
    for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

#[derive(Clone, Debug)]
pub struct DateClock {
    at: Instant,
    unix: Duration,
    second: u64,
    text: [u8; DATE_BYTES],
}

const DATE_BYTES: usize = 29;

impl DateClock {
    /// Makes a clock that was `unix` after the epoch at `at`.
    pub fn new(at: Instant, unix: Duration) -> DateClock {
        let second = unix.as_secs();
        DateClock { at, unix, second, text: date_text(second) }
    }

    pub(super) fn date(&mut self, now: Instant) -> &[u8] {
        let second = (self.unix + now.saturating_duration_since(self.at)).as_secs();
        if second != self.second {
            self.second = second;
            self.text = date_text(second);
        }
        &self.text
    }
}

/// Formats `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7).
fn date_text(unix_second: u64) -> [u8; DATE_BYTES] {
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let date = HttpDate::from(UNIX_EPOCH + Duration::from_secs(unix_second));
    write!(&mut text[..], "{date}").expect("an HTTP date has 29 bytes until the year 9999");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (second, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(std::str::from_utf8(&date_text(second)), Ok(text));
        }
    }

    #[test]
    fn a_date_follows_the_machine_clock() {
        let start = Instant::now();
        let mut clock = DateClock::new(start, Duration::from_millis(784_111_776_900));
        assert_eq!(clock.date(start), b"Sun, 06 Nov 1994 08:49:36 GMT");
        let later = start + Duration::from_millis(100);
        assert_eq!(clock.date(later), b"Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
