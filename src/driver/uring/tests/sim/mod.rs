//! Simulation of a worker: the real ring, reactor and protocols on a kernel whose queues are short,
//! whose calls fail, and whose time is a number. A seed decides everything, and replays exactly.
//!
//! ```text
//! scenario ─▶ reactor ─▶ ring ─▶ kernel ─▶ world: sockets, time ◀─ peers ◀─ brains
//!    └──────────▶ laws ◀──── memory (ranges in flight) ◀──┘
//! ```
//! No descriptor, clock, thread or hash seed of the machine takes part.

mod brain;
mod buffer_ring;
mod chance;
mod echo;
mod entry;
mod jobs;
mod kernel;
mod laws;
mod memory;
mod operations;
mod peer;
mod scenario;
mod world;

pub(super) use chance::Fault;
pub(super) use scenario::{Outcome, run};
