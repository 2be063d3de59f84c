//! Servers built from points on the axes. The choice is made once at the start; no later code
//! branches on it.
//! [`start`] binds every address for every worker, starts one pinned thread per worker and returns
//! once all of them are up. Nothing is printed here.
//!
//! ```text
//!            ┌ worker 0 · core 2 · one ring ─ grpc listener, rest listener, raw listener
//! start ─────┤                                      │ SO_REUSEPORT
//!            └ worker 1 · core 3 · one ring ─ grpc listener, rest listener, raw listener
//! ```
//! Invariant: a [`Server`] has all its listeners and all its rings, or [`start`] fails.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use crate::axis::{Driver, Protocol};
use crate::driver::{self, DriverError};
use crate::probe::injected_delay::InjectedDelay;
use crate::record::ServerReport;
use crate::service::codecs::CodecSet;
use crate::sys::address::Address;
use crate::sys::affinity::AffinityError;
use crate::sys::socket::{SocketError, SocketOptions};
use crate::wire::{Limits, MemoryBudget, WorkerCounts};

use build::Build;

mod bind;
mod build;
pub mod lane;
pub mod metrics;
#[cfg(test)]
pub(crate) mod tests;
mod usage;

pub use usage::raise_descriptor_limit;

#[derive(Clone, Debug)]
pub struct Plan {
    pub driver: Driver,
    pub listens: Vec<Listen>,
    pub codecs: CodecSet,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub protocol: Protocol,
    /// Port 0 picks a free one.
    pub address: Address,
}

#[derive(Clone, Debug)]
pub struct Options {
    /// Core of each worker; `None` leaves a worker unpinned.
    pub cores: Vec<Option<usize>>,
    pub limits: Limits,
    pub driver: driver::Options,
}

#[derive(Debug)]
pub enum Event {
    Signal,
    /// A worker has ended.
    Ended,
    /// The alarms of a worker have changed; [`WorkerCounts::answer_alarm`] lets the next one ring.
    Alarm,
}

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("{protocol} cannot run on {driver}: {reason}; the nearest that works is {nearest}")]
    Impossible { protocol: Protocol, driver: Driver, reason: &'static str, nearest: String },
    #[error(transparent)]
    Listen(#[from] SocketError),
    #[error(transparent)]
    Affinity(#[from] AffinityError),
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error("{what}: {source}")]
    System { what: &'static str, source: std::io::Error },
    #[error("a worker panicked; the others have finished their requests")]
    Panicked,
}

#[derive(Debug)]
pub struct Server {
    addresses: Vec<Address>,
    workers: Vec<Worker>,
    delays: Vec<InjectedDelay>,
    memory: Arc<MemoryBudget>,
}

/// Outcome of a server.
#[derive(Debug)]
pub struct Stopped {
    pub report: Result<ServerReport, ServerError>,
    /// Error of the first worker that failed.
    pub failure: Option<ServerError>,
}

#[derive(Debug)]
struct Worker {
    stopper: driver::Stopper,
    counts: &'static WorkerCounts,
    thread: JoinHandle<Result<Option<SocketOptions>, ServerError>>,
}

/// Sends [`Event::Ended`] when its worker ends, by a return or by a panic.
struct WorkerEnd(Sender<Event>);

impl Drop for WorkerEnd {
    fn drop(&mut self) {
        // The caller may have stopped listening; the result is in the thread either way.
        let _ = self.0.send(Event::Ended);
    }
}

/// Returns when every worker is up. Each of them sends [`Event::Ended`] to `events` at its end.
pub fn start(
    plan: &Plan,
    options: &Options,
    events: &Sender<Event>,
) -> Result<Server, ServerError> {
    start_workers(build::choose(plan)?, plan, options, events)
}

fn start_workers(
    build: Build,
    plan: &Plan,
    options: &Options,
    events: &Sender<Event>,
) -> Result<Server, ServerError> {
    let bound = bind::bind(&plan.listens, options.cores.len())?;
    let (up, ups) = std::sync::mpsc::channel();
    let Limits { memory_bytes_max, connection_bytes_max, .. } = options.limits;
    let workers = options.cores.len();
    let mut server = Server {
        addresses: bound.addresses,
        workers: Vec::new(),
        delays: Vec::new(),
        memory: Arc::new(MemoryBudget::new(memory_bytes_max, connection_bytes_max, workers)),
    };
    for (listeners, core) in bound.by_worker.into_iter().zip(options.cores.iter().copied()) {
        let (stopper, stop) = driver::stop_signal()
            .map_err(|source| ServerError::System { what: "make a stop socket", source })?;
        let codecs = plan.codecs.for_another_thread();
        let job_codecs = codecs.for_another_thread();
        server.delays.extend([codecs.delay(), job_codecs.delay()]);
        let counts = WorkerCounts::of_worker();
        ring_for_alarms(counts, events);
        let config = build::WorkerConfig {
            core,
            listeners,
            protocols: plan.listens.iter().map(|listen| listen.protocol).collect(),
            codecs,
            job_codecs,
            limits: Limits { counts, ..options.limits.clone() },
            driver: driver::Options { counts, ..options.driver.clone() },
            stop,
            memory: Arc::clone(&server.memory),
        };
        let (up, end) = (up.clone(), WorkerEnd(events.clone()));
        let work = move || {
            let _end = end;
            build(config, up)
        };
        let thread = std::thread::Builder::new()
            .name(format!("worker-{}", server.workers.len()))
            .spawn(work)
            .map_err(|source| ServerError::System { what: "start a worker thread", source })?;
        server.workers.push(Worker { stopper, counts, thread });
    }
    drop(up);
    if ups.iter().take(server.workers.len()).count() == server.workers.len() {
        return Ok(server);
    }
    Err(server.stop().err().unwrap_or(ServerError::Panicked))
}

/// Sends [`Event::Alarm`] at an alarm of a worker.
fn ring_for_alarms(counts: &WorkerCounts, events: &Sender<Event>) {
    let events = events.clone();
    counts.on_alarm(move || {
        // The caller may have stopped listening; the counts stay.
        let _ = events.send(Event::Alarm);
    });
}

impl Server {
    /// Returns the counts of each worker.
    pub fn counts(&self) -> Vec<&'static WorkerCounts> {
        self.workers.iter().map(|worker| worker.counts).collect()
    }

    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Returns the account of the memory that peers make this process hold.
    pub fn memory(&self) -> &Arc<MemoryBudget> {
        &self.memory
    }

    /// Stops all workers and returns what was counted, or why one of them failed.
    pub fn stop(self) -> Result<ServerReport, ServerError> {
        let Stopped { report, failure } = self.end();
        failure.map_or(report, Err)
    }

    /// Stops all workers. What was counted is known after a failure as well.
    pub fn end(self) -> Stopped {
        let counts = self.counts();
        let Server { workers, delays, memory, .. } = self;
        let (stoppers, threads): (Vec<_>, Vec<_>) =
            workers.into_iter().map(|worker| (worker.stopper, worker.thread)).unzip();
        drop(stoppers);
        let (mut socket, mut failure) = (None, None);
        for thread in threads {
            match thread.join().unwrap_or(Err(ServerError::Panicked)) {
                Ok(accepted) => socket = socket.or(accepted),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Stopped { report: usage::report(&counts, socket, &memory, &delays), failure }
    }
}
