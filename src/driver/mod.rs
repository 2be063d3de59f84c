//! Drivers: the code that moves bytes between sockets and protocols. Each point of
//! [`crate::axis::Driver`] is one type here.
//!
//! ```text
//! Endpoint = Listener + own protocol (Machine)  ──▶ Connection: one policy for all drivers
//!                     + borrowed stack (Service) ──▶ byte stream lent to a task
//! ```
//! One call of [`Driver::run`] is one worker: one thread, one ring or one epoll set. A driver knows
//! no codec and does not interpret messages.

use std::future::{Future, poll_fn};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::sys::listener::Listener;
use crate::sys::socket::{self, SocketOptions, Unread};
use crate::wire::h1::H1;
use crate::wire::h2::H2;
use crate::wire::limits::RATE_MIN;
use crate::wire::raw::Raw;
use crate::wire::{
    Context, EndedJob, Handler, Machine, Pace, Pool, PooledBuf, Slice, WireError, Work,
    WorkerCounts, job,
};

mod addresses;
mod connection;
mod error;
pub mod jobs;
pub mod planted;
mod planted_bugs;
pub mod poll;
mod read_buffer;
mod shutdown;
#[cfg(test)]
mod tests;
pub mod tokio;
pub mod uring;

pub use error::DriverError;
pub use shutdown::{StopSignal, Stopper, stop_signal};

use jobs::{Inline, JobRunner};
use read_buffer::{READ_BYTES, ReadBuffer};
pub(crate) use shutdown::ShutdownFlag;

/// Byte stream lent to a borrowed stack on the worker's thread.
pub trait Stream: ::tokio::io::AsyncRead + ::tokio::io::AsyncWrite + Unpin + 'static {}

impl<T: ::tokio::io::AsyncRead + ::tokio::io::AsyncWrite + Unpin + 'static> Stream for T {}

/// Machine with hooks for a second side, such as the byte stream of a borrowed stack.
pub trait Connected: Machine + 'static {
    /// Handles changes from outside of the driver's calls: bytes written by a task, or the end of a
    /// job.
    fn resume(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.jobs_ended(cx)
    }

    /// Returns true while [`Machine::flushed`] would produce more.
    fn awaits_flush(&self) -> bool {
        false
    }

    /// Returns true while earlier input is unused; the driver leaves further bytes in the socket.
    fn is_full(&self) -> bool {
        self.is_working()
    }
}

impl<H: Handler + 'static> Connected for Raw<H> {}
impl<H: Handler + 'static> Connected for H1<H> {}

impl<H: Handler + 'static> Connected for H2<H> {
    fn awaits_flush(&self) -> bool {
        self.has_paused_calls()
    }
}

pub trait Service: 'static {
    /// Serves one connection; finishes soon after `worker.drained()` resolves.
    fn serve<S: Stream>(
        &self,
        stream: S,
        worker: WorkerHandle,
    ) -> impl Future<Output = ()> + 'static;
}

/// Worker, as a connection of a borrowed stack sees it.
#[derive(Clone)]
pub struct WorkerHandle {
    clock: Rc<Clock>,
    shutdown: ShutdownFlag,
    jobs: Rc<dyn JobRunner>,
    is_restricted: bool,
    /// Returns true while the driver holds output that it has not sent yet.
    is_sending: Option<Rc<dyn Fn() -> bool>>,
}

/// Time of a worker, which a simulation may invent.
struct Clock {
    now: Box<dyn Fn() -> Instant>,
    sleep: Box<dyn Fn(Instant) -> Task>,
}

/// Future that a worker waits for.
pub type Task = Pin<Box<dyn Future<Output = ()>>>;

impl WorkerHandle {
    pub(crate) fn new(
        now: impl Fn() -> Instant + 'static,
        sleep: impl Fn(Instant) -> Task + 'static,
        shutdown: ShutdownFlag,
        jobs: Rc<dyn JobRunner>,
    ) -> WorkerHandle {
        let clock = Rc::new(Clock { now: Box::new(now), sleep: Box::new(sleep) });
        WorkerHandle { clock, shutdown, jobs, is_restricted: false, is_sending: None }
    }

