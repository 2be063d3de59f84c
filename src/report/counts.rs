//! Activity per request other than time: page faults under load, and the counts of a traced server.
//!
//! Requests are counted one at a time on one connection ([`Counts`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{Counts, RequestCounts, Trial, Variant};

use super::cell::CellTrials;
use super::kernel_counts::by_name;
use super::text::{WIDTH_MAX, align};
use super::wrap::wrap;
use super::{Run, units};

pub(super) const TITLE: &str =
    "per request: page faults under load; the other columns for one request at a time";

#[derive(Default)]
struct Place<'a> {
    counts: Vec<&'a Counts>,
    timed: CellTrials<'a>,
}

/// Renders the table of all counted rungs; `None` if no rung was counted.
pub fn render(run: &Run) -> Option<String> {
    let lines = lines(run)?;
    let calls = places(run).into_iter().filter_map(|((bytes, rung), place)| {
        let name = format!("  {rung}, {}: ", units::bytes(bytes));
        Some(wrap(&name, &place.calls_by_name()?, WIDTH_MAX))
    });
    Some(format!("{TITLE}\n{}", align(&lines)) + &calls.collect::<String>())
}

/// Returns head and lines of the table; `None` if no rung was counted.
pub(super) fn lines(run: &Run) -> Option<Vec<Vec<String>>> {
    let places = places(run);
    if places.is_empty() {
        return None;
    }
    let heads = ["rung", "array", "page faults", "allocations", "bytes allocated", "system calls"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    lines.extend(places.into_iter().map(|(key, place)| line(key, &place)));
    Some(lines)
}

/// Returns the counted rungs by array and name, with their timed trials.
fn places(run: &Run) -> BTreeMap<(u64, &str), Place<'_>> {
    let usual = || run.trials.iter().filter(|trial| trial.variant == Variant::Usual);
    let counted: BTreeSet<(u64, &str)> =
        usual().filter(|trial| trial.counts.is_some()).map(key).collect();
    let mut places: BTreeMap<(u64, &str), Place<'_>> = BTreeMap::new();
    for trial in usual().filter(|trial| counted.contains(&key(trial))) {
        let place = places.entry(key(trial)).or_default();
        match &trial.counts {
            Some(counts) => place.counts.push(counts),
            None if trial.is_timed() => place.timed.0.push(trial),
            None => {}
        }
    }
    places
}

impl Place<'_> {
    /// Returns the system calls by name; `None` if the records do not have them.
    fn calls_by_name(&self) -> Option<String> {
        let passes = self.counts.iter().flat_map(|counts| [&counts.few, &counts.many]);
        let names: BTreeSet<&str> =
            passes.flat_map(|pass| pass.calls_by_name.keys().map(String::as_str)).collect();
        let of_request = |name: &str| {
            per_request(&self.counts, |pass| {
                Some(pass.calls_by_name.get(name).copied().unwrap_or(0))
            })
        };
        let all =
            per_request(&self.counts, |pass| Some(pass.calls)).filter(|_| !names.is_empty())?;
        let named = names.into_iter().filter_map(|name| Some((name, of_request(name)?)));
        by_name(all, named.collect())
    }
}

/// Returns the count of one request: the difference of two numbers of requests, divided by it. The
/// least of several passes counts, since disturbances only add.
pub(super) fn per_request(
    passes: &[&Counts],
    count: impl Fn(&RequestCounts) -> Option<u64>,
) -> Option<f64> {
    let least = |part: fn(&Counts) -> &RequestCounts| {
        passes.iter().filter_map(|counts| Some((count(part(counts))?, part(counts).requests))).min()
    };
    let (few, fewer) = least(|counts| &counts.few)?;
    let (many, more) = least(|counts| &counts.many)?;
    let requests = more.checked_sub(fewer).filter(|requests| *requests > 0)?;
    Some((many as f64 - few as f64) / requests as f64)
}

fn key(trial: &Trial) -> (u64, &str) {
    (trial.array.bytes, &trial.rung)
}

fn line((bytes, rung): (u64, &str), place: &Place<'_>) -> Vec<String> {
    let text = |each: Option<f64>| each.map_or_else(|| "-".to_owned(), units::count);
    let counted =
        |count: fn(&RequestCounts) -> Option<u64>| text(per_request(&place.counts, count));
    vec![
        rung.to_owned(),
        units::bytes(bytes),
        text(place.timed.page_faults()),
        counted(|counts| Some(counts.allocations?.count)),
        counted(|counts| Some(counts.allocations?.bytes)),
        counted(|counts| Some(counts.calls)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::tracer::Allocations;
    use crate::record::tests::{header, trial};

    fn counted(requests: u64) -> RequestCounts {
        let allocations = Allocations { count: 7 + 3 * requests, bytes: 99 + 200 * requests };
        RequestCounts {
            requests,
            calls: 5 + 2 * requests,
            calls_by_name: [("read".to_owned(), 3 + requests)].into(),
            allocations: Some(allocations),
            ..RequestCounts::default()
        }
    }

    #[test]
    fn activity_per_connection_is_not_counted() {
        let counts = Some(Counts { few: counted(16), many: counted(32) });
        let trials = vec![
            trial("uring/raw/npy", 0, 1000),
            Trial { counts, cell: 9, ..trial("uring/raw/npy", 0, 1000) },
            trial("uring/h1/npy", 0, 1000),
        ];
        let text = render(&Run::new(header(), trials)).expect("one was counted");
        let line: Vec<&str> = text.lines().nth(2).expect("a row").split_whitespace().collect();
        assert_eq!(line, ["uring/raw/npy", "8", "B", "0.5", "3.0", "200", "2.0"], "{text}");
        assert!(!text.contains("uring/h1/npy"), "{text}");
        assert!(text.ends_with("  uring/raw/npy, 8 B: read 1.0, others 1.0\n"), "{text}");
    }

    #[test]
    fn a_run_without_counts_has_no_table() {
        assert_eq!(render(&Run::new(header(), vec![trial("uring/raw/npy", 0, 1000)])), None);
    }
}
