//! Slowdowns of the server's core: a check whether other programs or guests used its physical core.
//!
//! Before and after each load a fixed piece of work is timed on the core
//! ([`probe::core_speed`](crate::probe::core_speed)). A longer time means that the server was
//! slowed by others and its figures are too high. Figures are not corrected for it.

use crate::record::Trial;

/// Factor over the best time from which on a piece counts as slowed.
const SLOWED: f64 = 1.1;

const SLOWED_SHARE: f64 = 0.1;

/// One in so many pieces may be quicker than the best, by an error of the clock.
const BEST_OF: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slowdown {
    pub share: f64,
    /// Median slowdown of these trials, as a share of the best time.
    pub median: f64,
}

/// Returns the slowdown, if many trials were slowed.
pub(super) fn slowdown(trials: &[Trial]) -> Option<Slowdown> {
    let pairs = || trials.iter().filter_map(|trial| trial.reference_work_ns);
    let mut pieces: Vec<u64> = pairs().flatten().collect();
    pieces.sort_unstable();
    let best = *pieces.get(pieces.len() / BEST_OF)? as f64;
    let mut times: Vec<f64> =
        pairs().map(|[before, after]| before.max(after) as f64 / best).collect();
    times.sort_unstable_by(f64::total_cmp);
    let slowed = &times[times.partition_point(|times| *times <= SLOWED)..];
    let share = slowed.len() as f64 / times.len() as f64;
    (share > SLOWED_SHARE).then(|| Slowdown { share, median: slowed[slowed.len() / 2] - 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::trial;

    fn slowed(factor: f64) -> Vec<Trial> {
        let trial = |round| {
            let after = 80_000.0 * (1.0 + factor * f64::from(round) / 10.0);
            let reference_work_ns = Some([80_000, after as u64]);
            Trial { reference_work_ns, ..trial("uring/raw/npy", round, 1000) }
        };
        (0..8).map(trial).collect()
    }

    #[test]
    fn a_frequently_slowed_core_is_reported() {
        assert_eq!(slowdown(&slowed(1.0)), Some(Slowdown { share: 0.75, median: 0.5 }));
    }

    #[test]
    fn a_steady_or_unknown_core_is_not_reported() {
        assert_eq!(slowdown(&slowed(0.1)), None);
        assert_eq!(slowdown(&[trial("uring/raw/npy", 0, 1000)]), None);
        assert_eq!(slowdown(&[]), None);
    }
}
