//! Worker of both drivers on a tokio runtime. They differ in their [`Socket`].
//!
//! ```text
//! listener ─▶ accept ─▶ ConnectionFactory ─▶ task: Serving { Connection, Socket }   own protocol
//!                                          └▶ task: Service::serve(stream)          borrowed stack
//! ```
//! A running task holds a permit of the semaphore, so the drain ends when all permits are free.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::tokio::sync::{OwnedSemaphorePermit, Semaphore};
use ::tokio::time::Sleep;

use super::loop_time::{self, Turn};
use super::net::{self, TokioListener, TokioStream};
use super::panics::{PanicAlarm, first_panic};
use super::registry::{Registered, Registry};
use super::sends::Sends;
use super::sleep;
use crate::driver::addresses::{Addresses, Place};
use crate::driver::connection::{Connection, Step, WorkerCx};
use crate::driver::jobs::{JobRunner as _, JobThread};
use crate::driver::shutdown::{ShutdownFlag, ShutdownWait, StopSignal};
use crate::driver::{
    Connected, DriverError, LAG_MIN, Options, RESTRICTED_AFTER, ReadBuffer, SHED_INTERVAL,
    TRIM_INTERVAL, URGENT_PLACES, URGENT_TIME, Urgent, WAITING_MAX, WorkerHandle, note_accepted,
    waits_too_long,
};
use crate::sys::listener::Listener;
use crate::sys::socket::{self, SocketOptions, Unread};
use crate::wire::{Alarm, Limit, Pool, WorkerCounts};

