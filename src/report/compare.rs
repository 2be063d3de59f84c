//! Comparison of two builds or of two runs: the cost of each cell, and the counts per request.
//!
//! Counts come first: they do not scatter, so a request with one more system call is slower
//! whatever the clock says. A difference in time counts if its interval (one family over all cells)
//! does not contain 1 and the ratio is beyond the threshold. Two runs were not made in turns, so
//! their cells are compared by the ratio to the standard server of the same run (`compare_runs`).

use std::collections::BTreeMap;
use std::fmt;

use crate::record::{Client, Counts, Header, RequestCounts, Side, Trial, Variant};
use crate::stats::bootstrap::{Bootstrap, Interval, UNITS_MIN};
use crate::stats::family::{Family, Member};
use crate::stats::forecast::Launches;
use crate::stats::verdict::{Floor, Verdict};

use super::cell::{self, CellTrials, section_key};
use super::counts::per_request;
use super::noise::WIDTH_WANTED;
use super::text::{WIDTH_MAX, align, load};
use super::warning::{Warning, background_load};
use super::wrap::wrap;
use super::{Run, core_speed, units};

/// Share by which a count must grow to be reported. Bytes that only pace a connection vary.
const COUNT_GROWTH_MIN: f64 = 0.01;

/// Absolute growth per request that is allowed on top: a wait that the tracing ends early is one
/// more call in about fifty requests.
const COUNT_SLACK: f64 = 0.25;

/// Note below the costs of the standard servers of two runs.
const STANDARD: &str = "A standard server has no verdict: its cost changes with the machine. If \
    the server itself changed, all ratios to it did.";

#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    pub cells: Vec<ComparedCell>,
    pub counts: Vec<ComparedCount>,
    pub threshold: Floor,
    pub warnings: Vec<Warning>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ComparedCell {
    pub name: String,
    pub measure: Measure,
    pub result: Result<(Interval, Verdict), Obstacle>,
    /// Old and new: CPU per request in nanoseconds, or the ratio to the standard server.
    pub figures: [Option<Interval>; 2],
    /// Old and new. No objection, since faults depend on memory that a process has touched before.
    pub faults: [Option<f64>; 2],
}

/// Figure by which the two sides of a cell are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// CPU per request.
    Cost,
    /// Ratio of CPU per request to the standard server of the same run.
    ToStandard,
    /// CPU per request of a standard server to which others are compared; it has no verdict.
    Standard,
}

/// Reason why a cell has no ratio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    NotTried(Side),
    /// The old side has no figure, so nothing is known of the new one.
    Old(String),
    /// The new side has no figure where the old one has.
    New(String),
    NoCommonBlock,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ComparedCount {
    pub name: String,
    pub what: &'static str,
    pub old: Option<f64>,
    pub new: Option<f64>,
    pub is_gate: bool,
}

impl Comparison {
    pub fn of_builds(run: &Run, threshold: Floor) -> Comparison {
        Comparison {
            cells: compare(pairs_of_builds(&run.trials), threshold),
            counts: compare_counts(&run.trials),
            threshold,
            warnings: warnings(&[run]),
        }
    }

    /// Returns whether cells are compared by a cost that also depends on the time of the run.
    pub fn has_costs(&self) -> bool {
        self.cells.iter().any(|cell| cell.measure == Measure::Cost)
    }

    pub fn objections(&self) -> Vec<String> {
        let grown = self.counts.iter().filter(|count| count.has_grown()).map(ComparedCount::line);
        let slower = self.judged().filter_map(|cell| match &cell.result {
            Ok((_, Verdict::Slower)) => Some(format!("{} is slower", cell.name)),
            Err(obstacle @ Obstacle::New(_)) => Some(format!("{}: {obstacle}", cell.name)),
            Ok(_) | Err(_) => None,
        });
        grown.chain(slower).collect()
    }

