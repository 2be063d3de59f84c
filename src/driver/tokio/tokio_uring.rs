//! `tokio-uring`: the crate of that name, used as its documentation shows.
//!
//! Every operation owns its buffer. A machine's buffers move into operations and back; a borrowed
//! stack lends its buffers for one call only, so [`OwnedStream`] copies each way. Accepts, timers
//! and the stop signal use the tokio runtime. An operation cannot be cancelled: a closing
//! connection shuts its socket down, which ends it.

use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio_uring::BufResult;
use ::tokio_uring::buf::{BoundedBuf, BoundedBufMut, Slice};
use ::tokio_uring::net::{TcpStream, UnixStream};

use super::net::TokioStream;
use super::sends::Sends;
use super::worker::{self, Endpoint, Served, Socket, Worker};
use crate::driver::connection::Connection;
use crate::driver::error::io_uring_unavailable;
use crate::driver::{
    Connected, Driver, DriverError, Options, READ_BYTES, SLICES_MAX, Service, StopSignal,
};
use crate::sys::listener::Listener;
use crate::sys::socket::{SocketOptions, Unread};
use crate::sys::unsent;
use crate::wire::{Loan, Pool, PooledBuf};

/// A full queue is submitted at once.
const SUBMISSIONS: u32 = 512;

/// One receive in flight per connection may complete at once.
const COMPLETIONS: u32 = 4096;

pub struct TokioUring {
    options: Options,
    pool: Pool,
    runtime: ::tokio_uring::Runtime,
}

impl Driver for TokioUring {
    type Endpoint = Endpoint;

    fn machine<M: Connected>(listener: Listener, make: impl Fn() -> M + 'static) -> Endpoint {
        Endpoint::machine(listener, make, |stream| Ok(OwnedSocket::new(attach(stream)?)))
    }

    fn service<S: Service>(listener: Listener, service: S) -> Endpoint {
        let service = Rc::new(service);
        Endpoint::service(listener, move |stream, sends, worker| {
            let service = Rc::clone(&service);
            Box::pin(async move {
                if let Ok(stream) = attach(stream) {
                    service.serve(OwnedStream::new(stream, sends), worker).await;
                }
            })
        })
    }

    fn new(options: Options, pool: Pool) -> Result<TokioUring, DriverError> {
        let mut ring = ::tokio_uring::uring_builder();
        ring.setup_cqsize(COMPLETIONS);
        let mut builder = ::tokio_uring::builder();
        builder.entries(SUBMISSIONS).uring_builder(&ring);
        let runtime =
            ::tokio_uring::Runtime::new(&builder).map_err(|error| io_uring_unavailable(&error))?;
        Ok(TokioUring { options, pool, runtime })
    }

    fn run(
        self,
        endpoints: Vec<Endpoint>,
        stop: StopSignal,
    ) -> Result<Option<SocketOptions>, DriverError> {
        let worker = Worker::new(self.options, self.pool);
        self.runtime.block_on(worker::run(endpoints, stop, Rc::clone(&worker)))?;
        drop(self.runtime);
        Ok(worker.socket())
    }
}

/// Moves a socket to the ring, in blocking mode: otherwise operations would fail with EAGAIN.
fn attach(stream: TokioStream) -> io::Result<Rc<RingSocket>> {
    Ok(Rc::new(match stream {
        TokioStream::Tcp(stream) => {
            let stream = stream.into_std()?;
            stream.set_nonblocking(false)?;
            RingSocket::Tcp(TcpStream::from_std(stream))
        }
        TokioStream::Unix(stream) => {
            let stream = stream.into_std()?;
            stream.set_nonblocking(false)?;
            RingSocket::Unix(UnixStream::from_std(stream))
        }
    }))
}

enum RingSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl RingSocket {
    async fn read<B: BoundedBufMut>(&self, buffer: B) -> BufResult<usize, B> {
        match self {
            RingSocket::Tcp(stream) => stream.read(buffer).await,
            RingSocket::Unix(stream) => stream.read(buffer).await,
        }
    }

    async fn write<B: BoundedBuf>(&self, buffer: B) -> BufResult<usize, B> {
        match self {
            RingSocket::Tcp(stream) => stream.write(buffer).submit().await,
            RingSocket::Unix(stream) => stream.write(buffer).submit().await,
        }
    }

