//! Closure of the differences between rungs: does the difference to the parent lie in the layers
//! that their axis may change?
//!
//! A rung and its parent differ on one axis, and each axis declares in advance which layers it may
//! change ([`Axis::layers`](crate::axis::Axis::layers)). The samples split the difference over all
//! layers. They add up to the difference by the clock in any case, so the sum proves nothing; the
//! test is where it lies. The part in undeclared layers is the *leak*. A pair is closed if its leak
//! is not shown to differ from 0, or is below `LEAK_MAX` of the rung's cost; a larger one is
//! printed as unattributed. Nothing is attributed by guessing.
//!
//! Planted servers show whether the split can be trusted: see `planted`.
//!
//! Rungs of one section only are compared, so both sides have the same array and the same number of
//! requests in flight.

mod costs;
mod lanes;
mod pair;
mod planted;
mod text;

use std::collections::BTreeSet;

use crate::record::{Lane, Trial, Variant};

use super::cell::{self, CellTrials};
use super::text::{WIDTH_MAX, connections};
use super::wrap::wrap;
use super::{Run, aggregate, units, warning};

use self::lanes::LaneAccount;
use self::pair::Side;
pub(super) use self::pair::{Closure, LEAK_MAX, Pair};
#[cfg(test)]
pub(super) use self::planted::Finding;
pub(super) use self::planted::Planted;
pub(super) use self::text::Unit;

/// Pairs of one array under one load.
pub(super) struct Section {
    pub(super) title: String,
    pub(super) pairs: Vec<Pair>,
    /// Accounts of the lanes, with the names of rung and parent.
    accounts: Vec<((String, String), LaneAccount)>,
    pub(super) planted: Vec<Planted>,
    /// Pairs that were not split, with the reason.
    pub(super) obstacles: Vec<String>,
}

impl Section {
    fn account_of(&self, pair: &Pair) -> Option<&LaneAccount> {
        let is_its = |((rung, parent), _): &&((String, String), LaneAccount)| {
            *rung == pair.rung && *parent == pair.parent
        };
        self.accounts.iter().find(is_its).map(|(_, account)| account)
    }

    /// Returns the accounts of rungs that were not sampled.
    fn lone_accounts(&self) -> impl Iterator<Item = &((String, String), LaneAccount)> {
        let is_paired = |rung: &str, parent: &str| {
            self.pairs.iter().any(|pair| pair.rung == rung && pair.parent == parent)
        };
        self.accounts.iter().filter(move |((rung, parent), _)| !is_paired(rung, parent))
    }

    /// Returns the pair of a rung and its parent.
    pub(super) fn pair_of(&self, rung: &str) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.rung == rung)
    }
}

/// Returns whether the differences of a run can be attributed: a ladder with profiled cells.
pub fn is_attributed(run: &Run) -> bool {
    let mut variants = run.trials.iter().filter(|trial| trial.variant == Variant::Profiled);
    run.header.preset != "profile" && variants.next().is_some()
}

/// Prints the pairs of a run in lines of at most `width` columns, the result first. Returns `None`
/// for a run that was not attributed.
pub fn render(run: &Run, width: usize) -> Option<String> {
    let width = width.min(WIDTH_MAX);
    if !is_attributed(run) {
        return None;
    }
    let sections = sections(run);
    let mut text = wrap("", &summary(&sections), width);
    if run.lanes.is_empty() {
        text.push_str(&wrap("", NO_LANES, width));
    }
    text.push_str(&wrap("", &run.machine(), width));
    for warning in warning::warnings(run) {
        text.push_str(&wrap("warning: ", &warning.to_string(), width));
    }
    let is_empty =
        |it: &&Section| it.pairs.is_empty() && it.planted.is_empty() && it.obstacles.is_empty();
    for section in sections.iter().filter(|section| !is_empty(section)) {
        text.push('\n');
        text.push_str(&wrap("", &section.title, width));
        for pair in &section.pairs {
            text.push('\n');
            text.push_str(&self::text::pair(pair, section.account_of(pair), width));
        }
        for ((rung, parent), account) in section.lone_accounts() {
            text.push('\n');
            text.push_str(&self::text::lone_account(rung, parent, account, width));
        }
        for planted in &section.planted {
            text.push('\n');
            text.push_str(&self::text::planted(planted, width));
        }
        if !section.obstacles.is_empty() {
            text.push('\n');
        }
        for obstacle in &section.obstacles {
            text.push_str(&wrap("not split: ", obstacle, width));
        }
    }
    text.push('\n');
    for line in LEGEND {
        text.push_str(&wrap("", line, width));
    }
    Some(text)
}