    /// Returns the reason why no verdict is known; `None` if there is one for a cell at least.
    pub fn no_verdict(&self) -> Option<String> {
        let verdicts: Vec<Verdict> = self.verdicts().collect();
        if verdicts.is_empty() {
            let all_are = |wanted: fn(&Obstacle) -> bool| {
                self.cells.iter().all(|cell| cell.result.as_ref().is_err_and(wanted))
            };
            let why = match self.cells.len() {
                0 => "there is no timed trial on either side",
                _ if all_are(|obstacle| matches!(obstacle, Obstacle::NotTried(_))) => {
                    "the two sides have no cell in common"
                }
                _ => "no cell has a figure on both sides",
            };
            return Some(format!("nothing was compared: {why}"));
        }
        let is_unknown = verdicts.iter().all(|verdict| *verdict == Verdict::Unknown);
        is_unknown.then(|| {
            format!(
                "no verdict: all cells that were compared are unknown, because a verdict needs \
                 {UNITS_MIN} blocks in which both sides were measured; repeat with more --rounds"
            )
        })
    }

    fn judged(&self) -> impl Iterator<Item = &ComparedCell> {
        self.cells.iter().filter(|cell| cell.measure != Measure::Standard)
    }

    fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        self.judged().filter_map(|cell| Some(cell.result.as_ref().ok()?.1))
    }

    pub fn render(&self) -> String {
        let warnings = self.warnings.iter();
        let mut text: String =
            warnings.map(|warning| wrap("warning: ", &warning.to_string(), WIDTH_MAX)).collect();
        for measure in [Measure::ToStandard, Measure::Cost, Measure::Standard] {
            let cells: Vec<&ComparedCell> =
                self.cells.iter().filter(|cell| cell.measure == measure).collect();
            if !cells.is_empty() {
                text.push_str(&table(measure, &cells));
            }
        }
        for count in &self.counts {
            text.push_str(&wrap("  ", &count.line(), WIDTH_MAX));
        }
        if let Some(reason) = self.no_verdict() {
            return text + &wrap("", &reason, WIDTH_MAX);
        }
        let has_standard = self.cells.iter().any(|cell| cell.measure == Measure::Standard);
        let same = format!(
            "same: no difference beyond {:.1} %{} was shown; the intervals of all cells hold \
             together at 95 %",
            self.threshold.share() * 100.0,
            if has_standard { " and the noise of both runs (A/A)" } else { "" }
        );
        text.push_str(&wrap("", &same, WIDTH_MAX));
        let unknown = self.verdicts().filter(|verdict| *verdict == Verdict::Unknown).count();
        if unknown > 0 {
            let unknown = format!(
                "unknown: fewer than {UNITS_MIN} blocks in which both sides were measured; there \
                 is no verdict on {unknown} of {} cells",
                self.judged().count()
            );
            text.push_str(&wrap("", &unknown, WIDTH_MAX));
        }
        text
    }
}

/// Lays out the cells that are compared by `measure`.
fn table(measure: Measure, cells: &[&ComparedCell]) -> String {
    let heads = match measure {
        Measure::Cost => ["cell", "old CPU/request", "new / old", "page faults/request", "verdict"],
        Measure::ToStandard => {
            ["ratio to the standard server", "old", "new", "new / old", "verdict"]
        }
        Measure::Standard => {
            ["standard server", "old CPU/request", "new CPU/request", "new / old", ""]
        }
    };
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for ComparedCell { name, result, figures, faults, .. } in cells {
        let (ratio, verdict) = match result {
            Ok((ratio, verdict)) => (units::ratio(ratio), verdict.word().to_owned()),
            Err(obstacle) => {
                lines.push(vec![name.clone(), obstacle.to_string()]);
                continue;
            }
        };
        let [old_ns, new_ns] =
            figures.map(|figure| or_dash(figure.map(|ns| units::time(ns.estimate))));
        // The interval of the change contains the scatter of both ratios.
        let estimate = |ratio: Interval| units::ratio(&Interval { range: None, ..ratio });
        let [old, new] = figures.map(|figure| or_dash(figure.map(estimate)));
        let [before, now] = faults.map(|faults| or_dash(faults.map(units::count)));
        let faults = format!("{before} -> {now}");
        lines.push(match measure {
            Measure::Cost => vec![name.clone(), old_ns, ratio, faults, verdict],
            Measure::ToStandard => vec![name.clone(), old, new, ratio, verdict],
            Measure::Standard => vec![name.clone(), old_ns, new_ns, ratio, String::new()],
        });
    }
    if measure != Measure::Standard {
        return align(&lines);
    }
    // It has no verdict.
    lines.iter_mut().for_each(|line| line.truncate(heads.len() - 1));
    align(&lines) + &wrap("", STANDARD, WIDTH_MAX)
}

