//! How often and for how long a core is taken from the thread that wants it, with nothing of ours beside.
//!
//! The kernel's tick, its own threads and the hypervisor take a core for microseconds at a time and count it as
//! nobody's. A load generator can be no more punctual than that. What osnoise and sysjitter do: read the clock over and
//! over, and look for the gaps.

use std::thread;
use std::time::{Duration, Instant};

use crate::record::Interruptions;

use crate::sys::affinity;

/// Gaps below this are reading the clock.
const GAP_MIN: Duration = Duration::from_micros(5);

/// Watches `core` for `time`; `None` if this process may not run there.
pub fn watch(core: usize, time: Duration) -> Option<Interruptions> {
    let watch = || {
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
        Some(Interruptions {
            watched_ns: nanoseconds(last - begun),
            count,
            lost_ns: nanoseconds(lost),
        })
    };
    thread::scope(|scope| scope.spawn(watch).join().ok().flatten())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_core_is_watched_as_long_as_was_asked_for() {
        let core = *affinity::cores().first().expect("a thread runs somewhere");
        let time = Duration::from_millis(5);
        let seen = watch(core, time).expect("it is ours");
        assert!(seen.watched_ns >= 5_000_000 && seen.lost_ns <= seen.watched_ns, "{seen:?}");
        assert!(
            u128::from(seen.count) * GAP_MIN.as_nanos() <= u128::from(seen.lost_ns),
            "{seen:?}"
        );
        assert_eq!(watch(usize::MAX, time), None);
    }

    #[test]
    fn a_thread_that_wants_the_core_too_takes_it() {
        let core = *affinity::cores().first().expect("a thread runs somewhere");
        let is_over = AtomicBool::new(false);
        let seen = thread::scope(|scope| {
            scope.spawn(|| {
                affinity::pin(core).expect("it is ours");
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let seen = watch(core, Duration::from_millis(200));
            is_over.store(true, Ordering::Relaxed);
            seen.expect("it is ours")
        });
        // Each has half, or less where others run too.
        assert!(seen.lost_ns * 4 > seen.watched_ns, "{seen:?}");
    }
}
