//! Forecast of a run that has begun: how well its ratios will be known in the end.

use crate::record::Trial;
use crate::stats::forecast::Forecast;

use super::{aggregate, compare};

/// Share of the ratios that counts as almost all.
const MOST: f64 = 0.9;

/// Forecasts the ratios of a ladder after `blocks`, in words; `None` for too few blocks, and for
/// trials that are not in slices.
pub fn of_ladder(trials: &[Trial], blocks: u32) -> Option<String> {
    words(&Forecast::of_families(&aggregate::round_log_ratios(trials), blocks as usize))
}

/// Forecasts the ratios of a comparison of builds after `blocks`, in words.
pub fn of_builds(trials: &[Trial], blocks: u32) -> Option<String> {
    words(&Forecast::of_families(&[compare::round_log_ratios(trials)?], blocks as usize))
}

fn words(forecast: &Forecast) -> Option<String> {
    let [half, most] = [0.5, MOST].map(|share| forecast.quantile(share).map(percent));
    let (half, most) = (half?, most?);
    let both = if half == most {
        format!("nine in ten intervals will be about {most} wide")
    } else {
        format!("half of the intervals will be about {half} wide, nine in ten at most {most}")
    };
    let caution = if forecast.is_lower_bound {
        "; wider if a server's cost changes from launch to launch"
    } else {
        ""
    };
    Some(both + caution)
}

/// Formats half the width of an interval of log ratios as a share of the ratio.
fn percent(half_width: f64) -> String {
    match half_width.sinh() * 100.0 {
        small if small < 0.95 => format!("±{small:.1} %"),
        large => format!("±{large:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::trial;
    use crate::record::{Outcome, Side, Slice, Variant};

    /// A trial of four slices, of which every other one costs `round_ns` more.
    fn sliced(rung: &str, launch: u32, cost_ns: u64, round_ns: u64) -> Trial {
        let mut trial = trial(rung, launch, cost_ns);
        if let Outcome::Measured(measured) = &mut trial.outcome {
            let slice = |number: u64| {
                let cost = cost_ns + number % 2 * round_ns;
                Slice { requests: 100, server_cpu_ns: Some(100 * cost), ..Slice::default() }
            };
            measured.slices = (0..4).map(slice).collect();
        }
        trial
    }

    fn ladder(launches: u32) -> Vec<Trial> {
        let both = |launch| {
            let root = sliced("uring/raw/reflect", launch, 1000, 0);
            [root, sliced("uring/h1/reflect", launch, 2000, 300)]
        };
        (0..launches).flat_map(both).collect()
    }

    #[test]
    fn a_ladder_is_forecast_from_its_first_block() {
        // Standard deviation of rounds 8.1 %, so 1.2 % of 12 launches; t(11) is 2.20.
        assert_eq!(
            of_ladder(&ladder(1), 12).unwrap(),
            "nine in ten intervals will be about ±3 % wide; wider if a server's cost changes \
             from launch to launch"
        );
        assert!(of_ladder(&ladder(2), 12).unwrap().ends_with("±3 % wide"));
        assert_eq!(of_ladder(&ladder(1), 3), None);
        assert_eq!(of_ladder(&[trial("uring/raw/reflect", 0, 1000)], 12), None);
    }

    #[test]
    fn builds_are_averaged_within_a_launch() {
        let of = |builds: u32| {
            let side = |number, side, cost_ns, round_ns| Trial {
                cell: 2 * number + side as u32,
                variant: Variant::Build { side, number },
                ..sliced("uring/raw/reflect", 0, cost_ns, round_ns)
            };
            let both =
                |number| [side(number, Side::Old, 1000, 0), side(number, Side::New, 990, 150)];
            let trials: Vec<Trial> = (0..builds).flat_map(both).collect();
            of_builds(&trials, 12)
        };
        assert!(of(1).unwrap().starts_with("nine in ten intervals will be about ±3 % wide"));
        assert_eq!(of(1), of(2), "these builds scatter in step");
        assert_eq!(of(5), None, "differences of builds are unknown");
    }
}
