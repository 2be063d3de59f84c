//! The system interface of the load generator: the ring, or poll(2) where rings are forbidden. It
//! is the same for every rung of a run.

use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::driver::poll::PollReactor;
use crate::driver::uring::{ConnectionId, Reactor};
use crate::driver::{Connected, DriverError, Options};
use crate::record::trial_spec::ClientIo;
use crate::wire::WorkerCounts;

pub enum ClientReactor {
    Ring(Box<Reactor>),
    Poll(Box<PollReactor>),
}

impl ClientReactor {
    /// Makes a reactor on `io`; without a choice on a ring, or on poll(2) if there is none.
    pub fn new(options: Options, io: Option<ClientIo>) -> Result<ClientReactor, DriverError> {
        let ring = match io {
            Some(ClientIo::Poll) => None,
            Some(ClientIo::Ring) => Some(Reactor::new(options.clone())?),
            None => Reactor::new(options.clone()).ok(),
        };
        Ok(match ring {
            Some(ring) => ClientReactor::Ring(Box::new(ring)),
            None => ClientReactor::Poll(Box::new(PollReactor::new(options))),
        })
    }

    pub fn is_ring(&self) -> bool {
        matches!(self, ClientReactor::Ring(_))
    }

    pub fn adopt(
        &mut self,
        socket: OwnedFd,
        machine: Box<dyn Connected>,
    ) -> Result<ConnectionId, DriverError> {
        match self {
            ClientReactor::Ring(ring) => ring.adopt(socket, machine),
            ClientReactor::Poll(poll) => poll.adopt(socket, machine),
        }
    }

    pub fn resume(&mut self, id: ConnectionId) {
        match self {
            ClientReactor::Ring(ring) => ring.resume(id),
            ClientReactor::Poll(poll) => poll.resume(id),
        }
    }

    pub fn turn(&mut self, until: Option<Instant>) -> Result<(), DriverError> {
        match self {
            ClientReactor::Ring(ring) => ring.turn(until),
            ClientReactor::Poll(poll) => poll.turn(until),
        }
    }

    pub fn counts(&self) -> &WorkerCounts {
        match self {
            ClientReactor::Ring(ring) => ring.counts(),
            ClientReactor::Poll(poll) => poll.counts(),
        }
    }
}
