//! Cells of one array under one load, with the costs and ratios that the tables need.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use crate::axis::Malloc;
use crate::record::{ArrayInfo, Client, Measurement, Trial, Variant, validity};
use crate::stats::bootstrap::{Bootstrap, Interval};
use crate::stats::family::{Family, Member};
use crate::stats::histogram::Histogram;
use crate::stats::location::Sample;
use crate::stats::verdict::{Floor, Verdict};

use super::super::aggregate;
use super::super::cell::{self, CellTrials};
use super::super::noise::Noise;
use super::super::profile::{self, RungLayers};
use super::super::{Run, malloc, text, units};

pub(in crate::report) struct LoadCells<'a> {
    cells: Vec<CellTrials<'a>>,
    /// Controls, once they are known.
    noise: OnceCell<Noise>,
}

/// Ratios of costs of one load. Their intervals hold together.
pub(in crate::report) struct Ratios {
    logs: Vec<Option<Interval>>,
    floors: Vec<Floor>,
}

impl<'a> LoadCells<'a> {
    fn new(cells: Vec<CellTrials<'a>>) -> LoadCells<'a> {
        LoadCells { cells, noise: OnceCell::new() }
    }

    pub(in crate::report) fn all(run: &'a Run) -> Vec<LoadCells<'a>> {
        aggregate::cells_by_section(&run.trials).into_iter().map(LoadCells::new).collect()
    }

    /// Returns the cells of `array` with one request in flight on each of `connections`, in a
    /// closed loop or with requests offered at a rate; `None` if the run has none.
    pub(in crate::report) fn find_load(
        run: &'a Run,
        array: &ArrayInfo,
        connections: u32,
        rate_hz: Option<f64>,
    ) -> Option<LoadCells<'a>> {
        let mut cells: BTreeMap<u32, CellTrials<'a>> = BTreeMap::new();
        let is_wanted = |trial: &&Trial| {
            (trial.connections, trial.in_flight) == (connections, connections)
                && trial.array == *array
                && trial.offered_hz == rate_hz
                && trial.client == Client::Own
                && trial.counts.is_none()
        };
        for trial in run.trials.iter().filter(is_wanted) {
            cells.entry(trial.cell).or_default().0.push(trial);
        }
        let cells: Vec<CellTrials<'a>> = cells.into_values().collect();
        (!cells.is_empty()).then(|| LoadCells::new(cells))
    }

    pub(in crate::report) fn array(&self) -> &'a ArrayInfo {
        &self.cells[0].first().array
    }

    pub(in crate::report) fn connections(&self) -> u32 {
        self.cells[0].first().connections
    }

    pub(in crate::report) fn in_flight(&self) -> u32 {
        self.cells[0].first().in_flight_sent()
    }

