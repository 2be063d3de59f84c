//! Pairs as text, in at most 80 columns apart from sentences, which are wrapped.

use std::fmt::Write as _;

use crate::report::wrap::wrap;
use crate::stats::bootstrap::Interval;

use super::pair::{LayerDifference, Pair};

const NAME_WIDTH: usize = 24;

const TIME_WIDTH: usize = 38;

/// Share of the whole below which a layer that may differ has no line of its own.
const LISTED_SHARE: f64 = 0.005;

/// Prints a pair: the difference, its layers, the leak with its layers, and the result.
pub(super) fn pair(pair: &Pair, width: usize) -> String {
    let unit = Unit::fitting(pair.whole.estimate);
    let row = |label: &str, ns: &Interval| {
        let share = ns.estimate / pair.whole.estimate * 100.0;
        format!("  {label:<NAME_WIDTH$}{:<TIME_WIDTH$}{share:>+7.1} %\n", unit.difference(ns))
    };
    let title = format!(
        "{} less {}: {}, {} launches, {} a request",
        pair.rung,
        pair.parent,
        pair.axes.join(" and "),
        pair.clock.units,
        unit.time(pair.whole.estimate)
    );
    let mut text = wrap("", &title, width);
    text.push_str(&row("by the clock", &pair.clock));
    let is_listed =
        |it: &&LayerDifference| it.ns.estimate.abs() >= LISTED_SHARE * pair.whole.estimate;
    let (listed, small): (Vec<&LayerDifference>, Vec<&LayerDifference>) =
        pair.layers.iter().filter(|it| it.may_differ).partition(is_listed);
    for it in listed {
        text.push_str(&row(&format!("  {}", it.layer), &it.ns));
    }
    if !small.is_empty() {
        let sum: f64 = small.iter().map(|it| it.ns.estimate).sum();
        let label = format!("  {} smaller layers", small.len());
        text.push_str(&row(&label, &Interval { estimate: sum, range: None, units: 0 }));
    }
    text.push_str(&row("leak", &pair.leak));
    for it in pair.layers.iter().filter(|it| !it.may_differ).filter(is_listed) {
        text.push_str(&row(&format!("  {}", it.layer), &it.ns));
    }
    text.push_str(&wrap("  ", &pair.closure.sentence(), width));
    for warning in &pair.warnings {
        text.push_str(&wrap("  warning: ", warning, width));
    }
    text
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
