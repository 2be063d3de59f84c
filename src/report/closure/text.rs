//! Pairs as text, in at most 80 columns apart from sentences, which are wrapped.

use std::fmt::Write as _;

use crate::report::wrap::wrap;
use crate::stats::bootstrap::Interval;

use super::lanes::{CountDifference, LaneAccount, LaneFinding};
use super::pair::{LEAK_MAX, LayerDifference, Pair};
use super::planted::Planted;

const NAME_WIDTH: usize = 24;

const TIME_WIDTH: usize = 38;

/// Share of a rung's cost from which a layer has a line of its own.
const LISTED_SHARE: f64 = 0.005;

/// The same, as a share of a lane's instructions.
const LISTED_SHARE_LANES: f64 = 0.01;

/// The same, as a share of a planted cost.
const LISTED_SHARE_PLANTED: f64 = 0.05;

/// Prints a pair: the difference, its layers, the leak with its layers, and the result.
pub(super) fn pair(pair: &Pair, account: Option<&LaneAccount>, width: usize) -> String {
    let title = format!(
        "{} less {}: {}, {} launches, {} a request",
        pair.rung,
        pair.parent,
        pair.axes.join(" and "),
        pair.clock.units,
        Unit::fitting(pair.whole.estimate).time(pair.whole.estimate)
    );
    let whole_ns = pair.whole.estimate;
    let rows = Rows { pair, whole_ns, listed_share: LISTED_SHARE };
    let mut text = wrap("", &title, width) + &rows.render("leak");
    text.push_str(&wrap("  ", &pair.closure.sentence(), width));
    if let Some(account) = account {
        text.push_str(&self::account(account, width));
    }
    for warning in &pair.warnings {
        text.push_str(&wrap("  warning: ", warning, width));
    }
    text
}

/// Prints a planted cost in the same way, in per cent of what was planted.
pub(super) fn planted(planted: &Planted, width: usize) -> String {
    let Planted { pair, added_ns, .. } = planted;
    let name = planted.name();
    let title = format!("{name} less the same rung without it: {} launches", pair.clock.units);
    let rows = Rows { pair, whole_ns: *added_ns, listed_share: LISTED_SHARE_PLANTED };
    let text = wrap("", &title, width) + &rows.render("elsewhere");
    let text = text + &wrap("  ", &planted.sentence(), width);
    match &planted.lanes {
        Some(finding) => text + &wrap("  lanes: ", &finding_of_lanes(finding, planted), width),
        None => text,
    }
}

/// Prints the account of the lanes of two rungs that were not sampled.
pub(super) fn lone_account(
    rung: &str,
    parent: &str,
    account: &LaneAccount,
    width: usize,
) -> String {
    wrap("", &format!("{rung} less {parent}, in memory only"), width)
        + &self::account(account, width)
}

fn account(account: &LaneAccount, width: usize) -> String {
    let it = match account {
        LaneAccount::Same => {
            let same = "the same on both sides; a lane has neither driver nor transport";
            return wrap("  lanes: ", same, width);
        }
        LaneAccount::Missing(reason) => {
            return wrap("  lanes: missing: ", reason, width);
        }
        LaneAccount::Difference(it) => it,
    };
    let unit = Unit::fitting(it.whole_ns);
    let share = it.clock.estimate / it.whole_ns * 100.0;
    let label = format!("lanes, {} in flight", it.in_flight);
    let time = unit.difference(&it.clock);
    let mut text = format!("  {label:<NAME_WIDTH$}{time:<TIME_WIDTH$}{share:>+7.1} %\n");
    match &it.counts {
        Ok(counts) => text.push_str(&self::counts(counts, width)),
        Err(reason) => text.push_str(&wrap("  lanes: no instructions: ", reason, width)),
    }
    text
}

/// Prints the difference in instructions, its layers, and what the axis does not explain.
fn counts(counts: &CountDifference, width: usize) -> String {
    let row = |label: &str, count: f64| {
        let (text, share) = (instructions(count), count / counts.whole * 100.0);
        let place = format!("{text:>8} instructions");
        format!("  {label:<NAME_WIDTH$}{place:<TIME_WIDTH$}{share:>+7.1} %\n")
    };
    let mut text = row("  a call", counts.all());
    let is_listed = |count: f64| count.abs() >= LISTED_SHARE_LANES * counts.whole;
    for (layer, count) in counts.layers.iter().filter(|(_, count)| is_listed(**count)) {
        text.push_str(&row(&format!("    {layer}"), *count));
    }
    text.push_str(&row("  leak", counts.leak));
    let calls = match counts.allocations {
        Some(allocations) => format!("{allocations:+.1} allocations, "),
        None => String::new(),
    };
    let calls = format!("{calls}{:+.1} copies a call", counts.copies);
    let percent = LEAK_MAX * 100.0;
    let verdict = match (&counts.leaks[..], counts.is_closed()) {
        ([], true) => format!("closed in memory: no leak of {percent:.0} % of the instructions"),
        ([], false) => "NOT closed in memory: several layers leak a little".to_owned(),
        (leaks, _) => {
            let names: Vec<&str> = leaks.iter().map(|layer| layer.name()).collect();
            format!("NOT closed in memory: the axis does not explain {}", names.join(", "))
        }
    };
    text + &wrap("  ", &format!("{verdict}; {calls}"), width)
}

