//! Speed of a core at the moment: the time that a fixed piece of work takes on it.
//!
//! While the other hyperthread of a physical core is busy, the same work takes up to twice as long,
//! and no counter of the guest shows it. The work touches no memory, so no shared cache counts.

use std::hint::black_box;
use std::thread;

use nix::time::{ClockId, clock_gettime};

use super::cpu_clock;
use crate::sys::affinity;

/// Steps of a piece, about 0.1 ms, so few pieces contain a tick of the kernel.
const STEPS: u64 = 50_000;
const PIECES: usize = 9;

/// Times the work on `core`, in processor time; `None` if this process may not run there. Takes
/// about a millisecond, in which `core` should be idle.
pub fn reference_work_ns(core: usize) -> Option<u64> {
    let timed = || {
        affinity::pin(core).ok()?;
        let mut times: Vec<u64> = (0..PIECES).filter_map(|_| time(|| work(STEPS))).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    };
    thread::scope(|scope| scope.spawn(timed).join().ok().flatten())
}

fn time(work: impl FnOnce()) -> Option<u64> {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok().map(cpu_clock::nanoseconds);
    let begun = now()?;
    work();
    now().map(|ended| ended - begun)
}

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
    fn every_available_core_is_timed() {
        for core in affinity::cores() {
            assert!(reference_work_ns(core).is_some_and(|ns| ns > 1000), "core {core}");
        }
        assert_eq!(reference_work_ns(usize::MAX), None);
    }

    #[test]
    fn more_steps_take_longer() {
        let least = |steps| (0..20).filter_map(|_| time(|| work(steps))).min().expect("a clock");
        assert!(least(STEPS) > 2 * least(STEPS / 10));
    }
}
