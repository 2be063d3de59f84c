//! The main program; everything it does is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use ndecho::cli::ndecho::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
