//! The delay control: a check that a run finds a known delay in every request of a rung.
//!
//! The server's own clock counts the injected delay, so the expected difference is known to a few
//! nanoseconds. What is uncertain is the ratio of the remaining cost to the cost of the plain rung
//! and its twin ([`Base::Busy`]): its logarithm is taken slice by slice, like every ratio of the
//! table, and has an interval like theirs. A plain server that waits for the load generator also
//! pays for sleeping, waking and small batches, which hides part of the delay; the ratio is then
//! taken to the same rung with a first delay ([`Base::KeptBusy`]), if that one keeps the server as
//! busy as the second does. In slices no server is busy for all of its wall time, so the shares are
//! compared with each other.

use crate::record::validity::OTHERS_MAX;
use crate::record::{DelayTotals, Trial, Variant};
use crate::stats::bootstrap::Interval;
use crate::stats::family::Family;
use crate::stats::location::{self, Sample};

use super::cell::{self, CellTrials};
use super::units;

/// Shares of busy time that differ by less belong to servers that wait alike.
const BUSY_ALIKE: f64 = 0.03;

/// Largest part of a delay by which the rest of a request may become dearer. While the server
/// waits, others use the caches that it shares with them. docs/TRIED.md has the figures.
const SIDE_COST_MAX: f64 = 0.3;

#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    pub rung: String,
    /// Injected delay per request, by the servers' clocks.
    pub added_ns: f64,
    pub found_ns: Interval,
    pub base: Base,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    Busy,
    /// The rung with a first delay, because the plain server waits for the load generator.
    KeptBusy,
    /// The plain rung, although its server waits for the load generator.
    Idle,
}

impl Control {
    /// Evaluates the delayed cells among `cells`; `None` if there is no such cell. `family` holds
    /// the ratios of the section.
    pub(super) fn evaluate(cells: &[CellTrials<'_>], family: &Family) -> Option<Control> {
        let mut delayed: Vec<&CellTrials<'_>> = cells.iter().collect();
        delayed.retain(|cell| requested_ns(cell).is_some() && !cell.server_costs().is_empty());
        delayed.sort_by_key(|cell| requested_ns(cell));
        let (less, more) = (*delayed.first()?, *delayed.last()?);
        let rung = &less.first().rung;
        let usual = cell::find(cells, rung, Variant::Usual)?;
        let base = match usual.is_server_idle() {
            false => Base::Busy,
            true if delayed.len() > 1 && is_busier(less, usual) && !is_busier(more, less) => {
                Base::KeptBusy
            }
            true => Base::Idle,
        };
        let added = |cell: &CellTrials<'_>| injected(cell, requested_ns(cell).unwrap_or_default());
        let (delayed, bases, added) = match base {
            Base::KeptBusy => {
                let added = location::differences(&added(more), &added(less));
                (more, vec![less], added)
            }
            Base::Busy | Base::Idle => {
                // The twin is the same rung, so each launch has two cells of it.
                let twin = cell::find(cells, rung, Variant::Twin);
                (less, [Some(usual), twin].into_iter().flatten().collect(), added(less))
            }
        };
        let beyond = bases
            .iter()
            .map(|base| delayed.log_ratios_without(base, &added))
            .reduce(|some, more| location::means(&some, &more))?;
        let is_used = |added: &&Sample| beyond.iter().any(|used| used.round == added.round);
        let mut added: Vec<f64> = added.iter().filter(is_used).map(|added| added.value).collect();
        let added_ns = location::location(&mut added);
        let costs = bases.iter().flat_map(|base| base.server_costs()).collect::<Vec<_>>();
        let base_ns = cell::geometric_center(&costs)?.estimate;
        let beyond = family.non_member(&vec![beyond.into_iter().map(|log| log.value).collect()])?;
        // Subtracting 1 first keeps a ratio of exactly 1 exact.
        let found_ns = beyond.map(|log| log.exp_m1() * base_ns + added_ns);
        Some(Control { rung: rung.clone(), added_ns, found_ns, base })
    }

    /// Returns the reason why the delay control among `cells` has no result; `None` if it has one,
    /// or if no cell is delayed.
    pub(super) fn obstacle(cells: &[CellTrials<'_>], family: &Family) -> Option<String> {
        let delayed: Vec<&CellTrials<'_>> =
            cells.iter().filter(|cell| requested_ns(cell).is_some()).collect();
        let rung = &delayed.first()?.first().rung;
        if Control::evaluate(cells, family).is_some() {
            return None;
        }
        let usual = cell::find(cells, rung, Variant::Usual);
        let reason = delayed.into_iter().chain(usual).find_map(CellTrials::obstacle);
        Some(reason.map_or_else(
            || format!("{rung} was not measured with and without the delay in one launch"),
            |reason| format!("{rung}: {reason}"),
        ))
    }

    /// Returns false if more launches could still tell whether the delay is found.
    pub(super) fn is_decided(&self) -> bool {
        self.found_ns.contains(0.0) == Some(false)
    }

    pub(super) fn line(&self) -> String {
        let Control { rung, added_ns, base, .. } = self;
        let (added, found) = (units::time(*added_ns), self.found());
        let (base, verdict) = (base.about(), self.verdict());
        format!(
            "control: {rung} with {added} added to each request{base} costs {found} more: {verdict}"
        )
    }

    /// Returns the result as a sentence.
    pub(super) fn sentence(&self) -> String {
        let (found, verdict) = (self.found(), self.verdict());
        let Control { rung, added_ns, .. } = self;
        let added = units::time(*added_ns);
        format!("A delay of {added} was added to {rung}; the run measured {found}: {verdict}.")
    }

    fn found(&self) -> String {
        units::time_interval(&self.found_ns, self.added_ns)
    }

    fn verdict(&self) -> &'static str {
        let Some((low, high)) = self.found_ns.range else { return "too few blocks to tell" };
        let holds = |value| low <= value && value <= high;
        let beyond = self.added_ns..(1.0 + SIDE_COST_MAX) * self.added_ns;
        if holds(0.0) {
            "this run cannot resolve such a difference"
        } else if holds(self.added_ns) && high - low > 2.0 * self.added_ns {
            "found, but the interval is too wide to tell its size"
        } else if holds(self.added_ns) {
            "found"
        } else if beyond.contains(&low) {
            "found, with more that other work costs during a delay"
        } else {
            "NOT found; do not trust small differences in this table"
        }
    }
}

impl Base {
    fn about(self) -> &'static str {
        match self {
            Base::Busy => "",
            Base::KeptBusy => " (on top of a first delay that keeps the server busy)",
            Base::Idle => " (the server waits for requests)",
        }
    }
}

