//! Page faults and peak memory of a process with its living descendants.

use std::io;

use super::process_tree::{self, io_error, process};

pub fn page_faults(pid: u32) -> io::Result<u64> {
    process_tree::sum(pid, |pid| {
        let stat = process(pid)?.stat().map_err(io_error)?;
        Ok(stat.minflt + stat.majflt)
    })
}

/// Returns the peak resident set so far: the sum of the peaks of the processes.
pub fn rss_peak_bytes(pid: u32) -> io::Result<u64> {
    process_tree::sum(pid, |pid| {
        let status = process(pid)?.status().map_err(io_error)?;
        let kib = status.vmhwm.ok_or_else(|| io::Error::other("no VmHWM in /proc/PID/status"))?;
        Ok(kib * 1024)
    })
}
