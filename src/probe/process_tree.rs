//! A process and its living descendants in `/proc`.
//!
//! A daemon that was handed over to init is not part of the tree.

use std::collections::BTreeSet;
use std::io;

use nix::unistd::Pid;
use procfs::process::{Process, Task};

/// Sums `value` over process `pid` and its living descendants; those that end meanwhile count as 0.
pub(super) fn sum(pid: u32, value: impl Fn(u32) -> io::Result<u64>) -> io::Result<u64> {
    let others: u64 = descendants(pid)?.into_iter().filter_map(|pid| value(pid).ok()).sum();
    Ok(value(pid)? + others)
}

/// Lists the living descendants; none on a kernel without `/proc/PID/task/TID/children`.
pub(super) fn descendants(pid: u32) -> io::Result<Vec<u32>> {
    let mut found = children(pid)?;
    let mut visited = 0;
    while let Some(&next) = found.get(visited) {
        found.extend(children(next).unwrap_or_default());
        visited += 1;
    }
    Ok(found)
}

pub(super) fn threads(pid: u32) -> io::Result<Vec<Task>> {
    let tasks_of = |pid| process(pid)?.tasks().map_err(io_error);
    let mut threads: Vec<Task> = tasks_of(pid)?.flatten().collect();
    for descendant in descendants(pid)? {
        threads.extend(tasks_of(descendant).into_iter().flatten().flatten());
    }
    Ok(threads)
}

/// Returns the cores on which the tree has a thread that runs.
pub(super) fn busy_cores(pid: u32) -> io::Result<BTreeSet<usize>> {
    let core = |task: Task| {
        let stat = task.stat().ok().filter(|stat| stat.state == 'R')?;
        usize::try_from(stat.processor?).ok()
    };
    Ok(threads(pid)?.into_iter().filter_map(core).collect())
}

/// Returns the cores on which the threads of the process alone ran last.
pub(super) fn cores(pid: u32) -> io::Result<BTreeSet<usize>> {
    let core = |task: Task| usize::try_from(task.stat().ok()?.processor?).ok();
    Ok(process(pid)?.tasks().map_err(io_error)?.flatten().filter_map(core).collect())
}

fn children(pid: u32) -> io::Result<Vec<u32>> {
    let threads = process(pid)?.tasks().map_err(io_error)?.flatten();
    Ok(threads.flat_map(|thread| thread.children().unwrap_or_default()).collect())
}

pub(super) fn process(pid: u32) -> io::Result<Process> {
    Process::new(checked(pid)?.as_raw()).map_err(io_error)
}

pub(super) fn checked(pid: u32) -> io::Result<Pid> {
    let raw = i32::try_from(pid)
        .map_err(|_| io::Error::other(format!("pid {pid} is out of range (max {})", i32::MAX)))?;
    Ok(Pid::from_raw(raw))
}

pub(super) fn io_error(error: procfs::ProcError) -> io::Error {
    match error {
        procfs::ProcError::Io(error, _) => error,
        other => io::Error::other(other.to_string()),
    }
}
