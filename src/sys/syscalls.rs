//! How many system calls a process makes, counted one by one while it is traced.
//!
//! A traced process is slow, so nothing is timed meanwhile; but what it does for one request after another does not
//! depend on how fast it is, and neither does the count. Only threads that it has when the count begins are counted.
//! Needs no privilege: a process may trace its own children.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Between looks at threads none of which had stopped.
const PAUSE: Duration = Duration::from_micros(20);

/// How long the threads of a process may take to stop for the first time.
const START_MAX: Duration = Duration::from_secs(10);

/// A count that is going on.
#[derive(Debug)]
pub struct Counter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<nix::Result<u64>>,
}

impl Counter {
    /// Begins to count the system calls of process `pid`, a child of this one.
    pub fn start(pid: u32) -> io::Result<Counter> {
        let threads = threads(pid)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = channel();
        let told = Arc::clone(&stop);
        // The kernel answers only the thread that began to trace.
        let thread = std::thread::Builder::new()
            .name("syscalls".to_owned())
            .spawn(move || count(threads, &told, &ready))?;
        match is_ready.recv_timeout(START_MAX) {
            Ok(()) => Ok(Counter { stop, thread }),
            Err(RecvTimeoutError::Timeout) => {
                stop.store(true, Ordering::Relaxed);
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("the threads of process {pid} did not stop within {START_MAX:?}"),
                ))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(thread.join().expect("it does not panic").err().unwrap_or(Errno::ESRCH).into())
            }
        }
    }

    /// Lets the process go on untraced, and gives the count.
    pub fn stop(self) -> io::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.thread.join().expect("it does not panic")?)
    }
}

fn threads(pid: u32) -> io::Result<Vec<Pid>> {
    let mut threads = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let name = entry?.file_name();
        threads.extend(name.to_string_lossy().parse().ok().map(Pid::from_raw));
    }
    Ok(threads)
}

fn count(mut threads: Vec<Pid>, stop: &AtomicBool, ready: &Sender<()>) -> nix::Result<u64> {
    // Threads that the kernel runs on behalf of the process, as io_uring does, cannot be traced and make no calls.
    threads.retain(|thread| ptrace::seize(*thread, ptrace::Options::PTRACE_O_TRACESYSGOOD).is_ok());
    if threads.is_empty() {
        return Err(Errno::EPERM);
    }
    for thread in &threads {
        ptrace::interrupt(*thread)?;
    }
    let mut held: BTreeSet<Pid> = threads.iter().copied().collect();
    let mut stops = 0_u64;
    while !threads.is_empty() {
        let is_ending = stop.load(Ordering::Relaxed);
        if is_ending {
            // Each time anew: a stop that was on its way already may have used the one before up.
            for thread in &threads {
                // One that has just ended is found so below.
                let _ = ptrace::interrupt(*thread);
            }
        }
        let mut has_any = false;
        let mut left = Vec::with_capacity(threads.len());
        for thread in threads {
            let status = waitpid(thread, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG));
            has_any |= !matches!(status, Ok(WaitStatus::StillAlive));
            let signal = match status {
                Ok(WaitStatus::StillAlive) => {
                    left.push(thread);
                    continue;
                }
                Ok(WaitStatus::PtraceSyscall(_)) => {
                    stops += 1;
                    None
                }
                Ok(WaitStatus::Stopped(_, signal)) => Some(signal),
                Ok(WaitStatus::PtraceEvent(..)) => None,
                _ => {
                    has_gone(&mut held, thread, ready);
                    continue;
                }
            };
            if is_ending {
                ptrace::detach(thread, signal)?;
                continue;
            }
            ptrace::syscall(thread, signal)?;
            left.push(thread);
            has_gone(&mut held, thread, ready);
        }
        threads = left;
        if !has_any {
            std::thread::sleep(PAUSE);
        }
    }
    // A call stops its thread twice, before and behind; the last one perhaps only once.
    Ok(stops / 2)
}

/// Takes a thread that went on, or ended, from those `held`. Behind the last one all are on their way and will stop at
/// their next call, which is what the caller waits for.
fn has_gone(held: &mut BTreeSet<Pid>, thread: Pid, ready: &Sender<()>) {
    if held.remove(&thread) && held.is_empty() {
        let _ = ready.send(());
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Command, Stdio};

    use super::*;

    /// System calls of `cat` while it copies `lines` lines, one by one.
    fn calls_of_cat(lines: u64) -> u64 {
        let mut cat = Command::new("cat");
        let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(cat.stdout.take().unwrap());
        let mut input = cat.stdin.take().unwrap();
        let mut copy = |times: u64| {
            for _ in 0..times {
                input.write_all(b"line\n").unwrap();
                output.read_line(&mut String::new()).unwrap();
            }
        };
        copy(1);
        let counter = Counter::start(cat.id()).unwrap();
        copy(lines);
        let calls = counter.stop().unwrap();
        copy(1);
        drop(input);
        assert!(cat.wait().unwrap().success());
        calls
    }

    #[test]
    fn a_line_more_is_a_read_and_a_write_more() {
        let (few, many) = (calls_of_cat(10), calls_of_cat(110));
        assert_eq!(many - few, 200, "{few} {many}");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Counter::start(u32::MAX >> 1).is_err());
    }
}
