//! Faults of a peer, and the error codes of HTTP/2.
//!
//! A stream fault sends RST_STREAM, a connection fault GOAWAY. RFC 9113 sections 5.4 and 7.

use std::borrow::Cow;

/// Error codes of RST_STREAM and GOAWAY that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ErrorCode {
    NoError = 0,
    Protocol = 1,
    Internal = 2,
    FlowControl = 3,
    StreamClosed = 5,
    FrameSize = 6,
    /// The request was not processed and may be sent again.
    RefusedStream = 7,
    Cancel = 8,
    Compression = 9,
    EnhanceYourCalm = 11,
}

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