const NO_LANES: &str = "These records have no lanes, the account of protocols and codecs in memory; \
                        `ndecho ladder --attribute` of this version measures them.";

const LEGEND: [&str; 4] = [
    "by the clock: CPU time of a request to the rung less that to its parent, of servers that are not \
     sampled. Below it, the same difference by layer: shares of the samples of a second server in \
     the same launch, times the CPU time of the first. Per cent are of the rung's CPU time.",
    "leak: difference in the layers that the axis may not change. A pair is closed if the interval of \
     its leak, and of each such layer, holds 0, or the figure is below 5 %. Each axis declares its \
     layers in advance (docs/METHOD.md).",
    "lanes: the protocols and codecs of both rungs in memory, without driver and kernel; CPU time of a \
     call, and its instructions under valgrind, in per cent of the rung's lane. They see no caches \
     that a kernel has emptied, and no AVX-512.",
    "Intervals are 95 % bootstrap intervals over launches, in each of which both rungs ran. Each \
     figure is a trimmed mean by itself, so the layers add up to the difference only nearly.",
];

/// Returns the pairs of each section of a run, in the order of [`aggregate::sections`].
pub(super) fn sections(run: &Run) -> Vec<Section> {
    let by_section = aggregate::cells_by_section(&run.trials);
    by_section.iter().map(|cells| section(cells, &by_section, &run.lanes)).collect()
}

fn section(cells: &[CellTrials<'_>], all: &[Vec<CellTrials<'_>>], lanes: &[Lane]) -> Section {
    let first = cells[0].first();
    let title = format!(
        "{}, {}, {} in flight: difference to the parent by layer",
        units::array(&first.array),
        connections(first.connections),
        first.in_flight_sent()
    );
    let mut section = Section {
        title,
        pairs: Vec::new(),
        accounts: Vec::new(),
        planted: Vec::new(),
        obstacles: Vec::new(),
    };
    let mut seen = BTreeSet::new();
    for child in cells.iter().filter(|cell| cell.first().variant == Variant::Usual) {
        let Some(parent) = child.first().parent.as_deref() else { continue };
        let usual = cell::find(cells, parent, Variant::Usual);
        section.accounts.extend(usual.and_then(|it| account(child.first(), it.first(), lanes)));
        match usual {
            Some(usual) => match pair(cells, child, usual) {
                Ok(pair) => section.pairs.push(pair),
                Err(reason) if seen.insert(reason.clone()) => section.obstacles.push(reason),
                Err(_) => {}
            },
            None => section.obstacles.extend(other_depth(child, parent, all)),
        }
    }
    for planted in cells.iter().filter_map(|cell| Planted::new(cells, cell, lanes)) {
        match planted {
            Ok(planted) => section.planted.push(planted),
            Err(reason) if seen.insert(reason.clone()) => section.obstacles.push(reason),
            Err(_) => {}
        }
    }
    section
}

/// Returns the account of the lanes of a rung and its parent; `None` for a run without lanes.
fn account(
    rung: &Trial,
    parent: &Trial,
    lanes: &[Lane],
) -> Option<((String, String), LaneAccount)> {
    let (_, may_differ) = pair::declared(rung, parent).ok().filter(|_| !lanes.is_empty())?;
    let names = (rung.rung.clone(), parent.rung.clone());
    Some((names, lanes::account(lanes, rung, parent, &may_differ)))
}

fn pair<'a>(
    cells: &'a [CellTrials<'a>],
    child: &'a CellTrials<'a>,
    parent: &'a CellTrials<'a>,
) -> Result<Pair, String> {
    let side = |usual: &'a CellTrials<'a>| {
        let rung = &usual.first().rung;
        let profiled = cell::find(cells, rung, Variant::Profiled);
        let profiled = profiled.ok_or_else(|| format!("{rung} has no server that was sampled"))?;
        Ok::<_, String>(Side { usual, profiled })
    };
    Pair::new(&side(child)?, &side(parent)?)
}

