//! Own HTTP/2 with gRPC on it: [`H2`] serves, [`H2Client`] calls.
//!
//! Cleartext with prior knowledge only. Server push is never allowed, and priorities are ignored,
//! as RFC 9113 advises. A request that is not a gRPC call is answered in plain HTTP by a short text
//! with 405 or 415.
//!
//! ```text
//!             connection/                         server/
//!              mod      frames taken apart         request ─▶ Handler ─▶ response, message, frames
//!  bytes ────▶ headers  header blocks, whole       stream ─▶ Call; expire, timeouts, shutdown
//!              control  SETTINGS, PING, GOAWAY
//!              data     content, windows, loans   client/
//!              send     output that waits          request, request_block
//!              outgoing a message as frames        response, head ─▶ Sink
//!              errors   RST_STREAM, GOAWAY
//! ```
//! A small call whose HEADERS and DATA lie in one input is answered from there: no stream is made,
//! and only the response is copied, into the outbox. A large message is received into its own
//! buffer and sent from there.
//!
//! # Limits
//! Each has a test in `tests/h2/`. Past a limit of a stream the stream is refused. Past a limit
//! that no honest peer reaches the connection ends with ENHANCE_YOUR_CALM (`abuse.rs`,
//! [`crate::wire::Limits`]).
//!
//! RFC 9113, RFC 7541, and `doc/PROTOCOL-HTTP2.md` of the gRPC project.

mod abuse;
mod client;
mod connection;
mod error;
mod flow;
mod frame;
mod hpack;
mod server;
mod settings;

pub use client::{Allowance, H2Client};
pub use error::ErrorCode;
pub use server::H2;
pub use settings::Settings;

const PROTOCOL: &str = "h2";

/// Highest number of a stream.
const STREAM_ID_MAX: u32 = (1 << 31) - 1;

/// Most streams that a client may have open. The original benchmark has 1000 parallel calls on one
/// channel; memory is bounded by bytes, not by this number.
pub const STREAMS_MAX: u32 = 1024;

/// Messages of one stream that wait to be sent, in bytes, at which its call pauses and its peer
/// gets no more window.
pub const STREAM_UNSENT_BYTES_MAX: usize = 1024 * 1024;

/// Window of each new stream of a server: an array of 1 MiB with its framing needs no update.
pub const STREAM_WINDOW: u32 = 1024 * 1024 + 16 * 1024;

/// First window of a server's connection.
pub const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Largest window of a connection while large messages arrive.
pub const CONNECTION_WINDOW_MAX: u64 = 64 * 1024 * 1024;

/// Largest frame that a server takes: an array of 1 MiB arrives in one, and a larger one in few.
pub const FRAME_BYTES_MAX: u32 = STREAM_WINDOW;

/// Largest header block in compressed form, and largest frame other than DATA.
pub const BLOCK_BYTES_MAX: usize = 16 * 1024;

/// Most CONTINUATION frames of a header block.
pub const CONTINUATIONS_MAX: usize = 8;

/// Multiple of `head_bytes_max` at which a decoded header block ends the connection. Over
/// `head_bytes_max` itself only its stream is refused.
pub const HEAD_BYTES_FATAL_FACTOR: usize = 4;

/// Bytes of messages of one connection, as a multiple of the largest message: for those that
/// arrive, and again for those that wait to be sent.
pub const MESSAGES_BYTES_MAX_FACTOR: usize = 4;

/// Most content of a refused plain HTTP request that is read before the response. A smaller request
/// gets the response after its end, as HTTP/1.1 clients expect, and a larger one at once.
pub const REFUSED_CONTENT_MAX: u64 = 64 * 1024;
