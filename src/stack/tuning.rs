//! Windows, frames and buffers of the `tuned` and `best` stacks.
//!
//! Reasons: h2's guard against small DATA frames allows half a connection window of them, so 1000
//! parallel small calls need at least 1 MiB. A body of 64 MiB should not wait for window updates. A
//! frame of 16 KiB costs one write in h2.

use hyper::server::conn::http2::Builder;

use crate::wire::Limits;

/// SETTINGS_INITIAL_WINDOW_SIZE.
pub const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
pub const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// SETTINGS_MAX_FRAME_SIZE, for received frames; sent frames follow the peer's setting.
pub const FRAME_BYTES_MAX: u32 = 1024 * 1024;

/// SETTINGS_MAX_CONCURRENT_STREAMS; the original benchmark makes 1000 parallel calls on a channel.
pub const STREAMS_MAX: u32 = 1024;

/// Unsent bytes at which hyper asks the application to wait.
pub const SEND_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Unsent bytes of a connection at which no further call is answered; the peer may send as many.
pub const UNSENT_BYTES_MAX: usize = CONNECTION_WINDOW_BYTES as usize;

/// Read and write buffer of hyper's HTTP/1.1; its default is about 400 KiB.
pub const HTTP1_BUFFER_BYTES: usize = 1024 * 1024;

/// Returns SETTINGS_MAX_HEADER_LIST_SIZE. Without a flag it is what hyper has by itself.
pub fn head_bytes_max(limits: &Limits) -> u32 {
    u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX)
}

/// Raises the settings of hyper's HTTP/2.
pub fn raise<E>(builder: &mut Builder<E>) {
    builder
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES);
}
