//! Operating-system noise: how often and for how long an otherwise idle core is taken away.
//!
//! The tick, the kernel's threads and the hypervisor take a core for microseconds and account the
//! time to no process. A thread reads the clock in a loop and looks for gaps, as osnoise does.

use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::sys::affinity;

/// Shortest gap that counts; shorter ones are the cost of reading the clock.
const GAP_MIN: Duration = Duration::from_micros(5);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsNoise {
    pub watched_ns: u64,
    pub count: u64,
    pub lost_ns: u64,
}

/// Measures the noise of `core`; `None` if this process may not run on it.
pub fn measure(core: usize, time: Duration) -> Option<OsNoise> {
    let measure = || {
        affinity::pin(core).ok()?;
        let begun = Instant::now();
        let (mut last, mut count, mut lost) = (begun, 0, Duration::ZERO);
        while last - begun < time {
            let now = Instant::now();
            if now - last >= GAP_MIN {
                count += 1;
                lost += now - last;
            }
            last = now;
        }
        let nanoseconds = |time: Duration| time.as_nanos() as u64;
        Some(OsNoise { watched_ns: nanoseconds(last - begun), count, lost_ns: nanoseconds(lost) })
    };
    thread::scope(|scope| scope.spawn(measure).join().ok().flatten())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_core_is_watched_for_the_given_time() {
        let core = *affinity::cores().first().expect("a thread runs somewhere");
        let time = Duration::from_millis(5);
        let noise = measure(core, time).expect("the core is ours");
        assert!(noise.watched_ns >= 5_000_000 && noise.lost_ns <= noise.watched_ns, "{noise:?}");
        assert!(
            u128::from(noise.count) * GAP_MIN.as_nanos() <= u128::from(noise.lost_ns),
            "{noise:?}"
        );
        assert_eq!(measure(usize::MAX, time), None);
    }

    #[test]
    fn a_second_thread_on_the_core_is_noise() {
        let core = *affinity::cores().first().expect("a thread runs somewhere");
        let is_over = AtomicBool::new(false);
        let noise = thread::scope(|scope| {
            scope.spawn(|| {
                affinity::pin(core).expect("the core is ours");
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let noise = measure(core, Duration::from_millis(200));
            is_over.store(true, Ordering::Relaxed);
            noise.expect("the core is ours")
        });
        // Each thread gets a half, or less if other programs run too.
        assert!(noise.lost_ns * 4 > noise.watched_ns, "{noise:?}");
    }
}
