//! Scheduler statistics of a server's threads: preemptions and waits for the core.
//!
//! A thread that waited longer than all other threads of its server ran must have waited for
//! another program by the difference. The rest may have been a wait for its own server's threads.

use std::collections::BTreeMap;
use std::io;

use procfs::process::Task;
use serde::{Deserialize, Serialize};

use super::process_tree;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedStats {
    pub preemptions: u64,
    /// Time in which threads were runnable and may have waited for each other, summed.
    pub own_ns: u64,
    /// Longest time that one thread was runnable and waited for other programs.
    pub others_ns: u64,
}

/// Reading of every thread of a process tree, by thread id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchedSnapshot(BTreeMap<i32, Thread>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Thread {
    ran_ns: u64,
    waited_ns: u64,
    preemptions: u64,
}

impl SchedSnapshot {
    /// Reads the statistics; threads that end meanwhile are left out.
    pub fn read(pid: u32) -> io::Result<SchedSnapshot> {
        let tasks = process_tree::threads(pid)?.into_iter();
        Ok(SchedSnapshot(tasks.filter_map(|task| Some((task.tid, Thread::read(&task)?))).collect()))
    }

    /// Returns the differences to `before`. A new thread counts from zero, an ended one not at all.
    pub fn since(&self, before: &SchedSnapshot) -> SchedStats {
        let since = |(tid, now): (&i32, &Thread)| {
            let then = before.0.get(tid).copied().unwrap_or_default();
            Thread {
                ran_ns: now.ran_ns.saturating_sub(then.ran_ns),
                waited_ns: now.waited_ns.saturating_sub(then.waited_ns),
                preemptions: now.preemptions.saturating_sub(then.preemptions),
            }
        };
        summary(&self.0.iter().map(since).collect::<Vec<_>>())
    }
}

fn summary(threads: &[Thread]) -> SchedStats {
    let ran_ns: u64 = threads.iter().map(|thread| thread.ran_ns).sum();
    let own = |thread: &Thread| thread.waited_ns.min(ran_ns - thread.ran_ns);
    SchedStats {
        preemptions: threads.iter().map(|thread| thread.preemptions).sum(),
        own_ns: threads.iter().map(own).sum(),
        others_ns: threads.iter().map(|thread| thread.waited_ns - own(thread)).max().unwrap_or(0),
    }
}

impl Thread {
    fn read(task: &Task) -> Option<Thread> {
        let schedule = task.schedstat().ok()?;
        let status = task.status().ok()?;
        Some(Thread {
            ran_ns: schedule.sum_exec_runtime,
            waited_ns: schedule.run_delay,
            preemptions: status.nonvoluntary_ctxt_switches?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(ran_ns: u64, waited_ns: u64) -> Thread {
        Thread { ran_ns, waited_ns, preemptions: 1 }
    }

    #[test]
    fn threads_that_take_turns_wait_for_each_other() {
        let stats = summary(&[thread(600, 400), thread(400, 550)]);
        assert_eq!(stats, SchedStats { preemptions: 2, own_ns: 950, others_ns: 0 });
    }

    #[test]
    fn a_thread_that_waits_longer_than_the_others_run_waits_for_another_program() {
        let alone = summary(&[thread(700, 300), thread(0, 0)]);
        assert_eq!((alone.own_ns, alone.others_ns), (0, 300));
        let both = summary(&[thread(300, 650), thread(300, 600)]);
        assert_eq!((both.own_ns, both.others_ns), (600, 350));
        assert_eq!(summary(&[]), SchedStats::default());
    }

    #[test]
    fn earlier_waits_do_not_count() {
        let before = SchedSnapshot(BTreeMap::from([(1, thread(100, 50))]));
        let after = SchedSnapshot(BTreeMap::from([(1, thread(150, 80)), (2, thread(10, 0))]));
        let stats = after.since(&before);
        assert_eq!((stats.preemptions, stats.own_ns, stats.others_ns), (1, 10, 20));
    }

    #[test]
    fn this_process_has_threads() {
        let SchedSnapshot(threads) = SchedSnapshot::read(std::process::id()).unwrap();
        assert!(!threads.is_empty());
        assert!(SchedSnapshot::read(i32::MAX as u32).is_err());
    }
}
