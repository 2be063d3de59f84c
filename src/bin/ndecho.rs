//! The main program; everything it does is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use ndecho::cli::ndecho::Cli;
use ndecho::sys::malloc::ChosenMalloc;

#[global_allocator]
static MALLOC: ChosenMalloc = ChosenMalloc;

fn main() -> ExitCode {
    Cli::from_args().run()
}
