//! How fast a core is at the moment, by the time that a fixed piece of work takes there.
//!
//! A virtual core is often half of a physical one. While somebody else runs on the other half, all that keeps its
//! arithmetic busy takes up to twice as long, and nobody says so: the time is not stolen, and no clock runs slower. So
//! a piece of work that fills a core's arithmetic and touches no memory is timed. It says nothing of caches that are
//! shared.

use std::hint::black_box;
use std::thread;

use nix::time::{ClockId, clock_gettime};

use super::clock;
use crate::sys::affinity;

/// Steps of a piece: a tenth of a millisecond, so that the kernel's tick falls into few of them.
const STEPS: u64 = 50_000;

/// Pieces, of which the middle one counts.
const PIECES: usize = 9;

/// Nanoseconds of processor time that a piece of work takes on `core`; `None` if this process may not run there.
/// Takes a millisecond, in which `core` should have nothing else to do.
pub fn piece_ns(core: usize) -> Option<u64> {
    let timed = || {
        affinity::pin(core).ok()?;
        let mut times: Vec<u64> = (0..PIECES).filter_map(|_| time(|| work(STEPS))).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    };
    thread::scope(|scope| scope.spawn(timed).join().ok().flatten())
}

/// Processor time of this thread that `work` takes.
fn time(work: impl FnOnce()) -> Option<u64> {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok().map(clock::nanoseconds);
    let begun = now()?;
    work();
    now().map(|ended| ended - begun)
}

/// Four chains of arithmetic that do not wait for each other.
fn work(steps: u64) {
    let mut chains: [u64; 4] = black_box([1, 2, 3, 4]);
    for _ in 0..steps {
        for (chain, factor) in chains.iter_mut().zip([3, 5, 7, 9]) {
            *chain = chain.wrapping_mul(factor).wrapping_add(1);
            *chain ^= *chain >> 7;
        }
    }
    black_box(chains);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_of_ours_takes_its_time() {
        for core in affinity::cores() {
            assert!(piece_ns(core).is_some_and(|ns| ns > 1000), "core {core}");
        }
        assert_eq!(piece_ns(usize::MAX), None);
    }

    #[test]
    fn more_steps_take_longer() {
        let least = |steps| (0..20).filter_map(|_| time(|| work(steps))).min().expect("a clock");
        assert!(least(STEPS) > 2 * least(STEPS / 10));
    }
}