    async fn writev<B: BoundedBuf>(&self, buffers: Vec<B>) -> BufResult<usize, Vec<B>> {
        match self {
            RingSocket::Tcp(stream) => stream.writev(buffers).await,
            RingSocket::Unix(stream) => stream.writev(buffers).await,
        }
    }

    fn shut_down(&self, how: Shutdown) {
        // A socket that the peer has reset is not connected.
        let _ = match self {
            RingSocket::Tcp(stream) => stream.shutdown(how),
            RingSocket::Unix(stream) => stream.shutdown(how),
        };
    }
}

/// Operation in flight; a drop would lose its result.
type Operation<T> = Pin<Box<dyn Future<Output = (io::Result<usize>, T)>>>;

fn poll_operation<T>(
    operation: &mut Option<Operation<T>>,
    cx: &mut Context<'_>,
) -> Poll<(io::Result<usize>, T)> {
    let Some(running) = operation else { return Poll::Pending };
    let done = ready!(running.as_mut().poll(cx));
    *operation = None;
    Poll::Ready(done)
}

struct OwnedSocket {
    stream: Rc<RingSocket>,
    read: Option<Operation<Received>>,
    write: Option<Operation<Vec<Slice<Vec<u8>>>>>,
    buffer: Vec<u8>,
}

enum Received {
    Buffer(Vec<u8>),
    Loan(Loan),
}

impl OwnedSocket {
    fn new(stream: Rc<RingSocket>) -> OwnedSocket {
        OwnedSocket { stream, read: None, write: None, buffer: Vec::with_capacity(READ_BYTES) }
    }

    fn start_read(&mut self, loan: Option<Loan>) -> Operation<Received> {
        let stream = Rc::clone(&self.stream);
        let Some(Loan { buffer, want }) = loan else {
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.clear();
            return Box::pin(async move {
                let (read, buffer) = stream.read(buffer).await;
                (read, Received::Buffer(buffer))
            });
        };
        let begin = buffer.len();
        let (buffer, charge) = buffer.into_parts();
        let room = buffer.slice(begin..begin + want);
        Box::pin(async move {
            let (read, room) = stream.read(room).await;
            let buffer = match charge {
                Some(charge) => charge.own(room.into_inner()),
                None => PooledBuf::from(room.into_inner()),
            };
            (read, Received::Loan(Loan { buffer, want }))
        })
    }
}

impl Socket for OwnedSocket {
    fn poll_send(&mut self, served: &mut Served, cx: &mut Context<'_>) -> Poll<()> {
        if self.write.is_none() {
            let detach = || served.act(Connection::detach);
            let pieces = std::iter::from_fn(detach).take(SLICES_MAX);
            let pieces: Vec<_> = pieces.map(|(buffer, range)| buffer.slice(range)).collect();
            if pieces.is_empty() {
                return Poll::Pending;
            }
            let stream = Rc::clone(&self.stream);
            self.write = Some(Box::pin(async move { stream.writev(pieces).await }));
        }
        let (written, pieces) = ready!(poll_operation(&mut self.write, cx));
        for piece in pieces.into_iter().rev() {
            let range = piece.begin()..piece.end();
            served.connection.reattach(piece.into_inner(), range);
        }
        served.act(|connection, cx| match written {
            Ok(count) => connection.sent(count, cx),
            Err(_) => connection.vanish(cx),
        });
        Poll::Ready(())
    }

    fn poll_receive(&mut self, served: &mut Served, cx: &mut Context<'_>) -> Poll<()> {
        if self.read.is_none() {
            if !served.connection.wants_input() {
                return Poll::Pending;
            }
            self.read = Some(self.start_read(served.connection.take_loan()));
        }
        let (read, into) = ready!(poll_operation(&mut self.read, cx));
        let count = *read.as_ref().unwrap_or(&0);
        served.act(|connection, cx| {
            match into {
                Received::Loan(loan) => {
                    connection.received(loan, count, cx);
                    // The next read cannot be cancelled, so the machine gets the bytes now.
                    connection.show_loan(cx);
                }
                Received::Buffer(buffer) => {
                    connection.feed(&buffer, buffer.len() == buffer.capacity(), cx);
                    self.buffer = buffer;
                }
            }
            match read {
                Ok(0) => connection.end(cx),
                Ok(_) => {}
                Err(_) => connection.vanish(cx),
            }
        });
        Poll::Ready(())
    }

