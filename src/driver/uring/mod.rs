//! `uring`: own reactor on io_uring, one ring per worker.
//!
//! | file | holds |
//! |---|---|
//! | [`op`] | what goes to the kernel and comes back; tokens |
//! | [`ring`] | the kernel behind a narrow trait |
//! | `buffers` | memory the kernel fills by itself |
//! | `vector` | lists for vectored sends |
//! | `link` | one connection: its operations and what they own |
//! | [`reactor`] | the loop; listeners; drain |
//! | [`stream`] | the poll view for borrowed stacks |
//! | `hub`, `timers`, `slots` | tasks and sleepers; deadlines; the table of connections |
//!
//! Not used, on purpose: zero-copy sends (on loopback the kernel copies anyway, later), a polling kernel thread (it
//! takes a core; [`crate::driver::Options::busy_poll`] is the worker's own), bundles and incremental buffers (buffers of 32 KiB leave them nothing to gain).

use std::net::TcpListener;
use std::rc::Rc;

use crate::driver::{Counters, Driver, DriverError, Options, Service, Stop};
use crate::wire::{Machine, SharedPool};

mod buffers;
mod hub;
mod link;
pub mod op;
pub mod reactor;
pub mod ring;
#[cfg(test)]
mod sim;
mod slots;
pub mod stream;
#[cfg(test)]
mod tests;
mod timers;
mod vector;

pub use reactor::{ConnectionId, Reactor};
pub use stream::UringStream;

use hub::Task;
use reactor::Speak;

/// A worker on a ring of its own.
pub struct Uring(Reactor);

/// A listener and what speaks behind it.
pub struct Endpoint {
    listener: TcpListener,
    speak: Speak,
}

impl Driver for Uring {
    type Endpoint = Endpoint;

    fn machine<M: Machine + 'static>(
        listener: TcpListener,
        make: impl Fn() -> M + 'static,
    ) -> Endpoint {
        let speak = move || Box::new(make()) as Box<dyn Machine>;
        Endpoint { listener, speak: Speak::Machine(Rc::new(speak)) }
    }

    fn service<S: Service>(listener: TcpListener, service: S) -> Endpoint {
        let speak = move |stream, lane| Box::pin(service.serve(stream, lane)) as Task;
        Endpoint { listener, speak: Speak::Service(Rc::new(speak)) }
    }

    fn new(options: Options, pool: SharedPool) -> Result<Uring, DriverError> {
        Ok(Uring(Reactor::sharing(options, pool)?))
    }

    fn run(mut self, endpoints: Vec<Endpoint>, stop: Stop) -> Result<Counters, DriverError> {
        for Endpoint { listener, speak } in endpoints {
            self.0.serve(listener, speak)?;
        }
        self.0.run(stop)
    }
}