    /// Makes the handle of a worker that never shuts down and has no thread for jobs.
    pub fn without_shutdown(sleep: impl Fn(Instant) -> Task + 'static) -> WorkerHandle {
        WorkerHandle::new(Instant::now, sleep, ShutdownFlag::default(), Rc::new(Inline))
    }

    /// Does long work on another thread, which appends to `answer`. The drop of the future cancels
    /// it.
    pub fn run(
        &self,
        work: Box<dyn Work>,
        message: Slice,
        answer: PooledBuf,
        pool: &Pool,
    ) -> impl Future<Output = EndedJob> + use<> {
        let (job, mut pending) = job::job(work, message, answer, pool);
        let (mut job, jobs) = (Some(job), Rc::clone(&self.jobs));
        poll_fn(move |cx| {
            let mut ended = pending.take_or_wake(&jobs.waker(cx.waker()));
            if let Some(job) = job.take() {
                jobs.start(job);
                ended = pending.take();
            }
            ended.map_or(Poll::Pending, Poll::Ready)
        })
    }

    /// Makes the handle of a connection that was accepted for `urgent`.
    pub(crate) fn limited_to(self, urgent: Option<Urgent>) -> WorkerHandle {
        let is_restricted = urgent.is_some_and(|urgent| urgent.needs_restriction);
        WorkerHandle { is_restricted, ..self }
    }

    /// Makes the handle of a connection whose driver holds output while `is_sending`.
    pub(crate) fn with_output(self, is_sending: impl Fn() -> bool + 'static) -> WorkerHandle {
        WorkerHandle { is_sending: Some(Rc::new(is_sending)), ..self }
    }

    /// Returns true if the connection may only ask for the server's health, as no place is free.
    pub fn is_restricted(&self) -> bool {
        self.is_restricted
    }

    /// Returns true while the driver holds output that it has not sent yet.
    pub fn is_sending(&self) -> bool {
        self.is_sending.as_ref().is_some_and(|is_sending| is_sending())
    }

    pub fn now(&self) -> Instant {
        (self.clock.now)()
    }

    pub fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + use<> {
        (self.clock.sleep)(at)
    }

    /// Resolves once the worker shuts down.
    pub fn drained(&self) -> impl Future<Output = ()> + use<> {
        self.shutdown.wait()
    }
}

/// Way to move the bytes of one worker.
pub trait Driver: Sized {
    type Endpoint;

    fn machine<M: Connected>(listener: Listener, make: impl Fn() -> M + 'static) -> Self::Endpoint;

    fn service<S: Service>(listener: Listener, service: S) -> Self::Endpoint;

    /// Makes the worker on the calling, pinned thread; the worker trims `pool`.
    fn new(options: Options, pool: Pool) -> Result<Self, DriverError>;

    /// Serves until `stop`, then drains and returns within `options.drain_timeout`. Returns the
    /// options of the first accepted socket, read back.
    fn run(
        self,
        endpoints: Vec<Self::Endpoint>,
        stop: StopSignal,
    ) -> Result<Option<SocketOptions>, DriverError>;
}

#[derive(Clone, Debug)]
pub struct Options {
    /// Unsent bytes of a connection at which the driver stops reading from it.
    pub outbox_bytes_max: usize,
    /// Pace at which a peer must take output.
    pub send_pace: Pace,
    /// More connections wait in the listener's backlog. A worker takes fewer than 2^24 in any case.
    pub connections_max: usize,
    /// Requests that are served beyond `connections_max`.
    pub urgent: &'static [Urgent],
    /// Most connections of one address at a worker; more are closed at once.
    pub address_connections_max: usize,
    pub drain_timeout: Duration,
    /// Input that a borrowed stack takes from a connection of `uring` in one turn. The rest waits
    /// until the worker has served the other connections.
    pub turn_bytes_max: usize,
    /// Longest busy poll of `uring` before it sleeps; the other drivers sleep at once.
    pub busy_poll: Duration,
    /// WorkerCounts of the worker.
    pub counts: &'static WorkerCounts,
}

/// Request that is served although no place for its connection is free, in one of a few places kept
/// for such requests and for a short time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Urgent {
    /// First bytes of the connection.
    pub prefix: &'static [u8],
    /// True if the bytes do not tell the request, so that other requests of the connection are
    /// refused ([`Machine::restrict`], [`WorkerHandle::is_restricted`]).
    pub needs_restriction: bool,
}

