//! AXIS: who moves bytes. A file or folder is a point of [`crate::axis::Driver`].
//!
//! A driver serves *endpoints*: a listener and what speaks on its connections, either an own protocol
//! ([`Machine`]) or a borrowed stack over one lent byte stream ([`Service`]). One call of [`Driver::run`] is one
//! worker: one thread, one ring or one epoll set. It knows nothing of codecs or what a message means.

use std::future::Future;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::sys::listener::Listener;
use crate::sys::socket::{self, SocketOptions};
use crate::wire::h1::H1;
use crate::wire::h2::H2;
use crate::wire::raw::Raw;
use crate::wire::{Context, Handler, LimitCounts, Machine, SharedPool, WireError};

mod connection;
mod error;
mod shutdown;
#[cfg(test)]
mod tests;
pub mod tokio;
pub mod uring;

pub use error::DriverError;
pub use shutdown::{StopSignal, Stopper, stop_signal};

use shutdown::ShutdownFlag;

/// A byte stream lent to a borrowed stack. Thread-local: it never leaves the worker.
pub trait Stream: ::tokio::io::AsyncRead + ::tokio::io::AsyncWrite + Unpin + 'static {}

impl<T: ::tokio::io::AsyncRead + ::tokio::io::AsyncWrite + Unpin + 'static> Stream for T {}

/// A machine as a driver holds it. The hooks are for machines with a second side that the driver does not see, such as
/// the byte stream of a borrowed stack; a protocol has none and keeps the defaults.
pub trait Connected: Machine {
    /// Looks at changes that were made outside of the driver's calls, for instance by a task that has written.
    fn resume(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let _ = cx;
        Ok(())
    }

    /// Returns true while there is more to do as soon as [`Machine::flushed`] is called: more output, for instance.
    fn awaits_flush(&self) -> bool {
        false
    }

    /// Returns true while input is not used up; the driver leaves further bytes in the socket.
    fn is_full(&self) -> bool {
        false
    }
}

impl<H: Handler> Connected for Raw<H> {}
impl<H: Handler> Connected for H1<H> {}
impl<H: Handler> Connected for H2<H> {}

/// A borrowed stack that serves one connection over a lent stream.
pub trait Service: 'static {
    /// Serves one connection until it ends. Must finish open work and end soon after `worker.drained()` resolves.
    fn serve<S: Stream>(
        &self,
        stream: S,
        worker: WorkerHandle,
    ) -> impl Future<Output = ()> + 'static;
}

/// Worker services available to a connection task: timer and shutdown flag.
#[derive(Clone)]
pub struct WorkerHandle {
    sleep: Rc<dyn Fn(Instant) -> Task>,
    shutdown: ShutdownFlag,
}

/// Future on the worker's thread.
type Task = Pin<Box<dyn Future<Output = ()>>>;

impl WorkerHandle {
    pub(crate) fn new(
        sleep: impl Fn(Instant) -> Task + 'static,
        shutdown: ShutdownFlag,
    ) -> WorkerHandle {
        WorkerHandle { sleep: Rc::new(sleep), shutdown }
    }

    /// Resolves at `at`.
    pub fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + use<> {
        (self.sleep)(at)
    }

    /// Resolves once the worker shuts down.
    pub fn drained(&self) -> impl Future<Output = ()> + use<> {
        self.shutdown.wait()
    }
}

/// One worker's way to move bytes.
pub trait Driver: Sized {
    /// A listener and what speaks behind it.
    type Endpoint;

    /// An endpoint of an own protocol; `make` is called for each accepted connection.
    fn machine<M: Connected + 'static>(
        listener: Listener,
        make: impl Fn() -> M + 'static,
    ) -> Self::Endpoint;

    /// An endpoint of a borrowed stack.
    fn service<S: Service>(listener: Listener, service: S) -> Self::Endpoint;

    /// Makes the worker on the calling thread, which is already pinned. It trims `pool`.
    fn new(options: Options, pool: SharedPool) -> Result<Self, DriverError>;

    /// Serves until `stop` is signalled, then drains and returns within `options.drain_timeout`.
    fn run(self, endpoints: Vec<Self::Endpoint>, stop: StopSignal)
    -> Result<Counters, DriverError>;
}

/// Settings equal for every driver.
#[derive(Clone, Debug)]
pub struct Options {
    /// Stop reading from a connection that has this many bytes waiting to be sent.
    pub outbox_bytes_max: usize,
    /// Most connections at once; further ones wait in the listener's backlog.
    pub connections_max: usize,
    /// How long open work may take once told to stop.
    pub drain_timeout: Duration,
    /// How long `uring` looks for something to do before it sleeps. Spends processor time for latency; the other
    /// drivers sleep at once.
    pub busy_poll: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            outbox_bytes_max: 4 * 1024 * 1024,
            connections_max: 16 * 1024,
            drain_timeout: Duration::from_secs(5),
            busy_poll: Duration::ZERO,
        }
    }
}

/// What a worker did, for tests and the closing line on stderr.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: u64,
    /// Options of the first of them, read back.
    pub socket: Option<SocketOptions>,
    /// Connections closed because the peer broke the protocol, was too slow, or vanished inside a message.
    pub peer_faults: u64,
    /// Limits that peers ran into, on connections that are closed; own HTTP/2 counts its limits, and every own protocol
    /// a peer that reads nothing.
    pub limits: LimitCounts,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Time in which it looked for something to do and found nothing ([`Options::busy_poll`]).
    pub busy_poll_idle: Duration,
}

impl Counters {
    /// Counts an accepted connection.
    pub(crate) fn accept(&mut self, socket: &impl AsFd) {
        self.accepted += 1;
        if self.socket.is_none() {
            self.socket = socket::read_back(socket).ok();
        }
    }
}

/// Bytes a worker reads at once where no buffer is lent; one read of a full pipeline of small messages.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// Most pieces of one vectored write; further ones wait for the next.
pub(crate) const SLICES_MAX: usize = 64;

/// How often [`crate::wire::Pool::trim`] is called.
pub(crate) const TRIM_INTERVAL: Duration = Duration::from_secs(1);

/// How long to wait after a failed accept: not at all when only that one connection is gone, else long enough for
/// descriptors or memory to come free. The listener is never given up.
pub(crate) fn accept_pause(error: &std::io::Error) -> Duration {
    const GONE: [i32; 4] = [libc::ECONNABORTED, libc::EPROTO, libc::EINTR, libc::EAGAIN];
    if error.raw_os_error().is_some_and(|code| GONE.contains(&code)) {
        return Duration::ZERO;
    }
    Duration::from_millis(100)
}
