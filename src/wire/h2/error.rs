//! What a peer can do wrong, and how far the harm reaches.
//!
//! A stream fault ends one stream by RST_STREAM, a connection fault all of them by GOAWAY with the reason as debug
//! text. RFC 9113 sections 5.4 and 7.

use std::borrow::Cow;

/// Error codes of RST_STREAM and GOAWAY. Codes not listed are never sent and mean nothing special when received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ErrorCode {
    /// Not an error: the reply is complete, or the server is shutting down.
    NoError = 0,
    /// A rule without a code of its own was broken.
    Protocol = 1,
    /// Our own fault.
    Internal = 2,
    /// More was sent than a window allowed.
    FlowControl = 3,
    /// A frame for a stream whose sender had ended it.
    StreamClosed = 5,
    /// A frame of a size it cannot have.
    FrameSize = 6,
    /// Not processed at all; may be sent again.
    RefusedStream = 7,
    /// No longer wanted.
    Cancel = 8,
    /// The header compression is out of step.
    Compression = 9,
    /// Too much of something that is allowed in moderation.
    EnhanceYourCalm = 11,
}

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection cannot go on.
    Connection(ErrorCode, Cow<'static, str>),
    /// This stream cannot.
    Stream(u32, ErrorCode, &'static str),
}

impl Fault {
    /// A connection fault of `code`.
    pub(crate) fn connection(code: ErrorCode, text: impl Into<Cow<'static, str>>) -> Fault {
        Fault::Connection(code, text.into())
    }

    /// A connection fault of PROTOCOL_ERROR.
    pub(crate) fn protocol(text: impl Into<Cow<'static, str>>) -> Fault {
        Fault::connection(ErrorCode::Protocol, text)
    }

    /// A connection fault of ENHANCE_YOUR_CALM.
    pub(crate) fn calm(text: impl Into<Cow<'static, str>>) -> Fault {
        Fault::connection(ErrorCode::EnhanceYourCalm, text)
    }
}

/// The name of a code a peer sent.
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
