//! The main program; everything it does is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use ndecho::cli::ndecho::Cli;

fn main() -> ExitCode {
    Cli::from_args().run()
}
