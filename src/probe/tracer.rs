//! What a process does, counted while it is traced: its system calls, and its calls of the C library's allocator.
//!
//! A traced process is slow, so nothing is timed meanwhile; but what it does for one request after another does not
//! depend on how fast it is, and neither does the count. Needs no privilege, since a process may trace its own children,
//! and no help from the process, so that builds of any age can be compared. Allocations are counted where traps can
//! be set; processes that it starts while it is traced are not for this.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::record::Allocations;

use super::traps::{Place, Traps};

/// Between looks at threads none of which had stopped.
const PAUSE: Duration = Duration::from_micros(20);

/// Looks that only give the processor away before there is a pause: a thread that was let go on will stop soon.
const LOOKS: u32 = 100;

/// How long the threads of a process may take to stop for the first time.
const START_MAX: Duration = Duration::from_secs(10);

/// A count that is going on.
#[derive(Debug)]
pub struct Tracer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<nix::Result<Counted>>,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// System calls.
    pub calls: u64,
    /// Calls of the allocator; `None` where they cannot be counted.
    pub allocations: Option<Allocations>,
}

impl Tracer {
    /// Begins to count what process `pid`, a child of this one, does.
    pub fn start(pid: u32) -> io::Result<Tracer> {
        let threads = threads(pid)?;
        let traps = Traps::find(pid)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = channel();
        let told = Arc::clone(&stop);
        // The kernel answers only the thread that began to trace.
        let thread = std::thread::Builder::new()
            .name("tracer".to_owned())
            .spawn(move || Tracing::new(threads, traps)?.run(&told, &ready))?;
        match is_ready.recv_timeout(START_MAX) {
            Ok(()) => Ok(Tracer { stop, thread }),
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
    pub fn stop(self) -> io::Result<Counted> {
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

/// What the tracing thread knows.
struct Tracing {
    threads: Vec<Pid>,
    /// Those of the beginning that have not stopped for the first time.
    held: BTreeSet<Pid>,
    traps: Traps,
    setting: Setting,
    /// Threads that make the step behind a trap.
    stepping: BTreeMap<Pid, Place>,
    call_stops: u64,
    is_ending: bool,
}

/// Whether the traps are set.
#[derive(PartialEq)]
enum Setting {
    NotYet,
    Set,
    Cleared,
}

/// What becomes of a thread.
#[derive(PartialEq)]
enum Fate {
    Traced,
    Gone,
}

impl Tracing {
    fn new(mut threads: Vec<Pid>, traps: Traps) -> nix::Result<Tracing> {
        // A thread that nobody traces would not survive a trap, so those that begin meanwhile are traced too.
        let mut options = ptrace::Options::PTRACE_O_TRACESYSGOOD;
        options.set(ptrace::Options::PTRACE_O_TRACECLONE, true);
        // Threads that the kernel runs on behalf of the process, as io_uring does, cannot be traced and make no calls.
        threads.retain(|thread| ptrace::seize(*thread, options).is_ok());
        if threads.is_empty() {
            return Err(Errno::EPERM);
        }
        threads.iter().try_for_each(|thread| ptrace::interrupt(*thread))?;
        Ok(Tracing {
            held: threads.iter().copied().collect(),
            threads,
            traps,
            setting: Setting::NotYet,
            stepping: BTreeMap::new(),
            call_stops: 0,
            is_ending: false,
        })
    }

    fn run(mut self, stop: &AtomicBool, ready: &Sender<()>) -> nix::Result<Counted> {
        let mut looks = 0;
        while !self.threads.is_empty() {
            self.is_ending = stop.load(Ordering::Relaxed);
            if self.is_ending {
                // Each time anew: a stop that was on its way already may have used the one before up.
                for thread in &self.threads {
                    // One that has just ended is found so below.
                    let _ = ptrace::interrupt(*thread);
                }
            }
            looks += 1;
            for thread in std::mem::take(&mut self.threads) {
                let status = waitpid(thread, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG));
                if status == Ok(WaitStatus::StillAlive) {
                    self.threads.push(thread);
                    continue;
                }
                looks = 0;
                if self.stopped(thread, status)? == Fate::Traced {
                    self.threads.push(thread);
                }
                if self.held.remove(&thread) && self.held.is_empty() {
                    // All are on their way and will stop at their next call, which is what the caller waits for.
                    let _ = ready.send(());
                }
            }
            match looks {
                0 => {}
                1..LOOKS => std::thread::yield_now(),
                _ => std::thread::sleep(PAUSE),
            }
        }
        let allocations = self.traps.is_any().then_some(self.traps.counted);
        // A call stops its thread twice, before and behind; the last one perhaps only once.
        Ok(Counted { calls: self.call_stops / 2, allocations })
    }

    /// A thread has stopped, or ended.
    fn stopped(&mut self, thread: Pid, status: nix::Result<WaitStatus>) -> nix::Result<Fate> {
        let mut signal = match status {
            Ok(WaitStatus::PtraceSyscall(_)) => {
                self.call_stops += 1;
                None
            }
            Ok(WaitStatus::Stopped(_, signal)) => Some(signal),
            Ok(WaitStatus::PtraceEvent(_, _, event)) => {
                if event == ptrace::Event::PTRACE_EVENT_CLONE as i32 {
                    let new = ptrace::getevent(thread)?;
                    self.threads.extend(i32::try_from(new).ok().map(Pid::from_raw));
                }
                None
            }
            _ => return Ok(Fate::Gone),
        };
        if self.setting == Setting::NotYet && !self.is_ending {
            self.traps.set(thread)?;
            self.setting = Setting::Set;
        }
        if signal == Some(Signal::SIGTRAP) {
            if let Some(place) = self.stepping.remove(&thread) {
                if self.setting == Setting::Set {
                    self.traps.rearm(thread, place)?;
                }
                signal = None;
            } else if let Some(place) = self.traps.hit(thread)? {
                self.stepping.insert(thread, place);
                signal = None;
            }
        }
        self.go_on(thread, signal)
    }

    fn go_on(&mut self, thread: Pid, signal: Option<Signal>) -> nix::Result<Fate> {
        if self.stepping.contains_key(&thread) {
            ptrace::step(thread, signal)?;
            return Ok(Fate::Traced);
        }
        if self.is_ending {
            if self.setting == Setting::Set {
                self.traps.clear(thread)?;
                self.setting = Setting::Cleared;
            }
            // It has run into a trap, and the stop that says so is still to come.
            if self.traps.is_at(thread)?.is_none() {
                ptrace::detach(thread, signal)?;
                return Ok(Fate::Gone);
            }
        }
        ptrace::syscall(thread, signal)?;
        Ok(Fate::Traced)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::probe::clock;

    /// Waits until process `pid` waits itself: a call that it was about to make would count with those to come.
    fn await_asleep(pid: u32) {
        let process = clock::process(pid).expect("it lives");
        while process.stat().expect("it lives").state != 'S' {
            std::thread::yield_now();
        }
    }

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
        await_asleep(cat.id());
        let counter = Tracer::start(cat.id()).unwrap();
        copy(lines);
        await_asleep(cat.id());
        let calls = counter.stop().unwrap().calls;
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
    fn allocations_are_counted_where_the_library_has_them() {
        // A shell that doubles a text: what it asks for depends on how long that is.
        let script = "echo; read line; a=x; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do a=$a$a; done; echo; read line";
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let mut output = BufReader::new(shell.stdout.take().unwrap());
        let mut input = shell.stdin.take().unwrap();
        output.read_line(&mut String::new()).unwrap();
        let tracer = Tracer::start(shell.id()).unwrap();
        input.write_all(b"\n").unwrap();
        output.read_line(&mut String::new()).unwrap();
        let counted = tracer.stop().unwrap();
        input.write_all(b"\n").unwrap();
        assert!(shell.wait().unwrap().success(), "it is left as it was");
        if let Some(allocations) = counted.allocations {
            assert!(allocations.count >= 15 && allocations.bytes > 1 << 15, "{allocations:?}");
        }
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Tracer::start(u32::MAX >> 1).is_err());
    }
}
