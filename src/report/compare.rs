//! Two builds, or two runs, against each other: what each cell costs now over what it cost, and whether anything that
//! can be counted has grown.
//!
//! Counts come first: they do not scatter, so a request that takes one system call more than it did is slower whatever
//! the clock says of it here. A difference in time counts where its interval (one family over all cells) does not hold
//! 1 and it is beyond the threshold.
//!
//! Two runs were not tried in turns: what the machine did between them counts as a difference, which is said.

use std::collections::BTreeMap;

use crate::record::{Counts, RequestCounts, Side, Trial, Variant};
use crate::stats::bootstrap::{Bootstrap, Interval};
use crate::stats::family::{Family, Member};
use crate::stats::location;
use crate::stats::verdict::{Floor, Verdict};

use super::delta::{self, server_costs};
use super::table::align;
use super::{Run, speed, status, units};

/// Part by which a count has to grow to count: bytes that only pace a connection come and go with time.
const COUNT_GROWTH_MIN: f64 = 0.01;

/// How much it has to grow beside that: a wait that ends early for the tracing is a call more in some fifty requests.
const COUNT_SLACK: f64 = 0.25;

/// All that was compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Cell by cell.
    pub cells: Vec<Compared>,
    /// What was counted and differs, or could not be counted.
    pub counts: Vec<Count>,
    /// Differences up to here are none.
    pub threshold: Floor,
    /// What has to be known of the machine, if anything.
    pub warning: Option<String>,
}

/// One cell, then and now.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Rung, array and load.
    pub name: String,
    /// The ratio of the new cost to the old, and what it says; or why there is none.
    pub result: Result<(Interval, Verdict), String>,
    /// What it cost.
    pub old_ns: Option<Interval>,
    /// Page faults of a request, then and now; shown, since they follow from what a process has touched before.
    pub faults: [Option<f64>; 2],
}

/// A number per request that does not depend on time.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// Rung and array.
    pub name: String,
    /// What was counted.
    pub what: &'static str,
    /// A request's, then; `None` where it cannot be counted.
    pub old: Option<f64>,
    /// A request's, now.
    pub new: Option<f64>,
    /// True of what may not grow.
    pub is_gate: bool,
}

impl Comparison {
    /// Of a run that tried builds of both sides.
    pub fn of_builds(run: &Run, threshold: Floor) -> Comparison {
        let mut cells: BTreeMap<_, BTreeMap<(u32, Side), Vec<&Trial>>> = BTreeMap::new();
        for trial in run.trials.iter().filter(|trial| trial.is_timed()) {
            if let Variant::Build { side, number } = trial.variant {
                let sides = cells.entry((delta::key(trial), trial.rung.as_str())).or_default();
                sides.entry((number, side)).or_default().push(trial);
            }
        }
        let pairs = cells.into_values().map(|sides| {
            let mut builds: BTreeMap<u32, Pair<'_>> = BTreeMap::new();
            for ((number, side), trials) in sides {
                builds.entry(number).or_default()[side as usize] = trials;
            }
            builds.into_values().collect()
        });
        let counts = counts(&run.trials);
        let warning = speed::warning(&run.trials);
        Comparison { cells: compare(pairs.collect(), threshold), counts, threshold, warning }
    }

    /// Of two runs of the same cells.
    pub fn of_runs(old: &Run, new: &Run, threshold: Floor) -> Comparison {
        let mut cells: BTreeMap<_, Pair<'_>> = BTreeMap::new();
        for (side, run) in [old, new].into_iter().enumerate() {
            let is_usual = |t: &&Trial| t.variant == Variant::Usual && t.is_timed();
            for trial in run.trials.iter().filter(is_usual) {
                cells.entry((delta::key(trial), trial.rung.as_str())).or_default()[side]
                    .push(trial);
            }
        }
        let pairs = cells.into_values().map(|pair| vec![pair]).collect();
        let warning = speed::warning(&old.trials).or_else(|| speed::warning(&new.trials));
        Comparison { cells: compare(pairs, threshold), counts: Vec::new(), threshold, warning }
    }

