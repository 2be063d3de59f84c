//! `h1`: own HTTP/1.1 (RFC 9112, RFC 9110), server and client half.
//!
//! ```text
//!            parse (head, one pass)    handler          encode (head) + response::send
//! receive ──▶ Head ───────────────▶ route ─▶ Body ─▶ answer ─▶ Outbox ─▶ Head ...
//!                  └─ refused: response ───▶ Skip (body discarded, to stay in step) ─▶ Head
//!                  └─ broken framing: response with its reason, then closed
//! ```
//! Requests may be pipelined and are answered in order. The parser is strict where leniency has led
//! to attacks: see `parse.rs`. Not here: TLS, upgrades, compression, ranges, trailers, `CONNECT`.

mod body;
mod chunked;
mod client;
mod encode;
mod fields;
mod parse;
mod server;

pub use client::H1Client;
pub use encode::DateClock;
pub use server::H1;

const PROTOCOL: &str = "h1";