/// Returns a sentence about a rung whose parent ran with the same array, but under another load.
fn other_depth(
    child: &CellTrials<'_>,
    parent: &str,
    all: &[Vec<CellTrials<'_>>],
) -> Option<String> {
    let trial = child.first();
    let same_array = || all.iter().filter(|cells| cells[0].first().array == trial.array);
    let has = |cells: &&Vec<CellTrials<'_>>, rung: &str| {
        cell::find(cells, rung, Variant::Usual).is_some()
    };
    let is_paired = same_array().any(|cells| has(&cells, &trial.rung) && has(&cells, parent));
    let other = same_array().find(|cells| has(cells, parent)).filter(|_| !is_paired)?;
    Some(format!(
        "{} had {} requests in flight and its parent {parent} {}, and another depth is another \
         cost; give both the lower one with --in-flight, or take the tuned forms",
        trial.rung,
        trial.in_flight_sent(),
        other[0].first().in_flight_sent()
    ))
}

/// Returns the result of a run in a few sentences.
pub(super) fn summary(sections: &[Section]) -> String {
    let pairs: Vec<&Pair> = sections.iter().flat_map(|section| &section.pairs).collect();
    let obstacles: usize = sections.iter().map(|section| section.obstacles.len()).sum();
    if pairs.is_empty() {
        let none = "No difference between rungs was attributed: no pair of a rung and its parent \
                    was sampled under one load. The reasons stand below.";
        return none.to_owned() + &summary_of_lanes(sections) + &summary_of_planted(sections);
    }
    let count = |is: fn(&Closure) -> bool| pairs.iter().filter(|pair| is(&pair.closure)).count();
    let closed = count(Closure::is_closed);
    let mut text = format!(
        "Closed: {closed} of {} pairs of a rung and its parent, whose difference in CPU time lies \
         in the layers that their axis may change, but for {:.0} % of the rung's time at most.",
        pairs.len(),
        LEAK_MAX * 100.0
    );
    let wide = count(|closure| *closure == Closure::Wide);
    if wide > 0 {
        text.push_str(&format!(" In {wide} of them the interval is too wide to exclude more."));
    }
    let unknown = count(|closure| *closure == Closure::TooFewLaunches);
    if unknown > 0 {
        text.push_str(&format!(" {unknown} had too few launches to tell."));
    }
    let leaks = count(|closure| matches!(closure, Closure::Leaks(_)));
    if leaks > 0 {
        text.push_str(&format!(" {leaks} leave a part unattributed."));
    }
    text.push_str(&summary_of_lanes(sections));
    text.push_str(&summary_of_planted(sections));
    if obstacles > 0 {
        text.push_str(&format!(" {obstacles} were not split; the reasons stand below."));
    }
    text
}

/// Returns the result of the lanes in a sentence; empty if no two lanes were compared.
fn summary_of_lanes(sections: &[Section]) -> String {
    let accounts = sections.iter().flat_map(|section| &section.accounts);
    let counts = accounts.filter_map(|(_, account)| match account {
        LaneAccount::Difference(it) => it.counts.as_ref().ok(),
        _ => None,
    });
    let closed: Vec<bool> = counts.map(lanes::CountDifference::is_closed).collect();
    if closed.is_empty() {
        return String::new();
    }
    let count = closed.iter().filter(|is_closed| **is_closed).count();
    format!(" In memory, by instructions: {count} of {} pairs are closed.", closed.len())
}

/// Returns the result of the planted costs in a sentence or two; empty if there were none.
fn summary_of_planted(sections: &[Section]) -> String {
    let planted: Vec<&Planted> = sections.iter().flat_map(|section| &section.planted).collect();
    if planted.is_empty() {
        return String::new();
    }
    let found = planted.iter().filter(|it| it.is_found()).count();
    let mut text = format!(
        " Planted: {found} of {} known costs were found in their layers and in their size.",
        planted.len()
    );
    let lost = planted.iter().filter(|it| it.is_contradicted()).count();
    if lost > 0 {
        text.push_str(&format!(" {lost} were NOT found; do not trust the layers of this run."));
    }
    let unresolved = planted.len() - found - lost;
    if unresolved > 0 {
        text.push_str(&format!(" {unresolved} could not be resolved by this run."));
    }
    text
}
