//! Update of the CPU clock of a process that runs on another core.
//!
//! The CPU clock of another process holds the time that its threads had used when they last slept
//! or saw a tick, up to 4 ms ago at 250 ticks a second (`thread_group_cputime` in the kernel's
//! `kernel/sched/cputime.c`). The kernel also updates a thread's time when another thread is
//! scheduled on its core, so a helper thread moves there for a moment. That costs the core two
//! context switches. If the helper is not scheduled within a millisecond, the clock is unchanged.

use std::cell::Cell;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::process_tree::busy_cores;
use crate::sys::affinity;

/// Longest wait for the helper thread on one core. A sync takes about 30 us.
const SYNC_MAX: Duration = Duration::from_millis(1);

/// Handle of the helper thread, which sleeps between syncs and ends with the handle.
#[derive(Debug)]
pub struct CpuClockSync {
    /// Number of an order and the core to run on.
    orders: Sender<(u64, usize)>,
    /// Numbers of the finished orders.
    finished: Receiver<u64>,
    last_order: Cell<u64>,
}

impl CpuClockSync {
    pub fn start() -> io::Result<CpuClockSync> {
        let (orders, next) = channel::<(u64, usize)>();
        let (report, finished) = channel();
        thread::Builder::new().name("cpu-clock-sync".to_owned()).spawn(move || {
            while let Ok((number, core)) = next.recv() {
                // On a core that is not available to us the clock stays as it was.
                _ = affinity::pin(core);
                if report.send(number).is_err() {
                    break;
                }
            }
        })?;
        Ok(CpuClockSync { orders, finished, last_order: Cell::new(0) })
    }

    /// Updates the clocks of all running threads of process `pid` and of its descendants. Returns
    /// false if the helper thread was late.
    pub fn sync(&self, pid: u32) -> io::Result<bool> {
        let mut is_synced = true;
        for core in busy_cores(pid)? {
            let until = Instant::now() + SYNC_MAX;
            let number = self.last_order.get() + 1;
            self.last_order.set(number);
            if self.orders.send((number, core)).is_err() {
                return Ok(false);
            }
            let next =
                || self.finished.recv_timeout(until.saturating_duration_since(Instant::now()));
            is_synced &= loop {
                match next() {
                    // An earlier order that was late.
                    Ok(finished) if finished != number => {}
                    answer => break answer.is_ok(),
                }
            };
        }
        Ok(is_synced)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::super::{cpu_clock, process_tree};
    use super::*;

    const STEP: Duration = Duration::from_micros(300);

    fn arrivals(pid: u32) -> Option<u64> {
        let process = process_tree::process(pid).ok()?;
        let (arrived, status) = (process.schedstat().ok()?.pcount, process.status().ok()?);
        let left = status.voluntary_ctxt_switches? + status.nonvoluntary_ctxt_switches?;
        (arrived == left + 1).then_some(arrived)
    }

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

    fn stood_still(Busy(busy): &Busy, sync: Option<&CpuClockSync>) -> f64 {
        let (mut steps, mut still) = (0, 0);
        let mut before = 0;
        let mut arrived = None;
        let end = Instant::now() + Duration::from_secs(20);
        while steps < 50 && Instant::now() < end {
            let until = Instant::now() + STEP;
            while Instant::now() < until {}
            let has_run = arrived.is_some() && arrivals(busy.id()) == arrived;
            let is_synced = sync.map(|sync| sync.sync(busy.id())).transpose();
            let has_run = has_run && is_synced.expect("it lives").unwrap_or(true);
            let now = cpu_clock::process_cpu(busy.id()).expect("it lives").total_ns;
            steps += usize::from(has_run);
            still += usize::from(has_run && now == before);
            before = now;
            arrived = arrivals(busy.id());
        }
        assert!(steps >= 10, "it ran through {steps} steps only");
        still as f64 / steps as f64
    }

    #[test]
    fn the_clock_of_a_busy_process_is_not_a_tick_behind() {
        let busy = Busy::start();
        let sync = CpuClockSync::start().expect("a thread");
        let still = [stood_still(&busy, None), stood_still(&busy, Some(&sync))];
        assert!(
            still[1] * 4.0 < still[0],
            "the clock stood still in {} of the steps, with syncs in {}",
            still[0],
            still[1]
        );
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        let sync = CpuClockSync::start().expect("a thread");
        assert!(sync.sync(i32::MAX as u32).is_err());
    }
}
