//! Drivers: the code that moves bytes between sockets and protocols. Each point of
//! [`crate::axis::Driver`] is one type here.
//!
//! ```text
//! Endpoint = Listener + own protocol (Machine)  ──▶ Connection: one policy for all drivers
//!                     + borrowed stack (Service) ──▶ byte stream lent to a task
//! ```
//! One call of [`Driver::run`] is one worker: one thread, one ring or one epoll set. A driver knows
//! no codec and does not interpret messages.

use std::future::Future;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::sys::listener::Listener;
use crate::sys::socket::{self, SocketOptions};
use crate::wire::h1::H1;
use crate::wire::h2::H2;
use crate::wire::limits::RATE_MIN;
use crate::wire::raw::Raw;
use crate::wire::{Context, Handler, LimitCounts, Machine, Pace, Pool, WireError};

mod connection;
mod error;
pub mod planted;
pub mod poll;
mod shutdown;
#[cfg(test)]
mod tests;
pub mod tokio;
pub mod uring;

pub use error::DriverError;
pub use shutdown::{StopSignal, Stopper, stop_signal};

use shutdown::ShutdownFlag;

/// Byte stream lent to a borrowed stack on the worker's thread.
pub trait Stream: ::tokio::io::AsyncRead + ::tokio::io::AsyncWrite + Unpin + 'static {}

impl<T: ::tokio::io::AsyncRead + ::tokio::io::AsyncWrite + Unpin + 'static> Stream for T {}

/// Machine with hooks for a second side, such as the byte stream of a borrowed stack.
pub trait Connected: Machine + 'static {
    /// Handles changes from outside of the driver's calls, for instance bytes written by a task.
    fn resume(&mut self, _cx: &mut Context<'_>) -> Result<(), WireError> {
        Ok(())
    }

    /// Returns true while [`Machine::flushed`] would produce more.
    fn awaits_flush(&self) -> bool {
        false
    }

    /// Returns true while earlier input is unused; the driver leaves further bytes in the socket.
    fn is_full(&self) -> bool {
        false
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

#[derive(Clone)]
pub struct WorkerHandle {
    sleep: Rc<dyn Fn(Instant) -> Task>,
    shutdown: ShutdownFlag,
}

/// Future that a worker waits for.
pub type Task = Pin<Box<dyn Future<Output = ()>>>;

impl WorkerHandle {
    pub(crate) fn new(
        sleep: impl Fn(Instant) -> Task + 'static,
        shutdown: ShutdownFlag,
    ) -> WorkerHandle {
        WorkerHandle { sleep: Rc::new(sleep), shutdown }
    }

    /// Makes the handle of a worker that never shuts down.
    pub fn without_shutdown(sleep: impl Fn(Instant) -> Task + 'static) -> WorkerHandle {
        WorkerHandle::new(sleep, ShutdownFlag::default())
    }

    pub fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + use<> {
        (self.sleep)(at)
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

    /// Serves until `stop`, then drains and returns within `options.drain_timeout`.
    fn run(self, endpoints: Vec<Self::Endpoint>, stop: StopSignal)
    -> Result<Counters, DriverError>;
}

#[derive(Clone, Debug)]
pub struct Options {
    /// Unsent bytes of a connection at which the driver stops reading from it.
    pub outbox_bytes_max: usize,
    /// Pace at which a peer must take output.
    pub send_pace: Pace,
    /// More connections wait in the listener's backlog. A worker takes fewer than 2^24 in any case.
    pub connections_max: usize,
    pub drain_timeout: Duration,
    /// Longest busy poll of `uring` before it sleeps; the other drivers sleep at once.
    pub busy_poll: Duration,
}

/// Longest time without a sent byte; the default of nginx and h2o.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Most connections of a worker: their numbers have 24 bits of a token of the ring.
pub(crate) const CONNECTIONS_END: u32 = 1 << 24;

impl Options {
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
            drain_timeout: Duration::from_secs(5),
            busy_poll: Duration::ZERO,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub accepted: u64,
    /// Options of the first accepted socket, read back.
    pub socket: Option<SocketOptions>,
    /// Connections whose peer broke the protocol, was too slow, or vanished inside a message.
    pub peer_faults: u64,
    /// Limits reached on closed connections: those of own HTTP/2, and every stall time.
    pub limits: LimitCounts,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub busy_poll_idle: Duration,
    /// Requests that failed because their handler panicked.
    pub panics: u64,
}

impl Counters {
    pub(crate) fn accept(&mut self, socket: &impl AsFd) {
        self.accepted += 1;
        if self.socket.is_none() {
            self.socket = socket::read_back(socket).ok();
        }
    }
}

/// A full pipeline of small messages.
pub(crate) const READ_BYTES: usize = 64 * 1024;

pub(crate) const SLICES_MAX: usize = 64;
pub(crate) const TRIM_INTERVAL: Duration = Duration::from_secs(1);

/// Returns zero if only one connection is lost, else time for descriptors to become free.
pub(crate) fn accept_pause(error: &std::io::Error) -> Duration {
    const GONE: [i32; 4] = [libc::ECONNABORTED, libc::EPROTO, libc::EINTR, libc::EAGAIN];
    if error.raw_os_error().is_some_and(|code| GONE.contains(&code)) {
        return Duration::ZERO;
    }
    Duration::from_millis(100)
}
