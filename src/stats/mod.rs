//! Pure numbers: what trials counted, and what can be said from it. No clock, socket, thread or file.
//!
//! | file | holds |
//! |---|---|
//! | [`histogram`] | latencies, mergeable |
//! | [`location`] | the middle of a few values, and values by their block |
//! | [`bootstrap`] | an interval of one figure |
//! | [`family`] | intervals of many figures that hold at once |
//! | [`scatter`] | how far a figure scatters, as the others beside it do |
//! | [`verdict`] | cheaper, dearer, the same, from an interval and a noise floor |
//! | [`model`] | `cost(n) = a + b n` and its knees |
//! | [`trend`] | whether values in a row go one way |
//! | [`student`] | how far distributions reach |
//!
//! The unit of every comparison is the logarithm of a ratio taken within one block of trials, so that what befalls a
//! whole block befalls both sides and cancels. `tests/stats.rs` runs the whole analysis on thousands of simulated runs
//! whose truth is known, with drift, disturbed trials and slow blocks, and counts how often it is right.

pub mod bootstrap;
pub mod family;
pub mod histogram;
pub mod location;
pub mod model;
pub mod scatter;
pub mod student;
pub mod trend;
pub mod verdict;
