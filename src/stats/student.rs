//! Quantiles of Student's t and the tail of the normal distribution (integer degrees of freedom).
//!
//! Spec: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3, 26.7.4 (the share of t
//! within a bound as a series of its angle) and 26.2.14 (the normal tail as a continued fraction).

use std::f64::consts::{FRAC_2_PI, TAU};

/// Upper bound of every quantile in use: t with one degree of freedom leaves out 3e-10 there.
const REACH_MAX: f64 = 1e9;

/// Returns the standard errors of `units` values that leave out `beyond` (0 to 0.5) on one side.
pub fn reach(beyond: f64, units: usize) -> f64 {
    let degrees = units.max(2) - 1;
    let (mut low, mut high) = (0.0, REACH_MAX);
    while high - low > 1e-12 * high {
        let middle = f64::midpoint(low, high);
        if (1.0 - within(middle, degrees)) / 2.0 > beyond {
            low = middle;
        } else {
            high = middle;
        }
        if high < 1e-12 {
            break;
        }
    }
    high
}

/// Returns the share of a normal distribution beyond `reach` (at least 1) on one side.
pub fn normal_beyond(reach: f64) -> f64 {
    // At this depth the error is below 1e-12 for a reach of 1 and more.
    let fraction = (1..=200).rev().fold(reach, |below, step| reach + f64::from(step) / below);
    (-reach * reach / 2.0).exp() / TAU.sqrt() / fraction
}

fn within(t: f64, degrees: usize) -> f64 {
    let angle = (t / (degrees as f64).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    let is_odd = degrees % 2 == 1;
    let first = usize::from(is_odd);
    let (mut term, mut sum) = (if is_odd { cos } else { 1.0 }, 0.0);
    for power in (first..(degrees + first).saturating_sub(1)).step_by(2) {
        sum += term;
        term *= cos * cos * (power as f64 + 1.0) / (power as f64 + 2.0);
    }
    if is_odd { FRAC_2_PI * (angle + sin * sum) } else { sin * sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_t_agree_with_a_table() {
        for (beyond, units, want) in [
            (0.025, 2, 12.706_205),
            (0.025, 3, 4.302_653),
            (0.025, 5, 2.776_445),
            (0.025, 6, 2.570_582),
            (0.005, 11, 3.169_273),
            (0.0005, 21, 3.849_516),
            (0.025, 121, 1.979_930),
        ] {
            let got = reach(beyond, units);
            assert!((got - want).abs() < 2e-6, "{beyond} {units}: {got}, expected {want}");
        }
    }

    #[test]
    fn the_normal_tail_agrees_with_a_table() {
        for (reach, want) in [(1.0, 0.158_655_254), (1.959_964, 0.025), (3.0, 0.001_349_898)] {
            let got = normal_beyond(reach);
            assert!((got - want).abs() < 1e-8, "{reach}: {got}, expected {want}");
        }
    }

    #[test]
    fn t_with_many_units_is_normal() {
        assert!((normal_beyond(reach(0.025, 10_001)) - 0.025).abs() < 1e-4);
        assert!(reach(0.5, 5).abs() < 1e-9);
    }
}
