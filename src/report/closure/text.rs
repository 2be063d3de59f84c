//! Pairs as text, in at most 80 columns apart from sentences, which are wrapped.

use std::fmt::Write as _;

use crate::report::wrap::wrap;
use crate::stats::bootstrap::Interval;

use super::pair::{LayerDifference, Pair};
use super::planted::Planted;

const NAME_WIDTH: usize = 24;

const TIME_WIDTH: usize = 38;

/// Share of a rung's cost from which a layer has a line of its own.
const LISTED_SHARE: f64 = 0.005;

/// The same, as a share of a planted cost.
const LISTED_SHARE_PLANTED: f64 = 0.05;

/// Prints a pair: the difference, its layers, the leak with its layers, and the result.
pub(super) fn pair(pair: &Pair, width: usize) -> String {
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
    wrap("", &title, width) + &rows.render("elsewhere") + &wrap("  ", &planted.sentence(), width)
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
pub(super) struct Unit {
    step: f64,
    name: &'static str,
    places: usize,
}

impl Unit {
    /// Returns the unit that gives `ns` three digits or more.
    pub(super) fn fitting(ns: f64) -> Unit {
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
    pub(super) fn difference(self, interval: &Interval) -> String {
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
