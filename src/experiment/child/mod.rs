//! Child processes of a trial: how they are started, what they print, and why they failed.

pub(super) mod commands;
pub(super) mod failure;
pub mod process;
pub mod python;
