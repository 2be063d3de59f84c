//! Settings and limits of a recording, and the errors of recorders.

use std::io;
use std::time::Duration;

use super::python;

/// Samples per second of CPU time, on average. The odd number keeps them out of step with timers.
pub const FREQUENCY_HZ: u32 = 1999;

/// Bytes of the program's stack in a sample: enough for the caller of an allocation.
const STACK_BYTES: u32 = 2048;

/// The same for a program that names its Python functions: the innermost of them may have called
/// many C functions, of the interpreter and of libraries.
const PYTHON_STACK_BYTES: u32 = 16 << 10;

/// Length at which a recording ends: 100 s of one busy core, 15 s of a program in Python. All of it
/// is held in memory later.
pub const FILE_BYTES_MAX: u64 = 512 << 20;

/// Longest time that perf may take to start, and to write its file at the end.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Returns the bytes of the stack of process `pid` in a sample.
pub(super) fn stack_bytes(pid: u32) -> u32 {
    if python::are_named(pid) { PYTHON_STACK_BYTES } else { STACK_BYTES }
}

#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    #[error(
        "perf_event_open(2) failed: {0}; an ordinary user may sample only if \
         kernel.perf_event_paranoid is at most 2; with --sampler perf, the perf of this machine \
         samples, which may have more rights"
    )]
    Events(io::Error),
    #[error("profiles are for x86-64, whose registers and unwinding they know")]
    Processor,
    #[error("perf cannot be started: {0}; it is in the package linux-perf, or in linux-tools")]
    Io(#[from] io::Error),
    #[error("the samples cannot be written: {0}")]
    Samples(io::Error),
    #[error("perf did not {what} within {} s", PATIENCE.as_secs())]
    Late { what: &'static str },
    #[error(
        "the recording reached {} MiB before its end; record for a shorter time",
        FILE_BYTES_MAX >> 20
    )]
    Full,
    #[error(
        "perf ended with {status}: {message}; an ordinary user may sample only if \
         kernel.perf_event_paranoid is at most 2"
    )]
    Ended { status: String, message: String },
}
