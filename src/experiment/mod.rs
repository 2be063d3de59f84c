//! Experiments: which trials a run makes, in which order, and the child processes that make them.
//!
//! No server and no load generator runs in this process. Both are children on cores of their own.
//!
//! ```text
//! ladder ───┐
//! external ─┴▶ options ─▶ plan (rungs x arrays x loads = cells) ─▶ session (blocks) ─▶ records
//!              │ controls, null_server, ab, open_loop, profiled: more├─▶ launch (group) ─▶ child
//!              └ preset                                             └─▶ trial (window) ─▶ child
//! ```

pub mod ab;
pub mod advice;
pub mod any_rung;
pub mod cell;
pub mod child;
mod client;
pub mod codings;
pub mod concurrency;
pub mod controls;
pub mod group;
pub mod lanes;
mod launch;
pub mod null_server;
pub mod open_loop;
pub mod options;
pub mod order;
pub mod pace;
pub mod plan;
pub mod planted;
pub mod preflight;
pub mod preset;
pub mod profiled;
pub mod records;
pub mod session;
pub mod testbed;
mod trial;

#[cfg(test)]
mod tests;
