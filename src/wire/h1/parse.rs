//! Parser of the head of a request or response: one pass, line by line, without a copy.
//!
//! The parser continues an unfinished head where it stopped and looks at no byte twice. It
//! interprets only the fields that frame a message or control a connection.
//!
//! The parser is strict where two readers could disagree on the end of a message (request
//! smuggling). It refuses: a line that ends in LF alone, CR or NUL anywhere else, a folded field,
//! space before the colon, a name that is no token, two Content-Length fields or one that is not
//! plain digits, Content-Length together with Transfer-Encoding, a Transfer-Encoding other than
//! `chunked`, no Host or two of them. RFC 9112 sections 2 to 6.

use std::ops::Range;

use http::StatusCode;
use memchr::memchr;

use super::fields::{Fault, Fields, Framing, bad, is_host, is_token, is_value};
use crate::wire::buffers::{Pool, PooledBuf};
use crate::wire::limits::Limits;
use crate::wire::response::Received;

/// RFC 9112 section 2.2 asks for one.
const EMPTY_LINES_MAX: u8 = 4;

/// Parser of one kind of head. Ranges count from the first byte of the head.
pub(super) trait HeadParser: Default {
    /// Continues in `head`, which begins with all earlier bytes; returns a whole head's length.
    fn advance(&mut self, head: &[u8], limits: &Limits) -> Result<Option<usize>, Fault>;

    /// Returns true when the first `len` bytes are only empty lines.
    fn is_blank(&self, len: usize) -> bool;

    fn rewind(&mut self);
}

#[derive(Debug, Default)]
pub(super) struct HeadReader<P> {
    parser: P,
    buffer: PooledBuf,
}

pub(super) struct WholeHead<'a, P> {
    pub(super) head: P,
    pub(super) bytes: Received<'a>,
    pub(super) rest: &'a [u8],
}

impl<P: HeadParser> HeadReader<P> {
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    pub(super) fn read<'a>(
        &mut self,
        input: &'a [u8],
        limits: &Limits,
        pool: &Pool,
    ) -> Result<Option<WholeHead<'a, P>>, Fault> {
        if !self.buffer.is_empty() {
            return self.read_on(input, limits);
        }
        let Some(end) = self.parser.advance(input, limits)? else {
            if self.parser.is_blank(input.len()) {
                self.parser.rewind();
            } else {
                self.buffer = pool.take(input.len());
                self.buffer.extend_from_slice(input);
                self.buffer.settle();
            }
            return Ok(None);
        };
        let (bytes, rest) = input.split_at(end);
        Ok(Some(WholeHead {
            head: std::mem::take(&mut self.parser),
            bytes: Received::Borrowed(bytes),
            rest,
        }))
    }

    fn read_on<'a>(
        &mut self,
        input: &'a [u8],
        limits: &Limits,
    ) -> Result<Option<WholeHead<'a, P>>, Fault> {
        let before = self.buffer.len();
        let kept_max = limits.head_bytes_max.saturating_add(2 * usize::from(EMPTY_LINES_MAX));
        let kept = input.len().min(kept_max - before);
        self.buffer.extend_from_slice(&input[..kept]);
        self.buffer.settle();
        let Some(end) = self.parser.advance(&self.buffer, limits)? else {
            if self.parser.is_blank(self.buffer.len()) {
                self.parser.rewind();
                self.buffer = PooledBuf::default();
            }
            return Ok(None);
        };
        self.buffer.truncate(end);
        let bytes = Received::Owned(std::mem::take(&mut self.buffer).into());
        let head = std::mem::take(&mut self.parser);
        Ok(Some(WholeHead { head, bytes, rest: &input[end - before..] }))
    }
}

#[derive(Debug, Default)]
struct Lines {
    start: usize,
    scanned: usize,
}

