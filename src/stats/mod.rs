//! Statistics over the counts of trials. No clock, socket, thread or file.
//!
//! The unit of every comparison is the logarithm of a ratio taken within one block of trials, so a
//! disturbance of a whole block affects both sides and cancels. `tests/stats.rs` counts how often
//! the analysis is right on thousands of simulated runs with a known truth.

pub mod bootstrap;
pub mod components;
pub mod family;
pub mod forecast;
pub mod histogram;
pub mod location;
pub mod model;
pub mod scatter;
pub mod student;
pub mod trend;
pub mod verdict;
