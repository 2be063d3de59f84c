//! A rung and its parent: their difference by the clock, and the part of it that leaks into layers
//! which their axis may not change.

use std::collections::BTreeSet;

use crate::axis::{Axis, Layer, Malloc, Rung};
use crate::record::Trial;
use crate::report::cell::CellTrials;
use crate::stats::bootstrap::{Bootstrap, Interval, UNITS_MIN};

use super::costs::{LayerCosts, difference};

/// Largest leak of a closed pair, as a share of the rung's cost.
pub(in crate::report) const LEAK_MAX: f64 = 0.05;

#[derive(Clone, Debug)]
pub(in crate::report) struct Pair {
    pub(in crate::report) rung: String,
    pub(in crate::report) parent: String,
    /// Axes on which the two differ, and `malloc` if their allocators do.
    pub(in crate::report) axes: Vec<String>,
    /// CPU time of a request to the rung.
    pub(in crate::report) whole: Interval,
    /// Difference of the two by the clock.
    pub(in crate::report) clock: Interval,
    /// Differences in the layers of either rung, in the order of [`Layer::ALL`].
    pub(in crate::report) layers: Vec<LayerDifference>,
    /// Difference in the layers that may differ, together.
    pub(in crate::report) declared: Interval,
    /// Difference in all other layers, together.
    pub(in crate::report) leak: Interval,
    pub(in crate::report) closure: Closure,
    pub(in crate::report) warnings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::report) struct LayerDifference {
    pub(in crate::report) layer: Layer,
    pub(in crate::report) ns: Interval,
    /// True if the axis of the pair may change the layer.
    pub(in crate::report) may_differ: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::report) enum Closure {
    Closed,
    /// No leak was shown, but one of more than [`LEAK_MAX`] would not have been.
    Wide,
    /// The difference leaks, in these layers or in their sum.
    Leaks(Vec<Layer>),
    TooFewLaunches,
}

impl Pair {
    /// Compares a rung with its parent; fails with a reason if one of them was not sampled.
    pub(super) fn new(rung: &Side<'_>, parent: &Side<'_>) -> Result<Pair, String> {
        let (axes, may_differ) = declared(rung.trial(), parent.trial())?;
        Pair::compare(rung, parent, axes, &may_differ)
    }

    /// Compares two servers that may differ in some layers.
    pub(super) fn compare(
        rung: &Side<'_>,
        parent: &Side<'_>,
        axes: Vec<String>,
        may_differ: &BTreeSet<Layer>,
    ) -> Result<Pair, String> {
        let (ours, theirs) = (rung.costs()?, parent.costs()?);
        let center =
            |layers: &[Layer]| Bootstrap::default().blocks(&difference(&ours, &theirs, layers));
        let apart = || {
            let names = (&rung.trial().rung, &parent.trial().rung);
            format!("{} and {} were not sampled in one launch", names.0, names.1)
        };
        let is_there = |layer: &Layer| ours.has(*layer) || theirs.has(*layer);
        let (may, others): (Vec<Layer>, Vec<Layer>) =
            Layer::ALL.into_iter().partition(|layer| may_differ.contains(layer));
        let of_layer = |layer: Layer| {
            let may_differ = may_differ.contains(&layer);
            Some(LayerDifference { layer, ns: center(&[layer])?, may_differ })
        };
        let layers: Vec<LayerDifference> =
            Layer::ALL.into_iter().filter(is_there).filter_map(of_layer).collect();
        let whole = Bootstrap::default().blocks(&ours.whole()).ok_or_else(apart)?;
        let leak = center(&others).ok_or_else(apart)?;
        Ok(Pair {
            rung: rung.trial().rung.clone(),
            parent: parent.trial().rung.clone(),
            axes,
            clock: center(&Layer::ALL).ok_or_else(apart)?,
            declared: center(&may).ok_or_else(apart)?,
            closure: Closure::judge(&leak, &layers, whole.estimate),
            whole,
            leak,
            layers,
            warnings: [ours.warnings, theirs.warnings].concat(),
        })
    }
}

