//! Sources of scatter of a section's figures: slices, rounds and launches.

use crate::stats::components::Components;

use super::cell::CellTrials;

/// Standard deviations, as shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scatter {
    /// Costs of the slices of one server in one launch.
    slices: f64,
    /// Ratios of a launch's rounds, and of launches beyond that.
    ratios: Components,
}

impl Scatter {
    /// Evaluates cells and the pairs of cells that are compared; `None` without slices.
    pub(super) fn evaluate<'a>(
        cells: impl Iterator<Item = &'a CellTrials<'a>>,
        pairs: impl Iterator<Item = (&'a CellTrials<'a>, &'a CellTrials<'a>)>,
    ) -> Option<Scatter> {
        let costs: Vec<_> = cells.map(CellTrials::slice_logs).collect();
        let ratios: Vec<_> = pairs.map(|(ours, theirs)| ours.round_log_ratios(theirs)).collect();
        let ratios: Vec<Vec<Vec<f64>>> = ratios
            .into_iter()
            .map(|launches| launches.into_iter().map(|(_, logs)| logs).collect())
            .collect();
        let slices = Components::estimate(&costs)?.within;
        Some(Scatter { slices, ratios: Components::estimate(&ratios)? })
    }

    pub fn line(&self) -> String {
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let state = if self.ratios.launches_dominate() {
            "; launches dominate: the state of a process differs (malloc, addresses)"
        } else {
            ""
        };
        format!(
            "scatter: costs of slices {}, ratios of rounds {}, of launches {}{state}",
            percent(self.slices),
            percent(self.ratios.within),
            percent(self.ratios.between)
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::record::tests::trial;
    use crate::record::{Outcome, Slice, Trial};
    use crate::report::aggregate::sections;

    /// A trial of four slices whose costs alternate by `round_ns` and differ by launch.
    fn sliced(rung: &str, launch: u32, cost_ns: u64, round_ns: u64, launch_ns: u64) -> Trial {
        let mut trial = trial(rung, launch, cost_ns);
        if let Outcome::Measured(measured) = &mut trial.outcome {
            let slice = |number: u64| {
                let cost = cost_ns + number % 2 * round_ns + u64::from(launch % 2) * launch_ns;
                Slice { requests: 100, server_cpu_ns: Some(100 * cost), ..Slice::default() }
            };
            measured.slices = (0..4).map(slice).collect();
        }
        trial
    }

    fn line(round_ns: u64, launch_ns: u64) -> Option<String> {
        let root = |launch| sliced("uring/raw/reflect", launch, 1000, 0, 0);
        let child = |launch| sliced("uring/h1/reflect", launch, 2000, round_ns, launch_ns);
        let trials: Vec<Trial> = (0..6).flat_map(|launch| [root(launch), child(launch)]).collect();
        sections(&trials).remove(0).scatter.map(|scatter| scatter.line())
    }

    #[test]
    fn the_larger_source_is_named() {
        let rounds = line(200, 0).unwrap();
        assert!(rounds.contains("ratios of rounds 5.5 %, of launches 0.0 %"), "{rounds}");
        let launches = line(2, 200).unwrap();
        assert!(launches.contains("launches dominate"), "{launches}");
    }

    #[test]
    fn whole_windows_have_no_slices() {
        let trials = [trial("uring/raw/reflect", 0, 1), trial("uring/h1/reflect", 0, 2)];
        assert_eq!(sections(&trials).remove(0).scatter, None);
    }
}
