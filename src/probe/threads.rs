//! What the threads of a server waited for, so that a wait for each other is told from one for other programs.
//!
//! All threads of a server share a core. The kernel says of each how long it ran, how long it was ready and did not run,
//! and how often it was taken off the core. A thread that waited longer than all others of its server ran waited for
//! somebody else by that much at least; what is less may have been for its own.

use std::collections::BTreeMap;
use std::io;

use procfs::process::Task;

use crate::record::Waits;

use super::clock;

/// A reading of every thread of a process and of its descendants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Threads(BTreeMap<i32, Thread>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Thread {
    ran_ns: u64,
    waited_ns: u64,
    preemptions: u64,
}

impl Threads {
    /// Reads them now.
    pub fn read(pid: u32) -> io::Result<Threads> {
        let mut threads = BTreeMap::new();
        for process in std::iter::once(pid).chain(clock::descendants(pid)?) {
            for task in clock::process(process)?.tasks().map_err(clock::io_error)?.flatten() {
                // One that ends just now has nothing to say.
                threads.extend(Thread::read(&task).map(|thread| (task.tid, thread)));
            }
        }
        Ok(Threads(threads))
    }

    /// What happened since `before`; a thread that began or ended in between counts with what is known of it.
    pub fn since(&self, before: &Threads) -> Waits {
        let since = |(tid, now): (&i32, &Thread)| {
            let then = before.0.get(tid).copied().unwrap_or_default();
            Thread {
                ran_ns: now.ran_ns.saturating_sub(then.ran_ns),
                waited_ns: now.waited_ns.saturating_sub(then.waited_ns),
                preemptions: now.preemptions.saturating_sub(then.preemptions),
            }
        };
        waits(&self.0.iter().map(since).collect::<Vec<_>>())
    }
}

fn waits(threads: &[Thread]) -> Waits {
    let ran_ns: u64 = threads.iter().map(|thread| thread.ran_ns).sum();
    let own = |thread: &Thread| thread.waited_ns.min(ran_ns - thread.ran_ns);
    Waits {
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
        let waits = waits(&[thread(600, 400), thread(400, 550)]);
        assert_eq!(waits, Waits { preemptions: 2, own_ns: 950, others_ns: 0 });
    }

    #[test]
    fn a_thread_that_waits_longer_than_the_others_run_waits_for_somebody_else() {
        let alone = waits(&[thread(700, 300), thread(0, 0)]);
        assert_eq!((alone.own_ns, alone.others_ns), (0, 300));
        let both = waits(&[thread(300, 650), thread(300, 600)]);
        assert_eq!((both.own_ns, both.others_ns), (600, 350));
        assert_eq!(waits(&[]), Waits::default());
    }

    #[test]
    fn what_was_before_does_not_count() {
        let before = Threads(BTreeMap::from([(1, thread(100, 50))]));
        let after = Threads(BTreeMap::from([(1, thread(150, 80)), (2, thread(10, 0))]));
        let waits = after.since(&before);
        assert_eq!((waits.preemptions, waits.own_ns, waits.others_ns), (1, 10, 20));
    }

    #[test]
    fn this_process_has_threads() {
        let Threads(threads) = Threads::read(std::process::id()).unwrap();
        assert!(!threads.is_empty());
        assert!(Threads::read(i32::MAX as u32).is_err());
    }
}
