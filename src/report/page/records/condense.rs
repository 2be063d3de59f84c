//! A run without what no report shows of it.
//!
//! Reports merge the latencies of a cell before they take a quantile, and merging loses nothing. So
//! one trial holds those of all, and the others hold none. The same is true of the functions of a
//! profile, of which a report lists the most frequent ones of each layer. No report shows latencies
//! of servers that only serve to measure others: delayed, planted and sampled ones.

use std::collections::{BTreeMap, BTreeSet};

use crate::axis::Layer;
use crate::probe::profile::{FunctionSamples, Profile};
use crate::record::{Outcome, Trial, Variant};

use super::super::super::Run;
use super::super::super::cell::{CellTrials, SectionKey, section_key};
use super::super::super::profile::FUNCTIONS;

/// Trials whose latencies reports may merge: number of the cell, rung, variant, load, offered rate,
/// and true for counted requests.
type Key<'a> = (u32, &'a str, Variant, SectionKey<'a>, Option<u64>, bool);

/// Returns the run with the latencies and functions of each cell in the first trial that counts.
pub(super) fn condense(run: &Run) -> Run {
    let mut cells: BTreeMap<Key<'_>, Vec<usize>> = BTreeMap::new();
    for (index, trial) in run.trials.iter().enumerate() {
        cells.entry(key(trial)).or_default().push(index);
    }
    let mut texts: Vec<Option<String>> = vec![None; run.trials.len()];
    let mut functions: Vec<Option<Functions>> = vec![None; run.trials.len()];
    for places in cells.values() {
        let cell = CellTrials(places.iter().map(|place| &run.trials[*place]).collect());
        let is_noisy = cell.is_noisy();
        let counted: Vec<usize> = places
            .iter()
            .copied()
            .filter(|place| is_noisy || run.trials[*place].discarded.is_none())
            .collect();
        let holder = counted.iter().find(
            |place| matches!(&run.trials[**place].outcome, Outcome::Measured(m) if m.requests > 0),
        );
        let latencies = if shows_latencies(cell.first()) { cell.latencies() } else { None };
        if let Some((holder, latencies)) = holder.zip(latencies) {
            texts[*holder] = Some(latencies.to_text());
        }
        let profile = |place: usize| Some((place, run.trials[place].profile.as_deref()?));
        let profiles: Vec<(usize, &Profile)> =
            counted.into_iter().filter_map(profile).filter(|(_, it)| it.samples > 0).collect();
        for (place, merged) in merge(&profiles) {
            functions[place] = Some(merged);
        }
    }
    let mut condensed = run.clone();
    for ((trial, text), functions) in condensed.trials.iter_mut().zip(texts).zip(functions) {
        if let Outcome::Measured(measured) = &mut trial.outcome {
            measured.latency_histogram = text.unwrap_or_default();
        }
        if let Some(profile) = &mut trial.profile {
            functions.unwrap_or_default().replace_those_of(profile);
        }
    }
    condensed
}

fn key(trial: &Trial) -> Key<'_> {
    let rate = trial.offered_hz.map(f64::to_bits);
    let counted = trial.counts.is_some();
    (trial.cell, &trial.rung, trial.variant, section_key(trial), rate, counted)
}

fn shows_latencies(trial: &Trial) -> bool {
    matches!(trial.variant, Variant::Usual | Variant::Build { .. })
}

/// Functions of a profile: of each layer, and those without a rule.
#[derive(Clone, Default)]
struct Functions {
    layers: BTreeMap<Layer, Vec<FunctionSamples>>,
    unknown: Vec<FunctionSamples>,
}

impl Functions {
    fn replace_those_of(mut self, profile: &mut Profile) {
        for (layer, samples) in &mut profile.layers {
            samples.functions = self.layers.remove(layer).unwrap_or_default();
        }
        profile.unknown = self.unknown;
    }
}

/// Merges the functions of each layer into the first profile that has the layer.
fn merge(profiles: &[(usize, &Profile)]) -> BTreeMap<usize, Functions> {
    let mut merged: BTreeMap<usize, Functions> = BTreeMap::new();
    let layers: BTreeSet<Layer> =
        profiles.iter().flat_map(|(_, profile)| profile.layers.keys().copied()).collect();
    for layer in layers {
        let of_layer = |(place, profile): &(usize, &'_ Profile)| {
            Some((*place, profile.layers.get(&layer)?.functions.clone()))
        };
        let all: Vec<(usize, Vec<FunctionSamples>)> =
            profiles.iter().filter_map(of_layer).collect();
        if let Some((holder, _)) = all.first() {
            let functions = most(all.iter().flat_map(|(_, functions)| functions));
            merged.entry(*holder).or_default().layers.insert(layer, functions);
        }
    }
    if let Some((holder, _)) = profiles.first() {
        let all = profiles.iter().flat_map(|(_, profile)| &profile.unknown);
        merged.entry(*holder).or_default().unknown = most(all);
    }
    merged
}

/// Returns the most frequent functions of several lists, as many as a report lists.
fn most<'a>(all: impl Iterator<Item = &'a FunctionSamples>) -> Vec<FunctionSamples> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for FunctionSamples { function, samples } in all {
        *sums.entry(function).or_default() += samples;
    }
    let mut sums: Vec<(&str, u64)> = sums.into_iter().collect();
    sums.sort_by_key(|(_, samples)| std::cmp::Reverse(*samples));
    let function =
        |(function, samples): (&str, u64)| FunctionSamples { function: function.into(), samples };
    sums.into_iter().take(FUNCTIONS).map(function).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{header, trial};
    use crate::report::tests::profile::launches;
    use crate::report::{csv, profile, table};

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

    #[test]
    fn the_first_profile_that_counts_holds_the_functions_of_all() {
        let mut trials = launches(0, "uring/h1/npy", 400);
        let function = |name: &str, samples| FunctionSamples { function: name.into(), samples };
        for (number, trial) in trials.iter_mut().enumerate() {
            let Some(profile) = &mut trial.profile else { continue };
            let socket = profile.layers.get_mut(&Layer::KernelSocket).expect("it has samples");
            // A function that no launch has in its first three, but all together.
            socket.functions.push(function(&format!("tcp_{number}"), 20));
            socket.functions.push(function("tcp_ack", 19));
            profile.unknown = vec![function(&format!("f{number}"), 1), function("g", 1)];
            // A layer that one launch has.
            if number == 5 {
                profile.layers.insert(Layer::Runtime, profile.layers[&Layer::Allocator].clone());
            }
        }
        trials[1].discarded = Some("disturbed".to_owned());
        let run = Run::new(header(), trials);
        let condensed = condense(&run);
        assert_eq!(profile::render(&condensed), profile::render(&run));
        assert!(profile::render(&run).expect("layers").contains("tcp_ack 1.9 %"));
        assert_eq!(condense(&condensed), condensed);
        let holds = |trial: &Trial| {
            let profile = trial.profile.as_deref()?;
            let all = profile.layers.values().map(|layer| layer.functions.len());
            Some(all.sum::<usize>() + profile.unknown.len())
        };
        let counts: Vec<usize> = condensed.trials.iter().filter_map(holds).collect();
        // One function each of framing and allocator, three of the socket, three without a rule.
        assert_eq!(counts, [0, 8, 1, 0, 0, 0]);
    }
}
