//! Serves the echo with tonic and axum: the standard baseline.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use ndecho::cli::server::TonicServerArgs;

fn main() -> ExitCode {
    TonicServerArgs::parse().run()
}