impl Lines {
    /// Returns the next whole line without its CRLF.
    fn next(&mut self, head: &[u8]) -> Result<Option<Range<usize>>, Fault> {
        let Some(at) = memchr(b'\n', &head[self.scanned..]) else {
            self.scanned = head.len();
            return Ok(None);
        };
        let end = self.scanned + at;
        if end == self.start || head[end - 1] != b'\r' {
            return Err(bad("a line ends in LF without CR"));
        }
        let line = self.start..end - 1;
        self.start = end + 1;
        self.scanned = self.start;
        Ok(Some(line))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Options,
    Known,
    #[default]
    Unknown,
}

#[derive(Debug, Default)]
pub(super) struct RequestHead {
    lines: Lines,
    empty_lines: u8,
    /// Start of the request line, after any empty lines.
    first: usize,
    line_read: bool,
    pub(super) method: Method,
    pub(super) method_name: Range<usize>,
    /// Empty for `OPTIONS *`.
    pub(super) path: Range<usize>,
    pub(super) minor: u8,
    pub(super) fields: Fields,
}

impl HeadParser for RequestHead {
    fn advance(&mut self, head: &[u8], limits: &Limits) -> Result<Option<usize>, Fault> {
        loop {
            let end_max = self.first.saturating_add(limits.head_bytes_max);
            let seen = &head[..head.len().min(end_max)];
            self.check_first_byte(seen)?;
            let Some(line) = self.lines.next(seen)? else {
                let full = seen.len() == end_max;
                return if full { Err(self.too_long()) } else { Ok(None) };
            };
            if !self.line_read {
                self.read_first_line(head, line)?;
            } else if line.is_empty() {
                self.fields.check()?;
                self.fields.check_request(self.minor)?;
                return Ok(Some(self.lines.start));
            } else {
                self.fields.read(head, line, limits)?;
            }
        }
    }

    fn is_blank(&self, len: usize) -> bool {
        !self.line_read && self.lines.start == len
    }

    fn rewind(&mut self) {
        self.first = 0;
        self.lines = Lines::default();
    }
}

impl RequestHead {
    fn too_long(&self) -> Fault {
        if self.line_read {
            Fault {
                status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                what: "the head is too long",
            }
        } else {
            Fault { status: StatusCode::URI_TOO_LONG, what: "the request line is too long" }
        }
    }

    /// Refuses input that cannot become a request, such as a TLS handshake.
    fn check_first_byte(&self, head: &[u8]) -> Result<(), Fault> {
        match head.get(self.lines.start) {
            Some(&first) if !self.line_read && !is_token(first) && first != b'\r' => {
                Err(bad("the request line does not start with a method"))
            }
            _ => Ok(()),
        }
    }

    fn read_first_line(&mut self, head: &[u8], line: Range<usize>) -> Result<(), Fault> {
        if line.is_empty() {
            self.empty_lines += 1;
            self.first = self.lines.start;
            return match self.empty_lines {
                0..=EMPTY_LINES_MAX => Ok(()),
                _ => Err(bad("too many empty lines before a request")),
            };
        }
        self.line_read = true;
        let text = &head[line.clone()];
        let method_len = text.iter().take_while(|byte| is_token(**byte)).count();
        if method_len == 0 {
            return Err(bad("the request line does not start with a method"));
        }
        let Some((b' ', rest)) = text[method_len..].split_first() else {
            return Err(bad("the method is not followed by one space"));
        };
        let target_len = rest.iter().take_while(|byte| byte.is_ascii_graphic()).count();
        if target_len == 0 {
            return Err(bad("the method is not followed by a target"));
        }
        let Some((b' ', version)) = rest[target_len..].split_first() else {
            return Err(bad("the target is not followed by one space and a version"));
        };
        self.minor = read_version(version)?;
        self.method_name = line.start..line.start + method_len;
        self.method = method(&text[..method_len]);
        let target_start = line.start + method_len + 1;
        self.path = self.read_target(head, target_start..target_start + target_len)?;
        Ok(())
    }

    /// Finds the path in a target of origin, absolute or asterisk form.
    fn read_target(&self, head: &[u8], target: Range<usize>) -> Result<Range<usize>, Fault> {
        let text = &head[target.clone()];
        let path = match text {
            [b'/', ..] => 0..text.len(),
            b"*" if self.method == Method::Options => return Ok(target.end..target.end),
            _ if &head[self.method_name.clone()] == b"CONNECT" => {
                return Ok(target.end..target.end);
            }
            _ => absolute_path(text).ok_or(bad("the target is no path"))?,
        };
        if memchr(b'#', text).is_some() {
            return Err(bad("the target has a fragment"));
        }
        let end = memchr(b'?', &text[path.clone()]).map_or(path.end, |at| path.start + at);
        Ok(target.start + path.start..target.start + end)
    }

