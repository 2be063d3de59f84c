//! Page faults and peak memory of a process with its living descendants.

use std::io;

use super::host::read;
use super::process_tree::{self, io_error, process};

pub fn page_faults(pid: u32) -> io::Result<u64> {
    process_tree::sum(pid, |pid| {
        let stat = process(pid)?.stat().map_err(io_error)?;
        Ok(stat.minflt + stat.majflt)
    })
}

/// Returns the memory that new programs can have without swapping; 0 if it is unknown.
pub fn available_bytes() -> u64 {
    let meminfo = read("/proc/meminfo");
    let kib = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = kib.and_then(|kib| kib.trim().strip_suffix(" kB")?.parse().ok());
    kib.map_or(0, |kib: u64| kib * 1024)
}

/// Returns the peak resident set so far: the sum of the peaks of the processes.
pub fn rss_peak_bytes(pid: u32) -> io::Result<u64> {
    process_tree::sum(pid, |pid| {
        let status = process(pid)?.status().map_err(io_error)?;
        let kib = status.vmhwm.ok_or_else(|| io::Error::other("no VmHWM in /proc/PID/status"))?;
        Ok(kib * 1024)
    })
}
