//! Center of a few values, some of which may be outliers: the 20 % trimmed mean. Values by block.
//!
//! The mean is not used: one disturbed trial in twenty doubles or triples its interval. The median
//! discards half of the information of undisturbed trials.

use std::collections::BTreeMap;

/// Share of the values that is left out at each end.
pub const TRIM: f64 = 0.2;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Block (a round of the ladder), from 0.
    pub round: u32,
    pub value: f64,
}

/// Returns the trimmed mean of `values`, and sorts them; NaN without values.
pub fn location(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let cut = (values.len() as f64 * TRIM) as usize;
    let kept = &values[cut..values.len() - cut];
    kept.iter().sum::<f64>() / kept.len() as f64
}

/// Returns the logarithm of `ours` over `theirs`, by block; only for pairs of positive values.
pub fn log_ratios(ours: &[Sample], theirs: &[Sample]) -> Vec<Sample> {
    paired(ours, theirs, |our, their| (our > 0.0 && their > 0.0).then(|| (our / their).ln()))
}

pub fn differences(ours: &[Sample], theirs: &[Sample]) -> Vec<Sample> {
    paired(ours, theirs, |our, their| Some(our - their))
}

/// Merges two series of one figure, by block: the mean of both values, or the only value.
pub fn means(some: &[Sample], more: &[Sample]) -> Vec<Sample> {
    let mut by_round: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for sample in some.iter().chain(more) {
        by_round.entry(sample.round).or_default().push(sample.value);
    }
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    by_round.into_iter().map(|(round, values)| Sample { round, value: mean(values) }).collect()
}

/// Returns the logarithm of each positive value.
pub fn logs(values: &[Sample]) -> Vec<Sample> {
    let log = |sample: &Sample| {
        (sample.value > 0.0).then(|| Sample { value: sample.value.ln(), ..*sample })
    };
    values.iter().filter_map(log).collect()
}

pub(super) fn by_round(samples: &[Sample], rounds: &[u32]) -> Vec<Option<f64>> {
    let values: BTreeMap<u32, f64> = samples.iter().map(|s| (s.round, s.value)).collect();
    rounds.iter().map(|round| values.get(round).copied()).collect()
}

fn paired(
    ours: &[Sample],
    theirs: &[Sample],
    value: impl Fn(f64, f64) -> Option<f64>,
) -> Vec<Sample> {
    let theirs: BTreeMap<u32, f64> = theirs.iter().map(|s| (s.round, s.value)).collect();
    let pair = |sample: &Sample| {
        let value = value(sample.value, *theirs.get(&sample.round)?)?;
        Some(Sample { value, ..*sample })
    };
    ours.iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[(u32, f64)]) -> Vec<Sample> {
        values.iter().map(|&(round, value)| Sample { round, value }).collect()
    }

    #[test]
    fn two_series_merge_into_their_means() {
        let some = samples(&[(0, 1.0), (2, 5.0)]);
        let more = samples(&[(0, 2.0), (1, 7.0)]);
        assert_eq!(means(&some, &more), samples(&[(0, 1.5), (1, 7.0), (2, 5.0)]));
    }

    #[test]
    fn one_outlier_of_five_does_not_move_the_center() {
        assert_eq!(location(&mut [1.0, 2.0, 3.0, 4.0, 900.0]), 3.0);
        assert_eq!(location(&mut [5.0, 1.0]), 3.0);
        assert!(location(&mut []).is_nan());
    }

    #[test]
    fn a_ratio_is_taken_within_each_block() {
        // Both double in block 1; a ratio of the centers would hide that.
        let ours = samples(&[(0, 1.0), (1, 2.0), (2, 1.0)]);
        let theirs = samples(&[(2, 2.0), (0, 2.0), (1, 4.0), (3, 9.0)]);
        let ratios = log_ratios(&ours, &theirs);
        assert_eq!(ratios.iter().map(|s| s.round).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(ratios.iter().all(|s| (s.value - 0.5_f64.ln()).abs() < 1e-12));
    }

    #[test]
    fn blocks_without_both_values_are_left_out() {
        assert_eq!(log_ratios(&samples(&[(0, 1.0)]), &samples(&[(1, 1.0)])), []);
        assert_eq!(log_ratios(&samples(&[(0, 1.0)]), &samples(&[(0, 0.0)])), []);
        assert_eq!(differences(&samples(&[(0, 3.0)]), &samples(&[(0, 1.0)]))[0].value, 2.0);
        assert_eq!(logs(&samples(&[(0, 0.0), (1, 1.0)])), samples(&[(1, 0.0)]));
    }
}
