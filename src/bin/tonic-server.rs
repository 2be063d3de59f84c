//! Serves the echo with tonic and axum: the standard baseline.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use ndecho::cli::server::TonicServerArgs;
use ndecho::sys::malloc::ChosenMalloc;

#[global_allocator]
static MALLOC: ChosenMalloc = ChosenMalloc;

fn main() -> ExitCode {
    TonicServerArgs::parse().run()
}
