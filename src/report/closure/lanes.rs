//! Third account of a difference: the lanes of both rungs, which are their protocols and codecs in
//! memory. It needs neither samples nor a quiet machine, and knows nothing of driver and kernel.
//!
//! By the clock a lane tells the size of a difference, by instructions its layers. Instructions
//! repeat to a few per mille, so a leak needs no interval.

use std::collections::{BTreeMap, BTreeSet};

use crate::axis::{Layer, Rung};
use crate::record::{Lane, LaneCounts, LaneSubject, PlantedWork, Trial};
use crate::stats::bootstrap::{Bootstrap, Interval};
use crate::stats::location::{self, Sample, differences};

use super::pair::LEAK_MAX;

/// Share of a planted cost's instructions that must lie in its layer. The others are those of the
/// loop around it, and of an allocator whose heap looks different.
const SHARE_MIN: f64 = 0.75;

/// Instructions of a planted cost, as a share of the lane's, from which they are told from noise.
const GAIN_MIN: f64 = 0.01;

#[derive(Clone, Debug, PartialEq)]
pub(in crate::report) enum LaneAccount {
    /// Both rungs have the same lane, since they differ in driver or transport only.
    Same,
    Missing(String),
    Difference(LaneDifference),
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::report) struct LaneDifference {
    /// Calls in flight of both lanes.
    pub(super) in_flight: u32,
    /// CPU time of a call of the rung.
    pub(super) whole_ns: f64,
    pub(super) clock: Interval,
    pub(super) counts: Result<CountDifference, String>,
}

/// Differences of a call.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::report) struct CountDifference {
    /// Instructions of the rung.
    pub(super) whole: f64,
    pub(super) layers: BTreeMap<Layer, f64>,
    /// Layers that differ by more than [`LEAK_MAX`], although the axis may not change them.
    pub(super) leaks: Vec<Layer>,
    /// Sum of all layers that the axis may not change.
    pub(super) leak: f64,
    pub(super) allocations: Option<f64>,
    pub(super) copies: f64,
}

/// Finding of the lanes on a planted cost.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::report) enum LaneFinding {
    /// Share of the instructions that lie in the layer, all of them, and the time by the clock.
    Found {
        share: f64,
        instructions: f64,
        clock: Interval,
    },
    Elsewhere(Layer),
    WrongSize(Interval),
    /// The instructions lie in the layer; the clock cannot tell their time.
    NoTime(Interval),
    /// The instructions are too few to tell.
    Unresolved,
    Missing(String),
}

/// Compares the lanes of a rung and its parent, whose axis may change the layers `may_differ`.
pub(super) fn account(
    lanes: &[Lane],
    rung: &Trial,
    parent: &Trial,
    may_differ: &BTreeSet<Layer>,
) -> LaneAccount {
    let subjects = (subject(rung, None), subject(parent, None));
    let (Some(ours), Some(theirs)) = subjects else {
        return LaneAccount::Missing("one of the two is no rung of this version".to_owned());
    };
    if ours == theirs {
        return LaneAccount::Same;
    }
    let compared = find(lanes, &ours).and_then(|ours| {
        let theirs = find(lanes, &theirs)?;
        difference(ours, theirs, may_differ)
    });
    compared.map_or_else(LaneAccount::Missing, LaneAccount::Difference)
}

/// Judges a cost that was planted in a rung, whose plain server has the trial `plain`.
pub(super) fn planted(
    lanes: &[Lane],
    plain: &Trial,
    work: PlantedWork,
    tolerance: f64,
) -> LaneFinding {
    let of = |planted| {
        let subject = subject(plain, planted).ok_or("the rung is none of this version")?;
        find(lanes, &subject)
    };
    let found = of(Some(work)).and_then(|planted| {
        let it = difference(planted, of(None)?, &BTreeSet::from([work.layer]))?;
        let counts = it.counts?;
        let mut added: Vec<f64> =
            planted.launches.iter().filter_map(|launch| launch.planted_ns()).collect();
        let added_ns = location::location(&mut added);
        Ok(judge(it.clock, &counts, work.layer, (added_ns, tolerance)))
    });
    found.unwrap_or_else(LaneFinding::Missing)
}

fn judge(
    clock: Interval,
    counts: &CountDifference,
    layer: Layer,
    (added_ns, tolerance): (f64, f64),
) -> LaneFinding {
    let instructions: f64 = counts.layers.values().sum();
    if instructions < GAIN_MIN * counts.whole {
        return LaneFinding::Unresolved;
    }
    let most = counts.layers.iter().max_by(|one, other| one.1.total_cmp(other.1));
    let share = counts.layers.get(&layer).copied().unwrap_or(0.0) / instructions;
    if share < SHARE_MIN {
        return match most {
            Some((other, _)) if *other != layer => LaneFinding::Elsewhere(*other),
            _ => LaneFinding::Unresolved,
        };
    }
    let (least, most) = (added_ns * (1.0 - tolerance), added_ns * (1.0 + tolerance));
    match clock.range {
        Some((low, high)) if low > most || high < least => LaneFinding::WrongSize(clock),
        Some((low, _)) if low > 0.0 => LaneFinding::Found { share, instructions, clock },
        _ => LaneFinding::NoTime(clock),
    }
}

