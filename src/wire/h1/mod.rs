//! `h1`: own HTTP/1.1 (RFC 9112, RFC 9110), server and client half.
//!
//! ```text
//!            parse (head, one pass)    handler          encode (head) + reply::send
//! receive ──▶ Head ───────────────▶ route ─▶ Body ─▶ answer ─▶ Outbox ─▶ Head ...
//!                  └─ refused: reply ──────▶ Skip (body swallowed, to stay in step) ─▶ Head
//!                  └─ broken framing: reply with its reason, then closed
//! ```
//! Requests may be pipelined and are answered in order. A body may have a Content-Length or be chunked; one that lies
//! whole in the caller's buffer is answered from there, a long one is received into its own. Every refusal carries its
//! reason as one line of text. Strict where leniency has been an attack: see `parse.rs`.
//!
//! Not here: TLS, upgrades, compression, ranges, trailers (read and dropped), `CONNECT`.

mod chunked;
mod client;
mod encode;
mod fields;
mod machine;
mod message;
mod parse;

pub use client::H1Client;
pub use encode::DateClock;
pub use machine::H1;

const PROTOCOL: &str = "h1";
