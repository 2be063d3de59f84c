//! Clocks and memory of a process: its own or another's, by pid.
//!
//! The total is the scheduler's exact sum over all threads, ended ones included. The split into user and system
//! time is what the kernel's tick happened to see (250 times a second here), so it is a hint, and its parts need
//! not add up to the total.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use procfs::process::Process;

use crate::record::Cpu;

/// Processor time that process `pid` has used since it started.
pub fn process_cpu(pid: u32) -> std::io::Result<Cpu> {
    let clock = clock_getcpuclockid(pid_of(pid)?)?;
    cpu(clock, pid)
}

/// Processor time that this process has used since it started.
pub fn own_cpu() -> std::io::Result<Cpu> {
    cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID, std::process::id())
}

/// What was used between two readings of the same process.
pub fn used(before: Cpu, after: Cpu) -> Cpu {
    Cpu {
        total_ns: after.total_ns.saturating_sub(before.total_ns),
        user_ns: after.user_ns.saturating_sub(before.user_ns),
        system_ns: after.system_ns.saturating_sub(before.system_ns),
    }
}

/// Peak resident set of process `pid` so far, in bytes.
pub fn rss_peak_bytes(pid: u32) -> std::io::Result<u64> {
    let status = process(pid)?.status().map_err(io_error)?;
    let kib = status.vmhwm.ok_or_else(|| std::io::Error::other("no VmHWM in its status"))?;
    Ok(kib * 1024)
}

fn cpu(clock: ClockId, pid: u32) -> std::io::Result<Cpu> {
    let total = clock_gettime(clock)?;
    let stat = process(pid)?.stat().map_err(io_error)?;
    let tick_ns = 1_000_000_000 / procfs::ticks_per_second();
    Ok(Cpu {
        total_ns: nanoseconds(total),
        user_ns: stat.utime * tick_ns,
        system_ns: stat.stime * tick_ns,
    })
}

fn process(pid: u32) -> std::io::Result<Process> {
    Process::new(pid_of(pid)?.as_raw()).map_err(io_error)
}

fn pid_of(pid: u32) -> std::io::Result<Pid> {
    let raw = i32::try_from(pid).map_err(|_| std::io::Error::other("pid out of range"))?;
    Ok(Pid::from_raw(raw))
}

fn nanoseconds(time: TimeSpec) -> u64 {
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

fn io_error(error: procfs::ProcError) -> std::io::Error {
    match error {
        procfs::ProcError::Io(error, _) => error,
        other => std::io::Error::other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_time_goes_forward_and_agrees_with_the_pids() {
        let before = own_cpu().unwrap();
        let mut spun = 0_u64;
        while used(before, own_cpu().unwrap()).total_ns < 2_000_000 {
            spun += 1;
        }
        let by_pid = process_cpu(std::process::id()).unwrap();
        assert!(by_pid.total_ns >= before.total_ns + 2_000_000, "after {spun} readings");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(process_cpu(u32::MAX).is_err());
        assert!(process_cpu(i32::MAX as u32).is_err());
    }

    #[test]
    fn peak_memory_is_more_than_a_page() {
        assert!(rss_peak_bytes(std::process::id()).unwrap() > 4096);
    }
}
