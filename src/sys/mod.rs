//! Requests to the machine: cores, sockets, files and child processes, the same for every rung.
//!
//! The room knows no protocol. While requests are served, only [`socket::tune`] is called.

pub mod address;
pub mod affinity;
pub mod child;
pub mod descriptors;
pub mod foreign_sockets;
pub mod kernel;
pub mod listener;
pub mod malloc;
pub mod mapping;
mod orphans;
pub mod perf_events;
pub mod ready_line;
pub mod socket;
pub mod unsent;
