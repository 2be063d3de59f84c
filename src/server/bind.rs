//! Listeners of a server, one per address and worker, in the plan's order.

use crate::server::{Listen, ServerError};
use crate::sys::address::Address;
use crate::sys::listener::Listener;

pub(super) struct Bound {
    pub(super) by_worker: Vec<Vec<Listener>>,
    pub(super) addresses: Vec<Address>,
}

pub(super) fn bind(listens: &[Listen], workers: usize) -> Result<Bound, ServerError> {
    let mut by_worker: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for listen in listens {
        let listeners = Listener::bind_all(&listen.address, workers)?;
        let address = listeners[0].address();
        addresses
            .push(address.map_err(|source| ServerError::System { what: "read a port", source })?);
        for (of_worker, listener) in by_worker.iter_mut().zip(listeners) {
            of_worker.push(listener);
        }
    }
    Ok(Bound { by_worker, addresses })
}