    /// Why the new side is worse, if it is: counts first.
    pub fn objections(&self) -> Vec<String> {
        let grown = self.counts.iter().filter(|count| count.has_grown()).map(Count::line);
        let slower = self.cells.iter().filter_map(|cell| match &cell.result {
            Ok((_, Verdict::Slower)) => Some(format!("{} is slower", cell.name)),
            Ok(_) => None,
            Err(reason) => Some(format!("{}: {reason}", cell.name)),
        });
        grown.chain(slower).collect()
    }

    /// As a table and a verdict.
    pub fn render(&self) -> String {
        let heads = ["cell", "old CPU/request", "new / old", "page faults/request", "verdict"];
        let mut lines = vec![heads.map(str::to_owned).to_vec()];
        for Compared { name, result, old_ns, faults } in &self.cells {
            let old = old_ns.map_or_else(|| "-".to_owned(), |ns| units::time(ns.estimate));
            match result {
                Ok((ratio, verdict)) => {
                    let word = verdict.word().to_owned();
                    let [then, now] =
                        faults.map(|faults| faults.map_or_else(|| "-".to_owned(), units::count));
                    let faults = format!("{then} -> {now}");
                    lines.push(vec![name.clone(), old, units::ratio(ratio), faults, word]);
                }
                Err(reason) => lines.push(vec![name.clone(), reason.clone()]),
            }
        }
        let warned = self.warning.iter().map(|warning| format!("warning: {warning}\n"));
        let mut text = warned.collect::<String>() + &align(&lines);
        for count in &self.counts {
            text.push_str(&format!("  {}\n", count.line()));
        }
        text.push_str(&format!(
            "same: no difference beyond {:.1} % was shown; the intervals of all cells hold together at 95 %\n",
            self.threshold.share() * 100.0
        ));
        text
    }
}

/// Trials of the old side and of the new one.
type Pair<'a> = [Vec<&'a Trial>; 2];

/// Compares cells, each given build by build.
fn compare(cells: Vec<Vec<Pair<'_>>>, threshold: Floor) -> Vec<Compared> {
    let members: Vec<Member> = cells.iter().map(|builds| log_ratios(builds)).collect();
    let intervals = Family::new(Bootstrap::default(), &members).intervals();
    let compared = |(builds, log): (Vec<Pair<'_>>, Option<Interval>)| {
        let all = |side: usize| -> Vec<&Trial> {
            builds.iter().flat_map(|pair| pair[side].iter().copied()).collect()
        };
        let (old, new) = (all(0), all(1));
        let obstacle = |which, trials: &[&Trial]| match status::obstacle(trials) {
            None if trials.is_empty() => Some(format!("not tried on the {which} side")),
            reason => reason.map(|reason| format!("{which}: {reason}")),
        };
        let result = match obstacle("old", &old).or_else(|| obstacle("new", &new)) {
            Some(reason) => Err(reason),
            None => log
                .map(|log| (log.exp(), Verdict::of(&log, threshold)))
                .ok_or_else(|| "no block in which both were measured".to_owned()),
        };
        let name = old.first().or(new.first()).map_or_else(String::new, |trial| name(trial));
        let faults = [&old, &new].map(|trials| delta::faults(&delta::measured(trials)));
        Compared { name, result, old_ns: delta::absolute(&server_costs(&old)), faults }
    };
    cells.into_iter().zip(intervals).map(compared).collect()
}

fn log_ratios(builds: &[Pair<'_>]) -> Member {
    let of = |[old, new]: &Pair<'_>| {
        let ratios = location::log_ratios(&server_costs(new), &server_costs(old));
        ratios.into_iter().map(|sample| sample.value).collect()
    };
    builds.iter().map(of).collect()
}

fn name(trial: &Trial) -> String {
    let Trial { rung, array, connections, in_flight, .. } = trial;
    format!(
        "{rung} {} {connections}x{}",
        units::bytes(array.bytes),
        in_flight / connections.max(&1)
    )
}

impl Count {
    /// True when it is more than it was, of what may not grow.
    pub fn has_grown(&self) -> bool {
        let grown = |(old, new)| self.is_gate && new > old * (1.0 + COUNT_GROWTH_MIN) + COUNT_SLACK;
        self.old.zip(self.new).is_some_and(grown)
    }

    fn line(&self) -> String {
        let Count { name, what, old, new, is_gate } = self;
        let (Some(old), Some(new)) = (old, new) else {
            let side = if old.is_none() { "old" } else { "new" };
            return format!("{name}: {what} per request: cannot be counted of the {side} build");
        };
        let change = match (is_gate, self.has_grown()) {
            (true, true) => ": MORE",
            (true, false) => ": no more",
            (false, _) => "",
        };
        format!("{name}: {old:.2} -> {new:.2} {what} per request{change}")
    }
}

