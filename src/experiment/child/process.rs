//! Child processes: a server and a load generator, and the lines that they print.
//!
//! A child ends when its guard is dropped, or when this process is killed (`--die-with PID`).
//!
//! ```text
//! ladder ── spawn ──▶ server        "ready ADDR" on stdout ──▶ ladder
//!        ── spawn ──▶ load ADDR      one JSON line on stdout ──▶ ladder
//!        ── spawn ──▶ h2load, wrk    a whole text on stdout ──▶ ladder
//!        ── SIGTERM ▶ server        drains, writes --report FILE, exits 0
//! ```

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, PipeWriter, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel, sync_channel};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::load::WARM;
use crate::sys::address::Address;
use crate::sys::child::{ChildError, Process};
use crate::sys::ready_line::ReadyLine;

/// Name of the load generator in messages.
pub const LOAD: &str = "load generator";

/// Time for a server's ready line. An interpreter reads its libraries first.
pub const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for a server to drain and exit. The drain timeout of our own servers is 5 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// Interval between checks for an interrupt. Short intervals would cost the measured cores time.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Time for a dead server to be seen as such. The load generator may notice first.
const DEATH_TIMEOUT: Duration = Duration::from_millis(200);

/// Time for the end of a child's stderr, which a grandchild could hold open.
const STDERR_TIMEOUT: Duration = Duration::from_millis(200);

const STDERR_LINES: usize = 12;

/// Lines of stdout that may wait to be received. The load generator prints one for each command.
const STDOUT_LINES: usize = 4;
const LINE_BYTES_MAX: u64 = 4096;

/// Longest line of stdout. The longest of ours, a measurement, has some KiB.
const STDOUT_LINE_BYTES_MAX: u64 = 16 << 20;

/// Front of a line without an end that a message shows.
const ENDLESS_BYTES_SHOWN: usize = 60;

/// Most bytes of a text that a program prints as a whole.
const TEXT_BYTES_MAX: u64 = 65_536;

#[derive(Debug)]
struct Guard {
    who: &'static str,
    process: Process,
    stdout: Receiver<String>,
    stderr: Receiver<VecDeque<String>>,
}

#[derive(Debug)]
pub struct Server {
    guard: Guard,
    address: Address,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub error: ChildError,
    /// Line that the child printed before it failed.
    pub said: Option<String>,
    pub stderr: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abandoned {
    pub had_died: bool,
    pub stderr: String,
}

impl From<ChildError> for Failure {
    fn from(error: ChildError) -> Failure {
        Failure { error, said: None, stderr: String::new() }
    }
}

impl Server {
    pub fn start(
        command: &mut Command,
        ready: ReadyLine<'_>,
        within: Duration,
        stop: &AtomicBool,
    ) -> Result<Server, Failure> {
        let mut guard = Guard::start("server", command)?;
        match guard.line(within, stop).and_then(|line| ready.address(&line)) {
            Ok(address) => Ok(Server { guard, address }),
            Err(error) => Err(guard.fail(error, None)),
        }
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    pub fn pid(&self) -> u32 {
        self.guard.process.id()
    }

    pub fn stop(mut self) -> Result<(), Failure> {
        let process = &mut self.guard.process;
        let ended = process.terminate().and_then(|()| process.succeed(DRAIN_TIMEOUT));
        ended.map_err(|error| self.guard.fail(error, None))
    }

    /// Ends the server, unless it lives and another client needs it.
    pub fn abandon(&mut self, is_needed: bool) -> Abandoned {
        let had_died = self.guard.process.exit(DEATH_TIMEOUT).is_ok();
        let stderr = if is_needed && !had_died { String::new() } else { self.guard.end() };
        Abandoned { had_died, stderr }
    }
}

/// Load generator that waits for a command before each slice.
#[derive(Debug)]
pub struct SlicedLoad {
    guard: Guard,
    commands: PipeWriter,
}

impl SlicedLoad {
    /// Starts the load generator and waits until it has warmed its server up.
    pub fn start(
        command: &mut Command,
        commands: PipeWriter,
        budget: Duration,
        stop: &AtomicBool,
    ) -> Result<SlicedLoad, Failure> {
        let mut load = SlicedLoad { guard: Guard::start(LOAD, command)?, commands };
        match load.guard.line(budget, stop) {
            Ok(line) if line == WARM => Ok(load),
            Ok(got) => {
                let expected = format!("{WARM:?}");
                Err(load.guard.fail(ChildError::Answer { who: LOAD, got, expected }, None))
            }
            Err(error) => Err(load.guard.fail(error, None)),
        }
    }

