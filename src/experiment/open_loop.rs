//! The open-loop part of a run: the rates that each rung is offered, derived from the closed loop.
//!
//! Rungs with the same standard server are offered the same rates, since latencies at different
//! rates cannot be compared. A rung is skipped at a rate that would show only its queue.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::record::trial_spec::Length;
use crate::record::{Outcome, Trial, Variant};
use crate::stats::location::location;

use super::any_rung::AnyRung;
use super::cell::Cell;
use super::plan::Plan;
use super::preset::Blocks;

/// Shares of the standard server's rate.
pub const SHARES: [f64; 3] = [0.3, 0.6, 0.8];

/// Highest share of a rung's own rate.
const OWN_SHARE_MAX: f64 = 0.9;

/// Length of a window. A 99.9th percentile takes thousands of requests.
const WINDOW: Duration = Duration::from_secs(1);

const BLOCKS: u32 = 3;

pub fn plan(closed: &Plan, trials: &[Trial]) -> Plan {
    let rates = rates(trials);
    let rate_of = |index: usize| rates.get(&(closed.first_cell + index as u32)).copied();
    let mut cells = Vec::new();
    for (index, cell) in closed.cells.iter().enumerate().filter(|(_, cell)| !cell.is_once) {
        let standard = closed.cells.iter().position(|other| is_standard(other, cell));
        let (Some(own), Some(standard)) = (rate_of(index), standard.and_then(rate_of)) else {
            continue;
        };
        for share in SHARES {
            let offered = (share * standard).round().max(1.0);
            let skip = (offered > OWN_SHARE_MAX * own).then(|| {
                format!("{offered:.0}/s is more than {OWN_SHARE_MAX} of its own rate, {own:.0}/s")
            });
            let window = Length::Time(WINDOW);
            cells.push(Cell { offered_hz: Some(offered), skip, window, ..cell.clone() });
        }
    }
    Plan {
        first_cell: closed.first_cell + closed.cells.len() as u32,
        blocks: Blocks { min: BLOCKS, max: BLOCKS, time: None },
        cells,
        ..closed.clone()
    }
}

/// Returns whether `other` is the standard server of `cell` under the same load.
fn is_standard(other: &Cell, cell: &Cell) -> bool {
    let is_usual = |cell: &Cell| cell.variant == Variant::Usual && !cell.is_once;
    is_usual(other)
        && is_usual(cell)
        && cell.reference.is_some_and(|reference| other.rung == AnyRung::Own(reference))
        && other.is_same_load(cell)
}

fn rates(trials: &[Trial]) -> BTreeMap<u32, f64> {
    let mut rates: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for trial in trials.iter().filter(|trial| trial.offered_hz.is_none()) {
        if let Outcome::Measured(measured) = &trial.outcome {
            let rate_hz = measured.requests as f64 * 1e9 / measured.wall_ns as f64;
            rates.entry(trial.cell).or_default().push(rate_hz);
        }
    }
    rates.into_iter().map(|(cell, mut rates)| (cell, location(&mut rates))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::options::RunOptions;
    use crate::experiment::preset::Preset;
    use crate::record::Measurement;

    fn trial(cell: u32, requests: u64) -> Trial {
        let measured = Measurement { requests, wall_ns: 1_000_000_000, ..Measurement::default() };
        Trial { cell, outcome: Outcome::Measured(Box::new(measured)), ..Trial::default() }
    }

    #[test]
    fn rungs_are_offered_parts_of_what_their_standard_reached_unless_it_is_too_much_for_them() {
        let options = RunOptions {
            rungs: Some("uring/h2/protobuf,tokio/{tonic,tonic:tuned}/protobuf:prost".into()),
            sizes: Some(vec![8]),
            rounds: Some(1),
            ..RunOptions::new(Preset::Quick)
        };
        let closed = options.plan().unwrap();
        let names: Vec<String> = closed.cells.iter().map(Cell::to_string).collect();
        assert!(names[1].starts_with("tokio/tonic/"), "{names:?}");
        let open = plan(&closed, &[trial(0, 900_000), trial(1, 100_000), trial(2, 70_000)]);
        let offered: Vec<(String, Option<f64>, bool)> = open
            .cells
            .iter()
            .map(|cell| (cell.rung.to_string(), cell.offered_hz, cell.skip.is_some()))
            .collect();
        assert_eq!(offered.len(), 9);
        assert_eq!(open.first_cell, 4, "three rungs and their null server");
        assert!(
            offered.iter().step_by(3).all(|(_, rate, skipped)| *rate == Some(30_000.0) && !skipped)
        );
        let skipped: Vec<&String> =
            offered.iter().filter(|(.., skipped)| *skipped).map(|(name, ..)| name).collect();
        assert_eq!(skipped, ["tokio/tonic:tuned/protobuf:prost"]);
    }
}
