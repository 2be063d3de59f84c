//! Listeners: one per address and worker, all workers of an address on the same port.
//!
//! With several workers the sockets share their port by SO_REUSEPORT, which would silently let another server of
//! the same user share it too; so a fixed port is first asked for alone.

use std::error::Error as _;
use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::server::{Listen, ServerError};
use crate::sys::socket::{self, SocketError};

/// What was bound.
pub(super) struct Bound {
    /// Listeners of each worker, in the plan's order.
    pub(super) by_worker: Vec<Vec<TcpListener>>,
    /// Where they listen, in the plan's order.
    pub(super) addresses: Vec<SocketAddr>,
}

/// Listens on every address for every worker.
pub(super) fn bind(listens: &[Listen], workers: usize) -> Result<Bound, ServerError> {
    let mut by_worker: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for listen in listens {
        let mut address = listen.address;
        if workers > 1 && address.port() != 0 {
            socket::listen(address, false).map_err(advise)?;
        }
        for listeners in &mut by_worker {
            let listener = socket::listen(address, workers > 1).map_err(advise)?;
            address = listener
                .local_addr()
                .map_err(|source| ServerError::System { what: "read a listener's port", source })?;
            listeners.push(listener);
        }
        addresses.push(address);
    }
    Ok(Bound { by_worker, addresses })
}

fn advise(source: SocketError) -> ServerError {
    let cause = source.source().and_then(|error| error.downcast_ref::<io::Error>());
    let advice = match cause.map(io::Error::kind) {
        Some(io::ErrorKind::AddrInUse) => {
            "; another program listens there: stop it, or choose another port (0 picks a free one)"
        }
        Some(io::ErrorKind::PermissionDenied) => "; choose a port above 1023",
        Some(io::ErrorKind::AddrNotAvailable) => "; choose an address of this machine",
        _ => "",
    };
    ServerError::Listen { source, advice }
}
