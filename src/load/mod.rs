//! Load generator: one pinned thread, closed or open loop, every reply checked.
//!
//! ```text
//! worker ─▶ net ─▶ client (one for each connection) ◀─▶ run ─▶ Measurement
//!                  message, nonce: the request         ├ schedule, steady_state, arrivals
//!                  conformance: arrays of every kind   ├ coded: compression of both
//!                                                      └ verify: every byte of every reply
//! ```
//!
//! A [`Measurement`](crate::record::Measurement) exists only if every reply was correct. A wrong
//! reply, a connection that ends before a reply, or a timeout fails the run. A connection that ends
//! between two requests is replaced.

use std::time::Duration;

use crate::array::ArrayError;
use crate::codec::CodecError;
use crate::driver::DriverError;
use crate::record::trial_spec::SpecError;
use crate::sys::affinity::AffinityError;
use crate::sys::socket::SocketError;
use crate::wire::WireError;

use self::array_file::ArrayFileError;

pub mod array_file;
pub mod arrivals;
pub mod client;
pub mod coded;
pub mod conformance;
pub mod message;
pub mod net;
pub mod nonce;
pub mod reactor;
pub mod run;
pub mod schedule;
pub mod steady_state;
pub mod traffic;
pub mod verify;
mod watched;
pub mod worker;

pub use worker::{Load, Loaded, run, run_until};

/// Line of output that says that a load in slices waits for its first slice.
pub const WARM: &str = "warm";

#[cfg(test)]
mod tests;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("request {request}: wrong reply: {wrong}")]
    Reply { request: u64, wrong: verify::WrongReply },
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Failure of one of several arrays; `number` is from 1.
    #[error("array {number} of {count}, {array}: {source}")]
    Array { number: usize, count: usize, array: String, source: Box<LoadError> },
    #[error("a reply to id {id}, which belongs to no request")]
    Unasked { id: u32 },
    #[error("stopped before a reply was counted")]
    Stopped,
    #[error("the server closed a connection, {outstanding} requests were without a reply")]
    Closed { outstanding: u64 },
    #[error(
        "timed out after {after:?}: {counted} replies counted, {outstanding} requests without one"
    )]
    Timeout { after: Duration, outstanding: u64, counted: u64 },
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("cannot resolve {host}: {source}")]
    Resolve { host: String, source: std::io::Error },
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Affinity(#[from] AffinityError),
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error(transparent)]
    NoArray(#[from] ArrayError),
    #[error(
        "the array and its message need {need_mib} MiB, and {free_mib} MiB of memory are free; send a smaller array"
    )]
    Memory { need_mib: u64, free_mib: u64 },
    #[error(transparent)]
    File(#[from] ArrayFileError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("{what}: {source}")]
    Io { what: &'static str, source: std::io::Error },
}
