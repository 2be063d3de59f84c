//! Child process that always ends, with all its descendants, also when this process is killed.
//!
//! Invariant: a signal goes only to a process, or a group, whose leader has not been waited for, so
//! its number is not used again.

use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::orphans;

const EXIT_INTERVAL: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChildError {
    #[error("cannot start {program}: {reason}")]
    Spawn { program: String, reason: String },
    /// The child exited, or closed its stdout, before its work was done.
    #[error("{who} {how}")]
    Died { who: &'static str, how: String },
    #[error("{who} was not done after {} s", .after.as_secs_f64())]
    Late { who: &'static str, after: Duration },
    #[error("{who} said {got:?}, expected {expected}")]
    Answer { who: &'static str, got: String, expected: String },
    #[error("interrupted")]
    Interrupted,
}

#[derive(Debug)]
pub(crate) struct Process {
    who: &'static str,
    child: Child,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` as the leader of a new group.
    pub(crate) fn start(who: &'static str, command: &mut Command) -> Result<Process, ChildError> {
        match command.process_group(0).spawn() {
            Ok(child) => {
                orphans::watch(child.id());
                Ok(Process { who, child, ended: None })
            }
            Err(error) => Err(ChildError::Spawn {
                program: command.get_program().to_string_lossy().into_owned(),
                reason: error.to_string(),
            }),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn pipes(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Sends SIGTERM to the child, not to its descendants.
    pub(crate) fn terminate(&mut self) -> Result<(), ChildError> {
        if self.ended.is_none() {
            let sent = kill(self.pid(), Signal::SIGTERM);
            return sent.map_err(|error| self.died(format!("cannot be told to end: {error}")));
        }
        Err(self.died("was gone before its end".to_owned()))
    }

    pub(crate) fn exit(&mut self, within: Duration) -> Result<ExitStatus, ChildError> {
        let deadline = Instant::now() + within;
        loop {
            match self.poll() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() >= deadline => {
                    return Err(ChildError::Late { who: self.who, after: within });
                }
                Ok(None) => std::thread::sleep(EXIT_INTERVAL),
                Err(error) => return Err(self.died(format!("cannot be waited for: {error}"))),
            }
        }
    }

    pub(crate) fn succeed(&mut self, within: Duration) -> Result<(), ChildError> {
        match self.exit(within)? {
            status if status.success() => Ok(()),
            status => Err(self.died(format!("failed: {status}"))),
        }
    }

    pub(crate) fn died(&self, how: String) -> ChildError {
        ChildError::Died { who: self.who, how }
    }

    pub(crate) fn end(&mut self) {
        if self.ended.is_none() {
            // It fails only for a process that is not our child.
            let _ = self.reap();
        }
    }

    fn poll(&mut self) -> std::io::Result<Option<ExitStatus>> {
        if self.ended.is_some() {
            return Ok(self.ended);
        }
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(self.pid()), flags)? {
            WaitStatus::StillAlive => Ok(None),
            _ => self.reap().map(Some),
        }
    }

    fn reap(&mut self) -> std::io::Result<ExitStatus> {
        // It fails when the group is empty.
        let _ = killpg(self.pid(), Signal::SIGKILL);
        orphans::forget(self.id());
        let status = self.child.wait()?;
        self.ended = Some(status);
        Ok(status)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    use super::*;

    fn family(more: &str) -> (Process, Pid) {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("sleep 60 & echo $!; {more}")]);
        let mut process =
            Process::start("shell", command.stdout(Stdio::piped())).expect("there is a shell");
        let mut line = String::new();
        let stdout = process.pipes().0.expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("text");
        (process, Pid::from_raw(line.trim().parse().expect("a number")))
    }

    /// Waits until signals no longer reach `pid`; init reaps a zombie soon.
    fn is_gone(pid: Pid) -> bool {
        let deadline = Instant::now() + Duration::from_secs(5);
        while kill(pid, None).is_ok() && Instant::now() < deadline {
            std::thread::sleep(EXIT_INTERVAL);
        }
        kill(pid, None).is_err()
    }

    #[test]
    fn what_a_child_started_ends_with_it() {
        let (mut process, grandchild) = family("exit 3");
        let status = process.exit(Duration::from_secs(5)).expect("it exits");
        assert_eq!(status.code(), Some(3));
        assert!(is_gone(grandchild));
    }

    #[test]
    fn what_a_child_started_ends_when_it_is_dropped() {
        let (process, grandchild) = family("wait");
        drop(process);
        assert!(is_gone(grandchild));
    }

    #[test]
    fn a_child_that_has_ended_is_not_signalled_again() {
        let (mut process, _) = family("exit 0");
        process.succeed(Duration::from_secs(5)).expect("it exits with 0");
        assert!(process.terminate().is_err());
        process.end();
    }
}
