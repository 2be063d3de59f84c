//! Serves the echo on io_uring, hand-written.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use ndecho::cli::server::UringServerArgs;
use ndecho::sys::malloc::ChosenMalloc;

#[global_allocator]
static MALLOC: ChosenMalloc = ChosenMalloc;

fn main() -> ExitCode {
    UringServerArgs::parse().run()
}
