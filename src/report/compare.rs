//! Two builds, or two runs, against each other: what each cell costs now over what it cost, and whether anything that
//! can be counted has grown.
//!
//! Counts come first: they do not scatter, so a request that takes one system call more than it did is slower whatever
//! the clock says of it here. A difference in time counts where its interval (one family over all cells) does not hold
//! 1 and it is beyond the threshold.
//!
//! Two runs were not tried in turns: what the machine did between them counts as a difference, which is said.

use std::collections::BTreeMap;

use crate::record::{Outcome, Side, Trial, Variant};
use crate::stats::bootstrap::{Bootstrap, Interval};
use crate::stats::family::{self, Member};
use crate::stats::location;
use crate::stats::verdict::{Floor, Verdict};

use super::delta::{self, server_costs};
use super::table::align;
use super::{Run, status, units};

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
}

/// A number per request that does not depend on time.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// Rung and array.
    pub name: String,
    /// What was counted.
    pub what: &'static str,
    /// A request's, then.
    pub old: f64,
    /// A request's, now.
    pub new: f64,
}

impl Comparison {
    /// Of a run that tried builds of both sides.
    pub fn of_builds(run: &Run, threshold: Floor) -> Comparison {
        let mut cells: BTreeMap<_, BTreeMap<(u32, Side), Vec<&Trial>>> = BTreeMap::new();
        for trial in run.trials.iter().filter(|trial| trial.server_calls.is_none()) {
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
        Comparison { cells: compare(pairs.collect(), threshold), counts, threshold }
    }

    /// Of two runs of the same cells.
    pub fn of_runs(old: &Run, new: &Run, threshold: Floor) -> Comparison {
        let mut cells: BTreeMap<_, Pair<'_>> = BTreeMap::new();
        for (side, run) in [old, new].into_iter().enumerate() {
            let is_usual = |t: &&Trial| t.variant == Variant::Usual && t.offered_hz.is_none();
            for trial in run.trials.iter().filter(is_usual) {
                cells.entry((delta::key(trial), trial.rung.as_str())).or_default()[side]
                    .push(trial);
            }
        }
        let pairs = cells.into_values().map(|pair| vec![pair]).collect();
        Comparison { cells: compare(pairs, threshold), counts: Vec::new(), threshold }
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
        let heads = ["cell", "old CPU/request", "new / old", "verdict"];
        let mut lines = vec![heads.map(str::to_owned).to_vec()];
        for Compared { name, result, old_ns } in &self.cells {
            let old = old_ns.map_or_else(|| "-".to_owned(), |ns| units::time(ns.estimate));
            match result {
                Ok((ratio, verdict)) => {
                    let word = verdict.word().to_owned();
                    lines.push(vec![name.clone(), old, units::ratio(ratio), word]);
                }
                Err(reason) => lines.push(vec![name.clone(), reason.clone()]),
            }
        }
        let mut text = align(&lines);
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
    let intervals = family::intervals(&Bootstrap::default(), &members);
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
        Compared { name, result, old_ns: delta::absolute(&server_costs(&old)) }
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
    /// True when it is more than it was.
    pub fn has_grown(&self) -> bool {
        self.new > self.old * (1.0 + COUNT_GROWTH_MIN) + COUNT_SLACK
    }

    fn line(&self) -> String {
        let Count { name, what, old, new } = self;
        let change = if self.has_grown() { "MORE" } else { "no more" };
        format!("{name}: {old:.2} -> {new:.2} {what} per request: {change}")
    }
}

/// Counts by number of requests, each pass of it.
type Passes = BTreeMap<u64, Vec<[u64; 3]>>;

/// What one request was counted to take, by rung, array and side.
fn counts(trials: &[Trial]) -> Vec<Count> {
    type Builds = BTreeMap<(Side, u32), Passes>;
    let mut cells: BTreeMap<(u64, &str), Builds> = BTreeMap::new();
    for trial in trials {
        let (Some(calls), Variant::Build { side, number }) = (trial.server_calls, trial.variant)
        else {
            continue;
        };
        let Outcome::Measured(measured) = &trial.outcome else { continue };
        let passes = cells.entry((trial.array.bytes, &trial.rung)).or_default();
        let passes = passes.entry((side, number)).or_default();
        let counted = [calls, measured.bytes_in, measured.bytes_out];
        passes.entry(measured.requests).or_default().push(counted);
    }
    let mut counts = Vec::new();
    for ((bytes, rung), sides) in cells {
        let least = |side| {
            let each = sides.iter().filter(|((of, _), _)| *of == side).filter_map(|(_, p)| each(p));
            each.reduce(|a, b| [0, 1, 2].map(|what: usize| a[what].min(b[what])))
        };
        let (Some(old), Some(new)) = (least(Side::Old), least(Side::New)) else { continue };
        let whats = ["system calls", "bytes to the client", "bytes to the server"];
        for (what, (old, new)) in whats.into_iter().zip(old.into_iter().zip(new)) {
            counts.push(Count { name: format!("{rung} {}", units::bytes(bytes)), what, old, new });
        }
    }
    counts
}

/// What a request takes: the difference of two numbers of requests, over as many requests. Of several passes the
/// least counts, since what disturbs one only adds.
fn each(passes: &Passes) -> Option<[f64; 3]> {
    let ((few, fewer), (many, more)) = (passes.first_key_value()?, passes.last_key_value()?);
    let requests = many.checked_sub(*few).filter(|requests| *requests > 0)? as f64;
    let least = |passes: &[[u64; 3]], what: usize| passes.iter().map(|pass| pass[what]).min();
    let mut each = [0.0; 3];
    for (what, value) in each.iter_mut().enumerate() {
        *value = (least(more, what)? as f64 - least(fewer, what)? as f64) / requests;
    }
    Some(each)
}

/// True when every ratio between builds is known to within 2 %.
pub fn is_enough(trials: &[Trial]) -> bool {
    let run = Run { header: crate::record::Header::default(), trials: trials.to_vec() };
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
    use crate::record::Measurement;
    use crate::report::delta::tests::{header, trial, with};

    fn run(trials: Vec<Trial>) -> Run {
        Run { header: header(), trials }
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

    fn counted(side: Side, requests: u64, calls: u64) -> Trial {
        let measured = Measurement { requests, bytes_in: 100 * requests, ..Measurement::default() };
        let outcome = Outcome::Measured(Box::new(measured));
        Trial { server_calls: Some(calls), outcome, ..build(side, 0, 0, 1) }
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

    #[test]
    fn what_is_counted_is_the_harder_gate() {
        let mut trials = builds(0.9);
        for (side, each) in [(Side::Old, 2), (Side::New, 3)] {
            trials
                .extend([counted(side, 200, 50 + 200 * each), counted(side, 400, 50 + 400 * each)]);
            // A second pass that something disturbed.
            trials.push(counted(side, 400, 90 + 400 * each));
        }
        let comparison = Comparison::of_builds(&run(trials), Floor::of_share(0.02));
        let objections = comparison.objections();
        assert_eq!(objections.len(), 1, "{objections:?}");
        assert!(objections[0].contains("2.00 -> 3.00 system calls per request: MORE"));
        assert!(comparison.render().contains("100.00 -> 100.00 bytes to the client"));
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
