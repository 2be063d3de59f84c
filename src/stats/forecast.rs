//! Forecast of a run's intervals after its first launches: their half-widths after all launches.
//!
//! The mean of the `r` rounds of a launch has the variance `between² + within² / r`. The center of
//! `n` launches is a trimmed mean, so its standard error is `√(variance / n / efficiency)`. The
//! interval of one of `m` figures reaches `t(1 - 0.05 / 2m)` standard errors, with the degrees of
//! freedom of `n` launches and those that the other figures lend ([`scatter`](super::scatter)).
//! After one launch nothing is known of `between`, so the forecast is then a lower bound.

use super::bootstrap::{CONFIDENCE, UNITS_MIN};
use super::components::{Components, squares};
use super::family::UNITS_OWN_MIN;
use super::scatter::{Common, Variance};
use super::student::reach;

/// Variance of the mean over the variance of the 20 % trimmed mean, for normal values: with
/// `z = 0.8416`, `0.36 / (0.6 - 2 z φ(z) + 0.4 z²)`.
const EFFICIENCY: f64 = 0.874;

/// Values of one figure: by launch, then by round.
pub type Launches = Vec<Vec<f64>>;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecast {
    /// Half-widths of the intervals of all figures, sorted.
    half_widths: Vec<f64>,
    /// True if each figure has one launch so far.
    pub is_lower_bound: bool,
}

impl Forecast {
    /// Forecasts the intervals of `families`, within each of which they hold together, for a run of
    /// `launches`. Figures without scatter of rounds are left out.
    pub fn of_families(families: &[Vec<Launches>], launches: usize) -> Forecast {
        let launched = families.iter().flatten().map(Vec::len).max().unwrap_or(0);
        let mut half_widths: Vec<f64> =
            families.iter().flat_map(|figures| half_widths(figures, launches)).collect();
        half_widths.sort_unstable_by(f64::total_cmp);
        Forecast { half_widths, is_lower_bound: launched < 2 }
    }

    /// Returns the half-width that `share` of the figures will not exceed; `None` without figures.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (self.half_widths.len() as f64 * share).ceil() as usize;
        self.half_widths.get(rank.saturating_sub(1)).copied()
    }
}

fn half_widths(figures: &[Launches], launches: usize) -> Vec<f64> {
    let within: Vec<(Variance, f64)> = figures.iter().filter_map(within).collect();
    let variances: Vec<Variance> = within.iter().map(|(variance, _)| *variance).collect();
    let common = Common::estimate(&variances);
    let degrees = launches.saturating_sub(1) + common.degrees();
    if launches < UNITS_OWN_MIN || degrees + 1 < UNITS_MIN {
        return Vec::new();
    }
    let between = Components::estimate(figures).map_or(0.0, |found| found.between);
    let beyond = (1.0 - CONFIDENCE) / 2.0 / within.len().max(1) as f64;
    let half_width = |(variance, rounds): &(Variance, f64)| {
        let of_launch = between.powi(2) + common.lend(*variance).value / rounds;
        reach(beyond, degrees + 1) * (of_launch / launches as f64 / EFFICIENCY).sqrt()
    };
    within.iter().map(half_width).collect()
}

