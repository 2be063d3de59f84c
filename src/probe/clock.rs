//! Clocks and memory of a process: its own, or a server's by pid with all processes that it started.
//!
//! A server may be a parent of workers, so a server's figures are those of its tree: itself, its living descendants,
//! and the ended ones that somebody waited for. What leaves the tree is lost: a daemon that was handed to init, and the
//! time of a child whose parent ignores SIGCHLD. That of an ended child comes in steps of the kernel's tick.
//!
//! The total is the scheduler's exact sum over all threads, ended ones included, as of when each last slept or saw a tick;
//! a [`Visitor`](super::visitor::Visitor) has the running ones added up. The split into user and system
//! time is what the kernel's tick happened to see (250 times a second here), so it is a hint, and its parts need
//! not add up to the total.

use std::collections::BTreeSet;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use procfs::process::{Process, Task};

use crate::record::Cpu;

/// Processor time that process `pid` and its descendants have used since they started.
pub fn process_cpu(pid: u32) -> std::io::Result<Cpu> {
    let mut total = family_cpu(pid)?;
    for descendant in descendants(pid)? {
        // One that ends just now is its parent's to account for.
        total = sum(total, family_cpu(descendant).unwrap_or_default());
    }
    Ok(total)
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

/// Page faults of process `pid` and of its living descendants so far, with and without a disk.
pub fn faults(pid: u32) -> std::io::Result<u64> {
    let faults = |pid| -> std::io::Result<u64> {
        let stat = process(pid)?.stat().map_err(io_error)?;
        Ok(stat.minflt + stat.majflt)
    };
    let others: u64 = descendants(pid)?.into_iter().filter_map(|pid| faults(pid).ok()).sum();
    Ok(faults(pid)? + others)
}

/// Peak resident set of process `pid` so far, in bytes, and those of its living descendants added to it.
pub fn rss_peak_bytes(pid: u32) -> std::io::Result<u64> {
    let peak = |pid| {
        let status = process(pid)?.status().map_err(io_error)?;
        let kib = status.vmhwm.ok_or_else(|| std::io::Error::other("no VmHWM in its status"));
        kib.map(|kib| kib * 1024)
    };
    let others: u64 = descendants(pid)?.into_iter().filter_map(|pid| peak(pid).ok()).sum();
    Ok(peak(pid)? + others)
}

/// Living processes that `pid`, or one that it started, has started. Empty where the kernel does not list children.
pub(super) fn descendants(pid: u32) -> std::io::Result<Vec<u32>> {
    let mut found = children(pid)?;
    let mut looked_at = 0;
    while let Some(&next) = found.get(looked_at) {
        found.extend(children(next).unwrap_or_default());
        looked_at += 1;
    }
    Ok(found)
}

/// Cores on which threads of process `pid` and of its descendants are running, or about to.
pub(super) fn busy_cores(pid: u32) -> std::io::Result<BTreeSet<usize>> {
    let core = |task: Task| {
        let stat = task.stat().ok().filter(|stat| stat.state == 'R')?;
        usize::try_from(stat.processor?).ok()
    };
    let cores_of = |pid| -> std::io::Result<Vec<usize>> {
        let tasks = process(pid)?.tasks().map_err(io_error)?;
        Ok(tasks.flatten().filter_map(core).collect())
    };
    let others = descendants(pid)?.into_iter().filter_map(|pid| cores_of(pid).ok()).flatten();
    Ok(cores_of(pid)?.into_iter().chain(others).collect())
}

/// Each thread has its own.
fn children(pid: u32) -> std::io::Result<Vec<u32>> {
    let threads = process(pid)?.tasks().map_err(io_error)?.flatten();
    Ok(threads.flat_map(|thread| thread.children().unwrap_or_default()).collect())
}

/// Of one process, all threads, and of the children that it has waited for.
fn family_cpu(pid: u32) -> std::io::Result<Cpu> {
    let own = cpu(clock_getcpuclockid(pid_of(pid)?)?, pid)?;
    Ok(sum(own, ended_children_cpu(pid)?))
}

fn cpu(clock: ClockId, pid: u32) -> std::io::Result<Cpu> {
    let total = clock_gettime(clock)?;
    let stat = process(pid)?.stat().map_err(io_error)?;
    Ok(Cpu {
        total_ns: nanoseconds(total),
        user_ns: stat.utime * tick_ns(),
        system_ns: stat.stime * tick_ns(),
    })
}

fn ended_children_cpu(pid: u32) -> std::io::Result<Cpu> {
    let stat = process(pid)?.stat().map_err(io_error)?;
    let ns = |ticks: i64| ticks.unsigned_abs() * tick_ns();
    let (user_ns, system_ns) = (ns(stat.cutime), ns(stat.cstime));
    Ok(Cpu { total_ns: user_ns + system_ns, user_ns, system_ns })
}

fn sum(a: Cpu, b: Cpu) -> Cpu {
    Cpu {
        total_ns: a.total_ns + b.total_ns,
        user_ns: a.user_ns + b.user_ns,
        system_ns: a.system_ns + b.system_ns,
    }
}

fn tick_ns() -> u64 {
    1_000_000_000 / procfs::ticks_per_second()
}

pub(super) fn process(pid: u32) -> std::io::Result<Process> {
    Process::new(pid_of(pid)?.as_raw()).map_err(io_error)
}

fn pid_of(pid: u32) -> std::io::Result<Pid> {
    let raw = i32::try_from(pid).map_err(|_| std::io::Error::other("pid out of range"))?;
    Ok(Pid::from_raw(raw))
}

pub(super) fn nanoseconds(time: TimeSpec) -> u64 {
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

pub(super) fn io_error(error: procfs::ProcError) -> std::io::Error {
    match error {
        procfs::ProcError::Io(error, _) => error,
        other => std::io::Error::other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell that runs `script`, once it has printed a line.
    fn shell(script: &str) -> Child {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut shell = shell.expect("there is a shell");
        let mut line = String::new();
        BufReader::new(shell.stdout.as_mut().expect("piped")).read_line(&mut line).expect("text");
        assert_eq!(line, "ready\n");
        shell
    }

    fn end(mut shell: Child) {
        drop(shell.stdin.take());
        shell.wait().expect("ours");
    }

    const SPIN: &str = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";

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
    fn a_waited_for_child_and_a_living_grandchild_count() {
        // What the shell itself uses is the difference to one that only says it is ready.
        let idle = shell("echo ready; read line");
        let alone = process_cpu(idle.id()).expect("it lives");
        for script in [
            format!("({SPIN}); echo ready; read line"),
            format!("( ({SPIN}; echo ready; cat >/dev/null) ; :) ; :"),
        ] {
            let busy = shell(&script);
            let cpu = process_cpu(busy.id()).expect("it lives");
            assert!(cpu.total_ns > alone.total_ns + 20_000_000, "{script}: {cpu:?}, {alone:?}");
            end(busy);
        }
        end(idle);
    }

    #[test]
    fn memory_of_a_child_is_added() {
        let idle = shell("echo ready; read line");
        // The child holds 8 MB when it says so, much more than two shells differ by.
        let parent =
            shell("(text=$(head -c 8000000 /dev/zero | tr '\\0' a); echo ready; read line); :");
        let (one, two) = (rss_peak_bytes(idle.id()), rss_peak_bytes(parent.id()));
        assert!(two.expect("it lives") > one.expect("it lives") + 6_000_000);
        end(parent);
        end(idle);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(process_cpu(u32::MAX).is_err());
        assert!(process_cpu(i32::MAX as u32).is_err());
    }

    #[test]
    fn a_page_that_is_touched_for_the_first_time_is_a_fault() {
        let before = faults(std::process::id()).unwrap();
        let pages = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = faults(std::process::id()).unwrap();
        // Huge pages would be 32.
        assert!(after - before >= 32, "{} faults for {} bytes", after - before, pages.len());
    }

    #[test]
    fn peak_memory_is_more_than_a_page() {
        assert!(rss_peak_bytes(std::process::id()).unwrap() > 4096);
    }
}
