//! Faults of a peer, and the error codes of HTTP/2.
//!
//! A stream fault ends one stream by RST_STREAM. A connection fault ends all of them by GOAWAY,
//! with the reason as debug text. RFC 9113 sections 5.4 and 7.

use std::borrow::Cow;

/// Error code of RST_STREAM and GOAWAY. Codes that are not listed are never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ErrorCode {
    /// No error: the response is complete, or the server shuts down.
    NoError = 0,
    /// Violation of a rule without a code of its own.
    Protocol = 1,
    /// Fault of the sender of the code.
    Internal = 2,
    /// More bytes than a window allows.
    FlowControl = 3,
    /// Frame on a stream that its sender had ended.
    StreamClosed = 5,
    /// Frame of a length that its type does not allow.
    FrameSize = 6,
    /// Stream that was not processed; the request may be sent again.
    RefusedStream = 7,
    /// Stream that is no longer wanted.
    Cancel = 8,
    /// Header block that cannot be decoded.
    Compression = 9,
    /// Excess of frames that are allowed in small numbers.
    EnhanceYourCalm = 11,
}

/// Fault of the peer, with the part that it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Connection(ErrorCode, Cow<'static, str>),
    Stream(u32, ErrorCode, &'static str),
}

impl Fault {
    pub(crate) fn connection(code: ErrorCode, text: impl Into<Cow<'static, str>>) -> Fault {
        Fault::Connection(code, text.into())
    }

    pub(crate) fn protocol(text: impl Into<Cow<'static, str>>) -> Fault {
        Fault::connection(ErrorCode::Protocol, text)
    }

    pub(crate) fn calm(text: impl Into<Cow<'static, str>>) -> Fault {
        Fault::connection(ErrorCode::EnhanceYourCalm, text)
    }
}

/// Returns the name of a code in RST_STREAM or GOAWAY.
pub(crate) fn code_name(code: u32) -> Cow<'static, str> {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    match NAMES.get(code as usize) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(format!("error code {code}")),
    }
}
