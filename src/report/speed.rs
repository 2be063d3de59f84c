//! How fast the server's core was in each trial: whether others on the same physical core made servers dearer.
//!
//! Before and after each load a fixed piece of work was timed on that core. Where it took longer, others used the other
//! half of the physical core, and the server was dearer by no fault of its own.
//!
//! Tried: taking what the piece's time explains out of the costs (analysis of covariance within a table). It explained
//! half of how far the costs of a server by itself scattered, but a quick ladder's intervals became 3 % shorter: others come
//! and go within a window, of which its two ends tell little.

use crate::record::Trial;

/// A piece that took this many times the best was slowed.
const SLOWED: f64 = 1.1;

/// Share of trials that were slowed above which a reader is told.
const SLOWED_SHARE: f64 = 0.1;

/// The best is the quickest but for one in so many, which may have been a slip of the clock.
const BEST_OF: usize = 50;

/// What a reader has to know of how fast the core was, if it was slowed often.
pub(super) fn warning(trials: &[Trial]) -> Option<String> {
    let slowest = |trial: &Trial| trial.reference_work_ns.map(|pieces| pieces[0].max(pieces[1]));
    let mut pieces: Vec<u64> =
        trials.iter().filter_map(|trial| trial.reference_work_ns).flatten().collect();
    pieces.sort_unstable();
    let best = *pieces.get(pieces.len() / BEST_OF)? as f64;
    let mut times: Vec<f64> =
        trials.iter().filter_map(slowest).map(|slowest| slowest as f64 / best).collect();
    times.sort_unstable_by(f64::total_cmp);
    let slowed = &times[times.partition_point(|times| *times <= SLOWED)..];
    let share = slowed.len() as f64 / times.len() as f64;
    (share > SLOWED_SHARE).then(|| {
        format!(
            "others slowed the server's core before or after {:.0} % of the trials, by {:.0} % in the middle",
            share * 100.0,
            (slowed[slowed.len() / 2] - 1.0) * 100.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::delta::tests::trial;

    /// Eight trials before and after which a piece took up to `times` times as long as the best.
    fn slowed(times: f64) -> Vec<Trial> {
        let of = |round| {
            let piece_ns = [80_000, (80_000.0 * (1.0 + times * f64::from(round) / 10.0)) as u64];
            Trial { reference_work_ns: Some(piece_ns), ..trial("uring/raw/npy", round, 1000) }
        };
        (0..8).map(of).collect()
    }

    #[test]
    fn a_core_that_was_often_slowed_is_told_of() {
        let text = warning(&slowed(1.0)).unwrap();
        assert!(text.contains("75 % of the trials, by 50 % in the middle"), "{text}");
    }

    #[test]
    fn a_steady_core_or_an_unknown_one_is_no_news() {
        assert_eq!(warning(&slowed(0.1)), None);
        assert_eq!(warning(&[trial("uring/raw/npy", 0, 1000)]), None);
        assert_eq!(warning(&[]), None);
    }
}
