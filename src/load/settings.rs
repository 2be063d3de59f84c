//! A stream that counts its bytes and reads the first HTTP/2 frame that comes in, which is the peer's SETTINGS.
//!
//! The h2 crate applies that frame and does not show it; a record must say what the server really asked for. Bytes
//! pass unchanged, and after the first frame nothing but the counting is left. RFC 9113 sections 3.4 and 6.5.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::record::Http2Settings;

use super::run::Traffic;

/// Bytes of a frame's head.
const HEAD_BYTES: usize = 9;

/// Longest SETTINGS frame that is looked at: the six settings that exist, each several times over.
const SETTINGS_BYTES_MAX: usize = 1024;

/// Type of a SETTINGS frame.
const TYPE_SETTINGS: u8 = 4;

/// A counted stream whose first incoming frame is looked at.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    traffic: Rc<Traffic>,
    /// The first frame so far; `None` once it was whole, or was no SETTINGS.
    first: Option<Vec<u8>>,
}

impl<S> Watched<S> {
    /// Watches `stream`, counting into `traffic`.
    pub fn new(stream: S, traffic: Rc<Traffic>) -> Watched<S> {
        Watched { stream, traffic, first: Some(Vec::new()) }
    }

    fn look(&mut self, bytes: &[u8]) {
        let Some(first) = &mut self.first else { return };
        let room = HEAD_BYTES + SETTINGS_BYTES_MAX - first.len();
        first.extend_from_slice(&bytes[..bytes.len().min(room)]);
        match settings(first) {
            Frame::Partial => {}
            Frame::Settings(settings) => {
                self.traffic.server_settings.set(Some(settings));
                self.first = None;
            }
            Frame::Other => self.first = None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let bytes = &buffer.filled()[before..];
        this.traffic.received(bytes.len());
        this.look(bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.traffic.sent(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, slices))?;
        this.traffic.sent(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// What a connection begins with.
#[derive(Debug, PartialEq, Eq)]
enum Frame {
    Partial,
    Settings(Http2Settings),
    Other,
}

/// Reads a SETTINGS frame at the start of `bytes`.
///
/// ```text
///  0            3      4       5           9
/// +------------+------+-------+-----------+--------+-----------+--------+ ...
/// | length u24 | type | flags | stream id | id u16 | value u32 | id u16 |
/// +------------+------+-------+-----------+--------+-----------+--------+ ...
/// ```
fn settings(bytes: &[u8]) -> Frame {
    let Some((&[a, b, c, kind, _, _, _, _, _], payload)) = bytes.split_first_chunk::<HEAD_BYTES>()
    else {
        return Frame::Partial;
    };
    let len = u32::from_be_bytes([0, a, b, c]) as usize;
    if kind != TYPE_SETTINGS || len > SETTINGS_BYTES_MAX || !len.is_multiple_of(6) {
        return Frame::Other;
    }
    let Some(payload) = payload.get(..len) else { return Frame::Partial };
    let mut settings = Http2Settings::default();
    for &[a, b, c, d, e, f] in payload.as_chunks::<6>().0 {
        let value = Some(u32::from_be_bytes([c, d, e, f]));
        match u16::from_be_bytes([a, b]) {
            1 => settings.header_table_size = value,
            3 => settings.max_concurrent_streams = value,
            4 => settings.initial_window_size = value,
            5 => settings.max_frame_size = value,
            6 => settings.max_header_list_size = value,
            _ => {}
        }
    }
    Frame::Settings(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Concurrent streams 200, initial window 1 MiB, and one setting nobody knows.
    const FRAME: [u8; 27] =
        [0, 0, 18, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 200, 0, 4, 0, 16, 0, 0, 0xAA, 0xAA, 0, 0, 0, 1];

    #[test]
    fn the_first_frame_is_read_however_it_is_cut() {
        for cut in 0..FRAME.len() {
            let mut watched = Watched::new((), Rc::default());
            watched.look(&FRAME[..cut]);
            assert_eq!(watched.traffic.server_settings.get(), None);
            watched.look(&FRAME[cut..]);
            watched.look(b"what follows is not looked at");
            let read = watched.traffic.server_settings.get().unwrap();
            assert_eq!(read.max_concurrent_streams, Some(200));
            assert_eq!(read.initial_window_size, Some(1 << 20));
            assert_eq!(read.max_frame_size, None);
        }
    }

    #[test]
    fn anything_else_is_let_through() {
        assert_eq!(settings(b"HTTP/1.1 400 Bad Request\r\n"), Frame::Other);
        assert_eq!(settings(&[0, 0, 5, 4, 0, 0, 0, 0, 0]), Frame::Other);
        assert_eq!(settings(&[0xFF, 0xFF, 0xFC, 4, 0, 0, 0, 0, 0]), Frame::Other);
        assert_eq!(settings(&[0, 0]), Frame::Partial);
    }
}
