//! Statistics over the counts of trials. No clock, socket, thread or file.
//!
//! | file | contents |
//! |---|---|
//! | [`histogram`] | latencies, mergeable |
//! | [`location`] | center of a few values; values by block |
//! | [`bootstrap`] | interval of one figure |
//! | [`family`] | intervals of many figures that hold together |
//! | [`scatter`] | variance of a figure, moderated by the variances of the others |
//! | [`verdict`] | faster, slower, same, from an interval and a noise floor |
//! | [`model`] | `cost(n) = a + b n` and its knees |
//! | [`trend`] | test for a trend in consecutive values |
//! | [`student`] | quantiles of Student's t and of the normal distribution |
//!
//! The unit of every comparison is the logarithm of a ratio taken within one block of trials, so a
//! disturbance of a whole block affects both sides and cancels. `tests/stats.rs` counts how often
//! the analysis is right on thousands of simulated runs with a known truth.

pub mod bootstrap;
pub mod family;
pub mod histogram;
pub mod location;
pub mod model;
pub mod scatter;
pub mod student;
pub mod trend;
pub mod verdict;
