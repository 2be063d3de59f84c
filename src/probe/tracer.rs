//! Counts of a traced process: its system calls, and its calls of the C library's allocator.
//!
//! A traced process is slow, so nothing is timed meanwhile. The traced process needs no
//! preparation; its child processes are not supported.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

pub use super::breakpoints::Allocations;
use super::breakpoints::{self, BreakpointId, Breakpoints};
use super::kernel_counts::system_call_name;

const PAUSE: Duration = Duration::from_micros(20);

/// Polls without a stop before the first sleep, since a resumed thread stops again soon.
const YIELDS: u32 = 100;
const START_MAX: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Tracer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<nix::Result<Activity>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    pub calls: u64,
    /// Those with a name, where the processor's registers are known.
    pub calls_by_name: BTreeMap<String, u64>,
    /// `None` if no breakpoint could be found.
    pub allocations: Option<Allocations>,
}

impl Tracer {
    pub fn start(pid: u32) -> io::Result<Tracer> {
        let breakpoints = Breakpoints::find(pid)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = channel();
        let stop_flag = Arc::clone(&stop);
        // The kernel accepts ptrace requests only from the thread that attached.
        let thread = std::thread::Builder::new().name("tracer".to_owned()).spawn(move || {
            let mut tracing = Tracing::new(pid, breakpoints)?;
            let traced = tracing.run(&stop_flag, &ready);
            tracing.abandon();
            traced.map(|()| tracing.activity())
        })?;
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

    pub fn stop(self) -> io::Result<Activity> {
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

struct Tracing {
    threads: Vec<Pid>,
    /// Threads of the start that have not stopped yet.
    held: BTreeSet<Pid>,
    breakpoints: Breakpoints,
    phase: Phase,
    stepping: BTreeMap<Pid, BreakpointId>,
    /// Threads whose SIGTRAP was taken, and that nobody resumed.
    trapped: BTreeSet<Pid>,
    call_stops: u64,
    /// The same by number of the call.
    stops_of_calls: BTreeMap<u64, u64>,
    is_ending: bool,
}

#[derive(PartialEq)]
enum Phase {
    NotSet,
    Set,
    Cleared,
}

#[derive(Debug, PartialEq)]
enum Fate {
    Traced,
    Gone,
}

impl Tracing {
    fn new(pid: u32, breakpoints: Breakpoints) -> nix::Result<Tracing> {
        Tracing::of_threads(|| threads(pid).unwrap_or_default(), breakpoints)
    }

    /// Traces the threads that `list` returns, until it returns no others.
    fn of_threads(list: impl Fn() -> Vec<Pid>, breakpoints: Breakpoints) -> nix::Result<Tracing> {
        // A breakpoint kills an untraced thread, so threads that start later are traced too.
        let mut options = ptrace::Options::PTRACE_O_TRACESYSGOOD;
        options.set(ptrace::Options::PTRACE_O_TRACECLONE, true);
        let (mut threads, mut known) = (Vec::new(), BTreeSet::new());
        loop {
            let mut new = list();
            new.retain(|thread| known.insert(*thread));
            if new.is_empty() {
                break;
            }
            // Kernel threads, as io_uring starts them, cannot be traced and make no calls.
            threads.extend(new.into_iter().filter(|it| ptrace::seize(*it, options).is_ok()));
        }
        if threads.is_empty() {
            return Err(Errno::EPERM);
        }
        threads.iter().try_for_each(|thread| ptrace::interrupt(*thread))?;
        Ok(Tracing {
            held: threads.iter().copied().collect(),
            threads,
            breakpoints,
            phase: Phase::NotSet,
            stepping: BTreeMap::new(),
            trapped: BTreeSet::new(),
            call_stops: 0,
            stops_of_calls: BTreeMap::new(),
            is_ending: false,
        })
    }

    fn run(&mut self, stop: &AtomicBool, ready: &Sender<()>) -> nix::Result<()> {
        let mut polls = 0;
        while !self.threads.is_empty() {
            self.is_ending = stop.load(Ordering::Relaxed);
            if self.is_ending {
                // Repeated: a pending stop may have consumed the previous interrupt.
                for thread in &self.threads {
                    let _ = ptrace::interrupt(*thread);
                }
            }
            polls += 1;
            let mut waiting = std::mem::take(&mut self.threads);
            while let Some(thread) = waiting.pop() {
                let status = waitpid(thread, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG));
                if status == Ok(WaitStatus::StillAlive) {
                    self.threads.push(thread);
                    continue;
                }
                polls = 0;
                match self.stopped(thread, status) {
                    Ok(Fate::Traced) => self.threads.push(thread),
                    Ok(Fate::Gone) => {}
                    Err(error) => {
                        if status == Ok(WaitStatus::Stopped(thread, Signal::SIGTRAP)) {
                            self.trapped.insert(thread);
                        }
                        self.threads.push(thread);
                        self.threads.extend(waiting);
                        return Err(error);
                    }
                }
                if self.held.remove(&thread) && self.held.is_empty() {
                    let _ = ready.send(());
                }
            }
            match polls {
                0 => {}
                1..YIELDS => std::thread::yield_now(),
                _ => std::thread::sleep(PAUSE),
            }
        }
        Ok(())
    }

    /// Lets the process go on without breakpoints: one kills a thread that is not traced.
    fn abandon(&mut self) {
        let late = Instant::now() + START_MAX;
        while !self.threads.is_empty() && Instant::now() < late {
            for thread in std::mem::take(&mut self.threads) {
                let _ = ptrace::interrupt(thread);
                let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
                let signal = match waitpid(thread, Some(flags)) {
                    Ok(WaitStatus::Stopped(_, signal)) => Some(signal),
                    // `StillAlive`: it runs, or its stop was told before and nobody resumed it.
                    Ok(WaitStatus::PtraceSyscall(_) | WaitStatus::PtraceEvent(..))
                    | Ok(WaitStatus::StillAlive) => None,
                    _ => continue,
                };
                if self.leave(thread, signal) != Ok(Fate::Gone) {
                    self.threads.push(thread);
                }
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Detaches from a thread, which fails while it runs.
    fn leave(&mut self, thread: Pid, signal: Option<Signal>) -> nix::Result<Fate> {
        if self.phase == Phase::Set {
            self.breakpoints.clear(thread)?;
            self.phase = Phase::Cleared;
        }
        let is_trap = signal == Some(Signal::SIGTRAP) || self.trapped.contains(&thread);
        let is_behind_breakpoint =
            !self.stepping.contains_key(&thread) && self.breakpoints.current(thread)?.is_some();
        if is_behind_breakpoint && !is_trap {
            // Its SIGTRAP is still to come, and would end it once it is not traced.
            ptrace::syscall(thread, signal)?;
            return Ok(Fate::Traced);
        }
        if is_behind_breakpoint {
            self.breakpoints.step_back(thread)?;
        }
        ptrace::detach(thread, signal.filter(|signal| *signal != Signal::SIGTRAP))?;
        Ok(Fate::Gone)
    }

    fn activity(self) -> Activity {
        let allocations = (!self.breakpoints.is_empty()).then_some(self.breakpoints.counted);
        // A call stops its thread at entry and exit; the last call perhaps only at entry.
        let named =
            |(number, stops): (u64, u64)| Some((system_call_name(number)?.to_owned(), stops / 2));
        let calls_by_name = self.stops_of_calls.into_iter().filter_map(named).collect();
        Activity { calls: self.call_stops / 2, calls_by_name, allocations }
    }

    fn stopped(&mut self, thread: Pid, status: nix::Result<WaitStatus>) -> nix::Result<Fate> {
        let mut signal = match status {
            Ok(WaitStatus::PtraceSyscall(_)) => {
                self.call_stops += 1;
                if let Ok(number) = breakpoints::system_call(thread) {
                    *self.stops_of_calls.entry(number).or_default() += 1;
                }
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
        if self.phase == Phase::NotSet && !self.is_ending {
            // Some are set if this fails.
            self.phase = Phase::Set;
            self.breakpoints.set(thread)?;
        }
        if signal == Some(Signal::SIGTRAP) {
            if let Some(id) = self.stepping.remove(&thread) {
                if self.phase == Phase::Set {
                    self.breakpoints.rearm(thread, id)?;
                }
                signal = None;
            } else if let Some(id) = self.breakpoints.hit(thread)? {
                self.stepping.insert(thread, id);
                signal = None;
            }
        }
        self.resume(thread, signal)
    }

    fn resume(&mut self, thread: Pid, signal: Option<Signal>) -> nix::Result<Fate> {
        if self.stepping.contains_key(&thread) {
            ptrace::step(thread, signal)?;
            return Ok(Fate::Traced);
        }
        if self.is_ending {
            if self.phase == Phase::Set {
                self.breakpoints.clear(thread)?;
                self.phase = Phase::Cleared;
            }
            // At a breakpoint whose SIGTRAP is still pending, the thread must not be detached.
            if self.breakpoints.current(thread)?.is_none() {
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
    use crate::probe::process_tree;

    /// Waits until process `pid` sleeps, so that it has no call left to make.
    fn await_asleep(pid: u32) {
        let process = process_tree::process(pid).expect("it lives");
        while process.stat().expect("it lives").state != 'S' {
            std::thread::yield_now();
        }
    }

    fn calls_of_cat(lines: u64) -> Activity {
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
        let activity = counter.stop().unwrap();
        copy(1);
        drop(input);
        assert!(cat.wait().unwrap().success());
        activity
    }

    #[test]
    fn each_line_is_one_read_and_one_write() {
        let (few, many) = (calls_of_cat(10), calls_of_cat(110));
        assert_eq!(many.calls - few.calls, 200, "{few:?} {many:?}");
        if cfg!(target_arch = "x86_64") {
            for name in ["read", "write"] {
                let [few, many] = [&few, &many].map(|it| it.calls_by_name[name]);
                assert_eq!(many - few, 100, "{name}: {few} {many}");
            }
        }
    }

    #[test]
    fn allocations_are_counted_in_a_dynamically_linked_process() {
        // The shell doubles a text, so the requested sizes grow.
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
        assert!(shell.wait().unwrap().success(), "the shell runs on untraced");
        if let Some(allocations) = counted.allocations {
            assert!(allocations.count >= 15 && allocations.bytes > 1 << 15, "{allocations:?}");
        }
    }

    #[test]
    fn a_process_runs_on_after_its_tracer_has_failed() {
        let script = "echo; read line; a=x; for i in 1 2 3 4 5 6 7 8; do a=$a$a; done; echo $a";
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let mut output = BufReader::new(shell.stdout.take().unwrap());
        output.read_line(&mut String::new()).unwrap();
        let breakpoints = Breakpoints::find(shell.id()).unwrap();
        let mut tracing = Tracing::new(shell.id(), breakpoints).unwrap();
        let (thread, mut input) = (tracing.threads[0], shell.stdin.take());
        // The thread stops at a breakpoint, and then the tracer fails.
        loop {
            let status = waitpid(thread, Some(WaitPidFlag::__WALL));
            let is_trap = status == Ok(WaitStatus::Stopped(thread, Signal::SIGTRAP));
            if is_trap && tracing.phase == Phase::Set {
                tracing.trapped.insert(thread);
                break;
            }
            if tracing.breakpoints.is_empty() {
                break;
            }
            assert!(tracing.stopped(thread, status).unwrap() == Fate::Traced);
            if tracing.phase == Phase::Set
                && let Some(mut input) = input.take()
            {
                input.write_all(b"\n").unwrap();
            }
        }
        drop(input);
        tracing.abandon();
        assert!(tracing.threads.is_empty());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line.len(), 257);
        assert!(shell.wait().unwrap().success());
    }

    #[test]
    fn threads_that_start_while_others_are_seized_are_traced_too() {
        let children: Vec<_> =
            (0..3).map(|_| Command::new("sleep").arg("60").spawn().unwrap()).collect();
        let pids: Vec<Pid> = children.iter().map(|it| Pid::from_raw(it.id() as i32)).collect();
        // Each look finds one more.
        let seen = std::cell::Cell::new(0);
        let list = || {
            seen.set(pids.len().min(seen.get() + 1));
            pids[..seen.get()].to_vec()
        };
        let mut tracing = Tracing::of_threads(list, Breakpoints::default()).unwrap();
        assert_eq!(tracing.threads, pids);
        tracing.abandon();
        for mut child in children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        assert!(Tracer::start(u32::MAX >> 1).is_err());
    }
}