pub struct Endpoint {
    listener: Listener,
    factory: Rc<ConnectionFactory>,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

type ConnectionFactory = dyn Fn(TokioStream, Rc<Worker>, Option<Urgent>) -> Task;

/// Place for a connection, and the request for which it is made if it is one beyond the usual.
struct Admission {
    permit: OwnedSemaphorePermit,
    urgent: Option<Urgent>,
}

pub(crate) struct Worker {
    options: Options,
    pool: Pool,
    counts: &'static WorkerCounts,
    socket: RefCell<Option<SocketOptions>>,
    pub(crate) read_buffer: RefCell<Box<ReadBuffer>>,
    shutdown: ShutdownFlag,
    room: Arc<Semaphore>,
    urgent_room: Arc<Semaphore>,
    registry: Rc<Registry>,
    addresses: Addresses,
    jobs: Rc<JobThread>,
    /// Accepted streams without a place.
    waiting: Cell<usize>,
    /// Time of the next look for idle connections, as long as streams wait.
    next_shed: Cell<Instant>,
    /// Sum of the long times of work in which no peer was served.
    lag: Cell<Duration>,
}

/// Connection, and the worker that it belongs to.
pub(crate) struct Served {
    pub(crate) connection: Connection,
    pub(crate) worker: Rc<Worker>,
    /// Begin of the present round. All of its events count as of then.
    pub(crate) now: Instant,
    /// True after an event, until its end is looked at.
    has_acted: bool,
    /// Lag of the worker that the deadlines leave out already.
    lag: Duration,
}

/// Socket of one connection; each call does one operation, or is pending.
pub(crate) trait Socket {
    /// Sends output. Ready when bytes were sent, or the socket has failed.
    fn poll_send(&mut self, served: &mut Served, cx: &mut Context<'_>) -> Poll<()>;

    /// Ready when bytes arrived, the peer has ended, or the socket has failed.
    fn poll_receive(&mut self, served: &mut Served, cx: &mut Context<'_>) -> Poll<()>;

    fn shut_down(&mut self);

    /// Returns what was not read yet.
    fn unread(&self) -> Unread;

    /// Returns true if the peer has not received all output.
    fn has_unsent(&self) -> bool;

    /// Resolves when no operation in flight keeps the socket open.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Served {
    pub(crate) fn act<T>(&mut self, event: impl FnOnce(&mut Connection, &mut WorkerCx) -> T) -> T {
        let Served { connection, worker, now, has_acted, .. } = self;
        *has_acted = true;
        let result = event(connection, &mut WorkerCx { counts: worker.counts, now: *now });
        worker.shed_memory();
        result
    }

    /// Reads the clock if an event has been handled. If that took [`LAG_MIN`] or more, its time is
    /// left out of all deadlines.
    fn catch_up(&mut self) {
        let Served { connection, worker, now, has_acted, lag } = self;
        if std::mem::take(has_acted) {
            let begun = std::mem::replace(now, Instant::now());
            let work = now.saturating_duration_since(begun);
            if work >= LAG_MIN {
                worker.lag.set(worker.lag.get() + work);
            }
        }
        let of_worker = worker.lag.get();
        if *lag != of_worker {
            connection.lag(of_worker - std::mem::replace(lag, of_worker));
        }
    }
}

impl Endpoint {
    /// Makes an endpoint of an own protocol; `attach` makes the driver's socket.
    pub(crate) fn machine<M: Connected, S: Socket + 'static>(
        listener: Listener,
        make: impl Fn() -> M + 'static,
        attach: impl Fn(TokioStream) -> std::io::Result<S> + 'static,
    ) -> Endpoint {
        let start = move |stream, worker: Rc<Worker>, urgent: Option<Urgent>| {
            let socket = attach(stream);
            let machine = Box::new(make());
            let mut connection = Connection::new(machine, &worker.options, &worker.pool);
            if let Some(urgent) = urgent {
                connection.limit_to(urgent, Instant::now());
            }
            Box::pin(async move {
                // A socket that failed so early is closed by its drop.
                if let Ok(socket) = socket {
                    serve(socket, connection, worker).await;
                }
            }) as Task
        };
        Endpoint { listener, factory: Rc::new(start) }
    }

    pub(crate) fn service(
        listener: Listener,
        start: impl Fn(TokioStream, Sends, WorkerHandle) -> Task + 'static,
    ) -> Endpoint {
        let start = move |stream, worker: Rc<Worker>, urgent: Option<Urgent>| {
            start(stream, Sends::new(&worker.options), worker.handle().limited_to(urgent))
        };
        Endpoint { listener, factory: Rc::new(start) }
    }
}

impl Worker {
    pub(crate) fn new(options: Options, pool: Pool) -> Rc<Worker> {
        let room = Arc::new(Semaphore::new(options.connections_max() as usize));
        let addresses = Addresses::new(options.address_connections_max);
        Rc::new(Worker {
            counts: options.counts,
            options,
            pool,
            socket: RefCell::default(),
            read_buffer: RefCell::new(ReadBuffer::new()),
            shutdown: ShutdownFlag::default(),
            room,
            urgent_room: Arc::new(Semaphore::new(URGENT_PLACES)),
            registry: Rc::default(),
            addresses,
            jobs: Rc::default(),
            waiting: Cell::new(0),
            next_shed: Cell::new(Instant::now()),
            lag: Cell::default(),
        })
    }

    pub(crate) fn socket(&self) -> Option<SocketOptions> {
        self.socket.borrow().clone()
    }

    fn handle(&self) -> WorkerHandle {
        let sleep = |at: Instant| Box::pin(sleep::Sleep::new(at)) as Task;
        let jobs = Rc::clone(&self.jobs);
        WorkerHandle::new(Instant::now, sleep, self.shutdown.clone(), jobs)
    }

    #[inline]
    fn shed_memory(&self) {
        if self.pool.must_drop() {
            self.registry.shed_memory(&self.pool);
        }
    }

    /// Ends idle connections for the streams that wait, once for all of them.
    fn shed_idle(&self) {
        let now = Instant::now();
        if self.next_shed.get() <= now {
            self.next_shed.set(now + SHED_INTERVAL);
            self.registry.shed_idle(self.waiting.get());
        }
    }

