//! Comparison of two recorded runs: each server's ratio to the standard server of the same run.
//!
//! Two runs are made at different times, in which a machine may be faster or slower. The standard
//! server meets the same machine, so a change of the ratio to it is a change of the server. The
//! cost of the standard server itself says how far the machine, or that server, changed; it has no
//! verdict. A server without a standard one in both runs is compared by its cost.
//!
//! The launches of two runs are independent, so an interval holds the scatter of both runs.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::Variant;
use crate::stats::bootstrap::{Bootstrap, Interval};
use crate::stats::family::{Family, Member};
use crate::stats::location::{self, Sample};
use crate::stats::verdict::{Floor, Verdict};

use super::Run;
use super::aggregate;
use super::cell::{self, CellTrials, SectionKey, section_key};
use super::compare::{ComparedCell, Comparison, Measure, Obstacle, name, obstacle, warnings};
use super::noise::Noise;

/// Cells of one array under one load in one run.
struct Section<'a> {
    cells: Vec<CellTrials<'a>>,
    /// Differences that the run showed for a rung under two names.
    noise: Noise,
}

/// One rung under one load in both runs.
struct Pair<'a> {
    sides: [CellTrials<'a>; 2],
    standards: Option<[CellTrials<'a>; 2]>,
    /// True for the standard server of other rungs.
    is_standard: bool,
    floor: Floor,
}

pub fn compare(old: &Run, new: &Run, threshold: Floor) -> Comparison {
    let pairs = pairs(sections(old), sections(new));
    let of_pair = |pair: &Pair<'_>| match pair.obstacle() {
        None if !pair.is_standard => pair.groups(),
        _ => Default::default(),
    };
    let members: Vec<[Vec<f64>; 2]> = pairs.iter().map(of_pair).collect();
    let family = Family::of_differences(Bootstrap::default(), &members);
    let compared = |(pair, log): (&Pair<'_>, Option<Interval>)| {
        // A standard server has no verdict, so its interval holds by itself.
        let log = match pair.is_standard {
            true => family.non_member_difference(&pair.groups()),
            false => log,
        };
        pair.compared(log, threshold)
    };
    Comparison {
        cells: pairs.iter().zip(family.intervals()).map(compared).collect(),
        counts: Vec::new(),
        threshold,
        warnings: warnings(&[old, new]),
    }
}

fn sections<'a>(run: &'a Run) -> BTreeMap<SectionKey<'a>, Section<'a>> {
    let section = |cells: Vec<CellTrials<'a>>| {
        let key = section_key(cells[0].first());
        let noise = noise(&cells);
        (key, Section { cells, noise })
    };
    aggregate::cells_by_section(&run.trials).into_iter().map(section).collect()
}

fn noise(cells: &[CellTrials<'_>]) -> Noise {
    let member = |cell: &CellTrials<'_>| {
        let logs = standard(cells, cell).map_or_else(Vec::new, |other| cell.log_ratios(other));
        vec![values(logs)]
    };
    let members: Vec<Member> = usual(cells).map(member).collect();
    Noise::evaluate(cells, &Family::new(Bootstrap::default(), &members))
}

fn usual<'a, 'b>(cells: &'a [CellTrials<'b>]) -> impl Iterator<Item = &'a CellTrials<'b>> {
    cells.iter().filter(|cell| cell.first().variant == Variant::Usual)
}

/// Returns the standard server that `cell` is compared with, if it has figures.
fn standard<'a, 'b>(
    cells: &'a [CellTrials<'b>],
    cell: &CellTrials<'_>,
) -> Option<&'a CellTrials<'b>> {
    let name = cell.first().reference.as_deref()?;
    let other = cell::find(cells, name, Variant::Usual)?;
    (name != cell.first().rung && other.obstacle().is_none()).then_some(other)
}

