//! Listeners of a worker, what becomes of their connections, and sockets that wait for a place.

use std::rc::Rc;
use std::time::Instant;

use super::executor::Task;
use super::kernel::Kernel;
use super::stream::UringStream;
use crate::driver::addresses::Place;
use crate::driver::{Connected, WorkerHandle};

#[derive(Clone)]
pub(super) enum ConnectionFactory {
    Machine(Rc<dyn Fn() -> Box<dyn Connected>>),
    Service(Rc<dyn Fn(UringStream, WorkerHandle) -> Task>),
}

pub(super) struct Acceptor<K: Kernel> {
    /// `None` once the worker has taken its backlog and shuts down.
    pub(super) listener: Option<K::Listener>,
    pub(super) factory: ConnectionFactory,
    pub(super) accepting: bool,
    pub(super) cancelled: bool,
    pub(super) paused: Option<Instant>,
}

/// Accepted socket without a place for its connection.
pub(super) struct Waiting<K: Kernel> {
    /// Number of the listener.
    pub(super) number: usize,
    pub(super) socket: K::Socket,
    pub(super) place: Place,
    pub(super) since: Instant,
}