    fn shut_down(&mut self) {
        self.stream.shut_down(Shutdown::Write);
    }

    /// Returns a guess: a read in flight takes what arrives.
    fn unread(&self) -> Unread {
        if self.read.is_some() { Unread::Nothing } else { Unread::Bytes }
    }

    fn has_unsent(&self) -> bool {
        match &*self.stream {
            RingSocket::Tcp(stream) => unsent::has_unsent(stream),
            RingSocket::Unix(stream) => unsent::has_unsent(stream),
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.read.is_some() || self.write.is_some() {
            self.stream.shut_down(Shutdown::Both);
        }
        while self.read.is_some() {
            let _ = ready!(poll_operation(&mut self.read, cx));
        }
        while self.write.is_some() {
            let _ = ready!(poll_operation(&mut self.write, cx));
        }
        Poll::Ready(())
    }
}

/// Byte stream that gathers writes until a flush, or until `READ_BYTES` wait.
struct OwnedStream {
    stream: Rc<RingSocket>,
    read: Option<Operation<Vec<u8>>>,
    inbound: Vec<u8>,
    unread: Range<usize>,
    write: Option<Operation<Slice<Vec<u8>>>>,
    outbound: Vec<u8>,
    spare: Vec<u8>,
    sends: Sends,
}

impl OwnedStream {
    fn new(stream: Rc<RingSocket>, sends: Sends) -> OwnedStream {
        OwnedStream {
            stream,
            read: None,
            inbound: Vec::with_capacity(READ_BYTES),
            unread: 0..0,
            write: None,
            outbound: Vec::new(),
            spare: Vec::new(),
            sends,
        }
    }

    fn start_write(&mut self, buffer: Vec<u8>, range: Range<usize>) {
        let (stream, piece) = (Rc::clone(&self.stream), buffer.slice(range));
        self.write = Some(Box::pin(async move { stream.write(piece).await }));
    }

    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.write.is_none() {
                if self.outbound.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                let buffer = std::mem::replace(&mut self.outbound, std::mem::take(&mut self.spare));
                let len = buffer.len();
                self.start_write(buffer, 0..len);
            }
            ready!(self.poll_write_operation(cx))?;
        }
    }

    fn poll_write_operation(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Poll::Ready((written, piece)) = poll_operation(&mut self.write, cx) else {
            return self.sends.poll_late(cx).map(Err);
        };
        let written = written?;
        let (begin, end) = (piece.begin() + written, piece.end());
        self.sends.moved(written, begin == end);
        let mut buffer = piece.into_inner();
        if begin < end {
            self.start_write(buffer, begin..end);
        } else {
            buffer.clear();
            self.spare = buffer;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for OwnedStream {
    fn poll_read(
        mut self: Pin<&mut OwnedStream>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            if self.read.is_none() {
                let (stream, mut buffer) =
                    (Rc::clone(&self.stream), std::mem::take(&mut self.inbound));
                buffer.clear();
                self.read = Some(Box::pin(async move { stream.read(buffer).await }));
            }
            let (read, buffer) = ready!(poll_operation(&mut self.read, cx));
            self.inbound = buffer;
            self.unread = 0..read?;
        }
        let count = self.unread.len().min(into.remaining());
        let begin = self.unread.start;
        into.put_slice(&self.inbound[begin..begin + count]);
        self.unread.start += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for OwnedStream {
    fn poll_write(
        self: Pin<&mut OwnedStream>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut OwnedStream>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.outbound.len() >= READ_BYTES {
            ready!(self.poll_drained(cx))?;
        }
        for slice in slices {
            self.outbound.extend_from_slice(slice);
        }
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut OwnedStream>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drained(cx)
    }

    fn poll_shutdown(
        mut self: Pin<&mut OwnedStream>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_drained(cx))?;
        self.stream.shut_down(Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}

impl Drop for OwnedStream {
    fn drop(&mut self) {
        // A read in flight would keep the socket open for as long as the peer does.
        self.stream.shut_down(Shutdown::Both);
    }
}
