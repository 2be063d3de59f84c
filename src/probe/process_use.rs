//! Resources that this process holds now.

use std::io;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike as _};
use procfs::process::{LimitValue, Process};

use super::process_tree::io_error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessUse {
    pub rss_bytes: u64,
    pub cpu_time: Duration,
    pub descriptors: u64,
    /// Soft limit; `u64::MAX` without one.
    pub descriptors_max: u64,
}

/// Reads the use of this process.
pub fn read() -> io::Result<ProcessUse> {
    let process = Process::myself().map_err(io_error)?;
    let stat = process.stat().map_err(io_error)?;
    let limits = process.limits().map_err(io_error)?;
    let descriptors = process.fd_count().map_err(io_error)?;
    Ok(ProcessUse {
        rss_bytes: stat.rss * procfs::page_size(),
        cpu_time: cpu_time()?,
        descriptors: descriptors as u64,
        descriptors_max: match limits.max_open_files.soft_limit {
            LimitValue::Value(max) => max,
            LimitValue::Unlimited => u64::MAX,
        },
    })
}

/// Returns user and system time. That of /proc/PID/stat counts in hundredths of a second.
fn cpu_time() -> io::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let of = |time: TimeVal| Duration::from_micros(time.num_microseconds().unsigned_abs());
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_memory_and_descriptors() {
        let before = read().expect("there is /proc");
        let files: Vec<_> = (0..10).map(|_| std::fs::File::open("/dev/null")).collect();
        let after = read().expect("there is /proc");
        assert!(after.rss_bytes > 1 << 20, "{after:?}");
        assert!(after.descriptors >= 10 && after.descriptors_max > after.descriptors, "{after:?}");
        assert!(after.cpu_time >= before.cpu_time);
        drop(files);
    }
}
