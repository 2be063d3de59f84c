//! Facts about the machine and about running processes: clocks, scheduler statistics, noise, host facts, tracing.
//!
//! Nothing here changes a setting of the machine; [`crate::sys`] does that.

pub mod clock;
mod elf;
pub mod host;
pub mod interruptions;
pub mod speed;
pub mod threads;
pub mod tracer;
mod traps;
pub mod visitor;
