//! Flags of the programs and their checks; no logic. Nothing outside this room reads arguments.

#![allow(clippy::print_stdout, clippy::print_stderr)]

pub mod compare;
pub mod ladder;
pub mod load;
mod measure;
pub mod ndecho;
pub mod peers;
pub mod server;
pub mod spec_file;
pub mod values;
