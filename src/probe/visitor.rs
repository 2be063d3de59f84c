//! A thread that makes the kernel add up the time of whoever runs on another core.
//!
//! The clock of another process holds what its threads had used when they last slept or saw a tick: one that is running
//! is up to a tick behind (4 ms at 250 ticks a second), far more than a request costs. Reading one's own clock adds up
//! first, reading another's does not (`thread_group_cputime` in the kernel's `kernel/sched/cputime.c`). A thread that has
//! to make room for another is added up, so one of ours goes to its core for a moment. It costs that core two switches of
//! context, each time it is sent; where it is not let in within a millisecond, the time is as far behind as it was.

use std::cell::Cell;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::clock;
use crate::sys::affinity;

/// How long to wait for a visit. It takes some 30 us.
const VISIT_MAX: Duration = Duration::from_millis(1);

/// The thread. It sleeps but for its visits, and ends when this is dropped.
#[derive(Debug)]
pub struct Visitor {
    orders: Sender<(u64, usize)>,
    /// Numbers of the orders that it has carried out.
    visited: Receiver<u64>,
    /// How many it was given.
    given: Cell<u64>,
}

impl Visitor {
    /// Starts it.
    pub fn start() -> io::Result<Visitor> {
        let (orders, next) = channel::<(u64, usize)>();
        let (report, visited) = channel();
        thread::Builder::new().name("visitor".to_owned()).spawn(move || {
            while let Ok((number, core)) = next.recv() {
                // A core that is withheld from us is read as far behind as it is.
                _ = affinity::pin(core);
                if report.send(number).is_err() {
                    break;
                }
            }
        })?;
        Ok(Visitor { orders, visited, given: Cell::new(0) })
    }

    /// Has the kernel add up the time of all threads of process `pid` and of its descendants that are running. False if
    /// it was not let in somewhere.
    pub fn visit(&self, pid: u32) -> io::Result<bool> {
        let mut is_let_in = true;
        for core in clock::busy_cores(pid)? {
            let until = Instant::now() + VISIT_MAX;
            let number = self.given.get() + 1;
            self.given.set(number);
            if self.orders.send((number, core)).is_err() {
                return Ok(false);
            }
            // One that was late the last time is not this one.
            let next =
                || self.visited.recv_timeout(until.saturating_duration_since(Instant::now()));
            is_let_in &= loop {
                match next() {
                    Ok(visited) if visited != number => {}
                    answer => break answer.is_ok(),
                }
            };
        }
        Ok(is_let_in)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    const STEP: Duration = Duration::from_micros(300);

    /// How often a process came onto a core, if it is on one.
    fn arrivals(pid: u32) -> Option<u64> {
        let process = clock::process(pid).ok()?;
        let (arrived, status) = (process.schedstat().ok()?.pcount, process.status().ok()?);
        let left = status.voluntary_ctxt_switches? + status.nonvoluntary_ctxt_switches?;
        (arrived == left + 1).then_some(arrived)
    }

    /// A process that is busy until this is dropped.
    struct Busy(Child);

    impl Busy {
        fn start() -> Busy {
            let mut shell = Command::new("sh");
            Busy(shell.args(["-c", "while :; do :; done"]).spawn().expect("there is a shell"))
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            _ = self.0.kill();
            _ = self.0.wait();
        }
    }

    /// In what share of up to 50 steps, through which it ran, the clock of `busy` stood still.
    fn stood_still(Busy(busy): &Busy, visitor: Option<&Visitor>) -> f64 {
        let (mut steps, mut still) = (0, 0);
        let mut before = 0;
        let mut arrived = None;
        let end = Instant::now() + Duration::from_secs(20);
        while steps < 50 && Instant::now() < end {
            let until = Instant::now() + STEP;
            while Instant::now() < until {}
            let has_run = arrived.is_some() && arrivals(busy.id()) == arrived;
            let visit = visitor.map(|visitor| visitor.visit(busy.id())).transpose();
            let has_run = has_run && visit.expect("it lives").unwrap_or(true);
            let now = clock::process_cpu(busy.id()).expect("it lives").total_ns;
            steps += usize::from(has_run);
            still += usize::from(has_run && now == before);
            before = now;
            arrived = arrivals(busy.id());
        }
        assert!(steps >= 10, "it ran through {steps} steps only");
        still as f64 / steps as f64
    }

    #[test]
    fn a_busy_process_is_not_a_tick_behind() {
        let busy = Busy::start();
        let visitor = Visitor::start().expect("a thread");
        let still = [stood_still(&busy, None), stood_still(&busy, Some(&visitor))];
        assert!(
            still[1] * 4.0 < still[0],
            "stood still in {} of the steps, visited in {}",
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
