//! `tokio`: epoll, on a current-thread runtime.
//!
//! One task per connection. A task reads into a buffer that all connections of the worker share, or straight into
//! the buffer its machine lends, and writes what came of it in one vectored write: the same batching as on the
//! ring, so that the gap between the two is the price of the system interface and not of habits.
//!
//! A borrowed stack gets the `TcpStream` itself.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use ::tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use ::tokio::net::TcpStream;
use ::tokio::sync::{OwnedSemaphorePermit, Semaphore};
use ::tokio::task::LocalSet;
use ::tokio::time::Sleep;
use bytes::BufMut as _;

use crate::driver::connection::{Connection, Step, Turn};
use crate::driver::drain::Drain;
use crate::driver::{Counters, Driver, DriverError, Lane, Options, Service, Timer};
use crate::driver::{READ_BYTES, SLICES_MAX, Stop, TRIM_INTERVAL, accept_pause};
use crate::wire::{Loan, Machine, Pool};

/// A worker on tokio.
#[derive(Debug)]
pub struct Tokio {
    options: Options,
    runtime: ::tokio::runtime::Runtime,
}

/// A listener and what speaks behind it.
pub struct Endpoint {
    listener: TcpListener,
    speak: Rc<Speak>,
}

type Speak = dyn Fn(TcpStream, Rc<Worker>) -> Pin<Box<dyn Future<Output = ()>>>;

/// What the tasks of a worker share.
struct Worker {
    options: Options,
    pool: RefCell<Pool>,
    counters: RefCell<Counters>,
    scratch: RefCell<Vec<u8>>,
    drain: Drain,
    room: Arc<Semaphore>,
}

impl Driver for Tokio {
    type Endpoint = Endpoint;

    fn machine<M: Machine + 'static>(
        listener: TcpListener,
        make: impl Fn() -> M + 'static,
    ) -> Endpoint {
        let speak = move |stream, worker: Rc<Worker>| {
            let connection = Connection::new(Box::new(make()), worker.options.outbox_bytes_max);
            Box::pin(serve(stream, connection, worker)) as Pin<Box<dyn Future<Output = ()>>>
        };
        Endpoint { listener, speak: Rc::new(speak) }
    }

    fn service<S: Service>(listener: TcpListener, service: S) -> Endpoint {
        let speak = move |stream, worker: Rc<Worker>| {
            let lane = worker.lane();
            Box::pin(service.serve(stream, lane)) as Pin<Box<dyn Future<Output = ()>>>
        };
        Endpoint { listener, speak: Rc::new(speak) }
    }

    fn new(options: Options) -> Result<Tokio, DriverError> {
        let runtime = ::tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| DriverError::Io { what: "start the tokio runtime", source })?;
        Ok(Tokio { options, runtime })
    }

    fn run(self, endpoints: Vec<Endpoint>, stop: Stop) -> Result<Counters, DriverError> {
        let drain_timeout = self.options.drain_timeout;
        let worker = Rc::new(Worker::new(self.options));
        let tasks = LocalSet::new();
        let serving = tasks.run_until(serve_endpoints(endpoints, stop, Rc::clone(&worker)));
        self.runtime.block_on(serving)?;
        let rest = tasks.run_until(worker.emptied());
        // Whoever is not done by then is dropped with the set of tasks, which closes its socket.
        let _ = self.runtime.block_on(async { ::tokio::time::timeout(drain_timeout, rest).await });
        drop(tasks);
        Ok(*worker.counters.borrow())
    }
}

impl Worker {
    fn new(options: Options) -> Worker {
        let room = Arc::new(Semaphore::new(options.connections_max));
        Worker {
            options,
            pool: RefCell::default(),
            counters: RefCell::default(),
            scratch: RefCell::new(vec![0; READ_BYTES]),
            drain: Drain::default(),
            room,
        }
    }

    fn lane(&self) -> Lane {
        Lane::new(Rc::new(TokioTimer), Rc::new(self.drain.clone()))
    }

