//! A handful of repeated measurements as one figure with its spread, and ratios of two that were taken in turns.
//!
//! It does not fit, test or smooth: with five to twenty rounds the median and the range say what there is to say.
//! Ratios are made within a round and only then summarised, so that a drift of the machine, which hits both sides of
//! a round alike, cancels.

use std::collections::HashMap;

use super::location::Sample;

/// The middle and the extent of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Half lie below.
    pub median: f64,
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
    /// How many there were; at least 1.
    pub count: usize,
}

impl Summary {
    /// Summarises `values`; `None` when there are none, or one is not a number.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Summary> {
        let mut values: Vec<f64> = values.into_iter().collect();
        if values.is_empty() || values.iter().any(|value| value.is_nan()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let count = values.len();
        let median = (values[(count - 1) / 2] + values[count / 2]) / 2.0;
        Some(Summary { median, low: values[0], high: values[count - 1], count })
    }

    /// Half the extent as a part of the median: 0.05 reads as "within 5 %, give or take".
    pub fn spread(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.high - self.low) / 2.0 / self.median }
    }
}

/// The ratio of `ours` to `theirs`, taken round by round; rounds that only one of them has do not count.
pub fn paired_ratio(ours: &[Sample], theirs: &[Sample]) -> Option<Summary> {
    let theirs: HashMap<u32, f64> = theirs.iter().map(|s| (s.round, s.value)).collect();
    Summary::of(ours.iter().filter_map(|sample| {
        let other = *theirs.get(&sample.round)?;
        (other > 0.0).then(|| sample.value / other)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[(u32, f64)]) -> Vec<Sample> {
        values.iter().map(|&(round, value)| Sample { round, value }).collect()
    }

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_two() {
        let summary = Summary::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(summary, Summary { median: 2.5, low: 1.0, high: 4.0, count: 4 });
        assert_eq!(Summary::of([7.0]).unwrap().median, 7.0);
        assert_eq!(Summary::of([3.0, 1.0, 2.0]).unwrap().median, 2.0);
    }

    #[test]
    fn nothing_has_no_summary() {
        assert_eq!(Summary::of([]), None);
        assert_eq!(Summary::of([1.0, f64::NAN]), None);
    }

    #[test]
    fn the_spread_is_half_the_extent() {
        assert!((Summary::of([95.0, 100.0, 105.0]).unwrap().spread() - 0.05).abs() < 1e-12);
        assert_eq!(Summary::of([0.0]).unwrap().spread(), 0.0);
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        // Both double in round 1: the ratio of the medians would hide that they move together.
        let ours = samples(&[(0, 1.0), (1, 2.0), (2, 1.2)]);
        let theirs = samples(&[(2, 2.0), (0, 2.0), (1, 4.0), (3, 9.0)]);
        let ratio = paired_ratio(&ours, &theirs).unwrap();
        assert_eq!(ratio, Summary { median: 0.5, low: 0.5, high: 0.6, count: 3 });
    }

    #[test]
    fn rounds_without_a_partner_do_not_count() {
        assert_eq!(paired_ratio(&samples(&[(0, 1.0)]), &samples(&[(1, 1.0)])), None);
        assert_eq!(paired_ratio(&samples(&[(0, 1.0)]), &samples(&[(0, 0.0)])), None);
    }
}
