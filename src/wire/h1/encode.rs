//! Writes the head of a reply: status line, content type, length, date.
//!
//! Date is mandatory for a server with a clock (RFC 9110 6.6.1), and the stacks it is compared with send it. A machine
//! has no clock, so [`DateClock`] carries one moment known by both clocks, and its text is made once a second.

use std::time::{Duration, Instant};

use crate::wire::Refusal;

/// Content type of a refusal's text.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// A reply head is about this long, without the content type and Allow.
pub(super) const HEAD_BYTES_HINT: usize = 192;

/// Statuses that this server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    Timeout,
    LengthRequired,
    TooLarge,
    UriTooLong,
    UnsupportedMediaType,
    ExpectationFailed,
    FieldsTooLarge,
    Internal,
    NotImplemented,
    VersionNotSupported,
}

impl Status {
    fn line(self) -> &'static [u8] {
        match self {
            Status::Ok => b"HTTP/1.1 200 OK\r\n",
            Status::BadRequest => b"HTTP/1.1 400 Bad Request\r\n",
            Status::NotFound => b"HTTP/1.1 404 Not Found\r\n",
            Status::MethodNotAllowed => b"HTTP/1.1 405 Method Not Allowed\r\n",
            Status::Timeout => b"HTTP/1.1 408 Request Timeout\r\n",
            Status::LengthRequired => b"HTTP/1.1 411 Length Required\r\n",
            Status::TooLarge => b"HTTP/1.1 413 Content Too Large\r\n",
            Status::UriTooLong => b"HTTP/1.1 414 URI Too Long\r\n",
            Status::UnsupportedMediaType => b"HTTP/1.1 415 Unsupported Media Type\r\n",
            Status::ExpectationFailed => b"HTTP/1.1 417 Expectation Failed\r\n",
            Status::FieldsTooLarge => b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
            Status::Internal => b"HTTP/1.1 500 Internal Server Error\r\n",
            Status::NotImplemented => b"HTTP/1.1 501 Not Implemented\r\n",
            Status::VersionNotSupported => b"HTTP/1.1 505 HTTP Version Not Supported\r\n",
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        match refusal {
            Refusal::BadRequest => Status::BadRequest,
            Refusal::NoSuchRoute | Refusal::NoSuchResource => Status::NotFound,
            Refusal::MethodNotAllowed(_) => Status::MethodNotAllowed,
            Refusal::LengthRequired => Status::LengthRequired,
            Refusal::TooLarge => Status::TooLarge,
            Refusal::UnsupportedMediaType => Status::UnsupportedMediaType,
            Refusal::Internal => Status::Internal,
        }
    }
}

/// What the reply says of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// Nothing: HTTP/1.1 goes on.
    Implied,
    /// It goes on although the request was HTTP/1.0.
    KeepAlive,
    /// It ends with this reply.
    Close,
}

/// The head of a reply with `Content-Length`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplyHead<'a> {
    pub(super) status: Status,
    pub(super) content_type: &'a str,
    pub(super) len: usize,
    /// Methods for Allow; empty for none.
    pub(super) allow: &'a str,
    pub(super) connection: Connection,
    pub(super) date: &'a [u8],
}

impl ReplyHead<'_> {
    /// Appends the head.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.reserve(HEAD_BYTES_HINT + self.content_type.len() + self.allow.len());
        out.extend_from_slice(self.status.line());
        if !self.content_type.is_empty() {
            out.extend_from_slice(b"Content-Type: ");
            out.extend_from_slice(self.content_type.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"Content-Length: ");
        write_decimal(self.len, out);
        out.extend_from_slice(b"\r\nDate: ");
        out.extend_from_slice(self.date);
        if !self.allow.is_empty() {
            out.extend_from_slice(b"\r\nAllow: ");
            out.extend_from_slice(self.allow.as_bytes());
        }
        out.extend_from_slice(match self.connection {
            Connection::Implied => b"\r\n\r\n",
            Connection::KeepAlive => b"\r\nConnection: keep-alive\r\n\r\n",
            Connection::Close => b"\r\nConnection: close\r\n\r\n",
        });
    }
}

/// Appends `number` in decimal.
pub(super) fn write_decimal(mut number: usize, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// The wall clock of a machine: one moment known by both clocks, and the text of the current second.
#[derive(Clone, Debug)]
pub struct DateClock {
    at: Instant,
    unix: Duration,
    second: u64,
    text: [u8; DATE_BYTES],
}

const DATE_BYTES: usize = 29;

impl DateClock {
    /// A clock that was `unix` after the epoch at `at`.
    pub fn new(at: Instant, unix: Duration) -> DateClock {
        let second = unix.as_secs();
        DateClock { at, unix, second, text: date_text(second) }
    }

    /// The value of Date at `now`.
    pub(super) fn date(&mut self, now: Instant) -> &[u8] {
        let second = (self.unix + now.saturating_duration_since(self.at)).as_secs();
        if second != self.second {
            self.second = second;
            self.text = date_text(second);
        }
        &self.text
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 5.6.7).
fn date_text(unix_second: u64) -> [u8; DATE_BYTES] {
    const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    const MONTHS: [&[u8; 3]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    let (day, second) = (unix_second / 86_400, unix_second % 86_400);
    let (year, month, day_of_month) = civil(day);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(DAYS[(day % 7) as usize]);
    text[8..11].copy_from_slice(MONTHS[month]);
    write_pair(&mut text[5..7], day_of_month);
    write_pair(&mut text[12..14], year / 100);
    write_pair(&mut text[14..16], year % 100);
    write_pair(&mut text[17..19], second / 3600);
    write_pair(&mut text[20..22], second / 60 % 60);
    write_pair(&mut text[23..25], second % 60);
    text
}

fn write_pair(into: &mut [u8], number: u64) {
    into[0] = b'0' + (number / 10 % 10) as u8;
    into[1] = b'0' + (number % 10) as u8;
}

/// Year, month from 0 and day from 1 of a day since 1970-01-01, by eras of 400 years that start in March (Howard
/// Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn civil(day: u64) -> (u64, usize, u64) {
    let since_march_0 = day + 719_468;
    let (era, day_of_era) = (since_march_0 / 146_097, since_march_0 % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    (year, month as usize, day_of_month)
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

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 7, 10, 65_536, usize::MAX] {
            let mut out = Vec::new();
            write_decimal(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
