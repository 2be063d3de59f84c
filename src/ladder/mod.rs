//! The ladder: which rungs there are, in which order they are tried, and the child processes that try them.
//!
//! It never runs a server or a load generator in its own process: both are children, pinned to their own cores,
//! and what they say about themselves is all it knows. It writes records; `report` reads them.
//!
//! ```text
//! table ──▶ plan (rungs x arrays x loads = cells) ──▶ order (rounds) ──▶ run ──▶ records.jsonl
//!                                                                        └─ process (children)
//! ```

pub mod cell;
pub mod order;
pub mod plan;
pub mod process;
pub mod run;
pub mod rung;
pub mod table;
pub mod tree;

pub use rung::{Axis, Rung, RungError};
