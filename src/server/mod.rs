//! Builds a server from points on the axes and runs it: picks once at start, never branches on it again.
//!
//! A [`Plan`] says what to serve, [`Options`] how. [`start`] binds every address for every worker, starts one pinned
//! thread per worker and returns once all of them are up; the caller then waits for [`Event`]s and ends it by
//! [`Server::stop`]. Nothing is printed here.
//!
//! ```text
//!            ┌ worker 0 · core 2 · one ring ─ grpc listener, rest listener, raw listener
//! start ─────┤                                      │ SO_REUSEPORT
//!            └ worker 1 · core 3 · one ring ─ grpc listener, rest listener, raw listener
//! ```
//! Invariant: a [`Server`] has all its listeners and all its rings; if one cannot be had, there is none.

use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use crate::axis::{Driver, Protocol};
use crate::driver::{self, Counters, DriverError};
use crate::record::ServerReport;
use crate::service::echo::CodecSet;
use crate::service::spin::Spin;
use crate::sys::address::Address;
use crate::sys::affinity::AffinityError;
use crate::sys::socket::SocketError;
use crate::wire::Limits;

mod bind;
mod build;
mod usage;

pub use usage::raise_descriptor_limit;

/// What to serve.
#[derive(Clone, Debug)]
pub struct Plan {
    pub driver: Driver,
    /// What listens; all of it on every worker.
    pub listens: Vec<Listen>,
    /// Which codec serves which encoding.
    pub codecs: CodecSet,
}

/// A protocol and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub protocol: Protocol,
    /// Address; port 0 picks a free one.
    pub address: Address,
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Core of each worker; there are as many workers as entries. `None` leaves a worker unpinned.
    pub cores: Vec<Option<usize>>,
    /// Limits of every connection.
    pub limits: Limits,
    /// Settings of every worker's driver.
    pub driver: driver::Options,
}

/// What a caller waits for once the server is up.
#[derive(Debug)]
pub enum Event {
    /// The process was told to stop.
    Signal,
    /// A worker ended without being told to.
    Ended,
}

/// Why a server cannot start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The pair on the axes does not exist.
    #[error("{protocol} cannot run on {driver}: {reason}; the nearest that works is {nearest}")]
    Impossible {
        protocol: Protocol,
        driver: Driver,
        reason: &'static str,
        /// Driver and protocol that go together.
        nearest: String,
    },
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] SocketError),
    /// A worker cannot be pinned.
    #[error(transparent)]
    Affinity(#[from] AffinityError),
    /// A worker cannot start or go on.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The system refused a thread, a socket pair or a figure.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What it said.
        source: std::io::Error,
    },
    /// A worker panicked; its message is on stderr.
    #[error("a worker panicked")]
    Panicked,
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<Address>,
    workers: Vec<Worker>,
    /// By worker.
    spins: Vec<Spin>,
}

#[derive(Debug)]
struct Worker {
    stopper: driver::Stopper,
    thread: JoinHandle<Result<Counters, ServerError>>,
}

/// Starts the workers; returns when each of them listens and has its ring. `events` gets an [`Event::Ended`] from
/// every worker that ends.
pub fn start(
    plan: &Plan,
    options: &Options,
    events: &Sender<Event>,
) -> Result<Server, ServerError> {
    let build = build::choose(plan)?;
    let bound = bind::bind(&plan.listens, options.cores.len())?;
    let (up, ups) = std::sync::mpsc::channel();
    let mut server = Server { addresses: bound.addresses, workers: Vec::new(), spins: Vec::new() };
    for (listeners, core) in bound.by_worker.into_iter().zip(options.cores.iter().copied()) {
        let (stopper, stop) = driver::stop_signal()
            .map_err(|source| ServerError::System { what: "make a stop socket", source })?;
        let codecs = plan.codecs.of_another_thread();
        server.spins.push(codecs.spin());
        let seat = build::Seat {
            core,
            listeners,
            protocols: plan.listens.iter().map(|listen| listen.protocol).collect(),
            codecs,
            limits: options.limits.clone(),
            driver: options.driver.clone(),
            stop,
        };
        let (up, events) = (up.clone(), events.clone());
        let work = move || {
            let result = build(seat, up);
            // The caller may have stopped listening; the result is in the thread either way.
            let _ = events.send(Event::Ended);
            result
        };
        let thread = std::thread::Builder::new()
            .name(format!("worker-{}", server.workers.len()))
            .spawn(work)
            .map_err(|source| ServerError::System { what: "start a worker thread", source })?;
        server.workers.push(Worker { stopper, thread });
    }
    drop(up);
    match ups.iter().take(server.workers.len()).count() == server.workers.len() {
        true => Ok(server),
        false => Err(server.stop().err().unwrap_or(ServerError::Panicked)),
    }
}

impl Server {
    /// Where it listens, in the plan's order.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Drains every worker, waits for them and says what was done.
    pub fn stop(self) -> Result<ServerReport, ServerError> {
        let Server { workers, spins, .. } = self;
        let (stoppers, threads): (Vec<_>, Vec<_>) =
            workers.into_iter().map(|worker| (worker.stopper, worker.thread)).unzip();
        drop(stoppers);
        let mut total = Counters::default();
        let mut failed = None;
        for thread in threads {
            match thread.join().unwrap_or(Err(ServerError::Panicked)) {
                Ok(counters) => add(&mut total, counters),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => usage::report(total, &spins),
        }
    }
}

fn add(total: &mut Counters, counters: Counters) {
    total.accepted += counters.accepted;
    total.socket = total.socket.take().or(counters.socket);
    total.peer_faults += counters.peer_faults;
    total.limits.add(&counters.limits);
    total.bytes_in += counters.bytes_in;
    total.bytes_out += counters.bytes_out;
}
