//! A thread that makes the kernel add up the time of whoever runs on another core.
//!
//! The clock of another process holds what its threads had used when they last slept or saw a tick: one that is running
//! is up to a tick behind (4 ms at 250 ticks a second), far more than a request costs. Reading one's own clock adds up
//! first, reading another's does not (`thread_group_cputime` in the kernel's `kernel/sched/cputime.c`). Whoever wants to
//! run on a core has the kernel add up for the thread that runs there, so a thread of ours goes there for a moment. It
//! costs that core two switches of context, each time it is sent.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::{affinity, clock};

/// How long to wait for a visit. Being about to run is enough, so one that takes longer may be given up.
const VISIT_MAX: Duration = Duration::from_millis(1);

/// The thread. It sleeps but for its visits, and ends when this is dropped.
#[derive(Debug)]
pub struct Visitor {
    orders: Sender<usize>,
    visited: Receiver<()>,
}

impl Visitor {
    /// Starts it.
    pub fn start() -> io::Result<Visitor> {
        let (orders, next) = channel::<usize>();
        let (report, visited) = channel();
        thread::Builder::new().name("visitor".to_owned()).spawn(move || {
            while let Ok(core) = next.recv() {
                // A core that is withheld from us is read as far behind as it is.
                _ = affinity::pin(core);
                if report.send(()).is_err() {
                    break;
                }
            }
        })?;
        Ok(Visitor { orders, visited })
    }

    /// Has the kernel add up the time of all threads of process `pid` and of its descendants that are running.
    pub fn visit(&self, pid: u32) -> io::Result<()> {
        while self.visited.try_recv().is_ok() {}
        for core in clock::busy_cores(pid)? {
            if self.orders.send(core).is_ok() {
                _ = self.visited.recv_timeout(VISIT_MAX);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};
    use std::time::Instant;

    use super::*;

    const STEP: Duration = Duration::from_micros(300);

    /// How often a process came onto a core, if it is on one.
    fn arrivals(pid: u32) -> Option<u64> {
        let process = clock::process(pid).ok()?;
        let (arrived, status) = (process.schedstat().ok()?.pcount, process.status().ok()?);
        let left = status.voluntary_ctxt_switches? + status.nonvoluntary_ctxt_switches?;
        (arrived == left + 1).then_some(arrived)
    }

    /// In how many of 50 steps through which it ran the clock of `busy` stood still.
    fn stood_still(busy: &Child, visitor: Option<&Visitor>) -> usize {
        let (mut steps, mut still) = (0, 0);
        let mut before = 0;
        let mut arrived = None;
        let end = Instant::now() + Duration::from_secs(20);
        while steps < 50 && Instant::now() < end {
            let until = Instant::now() + STEP;
            while Instant::now() < until {}
            let has_run = arrived.is_some() && arrivals(busy.id()) == arrived;
            visitor.map(|visitor| visitor.visit(busy.id())).transpose().expect("it lives");
            let now = clock::process_cpu(busy.id()).expect("it lives").total_ns;
            steps += usize::from(has_run);
            still += usize::from(has_run && now == before);
            before = now;
            arrived = arrivals(busy.id());
        }
        assert_eq!(steps, 50, "it hardly ran");
        still
    }

    #[test]
    fn a_busy_process_is_not_a_tick_behind() {
        let mut busy = Command::new("sh");
        let mut busy = busy.args(["-c", "while :; do :; done"]).spawn().expect("there is a shell");
        let visitor = Visitor::start().expect("a thread");
        let still = [stood_still(&busy, None), stood_still(&busy, Some(&visitor))];
        busy.kill().expect("ours");
        busy.wait().expect("ours");
        assert!(
            still[1] * 4 < still[0],
            "stood still in {} steps, visited in {}",
            still[0],
            still[1]
        );
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        let visitor = Visitor::start().expect("a thread");
        assert!(visitor.visit(i32::MAX as u32).is_err());
    }
}