    /// Loads the server for one slice and returns the line that describes it.
    pub fn slice(&mut self, budget: Duration, stop: &AtomicBool) -> Result<String, Failure> {
        // A load generator that has ended is noticed by its missing answer.
        let _ = self.commands.write_all(b"slice\n");
        self.guard.line(budget, stop).map_err(|error| self.guard.fail(error, None))
    }

    /// Ends the load and returns its measurement.
    pub fn finish(self, budget: Duration, stop: &AtomicBool) -> Result<String, Failure> {
        let SlicedLoad { mut guard, commands } = self;
        drop(commands);
        last(&mut guard, budget, stop)
    }
}

/// Runs a program to its end and returns its whole stdout.
pub fn output(
    who: &'static str,
    command: &mut Command,
    budget: Duration,
    stop: &AtomicBool,
) -> Result<String, Failure> {
    last(&mut Guard::start_with(who, command, whole)?, budget, stop)
}

pub fn ask(
    who: &'static str,
    command: &mut Command,
    budget: Duration,
    stop: &AtomicBool,
) -> Result<String, Failure> {
    last(&mut Guard::start(who, command)?, budget, stop)
}

fn last(guard: &mut Guard, budget: Duration, stop: &AtomicBool) -> Result<String, Failure> {
    let line = guard.line(budget, stop).map_err(|error| guard.fail(error, None))?;
    match guard.process.succeed(DRAIN_TIMEOUT) {
        Ok(()) => Ok(line),
        Err(error) => Err(guard.fail(error, Some(line))),
    }
}

/// File that a server writes at its end. A drop removes it, so the server must have ended before.
#[derive(Debug)]
pub struct ReportFile(PathBuf);

impl ReportFile {
    pub fn new(path: PathBuf) -> ReportFile {
        ReportFile(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the report; `None` if the server wrote none, or not a whole one.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&std::fs::read_to_string(&self.0).ok()?).ok()
    }
}

impl Drop for ReportFile {
    fn drop(&mut self) {
        // A server that was killed has written none.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Guard {
    fn start(who: &'static str, command: &mut Command) -> Result<Guard, Failure> {
        Guard::start_with(who, command, lines)
    }

    fn start_with(
        who: &'static str,
        command: &mut Command,
        read: fn(ChildStdout) -> Receiver<String>,
    ) -> Result<Guard, Failure> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::start(who, command)?;
        let (stdout, stderr) = process.pipes();
        let stdout = read(stdout.expect("stdout is piped"));
        let stderr = last_lines(stderr.expect("stderr is piped"));
        Ok(Guard { who, process, stdout, stderr })
    }

    fn line(&mut self, within: Duration, stop: &AtomicBool) -> Result<String, ChildError> {
        let deadline = Instant::now() + within;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(ChildError::Interrupted);
            }
            match self.stdout.recv_timeout(LOOK_INTERVAL) {
                Ok(line) if line.is_empty() => return Err(self.ended()),
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                    return Err(ChildError::Late { who: self.who, after: within });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn ended(&mut self) -> ChildError {
        match self.process.exit(Duration::from_secs(1)) {
            Ok(status) => self.process.died(format!("ended early: {status}")),
            Err(_) => self.process.died("closed its stdout before it printed a line".to_owned()),
        }
    }

    fn fail(&mut self, error: ChildError, said: Option<String>) -> Failure {
        Failure { error, said, stderr: self.end() }
    }

    fn end(&mut self) -> String {
        self.process.end();
        let lines = self.stderr.recv_timeout(STDERR_TIMEOUT).unwrap_or_default();
        Vec::from(lines).join("\n")
    }
}

/// Reads lines on a thread to the end, so that the child never meets a closed pipe. Lines beyond
/// those that wait to be received are dropped.
fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = sync_channel(STDOUT_LINES);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while reader.by_ref().take(STDOUT_LINE_BYTES_MAX).read_until(b'\n', &mut line).is_ok() {
            let is_endless = line.len() as u64 == STDOUT_LINE_BYTES_MAX && !line.ends_with(b"\n");
            if is_endless {
                line.truncate(ENDLESS_BYTES_SHOWN);
                line.extend_from_slice(b"... (a line without an end)");
            }
            // The end is an empty line. A guard that has given up receives nothing.
            let _ = sender.try_send(String::from_utf8_lossy(&line).trim_end().to_owned());
            if line.is_empty() {
                return;
            }
            if is_endless {
                break;
            }
            line.clear();
        }
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    });
    receiver
}

/// Reads to the end on a thread and sends the text at once. What is beyond the limit is dropped.
fn whole(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut text = Vec::new();
        // A text that cannot be read to its end is judged by what came.
        let _ = reader.by_ref().take(TEXT_BYTES_MAX).read_to_end(&mut text);
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
        // Fails if the guard has given up.
        let _ = sender.send(String::from_utf8_lossy(&text).into_owned());
    });
    receiver
}

