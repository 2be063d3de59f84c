//! Listeners and streams of every transport on a tokio runtime.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use socket2::SockRef;

use crate::driver::accept_pause;
use crate::sys::listener::{self, Listener, SocketFile};
use crate::wire::{Alarm, WorkerCounts};

pub(crate) enum TokioListener {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "held only to be dropped")] SocketFile),
}

#[derive(Debug)]
pub(crate) enum TokioStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl TokioListener {
    /// Hands a listener to the runtime that the caller is in.
    pub(crate) fn watch(listener: Listener) -> io::Result<TokioListener> {
        listener.set_nonblocking(true)?;
        Ok(match listener {
            Listener::Tcp(listener) => TokioListener::Tcp(TcpListener::from_std(listener)?),
            Listener::Unix(listener, file) => {
                TokioListener::Unix(UnixListener::from_std(listener)?, file)
            }
        })
    }

    /// Accepts the connections that wait, and closes the listener.
    pub(crate) fn into_backlog(self) -> Vec<TokioStream> {
        // A socket that failed so early is closed by its drop.
        match &self {
            TokioListener::Tcp(listener) => listener::backlog(listener)
                .filter_map(|socket| TcpStream::from_std(nonblocking(socket).ok()?.into()).ok())
                .map(TokioStream::Tcp)
                .collect(),
            TokioListener::Unix(listener, _) => listener::backlog(listener)
                .filter_map(|socket| UnixStream::from_std(nonblocking(socket).ok()?.into()).ok())
                .map(TokioStream::Unix)
                .collect(),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<TokioStream> {
        Ok(match self {
            TokioListener::Tcp(listener) => TokioStream::Tcp(listener.accept().await?.0),
            TokioListener::Unix(listener, _) => TokioStream::Unix(listener.accept().await?.0),
        })
    }
}

/// Waits after an accept that has failed.
pub(super) async fn pause(error: &std::io::Error, counts: &WorkerCounts) {
    let pause = accept_pause(error);
    if !pause.is_zero() {
        counts.alarm(Alarm::AcceptFailed);
    }
    ::tokio::time::sleep(pause).await;
}

fn nonblocking(socket: OwnedFd) -> io::Result<OwnedFd> {
    SockRef::from(&socket).set_nonblocking(true)?;
    Ok(socket)
}

impl TokioStream {
    pub(crate) fn shut_down(&self) {
        // A socket that the peer has reset is not connected.
        let _ = SockRef::from(self).shutdown(Shutdown::Write);
    }
}

impl AsFd for TokioStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            TokioStream::Tcp(stream) => stream.as_fd(),
            TokioStream::Unix(stream) => stream.as_fd(),
        }
    }
}

macro_rules! delegate {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match $stream.get_mut() {
            TokioStream::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            TokioStream::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for TokioStream {
    fn poll_read(
        self: Pin<&mut TokioStream>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, poll_read(cx, into))
    }
}

impl AsyncWrite for TokioStream {
    fn poll_write(
        self: Pin<&mut TokioStream>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut TokioStream>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut TokioStream>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut TokioStream>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_shutdown(cx))
    }
}
