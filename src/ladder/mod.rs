//! The ladder: the rungs and their parents.

pub mod rung;
pub mod table;
pub mod tree;

pub use rung::{Axis, Rung, RungError};