/// What is counted of a request, how, and whether it may not grow. Bytes that are asked of the allocator may: a buffer
/// that is larger and kept is no worse.
type What = (&'static str, fn(&RequestCounts) -> Option<u64>, bool);

const WHATS: [What; 5] = [
    ("system calls", |counted| Some(counted.calls), true),
    ("allocations", |counted| Some(counted.allocations?.count), true),
    ("bytes allocated", |counted| Some(counted.allocations?.bytes), false),
    ("bytes to the client", |counted| Some(counted.bytes_in), true),
    ("bytes to the server", |counted| Some(counted.bytes_out), true),
];

/// What one request was counted to take, by rung and array: the least of a side's builds.
fn counts(trials: &[Trial]) -> Vec<Count> {
    type Builds<'a> = BTreeMap<(Side, u32), Vec<&'a Counts>>;
    let mut cells: BTreeMap<(u64, &str), Builds<'_>> = BTreeMap::new();
    for trial in trials {
        if let (Some(counts), Variant::Build { side, number }) = (&trial.counts, trial.variant) {
            let builds = cells.entry((trial.array.bytes, &trial.rung)).or_default();
            builds.entry((side, number)).or_default().push(counts);
        }
    }
    let mut all = Vec::new();
    for ((bytes, rung), builds) in cells {
        for (what, count, is_gate) in WHATS {
            let least = |side| {
                let of_side = builds.iter().filter(|((of, _), _)| *of == side);
                of_side.filter_map(|(_, passes)| each(passes, count)).reduce(f64::min)
            };
            let name = format!("{rung} {}", units::bytes(bytes));
            all.push(Count { name, what, old: least(Side::Old), new: least(Side::New), is_gate });
        }
    }
    all
}

/// What a request takes: the difference of two numbers of requests, over as many requests. Of several passes the least
/// of each counts, since what disturbs one only adds.
pub(super) fn each(passes: &[&Counts], count: fn(&RequestCounts) -> Option<u64>) -> Option<f64> {
    let least = |of: fn(&Counts) -> &RequestCounts| {
        passes.iter().filter_map(|counts| Some((count(of(counts))?, of(counts).requests))).min()
    };
    let (few, fewer) = least(|counts| &counts.few)?;
    let (many, more) = least(|counts| &counts.many)?;
    let requests = more.checked_sub(fewer).filter(|requests| *requests > 0)?;
    Some((many as f64 - few as f64) / requests as f64)
}

/// True when every ratio between builds is known to within 2 %.
pub fn is_enough(trials: &[Trial]) -> bool {
    let run = Run::new(crate::record::Header::default(), trials.to_vec());
    let comparison = Comparison::of_builds(&run, Floor::default());
    comparison.cells.iter().all(|cell| match &cell.result {
        Ok((ratio, _)) => ratio
            .half_width()
            .is_some_and(|half| half <= super::noise::WIDTH_WANTED * ratio.estimate),
        Err(_) => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::tracer::Allocations;
    use crate::record::Outcome;
    use crate::report::delta::tests::{header, trial, with};

    fn run(trials: Vec<Trial>) -> Run {
        Run::new(header(), trials)
    }

    fn build(side: Side, number: u32, round: u32, cost_ns: u64) -> Trial {
        let variant = Variant::Build { side, number };
        Trial { variant, ..trial("uring/h1/npy", round, cost_ns) }
    }

    /// Ten blocks of two builds, the new of which costs `ratio` times as much.
    fn builds(ratio: f64) -> Vec<Trial> {
        let both = |round: u32| {
            let cost = |luck: u32| 100_000 + u64::from(luck * 7 % 5) * 300;
            let new = (cost(round + 2) as f64 * ratio) as u64;
            [build(Side::Old, 0, round, cost(round)), build(Side::New, 0, round, new)]
        };
        (0..10).flat_map(both).collect()
    }

    /// A count of requests that take `calls` and `allocations` each, with `more` calls beside in the larger one.
    fn counted(side: Side, calls: u64, allocations: Option<u64>, more: u64) -> Trial {
        let counted = |requests: u64| RequestCounts {
            requests,
            calls: 50 + requests * calls,
            bytes_in: 100 * requests,
            bytes_out: 100 * requests,
            allocations: allocations.map(|each| {
                let count = 30 + each * requests;
                Allocations { count, bytes: 64 * count }
            }),
        };
        let (few, mut many) = (counted(200), counted(400));
        many.calls += more;
        Trial { counts: Some(Counts { few, many }), ..build(side, 0, 0, 1) }
    }

    #[test]
    fn a_slower_build_is_an_objection_and_the_same_one_is_none() {
        let threshold = Floor::of_share(0.02);
        let verdict = |ratio| Comparison::of_builds(&run(builds(ratio)), threshold);
        assert_eq!(verdict(1.1).objections(), ["uring/h1/npy 8 B 1x1000 is slower"]);
        assert_eq!(verdict(1.0).objections(), [""; 0]);
        assert_eq!(verdict(0.9).objections(), [""; 0]);
        assert!(verdict(0.9).render().contains("faster"));
        assert!(is_enough(&builds(1.0)) && !is_enough(&builds(1.0)[..4]));
    }

    fn comparison(counted: impl IntoIterator<Item = Trial>) -> Comparison {
        let mut trials = builds(0.9);
        trials.extend(counted);
        Comparison::of_builds(&run(trials), Floor::of_share(0.02))
    }

    #[test]
    fn what_is_counted_is_the_harder_gate() {
        let both = |old: (u64, u64), new: (u64, u64)| {
            let [old, new] =
                [(Side::Old, old), (Side::New, new)].map(|(side, (calls, allocations))| {
                    // A second pass that something disturbed.
                    [0, 40].map(|more| counted(side, calls, Some(allocations), more))
                });
            comparison(old.into_iter().chain(new))
        };
        let calls = both((2, 5), (3, 5)).objections();
        assert_eq!(calls, ["uring/h1/npy 8 B: 2.00 -> 3.00 system calls per request: MORE"]);
        let allocations = both((2, 5), (2, 6)).objections();
        assert_eq!(allocations, ["uring/h1/npy 8 B: 5.00 -> 6.00 allocations per request: MORE"]);
        let fewer = both((2, 5), (1, 0));
        assert_eq!(fewer.objections(), [""; 0]);
        assert!(fewer.render().contains("100.00 -> 100.00 bytes to the client"));
        assert!(fewer.render().contains("320.00 -> 0.00 bytes allocated per request\n"));
    }

    #[test]
    fn a_build_whose_allocations_cannot_be_counted_is_no_worse_for_it() {
        let comparison =
            comparison([counted(Side::Old, 2, None, 0), counted(Side::New, 2, Some(9), 0)]);
        assert_eq!(comparison.objections(), [""; 0]);
        let text = comparison.render();
        assert!(
            text.contains("allocations per request: cannot be counted of the old build"),
            "{text}"
        );
    }

    #[test]
    fn page_faults_are_shown() {
        let text = comparison([]).render();
        assert!(text.contains(" 0.5 -> 0.5 "), "{text}");
    }

    #[test]
    fn a_cell_that_fails_on_one_side_is_an_objection() {
        let mut trials = builds(1.0);
        let failed = Outcome::Failed { reason: "died".into(), stderr: String::new() };
        trials.push(with(build(Side::New, 0, 10, 1), failed));
        let objections = Comparison::of_builds(&run(trials), Floor::of_share(0.02)).objections();
        assert_eq!(objections, ["uring/h1/npy 8 B 1x1000: new: INVALID in 1 of 11 rounds: died"]);
    }

    #[test]
    fn runs_are_compared_by_their_cells() {
        let of = |cost| run((0..8).map(|round| trial("uring/h1/npy", round, cost)).collect());
        let comparison = Comparison::of_runs(&of(1000), &of(1200), Floor::of_share(0.02));
        assert_eq!(comparison.objections(), ["uring/h1/npy 8 B 1x1000 is slower"]);
        let other = run(vec![trial("uring/h1/json", 0, 1)]);
        let comparison = Comparison::of_runs(&of(1000), &other, Floor::of_share(0.02));
        assert_eq!(comparison.cells.len(), 2);
        assert!(comparison.objections().iter().all(|line| line.contains("not tried on the")));
    }
}
