//! A run without what no report shows of it: the latencies of a cell's trials, merged into one
//! histogram.
//!
//! Reports merge the latencies of a cell before they take a quantile, and merging loses nothing. So
//! one trial holds those of all, and the others hold none.

use std::collections::BTreeMap;

use crate::record::{Outcome, Trial, Variant};

use super::super::super::Run;
use super::super::super::cell::{CellTrials, SectionKey, section_key};

/// Trials whose latencies reports may merge: number of the cell, rung, variant, load, offered rate,
/// and true for counted requests.
type Key<'a> = (u32, &'a str, Variant, SectionKey<'a>, Option<u64>, bool);

/// Returns the run with the latencies of each cell in the first trial that counts.
pub(super) fn condense(run: &Run) -> Run {
    let mut cells: BTreeMap<Key<'_>, Vec<usize>> = BTreeMap::new();
    for (index, trial) in run.trials.iter().enumerate() {
        cells.entry(key(trial)).or_default().push(index);
    }
    let mut texts: Vec<Option<String>> = vec![None; run.trials.len()];
    for places in cells.values() {
        let cell = CellTrials(places.iter().map(|place| &run.trials[*place]).collect());
        let counted = |place: &&usize| cell.is_noisy() || run.trials[**place].discarded.is_none();
        let holder = places.iter().filter(counted).find(
            |place| matches!(&run.trials[**place].outcome, Outcome::Measured(m) if m.requests > 0),
        );
        if let Some((holder, latencies)) = holder.zip(cell.latencies()) {
            texts[*holder] = Some(latencies.to_text());
        }
    }
    let mut condensed = run.clone();
    for (trial, text) in condensed.trials.iter_mut().zip(texts) {
        if let Outcome::Measured(measured) = &mut trial.outcome {
            measured.latency_histogram = text.unwrap_or_default();
        }
    }
    condensed
}

fn key(trial: &Trial) -> Key<'_> {
    let rate = trial.offered_hz.map(f64::to_bits);
    let counted = trial.counts.is_some();
    (trial.cell, &trial.rung, trial.variant, section_key(trial), rate, counted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{header, trial};
    use crate::report::{csv, table};

    #[test]
    fn every_report_stays_the_same() {
        let text = std::fs::read_to_string("tests/data/report/records.jsonl").expect("a record");
        let run = Run::parse(&text).expect("version 3");
        let condensed = condense(&run);
        assert_ne!(run, condensed);
        assert_eq!(table::render(&run), table::render(&condensed));
        assert_eq!(csv::render(&run), csv::render(&condensed));
        assert_eq!(condense(&condensed), condensed);
    }

    #[test]
    fn the_first_trial_that_counts_holds_the_latencies() {
        let disturbed = Some("disturbed".to_owned());
        let mut trials: Vec<Trial> = (0..3).map(|round| trial("uring/h1/npy", round, 1)).collect();
        trials[0].discarded = disturbed;
        let condensed = condense(&Run::new(header(), trials));
        let holds = |trial: &Trial| match &trial.outcome {
            Outcome::Measured(measured) => !measured.latency_histogram.is_empty(),
            _ => false,
        };
        assert_eq!(condensed.trials.iter().map(holds).collect::<Vec<_>>(), [false, true, false]);
    }
}
