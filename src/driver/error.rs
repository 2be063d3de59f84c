//! Errors of a worker, and advice for a machine without io_uring.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error("io_uring is not available: {cause}; {advice}")]
    Unavailable { cause: String, advice: &'static str },
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
}

/// Explains the error of the system call that makes a ring.
pub(crate) fn io_uring_unavailable(error: &io::Error) -> DriverError {
    let setting = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    explain(error, setting.unwrap_or_default().trim())
}

/// Chooses the advice; `disabled` is the sysctl `kernel.io_uring_disabled`, or empty.
fn explain(error: &io::Error, disabled: &str) -> DriverError {
    let advice = match (error.raw_os_error(), disabled) {
        (Some(libc::EPERM), "2") => "the sysctl kernel.io_uring_disabled is 2; set it to 0",
        (Some(libc::EPERM), "1") => {
            "the sysctl kernel.io_uring_disabled is 1; set it to 0, or join the group in \
             kernel.io_uring_group"
        }
        (Some(libc::EPERM), _) => {
            "a seccomp filter forbids it, as containers do by default; run with a profile that \
             allows io_uring_setup, io_uring_enter and io_uring_register"
        }
        (Some(libc::ENOSYS), _) => {
            "the kernel was built without it, or a seccomp filter hides it; use another kernel, or a \
             profile that allows io_uring_setup, io_uring_enter and io_uring_register"
        }
        (Some(libc::EINVAL), _) => "the kernel is too old: use Linux 6.1 or newer",
        (Some(libc::ENOMEM), _) => "raise the limit of locked memory (ulimit -l)",
        (Some(libc::EMFILE | libc::ENFILE), _) => "raise the limit of open files (ulimit -n)",
        _ => "see io_uring_setup(2)",
    };
    DriverError::Unavailable { cause: error.to_string(), advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_ring_comes_with_advice() {
        for (code, disabled, word) in [
            (libc::EPERM, "2", "kernel.io_uring_disabled is 2"),
            (libc::EPERM, "1", "kernel.io_uring_group"),
            (libc::EPERM, "", "seccomp"),
            (libc::ENOSYS, "", "without it"),
            (libc::EINVAL, "0", "6.1"),
            (libc::ENOMEM, "0", "ulimit -l"),
            (libc::EMFILE, "0", "ulimit -n"),
            (libc::EIO, "0", "io_uring_setup(2)"),
        ] {
            let error = explain(&io::Error::from_raw_os_error(code), disabled).to_string();
            assert!(error.contains(word), "{error}");
            assert!(!error.contains("tokio"), "not every program can choose a driver: {error}");
        }
    }
}
