//! `tokio`: epoll, on a current-thread runtime.
//!
//! Each connection has a task, which reads into a buffer that the worker's connections share, or
//! into a loan, and sends by one vectored write. The batching equals that of the ring, so the gap
//! is the price of the system interface. A borrowed stack gets the stream itself; its bytes are not
//! counted.

use std::future::Future;
use std::io::IoSlice;
use std::os::fd::AsFd as _;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ::tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use ::tokio::task::LocalSet;
use bytes::BufMut as _;

use super::net::TokioStream;
use super::sends::PacedStream;
use super::worker::{self, Endpoint, Served, Socket, Worker};
use crate::driver::{Connected, Driver, DriverError, Options, SLICES_MAX, Service, StopSignal};
use crate::sys::listener::Listener;
use crate::sys::socket::{self, SocketOptions, Unread};
use crate::sys::unsent;
use crate::wire::{Loan, Pool};

#[derive(Debug)]
pub struct Tokio {
    options: Options,
    pool: Pool,
    runtime: ::tokio::runtime::Runtime,
}

impl Driver for Tokio {
    type Endpoint = Endpoint;

    fn machine<M: Connected>(listener: Listener, make: impl Fn() -> M + 'static) -> Endpoint {
        Endpoint::machine(listener, make, Ok)
    }

    fn service<S: Service>(listener: Listener, service: S) -> Endpoint {
        Endpoint::service(listener, move |stream, sends, worker| {
            Box::pin(service.serve(PacedStream::new(stream, sends), worker))
        })
    }

    fn new(options: Options, pool: Pool) -> Result<Tokio, DriverError> {
        let runtime = ::tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| DriverError::Io { what: "start the tokio runtime", source })?;
        Ok(Tokio { options, pool, runtime })
    }

    fn run(
        self,
        endpoints: Vec<Endpoint>,
        stop: StopSignal,
    ) -> Result<Option<SocketOptions>, DriverError> {
        let worker = Worker::new(self.options, self.pool);
        let tasks = LocalSet::new();
        tasks.block_on(&self.runtime, worker::run(endpoints, stop, worker.clone()))?;
        drop(tasks);
        Ok(worker.socket())
    }
}

impl Socket for TokioStream {
    fn poll_send(&mut self, served: &mut Served, cx: &mut Context<'_>) -> Poll<()> {
        if served.connection.pending() == 0 {
            return Poll::Pending;
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let filled = served.connection.batch(served.now).slices(&mut slices);
        let sent = ready!(Pin::new(self).poll_write_vectored(cx, &slices[..filled]));
        served.act(|connection, cx| match sent {
            Ok(count) => connection.sent(count, cx),
            Err(_) => connection.vanish(cx),
        });
        Poll::Ready(())
    }

    fn poll_receive(&mut self, served: &mut Served, cx: &mut Context<'_>) -> Poll<()> {
        if !served.connection.wants_input() {
            return Poll::Pending;
        }
        if let Some(loan) = served.connection.take_loan() {
            return poll_receive_loan(self, loan, served, cx);
        }
        let worker = Rc::clone(&served.worker);
        let mut buffer = worker.read_buffer.borrow_mut();
        let read = ready!(pin!(self.read(&mut buffer[..])).poll(cx));
        served.act(|connection, cx| match read {
            Ok(0) => connection.end(cx),
            Ok(count) => connection.feed(&buffer[..count], count == buffer.len(), cx),
            Err(_) => connection.vanish(cx),
        });
        Poll::Ready(())
    }

    fn shut_down(&mut self) {
        TokioStream::shut_down(self);
    }

    fn unread(&self) -> Unread {
        socket::unread(self)
    }

    fn has_unsent(&self) -> bool {
        unsent::has_unsent(&self.as_fd())
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

fn poll_receive_loan(
    stream: &mut TokioStream,
    mut loan: Loan,
    served: &mut Served,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let mut room = (&mut *loan.buffer).limit(loan.want);
    let read = pin!(stream.read_buf(&mut room)).poll(cx);
    let count = if let Poll::Ready(Ok(count)) = read { count } else { 0 };
    served.act(|connection, cx| {
        connection.received(loan, count, cx);
        match read {
            Poll::Ready(Ok(0)) => connection.end(cx),
            Poll::Ready(Err(_)) => connection.vanish(cx),
            Poll::Ready(Ok(_)) | Poll::Pending => {}
        }
    });
    read.map(drop)
}
