//! Verdict on a ratio of costs: faster, slower, the same, or unknown.
//!
//! A difference needs two things: its interval (taken with all others of its table, see
//! [`family`](super::family)) does not contain 1, and the ratio is further from 1 than the same run
//! showed for one rung under two names.

use super::bootstrap::Interval;

/// Noise floor: the largest logarithm of a ratio that is no difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Floor(f64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Faster,
    Slower,
    Same,
    Unknown,
}

impl Floor {
    pub fn of_share(share: f64) -> Floor {
        Floor(share.max(0.0).ln_1p())
    }

    /// Creates the floor from the log ratio of a rung to itself: the farther end of its interval.
    pub fn of_twins(log_ratio: &Interval) -> Option<Floor> {
        log_ratio.range.map(|(low, high)| Floor(low.abs().max(high.abs())))
    }

    pub fn max(self, other: Floor) -> Floor {
        Floor(self.0.max(other.0))
    }

    pub fn share(self) -> f64 {
        self.0.exp_m1()
    }

    pub fn log(self) -> f64 {
        self.0
    }
}

impl Verdict {
    pub fn judge(log_ratio: &Interval, floor: Floor) -> Verdict {
        let Some((low, high)) = log_ratio.range else {
            return Verdict::Unknown;
        };
        if high < 0.0 && log_ratio.estimate < -floor.0 {
            Verdict::Faster
        } else if low > 0.0 && log_ratio.estimate > floor.0 {
            Verdict::Slower
        } else {
            Verdict::Same
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::Same => "same",
            Verdict::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(estimate: f64, low: f64, high: f64) -> Interval {
        Interval { estimate, range: Some((low, high)), units: 10 }
    }

    #[test]
    fn a_difference_needs_its_interval_and_more_than_the_floor() {
        let floor = Floor::of_share(0.02);
        for (interval, want) in [
            (interval(0.10, 0.05, 0.15), Verdict::Slower),
            (interval(-0.10, -0.15, -0.05), Verdict::Faster),
            (interval(0.10, -0.01, 0.21), Verdict::Same),
            (interval(0.015, 0.01, 0.02), Verdict::Same),
            (interval(-0.015, -0.02, -0.01), Verdict::Same),
        ] {
            assert_eq!(Verdict::judge(&interval, floor), want, "{interval:?}");
        }
        let few = Interval { range: None, ..interval(1.0, 0.0, 0.0) };
        assert_eq!(Verdict::judge(&few, floor), Verdict::Unknown);
    }

    #[test]
    fn the_floor_is_the_farther_end_of_the_twins_interval() {
        let floor = Floor::of_twins(&interval(0.01, -0.01, 0.03)).unwrap();
        assert_eq!(floor.log(), 0.03);
        assert!((Floor::of_share(0.02).share() - 0.02).abs() < 1e-12);
        assert_eq!(floor.max(Floor::of_share(0.5)), Floor::of_share(0.5));
        assert_eq!(Floor::of_twins(&Interval { range: None, ..interval(0.0, 0.0, 0.0) }), None);
    }
}
