//! Windows, frames and buffers of the `tuned` stacks, and of `h2-crate`, which has no other form.
//!
//! One place, so that all of them are raised alike. Why each value: h2's own guard against small DATA frames allows
//! half a connection window of them, so 1000 parallel small calls need at least 1 MiB; a body of 64 MiB should
//! not wait for window updates; frames of 16 KiB cost one write each in h2.

/// SETTINGS_INITIAL_WINDOW_SIZE.
pub const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// The connection's window.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// SETTINGS_MAX_FRAME_SIZE: the largest frame we take; what we send follows the peer's.
pub const FRAME_BYTES_MAX: u32 = 1024 * 1024;

/// SETTINGS_MAX_CONCURRENT_STREAMS: 1000 parallel calls on one channel, as the original benchmark makes, fit.
pub const STREAMS_MAX: u32 = 1024;

/// Bytes that hyper keeps to send before it asks the application to wait.
pub const SEND_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Read and write buffer of hyper's HTTP/1.1; its default is about 400 KiB.
pub const HTTP1_BUFFER_BYTES: usize = 1024 * 1024;