/// Pairs the rungs of both runs, by load, then by name.
fn pairs<'a>(
    old: BTreeMap<SectionKey<'a>, Section<'a>>,
    new: BTreeMap<SectionKey<'a>, Section<'a>>,
) -> Vec<Pair<'a>> {
    let mut sections: BTreeMap<SectionKey<'a>, [Option<Section<'a>>; 2]> = BTreeMap::new();
    for (side, of_run) in [old, new].into_iter().enumerate() {
        for (key, section) in of_run {
            sections.entry(key).or_default()[side] = Some(section);
        }
    }
    sections.values().flat_map(pairs_of_section).collect()
}

fn pairs_of_section<'a>(sections: &[Option<Section<'a>>; 2]) -> Vec<Pair<'a>> {
    let cells =
        |side: usize| sections[side].as_ref().map_or(&[][..], |section| section.cells.as_slice());
    let all = || [0, 1].into_iter().flat_map(|side| usual(cells(side)).map(CellTrials::first));
    let rungs: BTreeSet<&str> = all().map(|trial| trial.rung.as_str()).collect();
    let pair = |rung: &str| {
        let of_side = |side: usize| cell::find(cells(side), rung, Variant::Usual);
        let standard = |side: usize| standard(cells(side), of_side(side)?).cloned();
        let floor = |side: usize| {
            let (noise, cell) = (&sections[side].as_ref()?.noise, of_side(side)?);
            let other = standard(side);
            Some(noise.floor_of([cell, other.as_ref().unwrap_or(cell)]))
        };
        let floors = [floor(0), floor(1)].into_iter().flatten();
        Pair {
            sides: [0, 1].map(|side| of_side(side).cloned().unwrap_or_default()),
            standards: standard(0).zip(standard(1)).map(|(old, new)| [old, new]),
            is_standard: false,
            floor: floors.fold(Floor::default(), Floor::max),
        }
    };
    let mut pairs: Vec<Pair<'a>> = rungs.iter().map(|rung| pair(rung)).collect();
    let standards: BTreeSet<String> = pairs
        .iter()
        .filter_map(|pair| pair.standards.as_ref())
        .map(|[_, new]| new.first().rung.clone())
        .collect();
    for (pair, rung) in pairs.iter_mut().zip(rungs) {
        pair.is_standard = standards.contains(rung);
    }
    pairs
}

impl Pair<'_> {
    fn obstacle(&self) -> Option<Obstacle> {
        let [old, new] = &self.sides;
        obstacle(old, new)
    }

    /// Returns the logarithms of the figures of one run, by launch: ratios to the standard server,
    /// or costs.
    fn logs(&self, side: usize) -> Vec<Sample> {
        let cell = &self.sides[side];
        match &self.standards {
            Some(standards) => cell.log_ratios(&standards[side]),
            None => location::logs(&cell.server_costs()),
        }
    }

    /// Returns the logarithms of both runs.
    fn groups(&self) -> [Vec<f64>; 2] {
        [0, 1].map(|side| values(self.logs(side)))
    }

    fn compared(&self, log: Option<Interval>, threshold: Floor) -> ComparedCell {
        let floor = threshold.max(self.floor);
        let result = match self.obstacle() {
            Some(obstacle) => Err(obstacle),
            None => log
                .map(|log| (log.exp(), Verdict::judge(&log, floor)))
                .ok_or(Obstacle::NoCommonBlock),
        };
        let figure = |side: usize| {
            let logs = self.logs(side);
            Bootstrap::default().blocks(&logs).map(Interval::exp)
        };
        let measure = match (&self.standards, self.is_standard) {
            (Some(_), _) => Measure::ToStandard,
            (None, true) => Measure::Standard,
            (None, false) => Measure::Cost,
        };
        let [old, new] = &self.sides;
        ComparedCell {
            name: old.0.first().or(new.0.first()).map_or_else(String::new, |trial| name(trial)),
            measure,
            result,
            figures: [0, 1].map(figure),
            faults: [old, new].map(CellTrials::page_faults),
        }
    }
}

fn values(samples: Vec<Sample>) -> Vec<f64> {
    samples.into_iter().map(|sample| sample.value).collect()
}