    /// Waits for a place, and ends idle connections for it. The place is one beyond the usual if an
    /// urgent request waits in `stream`. Returns `None` if the wait was too long.
    async fn admission(&self, stream: &TokioStream) -> Option<Admission> {
        let (mut permit, begun) = (pin!(self.permit()), Instant::now());
        loop {
            self.shed_idle();
            let waited = begun.elapsed();
            let may_restrict = waited >= RESTRICTED_AFTER;
            let begins_with = |prefix: &[u8]| socket::begins_with(stream, prefix);
            let urgent = self.options.urgent_request(begins_with, may_restrict);
            if let Some(urgent) = urgent
                && let Ok(permit) = Arc::clone(&self.urgent_room).try_acquire_owned()
            {
                return Some(Admission { permit, urgent: Some(urgent) });
            }
            let must_go = waits_too_long(waited, self.waiting.get(), || socket::unread(stream));
            if must_go && !self.shutdown.is_set() {
                self.counts.hit(Limit::PlaceTime);
                return None;
            }
            let admitted = ::tokio::time::timeout(SHED_INTERVAL, permit.as_mut()).await;
            if let Ok(permit) = admitted {
                return Some(Admission { permit, urgent: None });
            }
        }
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.room).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    /// Waits until no connection is open and no stream waits for a place.
    async fn emptied(&self) {
        loop {
            let all = self.room.acquire_many(self.options.connections_max()).await;
            let urgent = self.urgent_room.acquire_many(URGENT_PLACES as u32).await;
            if self.waiting.get() == 0 {
                return;
            }
            drop((all, urgent));
            ::tokio::task::yield_now().await;
        }
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
    loop_time::measure(worker.counts);
    let mut accepting = Vec::new();
    for Endpoint { listener, factory } in endpoints {
        let listener = TokioListener::watch(listener)
            .map_err(|source| DriverError::Io { what: "watch a listener", source })?;
        let accept = accept(listener, factory, Rc::clone(&worker));
        accepting.push(::tokio::task::spawn_local(accept));
    }
    ::tokio::task::spawn_local(trim(Rc::clone(&worker)));
    let watched = ::tokio::select! {
        watched = stop.readable() => watched,
        panic = first_panic(&mut accepting) => std::panic::resume_unwind(panic),
    };
    watched.map_err(|source| DriverError::Io { what: "watch the stop socket", source })?;
    worker.shutdown.set();
    let drained = async {
        for accept in accepting {
            if let Err(error) = accept.await {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        worker.emptied().await;
    };
    let timed_out = ::tokio::time::timeout(worker.options.drain_timeout, drained).await.is_err();
    if timed_out {
        worker.counts.alarm(Alarm::DrainAborted);
    }
    Ok(())
}

async fn trim(worker: Rc<Worker>) {
    loop {
        ::tokio::time::sleep(TRIM_INTERVAL).await;
        worker.pool.trim();
        worker.shed_memory();
    }
}

/// Accepts until the drain, and then the connections in the backlog, whose requests may have been
/// sent before it.
async fn accept(listener: TokioListener, endpoint: Rc<ConnectionFactory>, worker: Rc<Worker>) {
    let mut drained = worker.shutdown.wait();
    loop {
        let accepted = async {
            // Some streams wait inside, so that the worker can make room and find urgent requests.
            while worker.waiting.get() >= WAITING_MAX {
                ::tokio::time::sleep(SHED_INTERVAL).await;
            }
            listener.accept().await
        };
        let accepted = ::tokio::select! {
            biased;
            () = &mut drained => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok(stream) => admit(stream, &endpoint, &worker),
            Err(error) => net::pause(&error, worker.counts).await,
        }
    }
    for stream in listener.into_backlog() {
        admit(stream, &endpoint, &worker);
    }
}

/// Serves a stream, once there is a place for it.
fn admit(stream: TokioStream, factory: &Rc<ConnectionFactory>, worker: &Rc<Worker>) {
    let Some(place) = worker.addresses.place(socket::peer_address(&stream)) else {
        return worker.counts.hit(Limit::AddressConnections);
    };
    if worker.waiting.get() == 0
        && let Ok(permit) = Arc::clone(&worker.room).try_acquire_owned()
    {
        let admission = Admission { permit, urgent: None };
        ::tokio::task::spawn_local(serve_admitted(stream, factory, worker, admission, place));
        return;
    }
    let (factory, worker) = (Rc::clone(factory), Rc::clone(worker));
    worker.waiting.set(worker.waiting.get() + 1);
    ::tokio::task::spawn_local(async move {
        let admission = worker.admission(&stream).await;
        worker.waiting.set(worker.waiting.get() - 1);
        if let Some(admission) = admission {
            serve_admitted(stream, &factory, &worker, admission, place).await;
        }
    });
}

fn serve_admitted(
    stream: TokioStream,
    factory: &Rc<ConnectionFactory>,
    worker: &Rc<Worker>,
    Admission { permit, urgent }: Admission,
    place: Place,
) -> impl Future<Output = ()> + use<> {
    let counts = worker.counts;
    note_accepted(&stream, counts, &mut worker.socket.borrow_mut());
    if worker.room.available_permits() == 0 {
        counts.alarm(Alarm::ConnectionsFull);
    }
    let served = factory(stream, Rc::clone(worker), urgent);
    async move {
        let _alarm = PanicAlarm(counts);
        match urgent {
            None => served.await,
            Some(_) => drop(::tokio::time::timeout(URGENT_TIME, served).await),
        }
        counts.closed.add(1);
        drop((permit, place));
    }
}

async fn serve<S: Socket>(socket: S, connection: Connection, worker: Rc<Worker>) {
    let mut serving = Serving {
        registered: worker.registry.add(connection.pool()),
        has_jobs: false,
        socket,
        sleep: Box::pin(::tokio::time::sleep(Duration::ZERO)),
        sleeping_until: None,
        drained: Some(worker.shutdown.wait()),
        served: Served {
            connection,
            now: Instant::now(),
            has_acted: false,
            lag: worker.lag.get(),
            worker,
        },
    };
    serving.served.act(Connection::open);
    serving.served.catch_up();
    poll_fn(|cx| serving.poll(cx)).await;
    poll_fn(|cx| serving.socket.poll_close(cx)).await;
}

struct Serving<S> {
    socket: S,
    served: Served,
    sleep: Pin<Box<Sleep>>,
    /// Time of `sleep`. A later deadline does not move it, which saves an operation per message.
    sleeping_until: Option<Instant>,
    drained: Option<ShutdownWait>,
    registered: Registered,
    /// The connection has had jobs.
    has_jobs: bool,
}

impl<S: Socket> Serving<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.served.now = Instant::now();
        self.poll_drain(cx);
        self.registered.belongs_to(cx);
        if self.registered.is_dropped() {
            self.served.connection.drop_for_memory();
        }
        if self.has_jobs {
            self.served.act(Connection::resume);
        }
        let mut turn = Turn::default();
        loop {
            self.served.catch_up();
            let now = self.served.now;
            let sent = self.socket.poll_send(&mut self.served, cx).is_ready();
            match self.served.connection.step(now) {
                Step::Close => return Poll::Ready(()),
                Step::ShutDown => self.socket.shut_down(),
                Step::Go => {}
            }
            let received = self.socket.poll_receive(&mut self.served, cx).is_ready();
            self.start_jobs(cx);
            if (sent || received) && turn.is_over(now, cx) {
                self.served.catch_up();
                return Poll::Pending;
            }
            if !sent && !received && self.poll_deadline(cx).is_pending() {
                let idle_since = self.served.connection.idle_since();
                self.registered.set_idle_since(idle_since);
                if !self.may_retire() {
                    self.served.has_acted = false;
                    return Poll::Pending;
                }
                self.served.act(Connection::retire);
            }
        }
    }

    fn start_jobs(&mut self, cx: &Context<'_>) {
        while let Some(job) = self.served.connection.take_job() {
            self.has_jobs = true;
            job.wake_at_end(cx.waker().clone());
            self.served.worker.jobs.start(job);
        }
    }

    /// Returns true if the connection is to end for the sake of another one, and may.
    fn may_retire(&self) -> bool {
        if !self.registered.is_retired() || !self.served.connection.is_open() {
            return false;
        }
        let (unread, has_unsent) = (self.socket.unread(), self.socket.has_unsent());
        let may_end = self.served.connection.may_retire(unread, has_unsent, Instant::now());
        if !may_end {
            self.registered.keep();
        }
        may_end
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
        if self.served.connection.asks_for_unread(self.served.now) {
            self.served.connection.note_unread(self.socket.unread());
        }
        self.served.act(Connection::expire);
        Poll::Ready(())
    }
}