/// Wait of a connection for a place, after which it is served with a restriction.
pub(crate) const RESTRICTED_AFTER: Duration = Duration::from_millis(500);

pub(crate) const URGENT_PLACES: usize = 8;
pub(crate) const URGENT_TIME: Duration = Duration::from_secs(2);

/// Sockets that a worker accepts without a place for them, to look for urgent requests.
pub(crate) const WAITING_MAX: usize = 256;

/// Longest wait for a place while more than half of [`WAITING_MAX`] sockets wait, so that probes
/// behind them are found.
const PLACE_WAIT_MAX: Duration = Duration::from_secs(5);
/// The same for a socket from which nothing has come.
const SILENT_WAIT_MAX: Duration = Duration::from_secs(1);

/// Returns true if a socket must go that has waited for a place for this time, as one of `waiting`.
pub(crate) fn waits_too_long(
    waited: Duration,
    waiting: usize,
    unread: impl FnOnce() -> Unread,
) -> bool {
    let may_stay = waiting <= WAITING_MAX / 2 || waited < SILENT_WAIT_MAX;
    !may_stay && (waited >= PLACE_WAIT_MAX || unread() != Unread::Bytes)
}

/// Longest time without a sent byte; the default of nginx and h2o.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Most connections of a worker: their numbers have 24 bits of a token of the ring.
pub(crate) const CONNECTIONS_END: u32 = 1 << 24;

/// Three quarters of the default places, so that one address cannot take them all. A benchmark of
/// 10,000 connections from one address fits.
const ADDRESS_CONNECTIONS_MAX: usize = 12 * 1024;

impl Options {
    /// Returns the urgent request that waits in a socket. `begins_with` compares a prefix with the
    /// bytes that nobody has received.
    pub(crate) fn urgent_request(
        &self,
        begins_with: impl Fn(&[u8]) -> bool,
        may_restrict: bool,
    ) -> Option<Urgent> {
        let waits = |urgent: &&Urgent| {
            let may_serve = may_restrict || !urgent.needs_restriction;
            may_serve && begins_with(urgent.prefix)
        };
        self.urgent.iter().find(waits).copied()
    }

    pub(crate) fn connections_max(&self) -> u32 {
        u32::try_from(self.connections_max).map_or(CONNECTIONS_END, |max| max.min(CONNECTIONS_END))
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            outbox_bytes_max: 4 * 1024 * 1024,
            send_pace: Pace { gap: SEND_TIMEOUT, rate_min: RATE_MIN },
            connections_max: 16 * 1024,
            urgent: &[],
            address_connections_max: ADDRESS_CONNECTIONS_MAX,
            drain_timeout: Duration::from_secs(5),
            turn_bytes_max: 128 * 1024,
            busy_poll: Duration::ZERO,
            counts: WorkerCounts::unread(),
        }
    }
}

/// WorkerCounts a connection, and reads the options of the first one's socket back.
pub(crate) fn note_accepted(
    connection: &impl AsFd,
    counts: &WorkerCounts,
    socket: &mut Option<SocketOptions>,
) {
    counts.accepted.add(1);
    if socket.is_none() {
        *socket = socket::read_back(connection).ok();
    }
}

pub(crate) const SLICES_MAX: usize = 64;
/// Time between two looks for idle connections, while others wait for a place.
pub(crate) const SHED_INTERVAL: Duration = Duration::from_millis(50);
/// Shortest work of a worker that is left out of the deadlines of peers, whom it has kept waiting.
/// Deadlines are far longer.
pub(crate) const LAG_MIN: Duration = Duration::from_millis(50);
pub(crate) const TRIM_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns zero if only one connection is lost, else time for descriptors to become free.
pub(crate) fn accept_pause(error: &std::io::Error) -> Duration {
    const GONE: [i32; 4] = [libc::ECONNABORTED, libc::EPROTO, libc::EINTR, libc::EAGAIN];
    if error.raw_os_error().is_some_and(|code| GONE.contains(&code)) {
        return Duration::ZERO;
    }
    Duration::from_millis(100)
}
