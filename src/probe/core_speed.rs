//! Speed of a core at the moment: the time that a fixed piece of work takes on it.
//!
//! While the other hyperthread of a physical core is busy, a server takes up to twice as long, and
//! no counter of the guest shows it. The work has six independent chains of additions, so it needs
//! all arithmetic units of a core: on an AMD EPYC it takes 28 or 50 µs, and changes between the two
//! within some ten milliseconds. Work that waits for the result of the last step, such as a chain
//! of multiplications, takes equally long in both cases. The work touches no memory, so no shared
//! cache counts.

use std::hint::black_box;
use std::thread;

use nix::time::{ClockId, clock_gettime};

use super::cpu_clock;
use crate::sys::affinity;

/// Steps of a piece, about 30 µs.
const STEPS: u64 = 30_000;

const PIECES: usize = 9;

/// Times the work on `core`, in processor time; `None` if this process may not run there. Takes
/// less than a millisecond, in which `core` should be idle.
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
    let mut chains: [u64; 6] = black_box([1, 2, 3, 4, 5, 6]);
    for step in 0..steps {
        for (chain, shift) in chains.iter_mut().zip([1, 3, 5, 7, 11, 13]) {
            *chain = (*chain ^ step).wrapping_add(*chain >> shift);
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
