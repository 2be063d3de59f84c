//! Status of a call: code, text, and the percent-encoding of the text.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::wire::handler::{Refusal, Refused};

/// Bytes that `grpc-message` escapes; `utf8_percent_encode` adds all beyond ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub code: Code,
    /// One line, not yet percent-encoded.
    pub text: String,
}

impl Code {
    pub const ALL: [Code; 10] = [
        Code::Ok,
        Code::Cancelled,
        Code::Unknown,
        Code::InvalidArgument,
        Code::DeadlineExceeded,
        Code::NotFound,
        Code::ResourceExhausted,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Code::Ok => "OK",
            Code::Cancelled => "CANCELLED",
            Code::Unknown => "UNKNOWN",
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Code::NotFound => "NOT_FOUND",
            Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Code::Unimplemented => "UNIMPLEMENTED",
            Code::Internal => "INTERNAL",
            Code::Unavailable => "UNAVAILABLE",
        }
    }

    pub fn text(self) -> &'static str {
        const TEXTS: [&str; 15] =
            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14"];
        TEXTS[self as usize]
    }
}

impl Status {
    pub fn new(code: Code, text: impl Into<String>) -> Status {
        Status { code, text: text.into() }
    }
}

impl From<Refused> for Status {
    fn from(Refused { kind, detail }: Refused) -> Status {
        let code = match kind {
            Refusal::BadRequest | Refusal::LengthRequired | Refusal::UnsupportedMediaType => {
                Code::InvalidArgument
            }
            Refusal::NoSuchRoute | Refusal::MethodNotAllowed(_) => Code::Unimplemented,
            Refusal::NoSuchResource => Code::NotFound,
            Refusal::TooLarge => Code::ResourceExhausted,
            Refusal::Internal | Refusal::BadCoding => Code::Internal,
            Refusal::Unavailable => Code::Unavailable,
        };
        Status { code, text: detail }
    }
}

/// Encodes `text` for `grpc-message`: `%XX` for all but printable ASCII, and for `%` itself.
pub fn percent_encode(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, ENCODED).into()
}

/// Decodes a `grpc-message`; a malformed escape stays, and bad UTF-8 is replaced.
pub fn percent_decode(value: &[u8]) -> String {
    percent_encoding::percent_decode(value).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_percent_encoding() {
        for (plain, encoded) in [("all fine", "all fine"), ("50%\r\n\u{e4}", "50%25%0D%0A%C3%A4")] {
            assert_eq!(percent_encode(plain), encoded);
            assert_eq!(percent_decode(encoded.as_bytes()), plain);
        }
        assert_eq!(percent_decode(b"%zz%4"), "%zz%4");
        assert_eq!(percent_decode(b"%+1%ff"), "%+1\u{fffd}");
    }
}
