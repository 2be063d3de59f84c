//! Planted costs: does a run find a known cost in the layer in which it was planted, and with its
//! size?
//!
//! A planted server is compared with the plain server of the same rung, like a rung with its
//! parent. The layer of the record is a claim; the samples decide. So a cost that lies in another
//! layer than claimed is reported as such.

use std::collections::BTreeSet;

use crate::axis::{Layer, Rung, Shape};
use crate::record::{Lane, PlantedWork, Variant};
use crate::report::cell::{self, CellTrials};
use crate::report::control;
use crate::stats::bootstrap::{Interval, UNITS_MIN};
use crate::stats::location;

use super::lanes::LaneFinding;
use super::pair::{LayerDifference, Pair, Side};

/// Largest error of a planted cost that counts as found, in an own protocol and in others' stacks.
const TOLERANCE_OWN: f64 = 0.1;
const TOLERANCE_OTHERS: f64 = 0.2;

#[derive(Clone, Debug)]
pub(in crate::report) struct Planted {
    pub(in crate::report) layer: Layer,
    /// Cost of a request by the server's own account.
    pub(in crate::report) added_ns: f64,
    pub(in crate::report) pair: Pair,
    pub(in crate::report) finding: Finding,
    /// Finding of the lanes; `None` for a run without any.
    pub(super) lanes: Option<LaneFinding>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::report) enum Finding {
    Found,
    /// The intervals are too wide to tell.
    Unresolved,
    /// Most of the cost lies in another layer.
    Elsewhere(Layer),
    WrongSize,
    /// The samples show the cost in its layer, but the clock finds more than was planted.
    DearerElsewhere,
    TooFewLaunches,
}

impl Planted {
    /// Evaluates a planted cell; `None` for a cell of another kind, and for the sampled second of a
    /// planted one.
    pub(super) fn new<'a>(
        cells: &'a [CellTrials<'a>],
        planted: &'a CellTrials<'a>,
        lanes: &[Lane],
    ) -> Option<Result<Planted, String>> {
        let Variant::Planted { layer, ns, is_profiled: false } = planted.first().variant else {
            return None;
        };
        let rung = planted.first().rung.as_str();
        let find = |variant| cell::find(cells, rung, variant);
        let profiled = find(Variant::Planted { layer, ns, is_profiled: true })?;
        let plain = Side { usual: find(Variant::Usual)?, profiled: find(Variant::Profiled)? };
        let planted = Side { usual: planted, profiled };
        let axes = vec![format!("{layer}, planted")];
        let in_lanes = || {
            let work = PlantedWork { layer, ns };
            super::lanes::planted(lanes, plain.usual.first(), work, tolerance(rung))
        };
        let in_lanes = (!lanes.is_empty()).then(in_lanes);
        let pair = Pair::compare(&planted, &plain, axes, &BTreeSet::from([layer]));
        Some(pair.map(|pair| {
            let injected = control::injected(planted.usual, ns);
            let mut added: Vec<f64> = injected.into_iter().map(|it| it.value).collect();
            let added_ns = location::location(&mut added);
            let finding = Finding::judge(&pair, added_ns, tolerance(rung));
            Planted { layer, added_ns, pair, finding, lanes: in_lanes }
        }))
    }

    pub(in crate::report) fn rung(&self) -> &str {
        &self.pair.rung
    }

    /// Returns the name of the planted server: `uring/h2/protobuf +500 ns in runtime`.
    pub(in crate::report) fn name(&self) -> String {
        format!("{} +{:.0} ns in {}", self.pair.rung, self.added_ns, self.layer)
    }

    /// Returns whether every way that the run has found the cost in its layer.
    pub(super) fn is_found(&self) -> bool {
        self.finding == Finding::Found && self.lanes.as_ref().is_none_or(LaneFinding::is_found)
    }

    /// Returns whether a way found the cost in another layer or size.
    pub(super) fn is_contradicted(&self) -> bool {
        let by_samples = matches!(
            self.finding,
            Finding::Elsewhere(_) | Finding::WrongSize | Finding::DearerElsewhere
        );
        let by_lanes =
            matches!(self.lanes, Some(LaneFinding::Elsewhere(_) | LaneFinding::WrongSize(_)));
        by_samples || by_lanes
    }

    /// Returns the result as the last line of a planted cost.
    pub(in crate::report) fn sentence(&self) -> String {
        let added = format!("{:.0} ns were planted in {}", self.added_ns, self.layer);
        match &self.finding {
            Finding::Found => format!("{added}: found"),
            Finding::Unresolved => {
                format!("{added}: this run cannot resolve them; raise --rounds or --duration")
            }
            Finding::Elsewhere(layer) => format!(
                "{added}: NOT found there, most of them lie in {layer}; do not trust the layers of \
                 this run"
            ),
            Finding::WrongSize => format!(
                "{added}: NOT found in this size; do not trust small differences of this run"
            ),
            Finding::DearerElsewhere => format!(
                "{added}: NOT found in this size by the clock, although the samples show them in \
                 their layer; other layers became dearer"
            ),
            Finding::TooFewLaunches => {
                format!("{added}: unknown, an interval needs {UNITS_MIN} launches; raise --rounds")
            }
        }
    }
}

impl Finding {
    fn judge(pair: &Pair, added_ns: f64, tolerance: f64) -> Finding {
        let (found, clock) = (&pair.declared, &pair.clock);
        let (Some((low, high)), Some((clock_low, clock_high))) = (found.range, clock.range) else {
            return Finding::TooFewLaunches;
        };
        let (least, most) = (added_ns * (1.0 - tolerance), added_ns * (1.0 + tolerance));
        if low > most || high < least {
            return match dearest(&pair.layers) {
                Some(other) if high < least && other.ns.estimate > added_ns / 2.0 => {
                    Finding::Elsewhere(other.layer)
                }
                _ if found.contains(0.0) == Some(true) && clock_low <= 0.0 => Finding::Unresolved,
                _ => Finding::WrongSize,
            };
        }
        if clock_high < least {
            return Finding::WrongSize;
        }
        if clock_low > most {
            return Finding::DearerElsewhere;
        }
        let is_near = (least..=most).contains(&found.estimate);
        if is_near && low > 0.0 && clock_low > 0.0 { Finding::Found } else { Finding::Unresolved }
    }

    pub(in crate::report) fn word(&self) -> &'static str {
        match self {
            Finding::Found => "found",
            Finding::Unresolved => "unresolved",
            Finding::Elsewhere(_) => "elsewhere",
            Finding::WrongSize => "wrong size",
            Finding::DearerElsewhere => "dearer elsewhere",
            Finding::TooFewLaunches => "unknown",
        }
    }
}

/// Returns the layer, apart from the claimed one, that gained the most beyond doubt.
fn dearest(layers: &[LayerDifference]) -> Option<&LayerDifference> {
    let is_shown = |ns: &Interval| ns.range.is_some_and(|(low, _)| low > 0.0);
    let gained = layers.iter().filter(|it| !it.may_differ && is_shown(&it.ns));
    gained.max_by(|one, other| one.ns.estimate.total_cmp(&other.ns.estimate))
}

fn tolerance(rung: &str) -> f64 {
    let is_own = |rung: Rung| rung.protocol().spec().shape == Shape::Machine;
    if rung.parse().is_ok_and(is_own) { TOLERANCE_OWN } else { TOLERANCE_OTHERS }
}
