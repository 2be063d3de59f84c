//! Fields of a head that frame its message or control its connection; all others are checked for
//! their grammar alone. RFC 9110 section 5, RFC 9112 sections 5 and 6.

use std::ops::Range;

use http::StatusCode;

use crate::axis::Coding;
use crate::wire::Codings;
use crate::wire::json_head::{self, HeadLen};
use crate::wire::limits::Limits;

const ACCEPT_ENCODING: &[u8; 15] = b"accept-encoding";

/// Fault of framing, which ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    pub(super) what: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(u64),
    Chunked,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Expect {
    #[default]
    Nothing,
    Continue,
    Unknown,
}

#[derive(Debug, Default)]
pub(super) struct Fields {
    count: usize,
    hosts: u8,
    content_length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    pub(super) expect: Expect,
    /// Content coding of the body, the only one.
    pub(super) coding: Coding,
    /// The body has a content coding that is not known, or several.
    pub(super) has_unknown_coding: bool,
    /// List of codings that the peer accepts; `None` if it accepts all. Of several lines, from the
    /// value of the first to that of the last, with all lines between.
    pub(super) accept_encoding: Option<Range<usize>>,
    pub(super) content_type: Range<usize>,
    pub(super) json_head: HeadLen,
}

impl Fields {
    pub(super) fn read(
        &mut self,
        head: &[u8],
        line: Range<usize>,
        limits: &Limits,
    ) -> Result<(), Fault> {
        self.count += 1;
        if self.count > limits.head_fields_max {
            return Err(Fault {
                status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                what: "too many fields",
            });
        }
        let text = &head[line.clone()];
        let name_len = text.iter().take_while(|byte| is_token(**byte)).count();
        let (name, rest) = text.split_at(name_len);
        let value = match rest {
            _ if matches!(text.first(), Some(b' ' | b'\t')) => {
                return Err(bad("a field is folded over two lines"));
            }
            [b':', ..] if name.is_empty() => return Err(bad("a field has no name")),
            [b':', value @ ..] => value,
            [b' ' | b'\t', ..] => return Err(bad("a space stands before the colon of a field")),
            _ => return Err(bad("the name of a field is no token")),
        };
        let mut legal = true;
        value.iter().for_each(|byte| legal &= is_value(*byte));
        if !legal {
            return Err(bad("the value of a field has a control character"));
        }
        let start = line.end - value.trim_ascii_start().len();
        self.interpret(name, head, start..start + value.trim_ascii().len())
    }