type Pair<'a> = [CellTrials<'a>; 2];

/// Returns the first slowdown of the server's core among `runs`, and the use of the machine before
/// each of them.
pub(super) fn warnings(runs: &[&Run]) -> Vec<Warning> {
    let slowdown = runs.iter().find_map(|run| core_speed::slowdown(&run.trials));
    let background = runs.iter().flat_map(|run| background_load(&run.header));
    slowdown.map(Warning::SlowedCore).into_iter().chain(background).collect()
}

/// Returns for each cell the pair of each build's number.
fn pairs_of_builds(trials: &[Trial]) -> Vec<Vec<Pair<'_>>> {
    let mut cells: BTreeMap<_, BTreeMap<u32, Pair<'_>>> = BTreeMap::new();
    for trial in trials.iter().filter(|trial| trial.is_timed()) {
        if let Variant::Build { side, number } = trial.variant {
            let builds = cells.entry((section_key(trial), trial.rung.as_str())).or_default();
            builds.entry(number).or_default()[side as usize].0.push(trial);
        }
    }
    cells.into_values().map(|builds| builds.into_values().collect()).collect()
}

/// Returns the logarithms of each cell's ratios, by launch and round, as means over the builds.
/// `None` for so many builds that their differences make the interval.
pub(super) fn round_log_ratios(trials: &[Trial]) -> Option<Vec<Launches>> {
    let cells = pairs_of_builds(trials);
    let has_few = |builds: &Vec<Pair<'_>>| builds.len() < UNITS_MIN;
    let launches = |builds: &Vec<Pair<'_>>| -> Launches {
        let mut by_launch: BTreeMap<u32, Vec<Vec<f64>>> = BTreeMap::new();
        for (launch, logs) in builds.iter().flat_map(|[old, new]| new.round_log_ratios(old)) {
            by_launch.entry(launch).or_default().push(logs);
        }
        by_launch.into_values().map(|builds| means_by_round(&builds)).collect()
    };
    cells.iter().all(has_few).then(|| cells.iter().map(launches).collect())
}

fn means_by_round(builds: &[Vec<f64>]) -> Vec<f64> {
    let rounds = builds.iter().map(Vec::len).min().unwrap_or(0);
    let mean =
        |round: usize| builds.iter().map(|logs| logs[round]).sum::<f64>() / builds.len() as f64;
    (0..rounds).map(mean).collect()
}

fn compare(cells: Vec<Vec<Pair<'_>>>, threshold: Floor) -> Vec<ComparedCell> {
    let members: Vec<Member> = cells.iter().map(|builds| log_ratios(builds)).collect();
    let intervals = Family::new(Bootstrap::default(), &members).intervals();
    let compared = |(builds, log): (Vec<Pair<'_>>, Option<Interval>)| {
        let merged = |side: usize| {
            CellTrials(builds.iter().flat_map(|pair| pair[side].0.iter().copied()).collect())
        };
        let (old, new) = (merged(0), merged(1));
        let result = match obstacle(&old, &new) {
            Some(obstacle) => Err(obstacle),
            None => log
                .map(|log| (log.exp(), Verdict::judge(&log, threshold)))
                .ok_or(Obstacle::NoCommonBlock),
        };
        ComparedCell {
            name: old.0.first().or(new.0.first()).map_or_else(String::new, |trial| name(trial)),
            result,
            measure: Measure::Cost,
            figures: [&old, &new].map(|cell| cell::geometric_center(&cell.server_costs())),
            faults: [&old, &new].map(CellTrials::page_faults),
        }
    };
    cells.into_iter().zip(intervals).map(compared).collect()
}