/// Reads to the end on a thread of its own and sends the last lines, each cut to a readable length.
fn last_lines(stderr: impl Read + Send + 'static) -> Receiver<VecDeque<String>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stderr);
        let mut kept = VecDeque::new();
        let mut line = Vec::new();
        while let Ok(1..) = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            kept.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
            if kept.len() > STDERR_LINES {
                kept.pop_front();
            }
            line.clear();
        }
        // Fails if the guard has given up.
        let _ = sender.send(kept);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::kill;
    use nix::unistd::Pid;

    use super::*;
    use crate::sys::ready_line::READY_LINE;

    static GO: AtomicBool = AtomicBool::new(false);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn start(script: &str) -> Result<Server, Failure> {
        Server::start(&mut shell(script), READY_LINE, READY_TIMEOUT, &GO)
    }

    fn is_running(pid: u32) -> bool {
        kill(Pid::from_raw(pid.cast_signed()), None).is_ok()
    }

    #[test]
    fn a_server_is_ready_then_drains() {
        let script = "trap 'exit 0' TERM; echo ready 127.0.0.1:7; while :; do sleep 0.01; done";
        let server = start(script).expect("it says ready");
        assert_eq!(server.address().to_string(), "127.0.0.1:7");
        let pid = server.pid();
        server.stop().expect("it exits with 0");
        assert!(!is_running(pid));
    }

    #[test]
    fn a_server_that_dies_says_why() {
        let failure = start("echo no ring >&2; exit 3").unwrap_err();
        assert!(failure.error.to_string().contains("exit status: 3"), "{failure:?}");
        assert_eq!(failure.stderr, "no ring");
    }

    #[test]
    fn a_server_that_says_something_else_is_refused() {
        let failure = start("echo hello; exec sleep 60").unwrap_err();
        assert!(matches!(failure.error, ChildError::Answer { ref got, .. } if got == "hello"));
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let failure = start("exec tr '\\0' x </dev/zero").unwrap_err();
        let text = failure.error.to_string();
        assert!(text.contains("xxx... (a line without an end)"), "{text:.200}");
        assert!(text.len() < 1000, "{text:.200}");
    }

    #[test]
    fn a_server_that_does_not_drain_well_is_reported() {
        let script = "trap 'exit 4' TERM; echo ready 127.0.0.1:7; while :; do sleep 0.01; done";
        let server = start(script).expect("it says ready");
        assert!(server.stop().unwrap_err().error.to_string().contains("exit status: 4"));
    }

    #[test]
    fn a_child_is_ended_with_its_guard() {
        let server = start("echo ready 127.0.0.1:7; exec sleep 60");
        let server = server.expect("it says ready");
        let pid = server.pid();
        drop(server);
        assert!(!is_running(pid));
    }

    #[test]
    fn a_child_that_hangs_is_late() {
        let budget = Duration::from_millis(20);
        let failure = ask("load", &mut shell("exec sleep 60"), budget, &GO).unwrap_err();
        assert_eq!(failure.error, ChildError::Late { who: "load", after: budget });
    }

    #[test]
    fn a_grandchild_that_holds_stderr_holds_up_nothing() {
        let started = Instant::now();
        let failure = start("sleep 5 & echo hello").unwrap_err();
        assert!(matches!(failure.error, ChildError::Answer { .. }), "{failure:?}");
        assert!(started.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn an_interrupt_ends_the_wait() {
        let stop = AtomicBool::new(true);
        let budget = Duration::from_secs(60);
        let failure = ask("load", &mut shell("exec sleep 60"), budget, &stop).unwrap_err();
        assert_eq!(failure.error, ChildError::Interrupted);
    }

    #[test]
    fn a_report_is_removed_with_its_owner() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report.json");
        let report = ReportFile::new(path.clone());
        assert_eq!(report.read::<Vec<u32>>(), None);
        std::fs::write(&path, "[1, 2]").expect("its own folder");
        assert_eq!(report.read(), Some(vec![1, 2]));
        drop(report);
        assert!(!path.exists());
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let mut command = Command::new("/no/such/program");
        let failure = Server::start(&mut command, READY_LINE, READY_TIMEOUT, &GO).unwrap_err();
        assert!(failure.error.to_string().starts_with("cannot start /no/such/program"));
    }

    #[test]
    fn only_the_last_lines_of_stderr_are_kept() {
        let script = "for i in $(seq 100); do echo line $i >&2; done; exit 1";
        let failure = start(script).unwrap_err();
        let lines: Vec<&str> = failure.stderr.lines().collect();
        assert_eq!((lines.len(), lines[STDERR_LINES - 1]), (STDERR_LINES, "line 100"));
    }
}
