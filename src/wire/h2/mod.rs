//! Own HTTP/2 with unary gRPC on it: [`H2`] serves, [`H2Client`] calls.
//!
//! Cleartext with prior knowledge only. No server push (never allowed), no priorities (ignored, as RFC 9113 advises),
//! no streaming calls: a stream carries one message each way. What is not a gRPC call is answered in plain HTTP by a
//! short text, 405 or 415.
//!
//! ```text
//!             connection/                         server/
//!              mod      frames taken apart         request, head ─▶ Handler ─▶ response, frames
//!  bytes ────▶ headers  header blocks, whole       timeouts
//!              control  SETTINGS, PING, GOAWAY
//!              data     content, windows, loans   client/
//!              send     output that waits          request, request_block
//!              outgoing a message as frames        response, head ─▶ Sink
//!              errors   RST_STREAM, GOAWAY
//! ```
//! A small call whose HEADERS and DATA lie in one input is answered from where it lies: no stream is made, nothing is
//! copied but the reply into the outbox. A large message is received into its own buffer and sent from there.
//!
//! # Limits
//! Each has a test in `tests/h2/`. Past a limit the stream is refused where the peer may be honest, and the
//! connection ends with ENHANCE_YOUR_CALM where it may not; see also `abuse.rs` and [`crate::wire::Limits`].
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

/// Streams a client may have open. The 1000 parallel calls on one channel of the original benchmark must fit; memory
/// is bounded by bytes, not by this number.
pub const STREAMS_MAX: u32 = 1024;

/// Window of each new stream of a server: an array of 1 MiB and what is around it needs no update.
pub const STREAM_WINDOW: u32 = 1024 * 1024 + 16 * 1024;

/// Window of a server's connection at first.
pub const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Most that a connection's window grows to while large messages arrive.
pub const CONNECTION_WINDOW_MAX: u64 = 64 * 1024 * 1024;

/// Largest frame a server takes: an array of 1 MiB arrives in one, and larger ones in few.
pub const FRAME_BYTES_MAX: u32 = STREAM_WINDOW;

/// Largest header block as it is sent, and largest frame other than DATA.
pub const BLOCK_BYTES_MAX: usize = 16 * 1024;

/// Most CONTINUATION frames of a header block.
pub const CONTINUATIONS_MAX: usize = 8;

/// A header block may decode to this many times `head_bytes_max` before the connection ends; over the limit itself
/// only its stream is refused.
pub const HEAD_BYTES_FATAL_FACTOR: usize = 4;

/// Messages of one connection, arriving or waiting to be sent, may be this many times the largest message in all.
pub const MESSAGES_BYTES_MAX_FACTOR: usize = 4;

/// Content of a refused plain HTTP request that is waited for before the answer: small requests get it when they have
/// ended, as HTTP/1.1 clients expect, and large ones at once.
pub const REFUSED_CONTENT_MAX: u64 = 64 * 1024;