impl Closure {
    /// Judges the sum of the undeclared layers, and each of them, since two may cancel out.
    fn judge(leak: &Interval, layers: &[LayerDifference], whole_ns: f64) -> Closure {
        if leak.range.is_none() {
            return Closure::TooFewLaunches;
        }
        let least = LEAK_MAX * whole_ns;
        let is_shown =
            |ns: &Interval| ns.contains(0.0) == Some(false) && ns.estimate.abs() >= least;
        let others = layers.iter().filter(|it| !it.may_differ);
        let shown: Vec<Layer> =
            others.clone().filter(|it| is_shown(&it.ns)).map(|it| it.layer).collect();
        if is_shown(leak) && shown.is_empty() {
            let mut parts: Vec<&LayerDifference> = others.collect();
            parts.retain(|it| it.ns.estimate * leak.estimate > 0.0);
            parts.sort_by(|one, other| other.ns.estimate.abs().total_cmp(&one.ns.estimate.abs()));
            return Closure::Leaks(parts.into_iter().take(PARTS).map(|it| it.layer).collect());
        }
        if !shown.is_empty() {
            return Closure::Leaks(shown);
        }
        match leak.half_width() {
            Some(half) if half > least && leak.contains(0.0) == Some(true) => Closure::Wide,
            _ => Closure::Closed,
        }
    }

    pub(in crate::report) fn is_closed(&self) -> bool {
        matches!(self, Closure::Closed | Closure::Wide)
    }

    pub(in crate::report) fn word(&self) -> &'static str {
        match self {
            Closure::Closed => "closed",
            Closure::Wide => "closed (wide)",
            Closure::Leaks(_) => "unattributed",
            Closure::TooFewLaunches => "unknown",
        }
    }

    /// Returns the result as the last line of a pair.
    pub(in crate::report) fn sentence(&self) -> String {
        let percent = LEAK_MAX * 100.0;
        match self {
            Closure::Closed => format!("closed: no leak of {percent:.0} % was found"),
            Closure::Wide => format!(
                "closed within a wide interval: a leak of {percent:.0} % may hide in it; more \
                 --rounds make it narrower"
            ),
            Closure::Leaks(layers) => {
                let names: Vec<&str> = layers.iter().map(|layer| layer.name()).collect();
                format!(
                    "NOT closed: the leak is unattributed; the axis does not explain {}",
                    names.join(", ")
                )
            }
            Closure::TooFewLaunches => {
                format!("unknown: an interval needs {UNITS_MIN} launches; raise --rounds")
            }
        }
    }
}

/// Layers that a small leak names, which no single one explains.
const PARTS: usize = 3;

/// Cells of one rung in a section.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) usual: &'a CellTrials<'a>,
    pub(super) profiled: &'a CellTrials<'a>,
}

impl Side<'_> {
    fn trial(&self) -> &Trial {
        self.usual.first()
    }

    fn costs(&self) -> Result<LayerCosts, String> {
        LayerCosts::new(self.usual, self.profiled)
    }
}

/// Returns the names of the axes on which two rungs differ, and the layers that these declare.
pub(super) fn declared(
    trial: &Trial,
    parent: &Trial,
) -> Result<(Vec<String>, BTreeSet<Layer>), String> {
    let parse = |trial: &Trial| {
        let rung = trial.rung.parse::<Rung>();
        rung.map_err(|_| format!("{} is no rung of this version", trial.rung))
    };
    let axes: Vec<Axis> = parse(trial)?.differs(parse(parent)?);
    let mut layers: BTreeSet<Layer> = axes.iter().flat_map(|axis| axis.layers()).copied().collect();
    let mut names: Vec<String> = axes.iter().map(Axis::to_string).collect();
    let malloc = |trial: &Trial| trial.spec.as_ref().and_then(|spec| spec.servers.first()?.malloc);
    if malloc(trial) != malloc(parent) {
        names.push("malloc".to_owned());
        layers.extend(Malloc::LAYERS);
    }
    Ok((names, layers))
}
