//! Closed-loop load on one pinned thread, every reply checked.
//!
//! | file | holds |
//! |---|---|
//! | [`plan`] | checked options |
//! | [`schedule`] | when to send, which replies count |
//! | [`nonce`] | the number inside the array that differs for every request |
//! | [`message`] | the request, written once and stamped |
//! | [`verify`] | whether a reply is right |
//!
//! A wrong reply, a closed connection or a timeout fails the whole run: a [`Measurement`] exists only if every
//! single request was answered rightly. Open loop (a schedule of intended send times) is not built yet.

use crate::record::Measurement;

pub mod message;
pub mod nonce;
pub mod plan;
pub mod schedule;
pub mod verify;

/// Why a run has no measurement: what, which request, what was expected.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Something the machine refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Runs one load to its end.
pub fn run(options: &plan::Options) -> Result<Measurement, LoadError> {
    let _ = options;
    todo!()
}

/// A few lines for people.
pub fn summary(measured: &Measurement) -> String {
    let _ = measured;
    todo!()
}
