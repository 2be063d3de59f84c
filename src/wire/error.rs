//! Errors that end a connection. Each is the peer's fault; the caller counts it and closes.

use std::borrow::Cow;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Broken rule of the protocol, or an error that the peer sent to end the connection.
    Violation,
    /// End of the connection inside a message.
    Truncated,
    Timeout,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct WireError {
    pub protocol: &'static str,
    pub kind: ErrorKind,
    /// Code of the protocol, if it has codes (HTTP/2: RFC 9113 section 7).
    pub code: Option<u32>,
    pub detail: Cow<'static, str>,
}

impl WireError {
    pub fn violation(protocol: &'static str, detail: impl Into<Cow<'static, str>>) -> WireError {
        WireError { protocol, kind: ErrorKind::Violation, code: None, detail: detail.into() }
    }

    pub fn truncated(protocol: &'static str) -> WireError {
        let detail = "connection ended inside a message".into();
        WireError { protocol, kind: ErrorKind::Truncated, code: None, detail }
    }

    /// Makes a timeout; `waiting` reads like `waiting for the rest of a frame's head`.
    pub fn timeout(protocol: &'static str, waiting: &'static str) -> WireError {
        let detail = format!("timed out {waiting}").into();
        WireError { protocol, kind: ErrorKind::Timeout, code: None, detail }
    }

    pub fn with_code(self, code: u32) -> WireError {
        WireError { code: Some(code), ..self }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.protocol, self.detail)
    }
}