    fn with_turn<T>(&self, work: impl FnOnce(&mut Turn<'_>) -> T) -> T {
        work(&mut Turn {
            pool: &mut self.pool.borrow_mut(),
            counters: &mut self.counters.borrow_mut(),
            now: Instant::now(),
        })
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.room).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    /// Resolves when no connection is left.
    async fn emptied(&self) {
        let all = u32::try_from(self.options.connections_max).unwrap_or(u32::MAX);
        let _ = self.room.acquire_many(all).await;
    }
}

async fn serve_endpoints(
    endpoints: Vec<Endpoint>,
    stop: Stop,
    worker: Rc<Worker>,
) -> Result<(), DriverError> {
    let stop = ::tokio::net::UnixStream::from_std(stop.into_stream())
        .map_err(|source| DriverError::Io { what: "watch the stop socket", source })?;
    for Endpoint { listener, speak } in endpoints {
        let listener = listener
            .set_nonblocking(true)
            .and_then(|()| ::tokio::net::TcpListener::from_std(listener))
            .map_err(|source| DriverError::Io { what: "watch a listener", source })?;
        ::tokio::task::spawn_local(accept(listener, speak, Rc::clone(&worker)));
    }
    ::tokio::task::spawn_local(trim(Rc::clone(&worker)));
    let watched = stop.readable().await;
    watched.map_err(|source| DriverError::Io { what: "watch the stop socket", source })?;
    worker.drain.start();
    Ok(())
}

async fn trim(worker: Rc<Worker>) {
    loop {
        ::tokio::time::sleep(TRIM_INTERVAL).await;
        worker.pool.borrow_mut().trim();
    }
}

/// Accepts until the worker drains; dropping the listener on return refuses whoever is still in the backlog.
async fn accept(listener: ::tokio::net::TcpListener, speak: Rc<Speak>, worker: Rc<Worker>) {
    let mut drained = std::pin::pin!(worker.drain.clone().started());
    loop {
        let accepted = async {
            let permit = worker.permit().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = ::tokio::select! {
            () = &mut drained => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                worker.counters.borrow_mut().accepted += 1;
                let served = speak(stream, Rc::clone(&worker));
                ::tokio::task::spawn_local(async move {
                    served.await;
                    drop(permit);
                });
            }
            Err(error) => ::tokio::time::sleep(accept_pause(&error)).await,
        }
    }
}

async fn serve(stream: TcpStream, mut connection: Connection, worker: Rc<Worker>) {
    worker.with_turn(|turn| connection.open(turn));
    let mut task = Task {
        stream,
        connection,
        sleep: Box::pin(::tokio::time::sleep(Duration::ZERO)),
        sleeping_until: None,
        drained: Some(Box::pin(worker.drain.clone().started())),
        worker,
    };
    poll_fn(|cx| task.poll(cx)).await;
    let Task { worker, connection, .. } = task;
    worker.with_turn(|turn| connection.close(turn));
}

/// One connection of an own protocol.
struct Task {
    stream: TcpStream,
    connection: Connection,
    sleep: Pin<Box<Sleep>>,
    /// What `sleep` is set to. A deadline that moves away does not move it: it fires, finds nothing due and is set
    /// anew, which is cheaper than a timer operation per message.
    sleeping_until: Option<Instant>,
    drained: Option<Pin<Box<dyn Future<Output = ()>>>>,
    worker: Rc<Worker>,
}

impl Task {
    /// Ready when the connection is done.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.poll_drain(cx);
        loop {
            let sent = self.poll_send(cx).is_ready();
            match self.connection.step(Instant::now()) {
                Step::Close => return Poll::Ready(()),
                // On TCP this is a plain system call that never waits.
                Step::ShutDown => {
                    let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
                }
                Step::Go => {}
            }
            let received = self.poll_receive(cx).is_ready();
            if !sent && !received && self.poll_deadline(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll_drain(&mut self, cx: &mut TaskContext<'_>) {
        if let Some(drained) = &mut self.drained
            && drained.as_mut().poll(cx).is_ready()
        {
            self.drained = None;
            let Task { worker, connection, .. } = self;
            worker.with_turn(|turn| connection.drain(turn));
        }
    }

    /// Ready when something was sent, or the socket has failed.
    fn poll_send(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let Task { stream, connection, worker, .. } = self;
        if connection.pending() == 0 {
            return Poll::Pending;
        }
        let batch = connection.batch(Instant::now());
        let mut slices = [io::IoSlice::new(&[]); SLICES_MAX];
        let filled = batch.slices(&mut slices);
        let sent = ready!(Pin::new(stream).poll_write_vectored(cx, &slices[..filled]));
        worker.with_turn(|turn| match sent {
            Ok(count) => connection.sent(count, turn),
            Err(_) => connection.vanish(turn),
        });
        Poll::Ready(())
    }

    /// Ready when something arrived, or the peer has ended.
    fn poll_receive(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        if !self.connection.wants_input() {
            return Poll::Pending;
        }
        if let Some(loan) = self.connection.take_loan() {
            return self.poll_receive_direct(loan, cx);
        }
        let Task { stream, connection, worker, .. } = self;
        let mut scratch = worker.scratch.borrow_mut();
        let read = ready!(std::pin::pin!(stream.read(&mut scratch[..])).poll(cx));
        worker.with_turn(|turn| match read {
            Ok(0) => connection.end(turn),
            Ok(count) => connection.feed(&scratch[..count], turn),
            Err(_) => connection.vanish(turn),
        });
        Poll::Ready(())
    }

    fn poll_receive_direct(&mut self, mut loan: Loan, cx: &mut TaskContext<'_>) -> Poll<()> {
        let Task { stream, connection, worker, .. } = self;
        let mut room = (&mut loan.buffer).limit(loan.want);
        let read = std::pin::pin!(stream.read_buf(&mut room)).poll(cx);
        worker.with_turn(|turn| match &read {
            Poll::Pending => connection.received(loan, 0, turn),
            Poll::Ready(Ok(0)) => {
                connection.received(loan, 0, turn);
                connection.end(turn);
            }
            Poll::Ready(Ok(count)) => connection.received(loan, *count, turn),
            Poll::Ready(Err(_)) => {
                connection.received(loan, 0, turn);
                connection.vanish(turn);
            }
        });
        read.map(drop)
    }

    /// Ready when a deadline has been handled.
    fn poll_deadline(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let Some(deadline) = self.connection.deadline() else {
            return Poll::Pending;
        };
        if self.sleeping_until.is_none_or(|at| at > deadline) {
            self.sleep.as_mut().reset(deadline.into());
            self.sleeping_until = Some(deadline);
        }
        ready!(self.sleep.as_mut().poll(cx));
        self.sleeping_until = None;
        let Task { worker, connection, .. } = self;
        worker.with_turn(|turn| connection.expire(turn));
        Poll::Ready(())
    }
}

/// tokio's timer as a lane's.
struct TokioTimer;

impl Timer for TokioTimer {
    fn sleep_until(&self, at: Instant) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(::tokio::time::sleep_until(at.into()))
    }
}
