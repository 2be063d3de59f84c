//! Stream of compio with the traits of hyper.
//!
//! `HyperStream` of cyper-core does the same, but with buffers of 8 KiB that cannot be raised, and
//! it zeroes hyper's buffer before each read. This one has larger buffers and zeroes nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use compio::io::compat::AsyncStream;
use compio::net::TcpStream;
use futures_util::AsyncWrite;
use hyper::rt::{Read, ReadBufCursor, Write};

/// Bytes that one read asks for.
const READ_BYTES: usize = 64 << 10;

/// Largest buffer, which bounds one write and the memory of an idle connection.
const BUFFER_BYTES_MAX: usize = 1 << 20;

pub struct Stream(Pin<Box<AsyncStream<TcpStream>>>);

impl Stream {
    pub fn new(stream: TcpStream) -> Stream {
        Stream(Box::pin(AsyncStream::with_limits(READ_BYTES, BUFFER_BYTES_MAX, stream)))
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: compio only writes to this memory, and `advance` gets the number of bytes written.
        unsafe {
            let bytes = ready!(self.0.as_mut().poll_read_uninit(cx, buffer.as_mut()))?;
            buffer.advance(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(cx, bytes)
    }

    /// Says that hyper need not join its pieces: compio copies each into its own buffer.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_close(cx)
    }
}
