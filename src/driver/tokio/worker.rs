//! What the two drivers on a tokio runtime share: endpoints, accepting, room for connections, drain, and the task
//! of one connection of an own protocol. They differ in their [`Socket`].

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
use crate::wire::SharedPool;

/// Listener with the factory of its connections.
pub struct Endpoint {
    listener: Listener,
    factory: Rc<ConnectionFactory>,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

type ConnectionFactory = dyn Fn(TokioStream, Rc<Worker>) -> Task;

/// What the tasks of a worker share.
pub(crate) struct Worker {
    options: Options,
    pool: SharedPool,
    counters: RefCell<Counters>,
    /// Where bytes are read that no machine has lent a buffer for.
    pub(crate) scratch: RefCell<Vec<u8>>,
    shutdown: ShutdownFlag,
    room: Arc<Semaphore>,
}

/// How a driver moves the bytes of one connection. Each call does one thing, or is pending.
pub(crate) trait Socket {
    /// Sends of the connection's output. Ready when something was sent, or the socket has failed.
    fn poll_send(
        &mut self,
        connection: &mut Connection,
        worker: &Worker,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()>;

    /// Receives. Ready when something arrived, the peer has ended, or the socket has failed.
    fn poll_receive(
        &mut self,
        connection: &mut Connection,
        worker: &Worker,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()>;

    /// Shuts down the sending side.
    fn shut_down(&mut self);

    /// Ready when nothing is in flight that would keep the socket open.
    fn poll_close(&mut self, cx: &mut TaskContext<'_>) -> Poll<()>;
}

impl Endpoint {
    /// An own protocol; `attach` makes the driver's socket.
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
                // A socket that failed so early is closed by being dropped.
                if let Ok(socket) = socket {
                    serve(socket, connection, worker).await;
                }
            }) as Task
        };
        Endpoint { listener, factory: Rc::new(factory) }
    }

    /// A borrowed stack; `start` makes its future.
    pub(crate) fn service(
        listener: Listener,
        start: impl Fn(TokioStream, WorkerHandle) -> Task + 'static,
    ) -> Endpoint {
        let factory = move |stream, worker: Rc<Worker>| start(stream, worker.handle());
        Endpoint { listener, factory: Rc::new(factory) }
    }
}

impl Worker {
    pub(crate) fn new(options: Options, pool: SharedPool) -> Rc<Worker> {
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

    /// What has been done so far.
    pub(crate) fn counters(&self) -> Counters {
        self.counters.borrow().clone()
    }

    /// Lends what belongs to the worker.
    pub(crate) fn with_cx<T>(&self, work: impl FnOnce(&mut WorkerCx<'_>) -> T) -> T {
        work(&mut WorkerCx {
            pool: &mut self.pool.borrow_mut(),
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

    /// Resolves when no connection is left.
    async fn emptied(&self) {
        let all = u32::try_from(self.options.connections_max).unwrap_or(u32::MAX);
        let _ = self.room.acquire_many(all).await;
    }
}

/// Serves until `stop`, then drains. Whoever is not done in time is left to be dropped with the runtime's tasks.
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
        worker.pool.borrow_mut().trim();
    }
}

/// Accepts until the worker drains; dropping the listener on return refuses whoever is still in the backlog.
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

/// One connection of an own protocol.
struct Serving<S> {
    socket: S,
    connection: Connection,
    sleep: Pin<Box<Sleep>>,
    /// What `sleep` is set to. A deadline that moves away does not move it: it fires, finds nothing due and is set
    /// anew, which is cheaper than a timer operation per message.
    sleeping_until: Option<Instant>,
    drained: Option<ShutdownWait>,
    worker: Rc<Worker>,
}

impl<S: Socket> Serving<S> {
    /// Ready when the connection is done.
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
        let Serving { worker, connection, .. } = self;
        worker.with_cx(|cx| connection.expire(cx));
        Poll::Ready(())
    }
}
