//! ZMTP 3.0 and 3.1 with the mechanism NULL, as a client with a socket of type REQ: what the load
//! generator needs to call a ZeroMQ server. Sources: RFC 23, 28 and 37 of ZeroMQ.
//!
//! ```text
//! connection   greeting (64 bytes), READY command, then messages and commands
//! message      delimiter (an empty frame with MORE), frame with MORE ..., last frame
//!
//!  0       1                2 or 9
//! +-------+----------------+--------------- ...
//! | flags | length (be)    |  length bytes
//! +-------+----------------+--------------- ...
//! flags: 1 = MORE, 2 = LONG (8 bytes of length, not 1), 4 = COMMAND
//! ```
//! There is no server half. A request is given as frames without the delimiter, the form of
//! [`crate::codec::multipart`], and a reply is returned in the same form. A reply of a single frame
//! is the text of a refusal. A peer's bytes are kept as they arrive, never by an announced length.

mod client;
mod frame;
mod handshake;

pub use client::ZmtpClient;

use super::WireError;

const PROTOCOL: &str = "zmtp";

fn protocol_error(what: String) -> WireError {
    WireError::violation(PROTOCOL, what)
}
