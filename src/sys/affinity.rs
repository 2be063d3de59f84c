//! Pins a worker to a core, and proves it.
//!
//! A pin that silently fails makes every figure of a run worthless (two workers on one core, or one that wanders),
//! so the mask is read back and a mismatch is an error. Cores have the kernel's numbers, as in `taskset`.

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

/// Why a thread could not be pinned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AffinityError {
    /// The core does not exist, or a cpuset or container withholds it.
    #[error("cannot pin to core {core}: expected one of the cores {allowed:?}")]
    Refused {
        /// Core asked for.
        core: usize,
        /// Cores this thread may run on.
        allowed: Vec<usize>,
    },
    /// The kernel accepted the pin but the mask says otherwise.
    #[error("pinned to core {core}, but the thread may run on {got:?}")]
    NotKept {
        /// Core asked for.
        core: usize,
        /// Cores read back.
        got: Vec<usize>,
    },
}

/// The cores that the calling thread may run on, in order; after [`pin`] that is one.
pub fn cores() -> Vec<usize> {
    let mask = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::count()).filter(|&core| mask.is_set(core).unwrap_or(false)).collect()
}

/// Pins the calling thread, and the threads it starts from now on, to `core`.
pub fn pin(core: usize) -> Result<(), AffinityError> {
    let exists = core < CpuSet::count();
    if !exists || !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        return Err(AffinityError::Refused { core, allowed: cores() });
    }
    match cores() {
        got if got == [core] => Ok(()),
        got => Err(AffinityError::NotKept { core, got }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pins inside a thread of its own, so that the test process keeps its mask.
    fn pinned<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(work).join().expect("no panic"))
    }

    #[test]
    fn a_pinned_thread_may_run_on_that_core_only() {
        let last = *cores().last().expect("a thread runs somewhere");
        assert_eq!(pinned(|| pin(last).map(|()| cores())), Ok(vec![last]));
    }

    #[test]
    fn a_pin_can_be_moved() {
        let all = cores();
        let moved = pinned(|| all.iter().map(|&core| pin(core)).collect::<Result<Vec<()>, _>>());
        assert!(moved.is_ok(), "{moved:?}");
    }

    #[test]
    fn a_missing_core_is_named_with_the_ones_there_are() {
        for core in [CpuSet::count() - 1, CpuSet::count(), usize::MAX] {
            let error = pin(core).expect_err("no such core");
            assert_eq!(error, AffinityError::Refused { core, allowed: cores() });
        }
    }
}
