//! Own HTTP/2 with gRPC on it: [`H2`] serves, [`H2Client`] calls.
//!
//! Cleartext with prior knowledge only; no server push, and priorities are ignored. A request that
//! is not a gRPC call gets a short text with 405 or 415.
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
//! and only the response is copied, into the outbox. A large message has its own buffer.
//!
//! Past a limit of a stream the stream is refused. Past a limit that no honest peer reaches the
//! connection ends with ENHANCE_YOUR_CALM (`abuse.rs`, [`crate::wire::Limits`]).
//!
//! RFC 9113, RFC 7541, and `doc/PROTOCOL-HTTP2.md` of the gRPC project. Tests: `tests/h2/`.

mod abuse;
mod client;
mod connection;
mod error;
mod flow;
pub(crate) mod frame;
mod hpack;
mod server;
mod settings;

pub use client::{Allowance, H2Client};
pub use error::ErrorCode;
pub use server::H2;
pub use settings::Settings;

const PROTOCOL: &str = "h2";
const STREAM_ID_MAX: u32 = (1 << 31) - 1;

/// The original benchmark has 1000 parallel calls; memory is bounded by bytes, not by this number.
pub const STREAMS_MAX: u32 = 1024;

/// Unsent message bytes of a stream at which its call pauses and its peer gets no more window.
pub const STREAM_UNSENT_BYTES_MAX: usize = 1024 * 1024;

/// An array of 1 MiB with its framing needs no update.
pub const STREAM_WINDOW: u32 = 1024 * 1024 + 16 * 1024;

pub const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
pub const CONNECTION_WINDOW_MAX: u64 = 64 * 1024 * 1024;
pub const FRAME_BYTES_MAX: u32 = STREAM_WINDOW;

/// Largest frame other than DATA, HEADERS and CONTINUATION.
pub const CONTROL_BYTES_MAX: usize = 16 * 1024;

/// CONTINUATION frames of any header block. A block of several frames may have as many for each
/// 64 KiB of its limit.
pub const CONTINUATIONS_MAX: usize = 8;

/// Multiple of `head_bytes_max` at which a block, coded or decoded, ends the connection, not only
/// its stream.
pub const HEAD_BYTES_FATAL_FACTOR: usize = 4;

/// Multiple of the largest message, for the bytes of arriving messages and again for unsent ones.
pub const MESSAGES_BYTES_MAX_FACTOR: usize = 4;

/// Most content of a refused plain HTTP request that is read before the response, as HTTP/1.1
/// clients expect. A larger request gets the response at once.
pub const REFUSED_CONTENT_MAX: u64 = 64 * 1024;
