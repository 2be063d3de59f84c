//! Events of the kernel for each request under load: system calls by name, entries of io_uring,
//! context switches and page faults, counted in the servers that were sampled.

use std::collections::BTreeSet;

use crate::probe::kernel_counts::{
    COMPLETIONS, CONTEXT_SWITCHES, KernelCounts, PAGE_FAULTS, SUBMISSIONS, SYSTEM_CALLS,
    system_call_names,
};
use crate::record::Variant;

use super::cell::CellTrials;
use super::text::{WIDTH_MAX, align, connections};
use super::wrap::wrap;
use super::{Run, aggregate, units};

const TITLE: &str = "events of the kernel for each request under load, in the sampled servers";

const COLUMNS: [&str; 5] = [SYSTEM_CALLS, CONTEXT_SWITCHES, PAGE_FAULTS, SUBMISSIONS, COMPLETIONS];

/// Counts of one rung, and the requests in which they were counted.
struct RungCounts<'a> {
    rung: &'a str,
    counts: KernelCounts,
    requests: u64,
}

/// Renders a table for each array and load; `None` for a run without such counts.
pub(super) fn render(run: &Run) -> Option<String> {
    let mut text = String::new();
    let mut missing: BTreeSet<String> = BTreeSet::new();
    for cells in aggregate::cells_by_section(&run.trials) {
        let counted: Vec<RungCounts<'_>> = cells.iter().filter_map(RungCounts::new).collect();
        let Some(first) = cells.first().filter(|_| !counted.is_empty()) else { continue };
        missing.extend(counted.iter().flat_map(|rung| rung.counts.missing.clone()));
        let trial = first.first();
        let title = format!(
            "{TITLE}: {}, {}, {} in flight",
            units::array(&trial.array),
            connections(trial.connections),
            trial.in_flight_sent()
        );
        text.push_str(&wrap("", &title, WIDTH_MAX));
        text.push_str(&table(&counted));
    }
    for reason in missing {
        text.push_str(&wrap("  missing: ", &reason, WIDTH_MAX));
    }
    (!text.is_empty()).then_some(text)
}

impl<'a> RungCounts<'a> {
    fn new(cell: &CellTrials<'a>) -> Option<RungCounts<'a>> {
        let trial = cell.first();
        if trial.variant != Variant::Profiled {
            return None;
        }
        let mut all =
            RungCounts { rung: &trial.rung, counts: KernelCounts::default(), requests: 0 };
        for (_, measured) in cell.measured() {
            let Some(counts) = &measured.server_kernel else { continue };
            all.counts = all.counts.plus(counts);
            all.requests += measured.requests;
        }
        (all.requests > 0).then_some(all)
    }

    fn of_request(&self, name: &str) -> Option<f64> {
        Some(*self.counts.counts.get(name)? as f64 / self.requests as f64)
    }

    /// Returns the system calls by name, the most frequent first; `None` if none was counted.
    fn calls(&self) -> Option<String> {
        let all = self.of_request(SYSTEM_CALLS)?;
        let named = system_call_names().filter_map(|name| Some((name, self.of_request(name)?)));
        by_name(all, named.collect())
    }
}

/// Lists system calls by name, the most frequent first, and the rest of `all`; `None` if no figure
/// is above 0.
pub(super) fn by_name(all: f64, mut named: Vec<(&str, f64)>) -> Option<String> {
    let others = all - named.iter().map(|(_, each)| each).sum::<f64>();
    named.sort_by(|one, other| other.1.total_cmp(&one.1));
    named.push(("others", others.max(0.0)));
    let shown = named.iter().map(|(name, each)| (name, units::count(*each)));
    let shown = shown.filter(|(_, each)| each != "0");
    let parts: Vec<String> = shown.map(|(name, each)| format!("{name} {each}")).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn table(counted: &[RungCounts<'_>]) -> String {
    let text = |each: Option<f64>| each.map_or_else(|| "-".to_owned(), units::count);
    let mut lines = vec![vec!["rung".to_owned()]];
    lines[0].extend(COLUMNS.map(str::to_owned));
    for rung in counted {
        let mut line = vec![rung.rung.to_owned()];
        line.extend(COLUMNS.map(|name| text(rung.of_request(name))));
        lines.push(line);
    }
    let calls = counted
        .iter()
        .filter_map(|rung| Some(wrap(&format!("  {}: ", rung.rung), &rung.calls()?, WIDTH_MAX)));
    align(&lines) + &calls.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{header, trial};
    use crate::record::{Outcome, Trial};

    /// Two launches of a profiled server, each with 100 requests.
    fn run(counts: &[(&str, u64)], missing: &[&str]) -> Run {
        let launch = |round| {
            let mut trial = trial("uring/h1/npy", round, 1000);
            trial.variant = Variant::Profiled;
            let Outcome::Measured(measured) = &mut trial.outcome else { unreachable!() };
            measured.server_kernel = Some(KernelCounts {
                counts: counts.iter().map(|(name, it)| ((*name).to_owned(), *it)).collect(),
                missing: missing.iter().map(|reason| (*reason).to_owned()).collect(),
            });
            trial
        };
        Run::new(header(), vec![launch(0), launch(1)])
    }

    fn flat(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn counts_are_those_of_a_request_and_calls_have_names() {
        let counts = [
            (SYSTEM_CALLS, 250),
            ("io_uring_enter", 200),
            ("madvise", 30),
            ("futex", 0),
            (PAGE_FAULTS, 4),
            (CONTEXT_SWITCHES, 1),
            (SUBMISSIONS, 103),
            (COMPLETIONS, 104),
        ];
        let text = flat(&render(&run(&counts, &[])).expect("one was counted"));
        assert!(text.contains("uring/h1/npy 2.5 0.010 0.040 1.0 1.0"), "{text}");
        let calls = "uring/h1/npy: io_uring_enter 2.0, madvise 0.3, others 0.2";
        assert!(text.contains(calls), "{text}");
        assert!(!text.contains("missing") && !text.contains("futex"), "{text}");
    }

    #[test]
    fn what_could_not_be_counted_is_said_once() {
        let text = render(&run(&[(PAGE_FAULTS, 4)], &["no tracefs; mount it"])).expect("some");
        let text = flat(&text);
        assert!(text.contains("uring/h1/npy - - 0.040 - -"), "{text}");
        assert_eq!(text.matches("missing: no tracefs; mount it").count(), 1, "{text}");
    }

    #[test]
    fn a_run_without_counts_has_no_table() {
        let trial = Trial { variant: Variant::Profiled, ..trial("uring/h1/npy", 0, 1000) };
        assert_eq!(render(&Run::new(header(), vec![trial])), None);
    }
}
