//! Serves the echo on io_uring, hand-written.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use ndecho::cli::server::UringServerArgs;

fn main() -> ExitCode {
    UringServerArgs::parse().run()
}
