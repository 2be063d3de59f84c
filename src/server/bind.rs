//! Listeners of a server: one per address and worker.

use crate::server::{Listen, ServerError};
use crate::sys::address::Address;
use crate::sys::listener::Listener;

/// Listeners, and the addresses that the kernel gave them.
pub(super) struct Bound {
    /// Listeners of each worker, in the plan's order.
    pub(super) by_worker: Vec<Vec<Listener>>,
    /// Bound addresses, in the plan's order.
    pub(super) addresses: Vec<Address>,
}

/// Listens on every address for every worker.
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