/// Returns the variance of the values within the launches of a figure, and their mean number.
fn within(launches: &Launches) -> Option<(Variance, f64)> {
    let squares: f64 = launches.iter().map(|values| squares(values)).sum();
    let values: usize = launches.iter().map(Vec::len).sum();
    let degrees = values.saturating_sub(launches.len());
    let variance = Variance { value: squares / degrees as f64, degrees };
    (degrees > 0).then(|| (variance, values as f64 / launches.len() as f64))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;
    use crate::stats::bootstrap::{Bootstrap, Interval};
    use crate::stats::family::Family;

    const FIGURES: usize = 20;
    const ROUNDS: usize = 3;

    /// Simulates the figures of a section whose rounds scatter by 6 %.
    fn figures(seed: u64, launches: usize, between: f64) -> Vec<Launches> {
        let mut random = Pcg64::seed_from_u64(seed);
        let mut normal = || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let mut launch = || {
            let center = between * normal();
            (0..ROUNDS).map(|_| center + 0.06 * normal()).collect()
        };
        (0..FIGURES).map(|_| (0..launches).map(|_| launch()).collect()).collect()
    }

    /// Returns the median half-width of the intervals that the analysis gives in the end.
    fn median_in_the_end(figures: &[Launches]) -> f64 {
        let mean = |values: &Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        let member = |launches: &Launches| vec![launches.iter().map(mean).collect()];
        let members: Vec<_> = figures.iter().map(member).collect();
        let bootstrap = Bootstrap { resamples: 400, seed: 1 };
        let intervals = Family::new(bootstrap, &members).intervals();
        let widths = intervals.iter().flatten().filter_map(Interval::half_width);
        let mut half_widths: Vec<f64> = widths.collect();
        half_widths.sort_unstable_by(f64::total_cmp);
        half_widths[FIGURES / 2]
    }

    /// Returns the forecast over the width in the end, as the median of simulated runs.
    fn forecast_over_width(known: usize, launches: usize, between: f64) -> f64 {
        let run = |seed| {
            let all = figures(seed, launches, between);
            let begun: Vec<Launches> = all.iter().map(|all| all[..known].to_vec()).collect();
            let forecast = Forecast::of_families(&[begun], launches);
            forecast.quantile(0.5).expect("enough launches") / median_in_the_end(&all)
        };
        let mut quotients: Vec<f64> = (0..41).map(run).collect();
        quotients.sort_unstable_by(f64::total_cmp);
        quotients[20]
    }

    #[test]
    fn one_launch_forecasts_the_widths_of_launches_that_differ_by_their_rounds_only() {
        for launches in [5, 12, 30] {
            let quotient = forecast_over_width(1, launches, 0.0);
            assert!((0.9..1.1).contains(&quotient), "{launches}: {quotient}");
        }
    }

    #[test]
    fn two_launches_tell_how_much_launches_differ() {
        let (one, two) = (forecast_over_width(1, 12, 0.06), forecast_over_width(2, 12, 0.06));
        assert!(one < 0.7, "a lower bound: {one}");
        assert!((0.85..1.15).contains(&two), "{two}");
        assert!(Forecast::of_families(&[figures(1, 1, 0.0)], 12).is_lower_bound);
        assert!(!Forecast::of_families(&[figures(1, 2, 0.0)], 12).is_lower_bound);
    }

    #[test]
    fn more_launches_make_narrower_intervals_and_more_figures_wider_ones() {
        let figures = figures(3, 1, 0.0);
        let median = |figures: &[Launches], launches| {
            Forecast::of_families(&[figures.to_vec()], launches).quantile(0.5).unwrap()
        };
        assert!(median(&figures, 24) < 0.75 * median(&figures, 12));
        let alike = vec![figures[0].clone(); FIGURES];
        assert!(median(&alike, 12) > median(&alike[..10], 12));
    }

    #[test]
    fn few_launches_or_single_rounds_have_no_forecast() {
        let none = |families: &[Vec<Launches>], launches| {
            Forecast::of_families(families, launches).quantile(0.5).is_none()
        };
        assert!(none(&[figures(1, 1, 0.0)], 2));
        assert!(none(&[vec![vec![vec![0.1]]; 9]], 12), "one round in each launch");
        assert!(none(&[], 12) && none(&[vec![vec![]]], 12));
        // Two figures lend nothing, so four launches are too few.
        assert!(none(&[figures(1, 1, 0.0)[..2].to_vec()], 4));
    }

    #[test]
    fn a_quantile_is_the_width_of_that_share() {
        let half_widths = (1..=10).map(f64::from).collect();
        let forecast = Forecast { half_widths, is_lower_bound: true };
        let quantiles = [0.0, 0.5, 0.9, 1.0].map(|share| forecast.quantile(share).unwrap());
        assert_eq!(quantiles, [1.0, 5.0, 9.0, 10.0]);
    }
}