impl LaneFinding {
    pub(super) fn is_found(&self) -> bool {
        matches!(self, LaneFinding::Found { .. })
    }
}

/// Returns the lane of a trial; `None` for a rung of another version.
fn subject(trial: &Trial, planted: Option<PlantedWork>) -> Option<LaneSubject> {
    let rung: Rung = trial.rung.parse().ok()?;
    let malloc = trial.spec.as_ref().and_then(|spec| spec.servers.first()?.malloc);
    Some(LaneSubject {
        protocol: rung.protocol(),
        codec: rung.codec(),
        malloc: malloc.unwrap_or(rung.protocol().malloc()),
        array: trial.array.clone(),
        in_flight: trial.in_flight.div_ceil(trial.connections.max(1)),
        planted,
    })
}

fn find<'a>(lanes: &'a [Lane], subject: &LaneSubject) -> Result<&'a Lane, String> {
    let name = format!("{}/{}", subject.protocol, subject.codec);
    let lane = lanes.iter().find(|lane| lane.subject == *subject);
    let lane = lane.ok_or_else(|| format!("{name} was not run in memory"))?;
    match &lane.failure {
        Some(reason) => Err(format!("{name}: {reason}")),
        None => Ok(lane),
    }
}

/// Returns the difference of two lanes; fails if they had different calls in flight.
fn difference(
    ours: &Lane,
    theirs: &Lane,
    may_differ: &BTreeSet<Layer>,
) -> Result<LaneDifference, String> {
    let depth = |lane: &Lane| lane.launches.first().map_or(0, |launch| launch.in_flight);
    if depth(ours) != depth(theirs) {
        return Err(format!(
            "the lanes had {} and {} calls in flight, and another depth is another cost",
            depth(ours),
            depth(theirs)
        ));
    }
    let times = |lane: &Lane| -> Vec<Sample> {
        let sample = |(launch, ns): (u32, f64)| Sample { round: launch, value: ns };
        (0..).zip(lane.launches.iter().map(|launch| launch.ns)).map(sample).collect()
    };
    let center = |samples: &[Sample]| Bootstrap::default().blocks(samples);
    let (whole, clock) = (times(ours), differences(&times(ours), &times(theirs)));
    let (Some(whole), Some(clock)) = (center(&whole), center(&clock)) else {
        return Err("the lanes were not timed together".to_owned());
    };
    let counts = match (&ours.counts, &theirs.counts) {
        (Ok(ours), Ok(theirs)) => Ok(CountDifference::new(ours, theirs, may_differ)),
        (Err(reason), _) | (_, Err(reason)) => Err(reason.clone()),
    };
    Ok(LaneDifference { in_flight: depth(ours), whole_ns: whole.estimate, clock, counts })
}

impl CountDifference {
    fn new(
        ours: &LaneCounts,
        theirs: &LaneCounts,
        may_differ: &BTreeSet<Layer>,
    ) -> CountDifference {
        let of_call = |lane: &LaneCounts, count: u64| count as f64 / f64::from(lane.calls.max(1));
        let in_layer = |lane: &LaneCounts, layer: Layer| {
            of_call(lane, lane.instructions.get(&layer).copied().unwrap_or(0))
        };
        let is_there = |layer: &Layer| {
            ours.instructions.contains_key(layer) || theirs.instructions.contains_key(layer)
        };
        let layers: BTreeMap<Layer, f64> = Layer::ALL
            .into_iter()
            .filter(is_there)
            .map(|layer| (layer, in_layer(ours, layer) - in_layer(theirs, layer)))
            .collect();
        let whole = of_call(ours, ours.all());
        let undeclared = || layers.iter().filter(|(layer, _)| !may_differ.contains(layer));
        let is_large = |(_, count): &(&Layer, &f64)| count.abs() >= LEAK_MAX * whole;
        let leaks = undeclared().filter(is_large).map(|(layer, _)| *layer).collect();
        let leak = undeclared().map(|(_, count)| count).sum();
        let allocations = ours.allocations.zip(theirs.allocations);
        CountDifference {
            whole,
            leaks,
            leak,
            allocations: allocations
                .map(|(one, other)| of_call(ours, one) - of_call(theirs, other)),
            copies: of_call(ours, ours.copies) - of_call(theirs, theirs.copies),
            layers,
        }
    }

    pub(super) fn all(&self) -> f64 {
        self.layers.values().sum()
    }

    /// Returns whether no layer and no sum of layers leaks.
    pub(super) fn is_closed(&self) -> bool {
        self.leaks.is_empty() && self.leak.abs() < LEAK_MAX * self.whole
    }
}