/// `+1234`, or `+12.3M` for a count of many digits.
fn instructions(count: f64) -> String {
    match count.abs() {
        0.0..0.5 => "0".to_owned(),
        0.5..99_999.5 => format!("{count:+.0}"),
        _ => format!("{:+.1}M", count / 1e6),
    }
}

fn finding_of_lanes(finding: &LaneFinding, planted: &Planted) -> String {
    match finding {
        LaneFinding::Found { share, instructions, clock } => format!(
            "found in {}: {:.0} % of {instructions:.0} instructions; {} by the clock",
            planted.layer,
            share * 100.0,
            Unit::fitting(planted.added_ns).difference(clock).trim_start()
        ),
        LaneFinding::Elsewhere(layer) => format!(
            "NOT found there, most instructions lie in {layer}; do not trust the layers of lanes"
        ),
        LaneFinding::WrongSize(clock) => format!(
            "found in {}, but NOT in this size: {} by the clock",
            planted.layer,
            Unit::fitting(planted.added_ns).difference(clock).trim_start()
        ),
        LaneFinding::NoTime(clock) => format!(
            "found in {}, but the clock cannot tell the size: {}",
            planted.layer,
            Unit::fitting(planted.added_ns).difference(clock).trim_start()
        ),
        LaneFinding::Unresolved => "they cannot resolve it".to_owned(),
        LaneFinding::Missing(reason) => format!("missing: {reason}"),
    }
}

/// Rows of a difference, each with its share of some whole.
struct Rows<'a> {
    pair: &'a Pair,
    whole_ns: f64,
    listed_share: f64,
}

impl Rows<'_> {
    /// Prints the difference, the layers that may differ, and the others under the name `others`.
    fn render(&self, others: &str) -> String {
        let mut text = self.row("by the clock", &self.pair.clock);
        let (listed, small): (Vec<&LayerDifference>, Vec<&LayerDifference>) =
            self.pair.layers.iter().filter(|it| it.may_differ).partition(|it| self.is_listed(it));
        for it in listed {
            text.push_str(&self.row(&format!("  {}", it.layer), &it.ns));
        }
        if !small.is_empty() {
            let sum: f64 = small.iter().map(|it| it.ns.estimate).sum();
            let label = format!("  {} smaller layers", small.len());
            text.push_str(&self.row(&label, &Interval { estimate: sum, range: None, units: 0 }));
        }
        text.push_str(&self.row(others, &self.pair.leak));
        for it in self.pair.layers.iter().filter(|it| !it.may_differ && self.is_listed(it)) {
            text.push_str(&self.row(&format!("  {}", it.layer), &it.ns));
        }
        text
    }

    fn is_listed(&self, it: &LayerDifference) -> bool {
        it.ns.estimate.abs() >= self.listed_share * self.whole_ns
    }

    fn row(&self, label: &str, ns: &Interval) -> String {
        let unit = Unit::fitting(self.pair.whole.estimate);
        let share = ns.estimate / self.whole_ns * 100.0;
        format!("  {label:<NAME_WIDTH$}{:<TIME_WIDTH$}{share:>+7.1} %\n", unit.difference(ns))
    }
}

/// Unit in which all times of a pair stand, so that they can be added.
#[derive(Clone, Copy, Debug)]
pub(in crate::report) struct Unit {
    step: f64,
    name: &'static str,
    places: usize,
}

impl Unit {
    /// Returns the unit that gives `ns` three digits or more.
    pub(in crate::report) fn fitting(ns: f64) -> Unit {
        let steps = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
        let step = steps.into_iter().find(|(step, _)| ns >= *step);
        let (step, name) = step.unwrap_or((1.0, "ns"));
        let places = match ns / step {
            _ if step == 1.0 => usize::from(ns < 99.95),
            value if value < 9.995 => 3,
            value if value < 99.95 => 2,
            _ => 1,
        };
        Unit { step, name, places }
    }

    pub(super) fn time(self, ns: f64) -> String {
        format!("{:.*} {}", self.places, ns / self.step, self.name)
    }

    /// `+350 ns [+331 to +372]`, with a sign at each figure.
    pub(in crate::report) fn difference(self, interval: &Interval) -> String {
        let Unit { step, name, places } = self;
        let signed = |ns: f64| {
            let text = format!("{:+.places$}", ns / step);
            let is_zero = !text.contains(|digit: char| ('1'..='9').contains(&digit));
            if is_zero { text[1..].to_owned() } else { text }
        };
        let mut text = format!("{:>8} {name}", signed(interval.estimate));
        if let Some((low, high)) = interval.range {
            let _ = write!(text, " [{} to {}]", signed(low), signed(high));
        }
        text
    }
}