pub(super) fn obstacle(old: &CellTrials<'_>, new: &CellTrials<'_>) -> Option<Obstacle> {
    let untried =
        |side, cell: &CellTrials<'_>| cell.0.is_empty().then_some(Obstacle::NotTried(side));
    untried(Side::Old, old)
        .or_else(|| untried(Side::New, new))
        .or_else(|| old.obstacle().map(Obstacle::Old))
        .or_else(|| new.obstacle().map(Obstacle::New))
}

fn log_ratios(builds: &[Pair<'_>]) -> Member {
    let of_build = |[old, new]: &Pair<'_>| {
        new.log_ratios(old).into_iter().map(|sample| sample.value).collect()
    };
    builds.iter().map(of_build).collect()
}

pub(super) fn name(trial: &Trial) -> String {
    let Trial { rung, array, connections, in_flight, .. } = trial;
    let client = match trial.client {
        Client::Own => String::new(),
        other => format!(" by {}", other.name()),
    };
    let (bytes, load) = (units::bytes(array.bytes), load(*connections, *in_flight));
    format!("{rung} {bytes} {load}{client}")
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::NotTried(Side::Old) => f.write_str("not tried on the old side"),
            Obstacle::NotTried(Side::New) => f.write_str("not tried on the new side"),
            Obstacle::Old(reason) => write!(f, "old: {reason}"),
            Obstacle::New(reason) => write!(f, "new: {reason}"),
            Obstacle::NoCommonBlock => f.write_str("no block in which both were measured"),
        }
    }
}

impl ComparedCount {
    pub fn has_grown(&self) -> bool {
        let grown = |(old, new)| self.is_gate && new > old * (1.0 + COUNT_GROWTH_MIN) + COUNT_SLACK;
        self.old.zip(self.new).is_some_and(grown)
    }

    fn line(&self) -> String {
        let ComparedCount { name, what, old, new, is_gate } = self;
        let (Some(old), Some(new)) = (old, new) else {
            let side = if old.is_none() { "old" } else { "new" };
            return format!("{name}: {what} per request: cannot be counted in the {side} build");
        };
        let change = match (is_gate, self.has_grown()) {
            (true, true) => ": MORE",
            (true, false) => ": no more",
            (false, _) => "",
        };
        format!("{name}: {old:.2} -> {new:.2} {what} per request{change}")
    }
}

/// Name of a count, its value, and whether it must not grow. Allocated bytes may grow, since a
/// larger buffer that is kept is not worse.
type GatedCount = (&'static str, fn(&RequestCounts) -> Option<u64>, bool);

const GATED_COUNTS: [GatedCount; 5] = [
    ("system calls", |counts| Some(counts.calls), true),
    ("allocations", |counts| Some(counts.allocations?.count), true),
    ("bytes allocated", |counts| Some(counts.allocations?.bytes), false),
    ("bytes to the client", |counts| Some(counts.bytes_in), true),
    ("bytes to the server", |counts| Some(counts.bytes_out), true),
];

/// Compares the counts of one request, by rung and array: the least over the builds of a side.
fn compare_counts(trials: &[Trial]) -> Vec<ComparedCount> {
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
        for (what, count, is_gate) in GATED_COUNTS {
            let least = |side| {
                let of_side = builds.iter().filter(|((its_side, _), _)| *its_side == side);
                of_side.filter_map(|(_, passes)| per_request(passes, count)).reduce(f64::min)
            };
            let name = format!("{rung} {}", units::bytes(bytes));
            let (old, new) = (least(Side::Old), least(Side::New));
            all.push(ComparedCount { name, what, old, new, is_gate });
        }
    }
    all
}

pub fn is_resolved(trials: &[Trial]) -> bool {
    let run = Run::new(Header::default(), trials.to_vec());
    let comparison = Comparison::of_builds(&run, Floor::default());
    comparison.cells.iter().all(|cell| match &cell.result {
        Ok((ratio, _)) => {
            ratio.half_width().is_some_and(|half| half <= WIDTH_WANTED * ratio.estimate)
        }
        Err(_) => true,
    })
}