/// Returns whether the server of `cell` waits clearly less than that of `other`.
fn is_busier(cell: &CellTrials<'_>, other: &CellTrials<'_>) -> bool {
    let busy = cell.server_busy().zip(other.server_busy());
    busy.is_some_and(|(cell, other)| cell > other + BUSY_ALIKE)
}

fn requested_ns(cell: &CellTrials<'_>) -> Option<u64> {
    match cell.first().variant {
        Variant::Delayed { ns } => Some(ns),
        Variant::Usual
        | Variant::Twin
        | Variant::Profiled
        | Variant::Planted { .. }
        | Variant::Null
        | Variant::Build { .. } => None,
    }
}

/// Returns the injected delay per request, by block. If no server counted it, the requested delay
/// stands. A server that waited for its core counted that time too, so its count is left out. If
/// all of them waited, the share of that time is taken from each count.
pub(super) fn injected(cell: &CellTrials<'_>, requested_ns: u64) -> Vec<Sample> {
    let counted = |trial: &Trial| match trial.server.as_ref()?.injected_delay? {
        DelayTotals { messages: 0, .. } => None,
        DelayTotals { messages, ns } => Some(ns as f64 / messages as f64),
    };
    let waited = |trial: &Trial| {
        let (stats, disturbance) = trial.sched_stats.zip(trial.disturbance)?;
        Some((stats.others_ns as f64 / disturbance.wall_ns.max(1) as f64).min(1.0))
    };
    let samples = |value: &dyn Fn(&Trial) -> Option<f64>| -> Vec<Sample> {
        let sample = |trial: &&Trial| Some(Sample { round: trial.launch(), value: value(trial)? });
        cell.0.iter().filter_map(sample).collect()
    };
    let undisturbed = samples(&|trial| {
        counted(trial).filter(|_| waited(trial).is_none_or(|share| share <= OTHERS_MAX))
    });
    if !undisturbed.is_empty() {
        return undisturbed;
    }
    let corrected =
        samples(&|trial| Some(counted(trial)? * (1.0 - waited(trial).unwrap_or_default())));
    if !corrected.is_empty() {
        return corrected;
    }
    samples(&|_| Some(requested_ns as f64))
}