    pub(super) fn keep_alive(&self) -> bool {
        self.fields.keeps_alive(self.minor)
    }
}

/// Finds the path of `http://host/path`; the last slash of the scheme stands for an empty path. The
/// host has no user before it (RFC 9110 section 4.2.4).
fn absolute_path(target: &[u8]) -> Option<Range<usize>> {
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    let is_prefix = |scheme: &&[u8]| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let start = schemes.into_iter().find(is_prefix)?.len();
    let authority = target[start..].iter().take_while(|byte| !b"/?".contains(byte)).count();
    let end = start + authority;
    let is_valid = authority > 0 && target[start..end].iter().all(|byte| is_host(*byte));
    match target.get(end) {
        _ if !is_valid => None,
        Some(b'/') => Some(end..target.len()),
        _ => Some(start - 1..start),
    }
}

fn method(name: &[u8]) -> Method {
    match name {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"OPTIONS" => Method::Options,
        b"POST" | b"PUT" | b"DELETE" | b"TRACE" | b"PATCH" => Method::Known,
        _ => Method::Unknown,
    }
}

fn read_version(text: &[u8]) -> Result<u8, Fault> {
    match text {
        [b'H', b'T', b'T', b'P', b'/', major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9'] => {
            match major {
                b'1' => Ok(minor - b'0'),
                _ => {
                    let what = "only HTTP/1.0 and HTTP/1.1 are supported";
                    Err(Fault { status: StatusCode::HTTP_VERSION_NOT_SUPPORTED, what })
                }
            }
        }
        _ => Err(bad("the version is not HTTP/1.1 or HTTP/1.0")),
    }
}

#[derive(Debug, Default)]
pub(super) struct ResponseHead {
    lines: Lines,
    minor: u8,
    pub(super) status: u16,
    pub(super) reason: Range<usize>,
    pub(super) fields: Fields,
}

impl HeadParser for ResponseHead {
    fn advance(&mut self, head: &[u8], limits: &Limits) -> Result<Option<usize>, Fault> {
        let seen = &head[..head.len().min(limits.head_bytes_max)];
        loop {
            let Some(line) = self.lines.next(seen)? else {
                let full = seen.len() == limits.head_bytes_max;
                return if full { Err(bad("the head is too long")) } else { Ok(None) };
            };
            if self.status == 0 {
                self.read_status_line(head, line)?;
            } else if line.is_empty() {
                self.fields.check()?;
                return Ok(Some(self.lines.start));
            } else {
                self.fields.read(head, line, limits)?;
            }
        }
    }

    fn is_blank(&self, _len: usize) -> bool {
        false
    }

    fn rewind(&mut self) {}
}

impl ResponseHead {
    fn read_status_line(&mut self, head: &[u8], line: Range<usize>) -> Result<(), Fault> {
        let text = &head[line.clone()];
        let (version, rest) = text.split_at_checked(8).ok_or(bad("the status line is cut"))?;
        self.minor = read_version(version)?;
        let [b' ', a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] = rest else {
            return Err(bad("the status line has no status"));
        };
        if !matches!(reason, [] | [b' ', ..]) || !reason.iter().all(|byte| is_value(*byte)) {
            return Err(bad("the status is not followed by a reason"));
        }
        let [a, b, c] = [a, b, c].map(|digit| u16::from(digit - b'0'));
        self.status = a * 100 + b * 10 + c;
        self.reason = line.end - reason.len()..line.end;
        Ok(())
    }

    /// Returns true if the connection stays open after the response (RFC 9112 section 9.3).
    pub(super) fn keep_alive(&self) -> bool {
        self.fields.keeps_alive(self.minor)
    }

    /// Returns the framing; `None` when only the end of the connection would end the body.
    pub(super) fn framing(&self) -> Option<Framing> {
        match (self.status, self.fields.framing()) {
            (100..=199 | 204 | 304, _) => Some(Framing::None),
            (_, Framing::None) => None,
            (_, framing) => Some(framing),
        }
    }
}
