//! Worker of both drivers on a tokio runtime. They differ in their [`Socket`].
//!
//! ```text
//! listener ─▶ accept ─▶ ConnectionFactory ─▶ task: Serving { Connection, Socket }   own protocol
//!                                          └▶ task: Service::serve(stream)          borrowed stack
//! ```
//! A running task holds a permit of the semaphore, so the drain ends when all permits are free.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::tokio::sync::{OwnedSemaphorePermit, Semaphore};
use ::tokio::time::Sleep;

use super::net::{TokioListener, TokioStream};
use crate::driver::connection::{Connection, Step, WorkerCx};
use crate::driver::shutdown::{ShutdownFlag, ShutdownWait, StopSignal};
use crate::driver::{
    Connected, Counters, DriverError, Options, READ_BYTES, TRIM_INTERVAL, WorkerHandle,
    accept_pause,
};
use crate::sys::listener::Listener;
use crate::wire::Pool;

pub struct Endpoint {
    listener: Listener,
    factory: Rc<ConnectionFactory>,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

type ConnectionFactory = dyn Fn(TokioStream, Rc<Worker>) -> Task;

pub(crate) struct Worker {
    options: Options,
    pool: Pool,
    counters: RefCell<Counters>,
    pub(crate) scratch: RefCell<Vec<u8>>,
    shutdown: ShutdownFlag,
    room: Arc<Semaphore>,
}

/// Connection, and the worker that it belongs to.
pub(crate) struct Served {
    pub(crate) connection: Connection,
    pub(crate) worker: Rc<Worker>,
}

/// Socket of one connection; each call does one operation, or is pending.
pub(crate) trait Socket {
    /// Sends output. Ready when bytes were sent, or the socket has failed.
    fn poll_send(&mut self, served: &mut Served, cx: &mut Context<'_>) -> Poll<()>;

    /// Ready when bytes arrived, the peer has ended, or the socket has failed.
    fn poll_receive(&mut self, served: &mut Served, cx: &mut Context<'_>) -> Poll<()>;

    fn shut_down(&mut self);

    /// Returns true if the socket may have input that was not read.
    fn has_input(&self) -> bool;

    /// Resolves when no operation in flight keeps the socket open.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Served {
    pub(crate) fn act<T>(
        &mut self,
        event: impl FnOnce(&mut Connection, &mut WorkerCx<'_>) -> T,
    ) -> T {
        let Served { connection, worker } = self;
        event(
            connection,
            &mut WorkerCx {
                pool: &worker.pool,
                counters: &mut worker.counters.borrow_mut(),
                now: Instant::now(),
            },
        )
    }
}

impl Endpoint {
    /// Makes an endpoint of an own protocol; `attach` makes the driver's socket.
    pub(crate) fn machine<M: Connected, S: Socket + 'static>(
        listener: Listener,
        make: impl Fn() -> M + 'static,
        attach: impl Fn(TokioStream) -> std::io::Result<S> + 'static,
    ) -> Endpoint {
        let factory = move |stream, worker: Rc<Worker>| {
            let socket = attach(stream);
            let machine = Box::new(make());
            let connection = Connection::new(machine, &worker.options);
            Box::pin(async move {
                // A socket that failed so early is closed by its drop.
                if let Ok(socket) = socket {
                    serve(socket, connection, worker).await;
                }
            }) as Task
        };
        Endpoint { listener, factory: Rc::new(factory) }
    }

    pub(crate) fn service(
        listener: Listener,
        start: impl Fn(TokioStream, WorkerHandle) -> Task + 'static,
    ) -> Endpoint {
        let factory = move |stream, worker: Rc<Worker>| start(stream, worker.handle());
        Endpoint { listener, factory: Rc::new(factory) }
    }
}

impl Worker {
    pub(crate) fn new(options: Options, pool: Pool) -> Rc<Worker> {
        let room = Arc::new(Semaphore::new(options.connections_max() as usize));
        Rc::new(Worker {
            options,
            pool,
            counters: RefCell::default(),
            scratch: RefCell::new(vec![0; READ_BYTES]),
            shutdown: ShutdownFlag::default(),
            room,
        })
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters.borrow().clone()
    }

    fn handle(&self) -> WorkerHandle {
        let sleep = |at: Instant| Box::pin(::tokio::time::sleep_until(at.into())) as Task;
        WorkerHandle::new(sleep, self.shutdown.clone())
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.room).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    async fn emptied(&self) {
        let _ = self.room.acquire_many(self.options.connections_max()).await;
    }
}

/// Serves until `stop`, then drains. The runtime drops tasks that exceed the drain timeout.
pub(crate) async fn run(
    endpoints: Vec<Endpoint>,
    stop: StopSignal,
    worker: Rc<Worker>,
) -> Result<(), DriverError> {
    let stop = ::tokio::net::UnixStream::from_std(stop.into_stream())
        .map_err(|source| DriverError::Io { what: "watch the stop socket", source })?;
    let mut accepting = Vec::new();
    for Endpoint { listener, factory } in endpoints {
        let listener = TokioListener::watch(listener)
            .map_err(|source| DriverError::Io { what: "watch a listener", source })?;
        let accept = accept(listener, factory, Rc::clone(&worker));
        accepting.push(::tokio::task::spawn_local(accept));
    }
    ::tokio::task::spawn_local(trim(Rc::clone(&worker)));
    let watched = stop.readable().await;
    watched.map_err(|source| DriverError::Io { what: "watch the stop socket", source })?;
    worker.shutdown.set();
    let drained = async {
        for accept in accepting {
            let _ = accept.await;
        }
        worker.emptied().await;
    };
    let _ = ::tokio::time::timeout(worker.options.drain_timeout, drained).await;
    Ok(())
}

async fn trim(worker: Rc<Worker>) {
    loop {
        ::tokio::time::sleep(TRIM_INTERVAL).await;
        worker.pool.trim();
    }
}

/// Accepts until the drain, and then the connections in the backlog, whose requests may have been
/// sent before it.
async fn accept(listener: TokioListener, factory: Rc<ConnectionFactory>, worker: Rc<Worker>) {
    let mut drained = worker.shutdown.wait();
    loop {
        let accepted = async {
            let permit = worker.permit().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = ::tokio::select! {
            biased;
            () = &mut drained => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok(stream) => spawn(stream, &factory, &worker, permit),
            Err(error) => ::tokio::time::sleep(accept_pause(&error)).await,
        }
    }
    for stream in listener.into_backlog() {
        let permit = worker.permit().await;
        spawn(stream, &factory, &worker, permit);
    }
}

fn spawn(
    stream: TokioStream,
    factory: &Rc<ConnectionFactory>,
    worker: &Rc<Worker>,
    permit: OwnedSemaphorePermit,
) {
    worker.counters.borrow_mut().accept(&stream);
    let served = factory(stream, Rc::clone(worker));
    ::tokio::task::spawn_local(async move {
        served.await;
        drop(permit);
    });
}

async fn serve<S: Socket>(socket: S, connection: Connection, worker: Rc<Worker>) {
    let mut serving = Serving {
        socket,
        sleep: Box::pin(::tokio::time::sleep(Duration::ZERO)),
        sleeping_until: None,
        drained: Some(worker.shutdown.wait()),
        served: Served { connection, worker },
    };
    serving.served.act(Connection::open);
    poll_fn(|cx| serving.poll(cx)).await;
    poll_fn(|cx| serving.socket.poll_close(cx)).await;
    serving.served.act(|connection, cx| connection.close(cx));
}

struct Serving<S> {
    socket: S,
    served: Served,
    sleep: Pin<Box<Sleep>>,
    /// Time of `sleep`. A later deadline does not move it, which saves an operation per message.
    sleeping_until: Option<Instant>,
    drained: Option<ShutdownWait>,
}

impl<S: Socket> Serving<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_drain(cx);
        loop {
            let sent = self.socket.poll_send(&mut self.served, cx).is_ready();
            match self.served.connection.step(Instant::now()) {
                Step::Close => return Poll::Ready(()),
                Step::ShutDown => self.socket.shut_down(),
                Step::Go => {}
            }
            let received = self.socket.poll_receive(&mut self.served, cx).is_ready();
            if !sent && !received && self.poll_deadline(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) {
        if let Some(drained) = &mut self.drained
            && Pin::new(drained).poll(cx).is_ready()
        {
            self.drained = None;
            self.served.act(Connection::drain);
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.served.connection.deadline() else { return Poll::Pending };
        if self.sleeping_until.is_none_or(|at| at > deadline) {
            self.sleep.as_mut().reset(deadline.into());
            self.sleeping_until = Some(deadline);
        }
        ready!(self.sleep.as_mut().poll(cx));
        self.sleeping_until = None;
        if self.served.connection.ends_drain(Instant::now()) && self.socket.has_input() {
            self.served.connection.await_input();
        }
        self.served.act(Connection::expire);
        Poll::Ready(())
    }
}