    fn interpret(&mut self, name: &[u8], head: &[u8], at: Range<usize>) -> Result<(), Fault> {
        let value = &head[at.clone()];
        match name.len() {
            4 if is(name, b"host") => self.read_host(value),
            6 if is(name, b"expect") => {
                let known = value.eq_ignore_ascii_case(b"100-continue");
                self.expect = if known { Expect::Continue } else { Expect::Unknown };
                Ok(())
            }
            10 if is(name, b"connection") => {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
                Ok(())
            }
            12 if is(name, b"content-type") => {
                self.content_type = at;
                Ok(())
            }
            14 if is(name, b"content-length") => self.read_content_length(value),
            15 if is(name, ACCEPT_ENCODING) => {
                let start = self.accept_encoding.as_ref().map_or(at.start, |lines| lines.start);
                self.accept_encoding = Some(start..at.end);
                Ok(())
            }
            16 if is(name, b"content-encoding") => {
                self.read_coding(value);
                Ok(())
            }
            17 if is(name, b"transfer-encoding") => self.read_transfer_encoding(value),
            31 if name.eq_ignore_ascii_case(json_head::FIELD.as_bytes()) => {
                self.json_head.read(value);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read_coding(&mut self, value: &[u8]) {
        match Coding::from_token(value) {
            Some(Coding::Identity) => {}
            Some(coding) if self.coding == Coding::Identity => self.coding = coding,
            _ => self.has_unknown_coding = true,
        }
    }

    fn read_host(&mut self, value: &[u8]) -> Result<(), Fault> {
        self.hosts = self.hosts.saturating_add(1);
        if !value.iter().all(|byte| is_host(*byte)) {
            return Err(bad("the Host is not a host and port"));
        }
        Ok(())
    }

    fn read_content_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.content_length.is_some() {
            return Err(bad("there are two Content-Length"));
        }
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(bad("the Content-Length is not a number"));
        }
        let length = value.iter().try_fold(0u64, |length, digit| {
            length.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        });
        self.content_length = Some(length.ok_or(bad("the Content-Length overflows"))?);
        Ok(())
    }

    fn read_transfer_encoding(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.chunked {
            return Err(bad("there are two Transfer-Encoding"));
        }
        let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
        let mut codings = value.rsplit(|byte| *byte == b',');
        if !codings.next().is_some_and(is_chunked) || codings.clone().any(is_chunked) {
            return Err(bad("chunked must be the last transfer coding, and once"));
        }
        if codings.next().is_some() {
            let what = "no transfer coding but chunked is supported";
            return Err(Fault { status: StatusCode::NOT_IMPLEMENTED, what });
        }
        self.chunked = true;
        Ok(())
    }

    /// Returns true if a message of HTTP/1.`minor` leaves the connection open.
    pub(super) fn keeps_alive(&self, minor: u8) -> bool {
        !self.close && (minor > 0 || self.keep_alive)
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.chunked && self.content_length.is_some() {
            return Err(bad("Content-Length and Transfer-Encoding exclude each other"));
        }
        Ok(())
    }

    pub(super) fn check_request(&self, minor: u8) -> Result<(), Fault> {
        if self.hosts > 1 || self.hosts == 0 && minor > 0 {
            return Err(bad("a request needs exactly one Host"));
        }
        if self.chunked && minor == 0 {
            return Err(bad("HTTP/1.0 has no Transfer-Encoding"));
        }
        Ok(())
    }

    /// Returns the codings of a request and of its answer. A peer that lists none accepts all (RFC
    /// 9110 section 12.5.3).
    pub(super) fn codings(&self, head: &[u8]) -> Codings {
        if self.coding == Coding::Identity {
            return Codings::NONE;
        }
        let (request, accepted) = (self.coding, self.accept_encoding.clone());
        let is_accepted =
            accepted.is_none_or(|lines| request.is_accepted_by_all(accept_encodings(&head[lines])));
        Codings { request, reply: if is_accepted { request } else { Coding::Identity } }
    }

    pub(super) fn framing(&self) -> Framing {
        match self.content_length {
            _ if self.chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::None,
        }
    }
}

/// Returns the values of Accept-Encoding in `lines`, whose first line begins with one.
fn accept_encodings(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut lines = lines.split(|byte| *byte == b'\n');
    let first = lines.next();
    let value = |line| match <[u8]>::split_at_checked(line, ACCEPT_ENCODING.len()) {
        Some((name, [b':', value @ ..])) if is(name, ACCEPT_ENCODING) => Some(value),
        _ => None,
    };
    first.into_iter().chain(lines.filter_map(value))
}

pub(super) fn bad(what: &'static str) -> Fault {
    Fault { status: StatusCode::BAD_REQUEST, what }
}

/// Compares a token to `known` in lower case. Setting a bit lowers letters; it also changes CR into
/// a byte of names, but a token contains no CR.
fn is<const N: usize>(name: &[u8], known: &[u8; N]) -> bool {
    let Ok(name) = <&[u8; N]>::try_from(name) else { return false };
    name.iter().zip(known).fold(true, |same, (a, b)| same & (a | 0x20 == *b))
}

/// `tchar` of RFC 9110 section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = letters_digits_and(b"!#$%&'*+-.^_`|~");
    TOKEN[usize::from(byte)]
}

/// Byte of a Host (RFC 3986 section 3.2.2).
pub(super) fn is_host(byte: u8) -> bool {
    const HOST: [bool; 256] = letters_digits_and(b"-._~%!$&'()*+;=[]:");
    HOST[usize::from(byte)]
}

const fn letters_digits_and(marks: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
}

/// Byte of a field value (RFC 9110 section 5.5): visible, space, tab, or beyond ASCII.
pub(super) fn is_value(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7F || byte == b'\t'
}
