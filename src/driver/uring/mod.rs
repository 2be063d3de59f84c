//! `uring`: own reactor on io_uring, one ring per worker.
//!
//! Not used: zero-copy sends (on loopback the kernel copies anyway, later), a polling kernel thread
//! (it takes a core), bundles and incremental buffers (32 KiB leave them nothing to gain).

use std::rc::Rc;

use crate::driver::{Connected, Driver, DriverError, Options, Service, StopSignal};
use crate::sys::listener::Listener;
use crate::sys::socket::SocketOptions;
use crate::wire::Pool;

mod acceptor;
mod buffers;
mod connection;
mod core;
mod executor;
mod iovec;
pub mod jobs;
pub mod kernel;
pub mod linux;
pub mod op;
mod places;
pub mod reactor;
pub mod ring;
mod serve;
mod slots;
pub mod stream;
#[cfg(test)]
mod tests;
mod timers;

pub use reactor::{ConnectionId, Reactor};
pub use stream::UringStream;

use acceptor::ConnectionFactory;
use executor::Task;

pub struct Uring(Reactor);

pub struct Endpoint {
    listener: Listener,
    factory: ConnectionFactory,
}

impl Driver for Uring {
    type Endpoint = Endpoint;

    fn machine<M: Connected>(listener: Listener, make: impl Fn() -> M + 'static) -> Endpoint {
        let factory = move || Box::new(make()) as Box<dyn Connected>;
        Endpoint { listener, factory: ConnectionFactory::Machine(Rc::new(factory)) }
    }

    fn service<S: Service>(listener: Listener, service: S) -> Endpoint {
        let factory = move |stream, worker| Box::pin(service.serve(stream, worker)) as Task;
        Endpoint { listener, factory: ConnectionFactory::Service(Rc::new(factory)) }
    }

    fn new(options: Options, pool: Pool) -> Result<Uring, DriverError> {
        Ok(Uring(Reactor::sharing(options, pool)?))
    }

    fn run(
        mut self,
        endpoints: Vec<Endpoint>,
        stop: StopSignal,
    ) -> Result<Option<SocketOptions>, DriverError> {
        for Endpoint { listener, factory } in endpoints {
            let what = "prepare a listener for the ring";
            let prepared = listener.set_nonblocking(false);
            prepared.map_err(|source| DriverError::Io { what, source })?;
            self.0.serve(listener, factory);
        }
        self.0.run(&stop.into_stream())
    }
}
