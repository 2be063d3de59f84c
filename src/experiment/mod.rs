//! The ladder: which rungs there are, in which order they are tried, and the child processes that try them.
//!
//! It never runs a server or a load generator in its own process: both are children, pinned to their own cores,
//! and what they say about themselves is all it knows. It writes records; `report` reads them.
//!
//! ```text
//! table ─┐
//! peers ─┴▶ plan (rungs x arrays x loads = cells) ──▶ order (blocks) ──▶ run ──▶ records.jsonl
//!           └─ controls (twins, known spins), ceilings (null servers)     └─ trial ─ process (children)
//! ```

pub mod ceilings;
pub mod cell;
pub mod client;
pub mod controls;
pub mod open_loop;
pub mod order;
pub mod plan;
pub mod preset;
pub mod process;
pub mod records;
pub mod run;
pub mod subject;
mod trial;
pub mod versus;

pub use subject::Subject;
