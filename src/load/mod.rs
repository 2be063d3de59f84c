//! Load on one pinned thread, closed loop or open, every reply checked.
//!
//! | file | holds |
//! |---|---|
//! | [`schedule`] | when to send, which replies count |
//! | [`steady_state`] | when a warm-up may end |
//! | [`arrivals`] | when each request of an open loop is due |
//! | [`conformance`] | arrays of every kind, to be answered before anything is measured |
//! | [`nonce`] | the number inside the array that differs for every request |
//! | [`message`] | the request, written once and stamped |
//! | [`verify`] | whether a reply is right |
//! | [`run`](mod@run) | what connections share: schedule, checks, counts, the first failure |
//! | [`client`] | a connection over one of our own client halves |
//! | [`net`] | sockets, put on the reactor in their protocol |
//! | [`worker`] | runs it all |
//!
//! A wrong reply, a closed connection or a timeout fails the whole run: a
//! [`Measurement`](crate::record::Measurement) exists only if every
//! single request was answered rightly.

use std::time::Duration;

use crate::array::ArrayError;
use crate::codec::CodecError;
use crate::driver::DriverError;
use crate::record::trial_spec::SpecError;
use crate::sys::affinity::AffinityError;
use crate::sys::socket::SocketError;
use crate::wire::WireError;

pub mod arrivals;
pub mod client;
pub mod conformance;
pub mod message;
pub mod net;
pub mod nonce;
pub mod run;
pub mod schedule;
pub mod steady_state;
pub mod verify;
pub mod worker;

pub use worker::run;

#[cfg(test)]
mod tests;

/// Why a run has no measurement: what, which request, what was expected.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A reply is not what its request sent.
    #[error("request {request}: wrong reply: {wrong}")]
    Reply {
        /// Number of the request, from 0.
        request: u64,
        /// How its reply is wrong.
        wrong: verify::WrongReply,
    },
    /// The server broke the protocol.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// One of several arrays was not answered rightly.
    #[error("array {number} of {count}, {array}: {source}")]
    Array {
        /// Which, from 1.
        number: usize,
        /// How many there are.
        count: usize,
        /// What it is.
        array: String,
        /// What came of it.
        source: Box<LoadError>,
    },
    /// A reply that belongs to no request.
    #[error("a reply to id {id}, which nothing asked for")]
    Unasked {
        /// The id it came with.
        id: u32,
    },
    /// A connection ended before the run did.
    #[error("the server closed a connection, {outstanding} requests were without a reply")]
    Closed {
        /// Requests without a reply, over all connections.
        outstanding: u64,
    },
    /// The run took longer than it may.
    #[error(
        "timed out after {after:?}: {counted} replies counted, {outstanding} requests without one"
    )]
    Timeout {
        /// The bound.
        after: Duration,
        /// Requests without a reply, over all connections.
        outstanding: u64,
        /// Replies counted.
        counted: u64,
    },
    /// The options do not fit each other.
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("cannot resolve {host}: {source}")]
    Resolve { host: String, source: std::io::Error },
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The thread cannot be pinned.
    #[error(transparent)]
    Affinity(#[from] AffinityError),
    /// There is no ring, or it broke.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The array cannot be made.
    #[error(transparent)]
    NoArray(#[from] ArrayError),
    /// The array cannot be written in the encoding, or the file that holds it cannot be read.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Something the machine refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}
