//! What a request takes beside time: page faults under the load that is measured, and what the server was counted to do
//! for a request that is alone on its connection.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{Counts, Trial, Variant};

use super::compare::each;
use super::delta::{faults, measured};
use super::table::align;
use super::{Run, units};

/// What is known of a rung at an array.
#[derive(Default)]
struct Known<'a> {
    counts: Vec<&'a Counts>,
    timed: Vec<&'a Trial>,
}

/// The table of all rungs that were counted; `None` if none was.
pub fn render(run: &Run) -> Option<String> {
    let usual = || run.trials.iter().filter(|trial| trial.variant == Variant::Usual);
    let counted: BTreeSet<(u64, &str)> =
        usual().filter(|trial| trial.counts.is_some()).map(place).collect();
    let mut rungs: BTreeMap<(u64, &str), Known<'_>> = BTreeMap::new();
    for trial in usual().filter(|trial| counted.contains(&place(trial))) {
        let known = rungs.entry(place(trial)).or_default();
        match &trial.counts {
            Some(counts) => known.counts.push(counts),
            None if trial.is_timed() => known.timed.push(trial),
            None => {}
        }
    }
    if rungs.is_empty() {
        return None;
    }
    let heads = ["rung", "array", "page faults", "allocations", "bytes allocated", "system calls"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    lines.extend(rungs.into_iter().map(|(place, known)| line(place, &known)));
    Some(format!(
        "per request: page faults under load, the rest of a request that is alone on its connection\n{}",
        align(&lines)
    ))
}

fn place(trial: &Trial) -> (u64, &str) {
    (trial.array.bytes, &trial.rung)
}

fn line((bytes, rung): (u64, &str), known: &Known<'_>) -> Vec<String> {
    let text = |each: Option<f64>| each.map_or_else(|| "-".to_owned(), units::count);
    vec![
        rung.to_owned(),
        units::bytes(bytes),
        text(faults(&measured(&known.timed))),
        text(each(&known.counts, |counted| Some(counted.allocations?.count))),
        text(each(&known.counts, |counted| Some(counted.allocations?.bytes))),
        text(each(&known.counts, |counted| Some(counted.calls))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::tracer::Allocations;
    use crate::record::RequestCounts;
    use crate::report::delta::tests::{header, trial};

    fn counted(requests: u64) -> RequestCounts {
        let allocations = Allocations { count: 7 + 3 * requests, bytes: 99 + 200 * requests };
        RequestCounts {
            requests,
            calls: 5 + 2 * requests,
            allocations: Some(allocations),
            ..RequestCounts::default()
        }
    }

    #[test]
    fn what_happens_once_is_no_part_of_a_request() {
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
    }

    #[test]
    fn a_run_that_counts_nothing_has_no_table() {
        assert_eq!(render(&Run::new(header(), vec![trial("uring/raw/npy", 0, 1000)])), None);
    }
}
