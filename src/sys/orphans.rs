//! End of the process groups of children after this process was killed.
//!
//! A child is told of the end of its parent by the kernel, but what it has started is not. A shell
//! holds the read end of a pipe, whose write end only this process has. It keeps the list of groups
//! and kills them when the pipe ends, however this process has ended. A process that has left its
//! group is not found.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};

const SCRIPT: &str = r#"
groups=
while read -r change group; do
  kept=
  for other in $groups; do [ "$other" = "$group" ] || kept="$kept $other"; done
  [ "$change" = - ] || kept="$kept $group"
  groups=$kept
done
for group in $groups; do kill -s KILL -- "-$group"; done
"#;

/// Shell that outlives this process; `None` before the first group, or if there is no shell.
static WATCH: Mutex<Option<Child>> = Mutex::new(None);

/// Lets the group end with this process.
pub(super) fn watch(group: u32) {
    let mut watch = lock();
    if watch.is_none() {
        *watch = start().ok();
    }
    tell(&mut watch, '+', group);
}

/// Ends the watch over a group. The caller has not yet waited for its leader, so the number still
/// belongs to the group.
pub(super) fn forget(group: u32) {
    tell(&mut lock(), '-', group);
}

fn start() -> std::io::Result<Child> {
    // In a group of its own, so that an interrupt from the terminal does not end it.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", SCRIPT]).process_group(0);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

fn tell(watch: &mut Option<Child>, change: char, group: u32) {
    let pipe = watch.as_mut().and_then(|shell| shell.stdin.as_mut());
    let Some(pipe) = pipe else { return };
    // One write of a short line is not mixed with others.
    if pipe.write_all(format!("{change} {group}\n").as_bytes()).is_err() {
        *watch = None;
    }
}

fn lock() -> MutexGuard<'static, Option<Child>> {
    WATCH.lock().expect("nothing panics while it holds the lock")
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::Pid;

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("300").process_group(0).spawn().expect("there is a sleep")
    }

    #[test]
    fn the_groups_of_the_list_end_with_the_pipe_and_forgotten_ones_do_not() {
        let (ends, mut stays) = (sleeper(), sleeper());
        let mut watch = Some(start().expect("there is a shell"));
        tell(&mut watch, '+', stays.id());
        tell(&mut watch, '+', ends.id());
        tell(&mut watch, '-', stays.id());
        let mut shell = watch.expect("the pipe is open");
        drop(shell.stdin.take());
        assert!(shell.wait().expect("it is ours").success());
        let pid = Pid::from_raw(ends.id().cast_signed());
        assert_eq!(waitpid(pid, None), Ok(WaitStatus::Signaled(pid, Signal::SIGKILL, false)));
        assert!(kill(Pid::from_raw(stays.id().cast_signed()), None).is_ok());
        stays.kill().expect("it runs");
        stays.wait().expect("it is ours");
    }
}
