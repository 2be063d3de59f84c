//! Requests to the machine: cores, sockets, files and child processes, the same for every rung.
//!
//! The room knows no protocol. Nothing in it is called while requests are served, except
//! [`socket::tune`].

pub mod address;
pub mod affinity;
pub mod child;
pub mod listener;
pub mod mapping;
pub mod ready_line;
pub mod socket;
