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

use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use crate::axis::{Driver, Protocol};
use crate::driver::{self, Counters, DriverError};
use crate::probe::injected_delay::InjectedDelay;
use crate::record::ServerReport;
use crate::service::codecs::CodecSet;
use crate::sys::address::Address;
use crate::sys::affinity::AffinityError;
use crate::sys::socket::SocketError;
use crate::wire::Limits;

use build::Build;

mod bind;
mod build;
pub mod lane;
#[cfg(test)]
mod tests;
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
    Ended,
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
}

#[derive(Debug)]
struct Worker {
    stopper: driver::Stopper,
    thread: JoinHandle<Result<Counters, ServerError>>,
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
    let mut server = Server { addresses: bound.addresses, workers: Vec::new(), delays: Vec::new() };
    for (listeners, core) in bound.by_worker.into_iter().zip(options.cores.iter().copied()) {
        let (stopper, stop) = driver::stop_signal()
            .map_err(|source| ServerError::System { what: "make a stop socket", source })?;
        let codecs = plan.codecs.for_another_thread();
        server.delays.push(codecs.delay());
        let config = build::WorkerConfig {
            core,
            listeners,
            protocols: plan.listens.iter().map(|listen| listen.protocol).collect(),
            codecs,
            limits: options.limits.clone(),
            driver: options.driver.clone(),
            stop,
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
        server.workers.push(Worker { stopper, thread });
    }
    drop(up);
    if ups.iter().take(server.workers.len()).count() == server.workers.len() {
        return Ok(server);
    }
    Err(server.stop().err().unwrap_or(ServerError::Panicked))
}

impl Server {
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    pub fn stop(self) -> Result<ServerReport, ServerError> {
        let Server { workers, delays, .. } = self;
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
            None => usage::report(total, &delays),
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
    total.panics += counters.panics;
}
