//! Child processes of a trial: how they are started, what they print, and why they failed.

pub mod commands;
pub mod failure;
pub mod foreign;
pub mod process;
pub mod python;