    pub(in crate::report) fn rungs(&self) -> impl Iterator<Item = &'a str> {
        self.usual().map(|cell| cell.first().rung.as_str())
    }

    /// Returns the allocator of the server of a rung; `None` if the record does not tell it.
    pub(in crate::report) fn malloc(&self, rung: &str) -> Option<Malloc> {
        self.find(rung)?.first().spec.as_ref()?.servers.first()?.malloc
    }

    /// Returns the standard server that a rung is compared with.
    pub(in crate::report) fn reference(&self, rung: &str) -> Option<&'a str> {
        self.find(rung)?.first().reference.as_deref()
    }

    /// Returns the reasons why rungs have no figures.
    pub(in crate::report) fn obstacles(&self) -> impl Iterator<Item = (&'a str, String)> {
        self.usual().filter_map(|cell| Some((cell.first().rung.as_str(), cell.obstacle()?)))
    }

    /// Returns the numbers of connections that servers ended.
    pub(in crate::report) fn reconnects(&self) -> impl Iterator<Item = (&'a str, u64)> {
        let counts = self.usual().map(|cell| (cell.first().rung.as_str(), cell.reconnects()));
        counts.filter(|(_, count)| *count > 0)
    }

    /// Returns the cost of a request; `None` if the rung was not measured.
    pub(in crate::report) fn cost_ns(&self, rung: &str) -> Option<Interval> {
        cell::geometric_center(&self.find(rung)?.server_costs())
    }

    /// Returns the requests per second of a rung; `None` if it was not measured.
    pub(in crate::report) fn rate_hz(&self, rung: &str) -> Option<f64> {
        let rate = |(round, m): (u32, &Measurement)| Sample {
            round,
            value: m.requests as f64 * 1e9 / m.wall_ns as f64,
        };
        let rates: Vec<Sample> = self.find(rung)?.measured().into_iter().map(rate).collect();
        cell::geometric_center(&rates).map(|rate| rate.estimate)
    }

    /// Returns the share of the requests offered to a rung that it answered, if some are missing.
    /// At its ends, a window may miss a request.
    pub(in crate::report) fn share_below_offered(
        &self,
        rung: &str,
        offered_hz: f64,
    ) -> Option<f64> {
        let measured = self.find(rung)?.measured();
        let due: f64 = measured.iter().map(|(_, m)| offered_hz * m.wall_ns as f64 / 1e9).sum();
        let answered: u64 = measured.iter().map(|(_, m)| m.requests).sum();
        let at_most = (answered + measured.len() as u64) as f64;
        (at_most < validity::ACHIEVED_MIN * due).then(|| answered as f64 / due)
    }

    pub(in crate::report) fn latencies(&self, rung: &str) -> Option<Histogram> {
        self.find(rung)?.latencies()
    }

    /// Returns the ratios of the costs of rungs, in the order of `pairs`.
    pub(in crate::report) fn ratios(&self, pairs: &[(&str, &str)]) -> Ratios {
        let member = |(rung, other): &(&str, &str)| -> Member {
            let pair = self.find(rung).zip(self.find(other));
            let logs = pair.map_or_else(Vec::new, |(rung, other)| rung.log_ratios(other));
            vec![logs.into_iter().map(|sample| sample.value).collect()]
        };
        let members: Vec<Member> = pairs.iter().map(member).collect();
        let family = Family::new(Bootstrap::default(), &members);
        let floor = |(rung, other): &(&str, &str)| {
            let pair = self.find(rung).zip(self.find(other));
            pair.map_or_else(Floor::default, |(rung, other)| self.noise().floor_of([rung, other]))
        };
        Ratios { logs: family.intervals(), floors: pairs.iter().map(floor).collect() }
    }

    /// Returns the controls of the load, as the full tables have them.
    pub(in crate::report) fn noise(&self) -> &Noise {
        self.noise.get_or_init(|| aggregate::noise(&self.cells))
    }

    /// `8 B, 1000 in flight`.
    pub(in crate::report) fn title(&self) -> String {
        let in_flight = match self.in_flight() {
            1 => "one".to_owned(),
            in_flight => in_flight.to_string(),
        };
        format!("{}, {in_flight} in flight", units::bytes(self.array().bytes))
    }

    /// `8 B <f8 [1], 1 connection, 1000 in flight`.
    pub(in crate::report) fn long_title(&self) -> String {
        let (array, connections) = (units::array(self.array()), self.connections());
        let load = format!("{}, {} in flight", text::connections(connections), self.in_flight());
        match self.cells[0].first().client {
            Client::Own => format!("{array}, {load}"),
            other => format!("{array}, {load}, {}", other.name()),
        }
    }

    /// Returns the layers of the rungs that were profiled under the load.
    pub(in crate::report) fn profiles(&self) -> Vec<RungLayers> {
        profile::of_cells(&self.cells)
    }

    fn usual(&self) -> impl Iterator<Item = &CellTrials<'a>> {
        self.cells.iter().filter(|cell| cell.first().variant == Variant::Usual)
    }

    fn find(&self, rung: &str) -> Option<&CellTrials<'a>> {
        cell::find(&self.cells, rung, Variant::Usual)
    }
}

impl Ratios {
    /// Returns the logarithm of a ratio with its interval, and the verdict on it.
    pub(in crate::report) fn log(&self, index: usize) -> Option<(Interval, Verdict)> {
        let log = self.logs[index]?;
        Some((log, Verdict::judge(&log, self.floors[index])))
    }

    pub(in crate::report) fn ratio(&self, index: usize) -> Option<Ratio> {
        self.log(index).map(|(log, verdict)| Ratio { ratio: log.exp(), verdict })
    }
}

/// Returns the shares by which servers differed from themselves under the loads: `3 to 10 %`, or
/// `up to 4 %`; `None` if no load tells it.
pub(in crate::report) fn noise_shares(loads: &[LoadCells<'_>]) -> Option<String> {
    let percents = || {
        let shares = loads.iter().flat_map(|load| load.noise().shares());
        shares.map(|share| (share * 100.0).round() as u32)
    };
    let (low, high) = (percents().min()?, percents().max()?);
    Some(if low == high { format!("up to {high} %") } else { format!("{low} to {high} %") })
}

/// Says how much servers differed from themselves, and on what that depends.
pub(in crate::report) fn noise_text(loads: &[LoadCells<'_>]) -> Option<String> {
    let shares = noise_shares(loads)?;
    let has_several = loads.iter().any(|load| load.noise().shares().count() > 1);
    let by = match has_several {
        _ if shares.starts_with("up to") => "",
        true => ", depending on the load and the server",
        false => ", depending on the load",
    };
    Some(shares + by)
}

/// Names the allocators of the servers under all loads.
pub(in crate::report) fn malloc(loads: &[LoadCells<'_>]) -> String {
    let usual: Vec<&CellTrials<'_>> = loads.iter().flat_map(LoadCells::usual).collect();
    malloc::names(&usual)
}

/// A ratio of costs. Its text always has the interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::report) struct Ratio {
    pub(in crate::report) ratio: Interval,
    pub(in crate::report) verdict: Verdict,
}

impl Ratio {
    /// `0.33 [0.31-0.36]`; `= 0.95-1.04` if no difference was shown; `?` without an interval.
    pub(in crate::report) fn text(&self) -> String {
        match (self.ratio.range, self.verdict) {
            (None, _) => "?".to_owned(),
            (Some(_), Verdict::Same) => format!("= {}", self.text_known()),
            (Some(_), _) => self.text_known(),
        }
    }

    pub(in crate::report) fn text_known(&self) -> String {
        units::ratio(&self.ratio)
    }

    pub(in crate::report) fn is_shown(&self) -> bool {
        matches!(self.verdict, Verdict::Faster | Verdict::Slower)
    }
}
