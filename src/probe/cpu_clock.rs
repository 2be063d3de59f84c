//! Processor time of this process, or of a server by pid with all processes that it started.
//!
//! The figures of a server are those of its tree: the process, its living descendants, and the
//! ended ones that their parent waited for (with the resolution of a tick). `total_ns` is exact as
//! of the moment at which each thread last slept or saw a tick;
//! [`CpuClockSync`](super::cpu_clock_sync::CpuClockSync) updates the clocks of running threads. The
//! split into user and system time is sampled by the tick, so the parts do not add up to the total.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use serde::{Deserialize, Serialize};

use super::process_tree::{busy_cores, checked, descendants, io_error, process};

const IDLE_WAIT_MAX: Duration = Duration::from_millis(5);

const IDLE_LOOK_INTERVAL: Duration = Duration::from_micros(100);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    pub total_ns: u64,
    pub user_ns: u64,
    pub system_ns: u64,
}

pub fn process_cpu(pid: u32) -> std::io::Result<CpuTime> {
    let mut total = with_ended_children(pid)?;
    for descendant in descendants(pid)? {
        // A descendant that ends meanwhile is accounted for by its parent.
        total = sum(total, with_ended_children(descendant).unwrap_or_default());
    }
    Ok(total)
}

/// Reads the clock of a process once it sleeps, when the clock is exact: a server works for a
/// moment after its last reply. A process that goes on is read in the end, up to a tick too early.
pub fn idle_cpu(pid: u32) -> std::io::Result<CpuTime> {
    let end = Instant::now() + IDLE_WAIT_MAX;
    loop {
        thread::sleep(IDLE_LOOK_INTERVAL);
        if busy_cores(pid)?.is_empty() || Instant::now() >= end {
            return process_cpu(pid);
        }
    }
}

pub fn own_cpu() -> std::io::Result<CpuTime> {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID, std::process::id())
}

pub fn used(before: CpuTime, after: CpuTime) -> CpuTime {
    CpuTime {
        total_ns: after.total_ns.saturating_sub(before.total_ns),
        user_ns: after.user_ns.saturating_sub(before.user_ns),
        system_ns: after.system_ns.saturating_sub(before.system_ns),
    }
}

fn with_ended_children(pid: u32) -> std::io::Result<CpuTime> {
    let own = read(clock_getcpuclockid(checked(pid)?)?, pid)?;
    Ok(sum(own, ended_children(pid)?))
}

fn read(clock: ClockId, pid: u32) -> std::io::Result<CpuTime> {
    let total = clock_gettime(clock)?;
    let stat = process(pid)?.stat().map_err(io_error)?;
    Ok(CpuTime {
        total_ns: nanoseconds(total),
        user_ns: stat.utime * tick_ns(),
        system_ns: stat.stime * tick_ns(),
    })
}

fn ended_children(pid: u32) -> std::io::Result<CpuTime> {
    let stat = process(pid)?.stat().map_err(io_error)?;
    let ns = |ticks: i64| ticks.unsigned_abs() * tick_ns();
    let (user_ns, system_ns) = (ns(stat.cutime), ns(stat.cstime));
    Ok(CpuTime { total_ns: user_ns + system_ns, user_ns, system_ns })
}

pub fn sum(a: CpuTime, b: CpuTime) -> CpuTime {
    CpuTime {
        total_ns: a.total_ns + b.total_ns,
        user_ns: a.user_ns + b.user_ns,
        system_ns: a.system_ns + b.system_ns,
    }
}

/// Returns the length of a tick, in which `/proc` counts processor time.
pub(super) fn tick_ns() -> u64 {
    1_000_000_000 / procfs::ticks_per_second()
}

pub(super) fn nanoseconds(time: TimeSpec) -> u64 {
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
