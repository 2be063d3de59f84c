//! Pins of threads to cores, with proof.
//!
//! A pin that fails silently makes every figure of a run worthless. So [`pin`] reads the mask back,
//! and a mismatch is an error.

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AffinityError {
    /// The core does not exist, or a cpuset or container forbids it.
    #[error("core {core} is not available to this process (allowed: {})", list(allowed))]
    Refused { core: usize, allowed: Vec<usize> },
    /// The kernel accepted the pin, but the mask has other cores.
    #[error("pinned to core {core}, but the thread may run on {got:?}")]
    NotKept { core: usize, got: Vec<usize> },
}

/// Lists the cores that the calling thread may run on; after [`pin`] one core.
pub fn cores() -> Vec<usize> {
    let mask = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::count()).filter(|&core| mask.is_set(core).unwrap_or(false)).collect()
}

/// Fails for a core that the calling thread may not run on.
pub fn check(core: usize) -> Result<(), AffinityError> {
    let allowed = cores();
    if allowed.contains(&core) { Ok(()) } else { Err(AffinityError::Refused { core, allowed }) }
}

fn list(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// Pins the calling thread, and threads that it starts later, to `core`.
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
