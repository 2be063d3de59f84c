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
use std::task::{Context as TaskContext, Poll, ready};
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

/// Socket of one connection; each call does one operation, or is pending.
pub(crate) trait Socket {
    /// Sends output. Ready when bytes were sent, or the socket has failed.
    fn poll_send(
        &mut self,
        connection: &mut Connection,
        worker: &Worker,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()>;

    /// Ready when bytes arrived, the peer has ended, or the socket has failed.
    fn poll_receive(
        &mut self,
        connection: &mut Connection,
        worker: &Worker,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()>;

    fn shut_down(&mut self);

    /// Resolves when no operation in flight keeps the socket open.
    fn poll_close(&mut self, cx: &mut TaskContext<'_>) -> Poll<()>;
}

impl Endpoint {
    /// Makes an endpoint of an own protocol; `attach` makes the driver's socket.
    pub(crate) fn machine<M: Connected + 'static, S: Socket + 'static>(
        listener: Listener,
        make: impl Fn() -> M + 'static,
        attach: impl Fn(TokioStream) -> std::io::Result<S> + 'static,
    ) -> Endpoint {
        let factory = move |stream, worker: Rc<Worker>| {
            let socket = attach(stream);
            let machine = Box::new(make());
            let connection = Connection::new(machine, worker.options.outbox_bytes_max);
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
        let room = Arc::new(Semaphore::new(options.connections_max));
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

    pub(crate) fn with_cx<T>(&self, work: impl FnOnce(&mut WorkerCx<'_>) -> T) -> T {
        work(&mut WorkerCx {
            pool: &self.pool,
            counters: &mut self.counters.borrow_mut(),
            now: Instant::now(),
        })
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
        let all = u32::try_from(self.options.connections_max).unwrap_or(u32::MAX);
        let _ = self.room.acquire_many(all).await;
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
    for Endpoint { listener, factory } in endpoints {
        let listener = TokioListener::watch(listener)
            .map_err(|source| DriverError::Io { what: "watch a listener", source })?;
        ::tokio::task::spawn_local(accept(listener, factory, Rc::clone(&worker)));
    }
    ::tokio::task::spawn_local(trim(Rc::clone(&worker)));
    let watched = stop.readable().await;
    watched.map_err(|source| DriverError::Io { what: "watch the stop socket", source })?;
    worker.shutdown.set();
    let _ = ::tokio::time::timeout(worker.options.drain_timeout, worker.emptied()).await;
    Ok(())
}

async fn trim(worker: Rc<Worker>) {
    loop {
        ::tokio::time::sleep(TRIM_INTERVAL).await;
        worker.pool.trim();
    }
}

/// Accepts until the drain. The drop of the listener refuses connections in its backlog.
async fn accept(listener: TokioListener, factory: Rc<ConnectionFactory>, worker: Rc<Worker>) {
    let mut drained = worker.shutdown.wait();
    loop {
        let accepted = async {
            let permit = worker.permit().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = ::tokio::select! {
            biased;
            () = &mut drained => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok(stream) => {
                worker.counters.borrow_mut().accept(&stream);
                let served = factory(stream, Rc::clone(&worker));
                ::tokio::task::spawn_local(async move {
                    served.await;
                    drop(permit);
                });
            }
            Err(error) => ::tokio::time::sleep(accept_pause(&error)).await,
        }
    }
}

async fn serve<S: Socket>(socket: S, mut connection: Connection, worker: Rc<Worker>) {
    worker.with_cx(|cx| connection.open(cx));
    let mut serving = Serving {
        socket,
        connection,
        sleep: Box::pin(::tokio::time::sleep(Duration::ZERO)),
        sleeping_until: None,
        drained: Some(worker.shutdown.wait()),
        worker,
    };
    poll_fn(|cx| serving.poll(cx)).await;
    poll_fn(|cx| serving.socket.poll_close(cx)).await;
    let Serving { worker, connection, .. } = serving;
    worker.with_cx(|cx| connection.close(cx));
}

struct Serving<S> {
    socket: S,
    connection: Connection,
    sleep: Pin<Box<Sleep>>,
    /// Time of `sleep`. A later deadline does not move it, which saves an operation per message.
    sleeping_until: Option<Instant>,
    drained: Option<ShutdownWait>,
    worker: Rc<Worker>,
}

impl<S: Socket> Serving<S> {
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.poll_drain(cx);
        loop {
            let sent = {
                let Serving { socket, connection, worker, .. } = self;
                socket.poll_send(connection, worker, cx).is_ready()
            };
            match self.connection.step(Instant::now()) {
                Step::Close => return Poll::Ready(()),
                Step::ShutDown => self.socket.shut_down(),
                Step::Go => {}
            }
            let received = {
                let Serving { socket, connection, worker, .. } = self;
                socket.poll_receive(connection, worker, cx).is_ready()
            };
            if !sent && !received && self.poll_deadline(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll_drain(&mut self, cx: &mut TaskContext<'_>) {
        if let Some(drained) = &mut self.drained
            && Pin::new(drained).poll(cx).is_ready()
        {
            self.drained = None;
            let Serving { worker, connection, .. } = self;
            worker.with_cx(|cx| connection.drain(cx));
        }
    }

    fn poll_deadline(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let Some(deadline) = self.connection.deadline() else { return Poll::Pending };
        if self.sleeping_until.is_none_or(|at| at > deadline) {
            self.sleep.as_mut().reset(deadline.into());
            self.sleeping_until = Some(deadline);
        }
        ready!(self.sleep.as_mut().poll(cx));
        self.sleeping_until = None;
        let Serving { worker, connection, .. } = self;
        worker.with_cx(|cx| connection.expire(cx));
        Poll::Ready(())
    }
}
