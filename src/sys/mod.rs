//! What this program asks of the machine: cores, socket options and files, the same for every rung.
//!
//! It knows no protocol, and nothing here is called while requests are being served, [`socket::tune`] apart.

pub mod affinity;
pub mod child;
pub mod mapping;
pub mod ready_line;
pub mod socket;
