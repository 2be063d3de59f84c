//! Trials to rows: one row per cell, with its figures over all blocks and its ratios to two others.
//!
//! A section holds the cells of one array under one load of one client. Each stage uses earlier
//! stages only:
//!
//! | stage | result |
//! |---|---|
//! | 1 | [`CellFigures`] of each cell by itself, or the obstacle |
//! | 2 | ratios between cells, taken within blocks: one [`Family`] of intervals |
//! | 3 | [`Noise`] of the controls; verdicts of the ratios above its floor |
//! | 4 | `Ceiling`s of the load generator: null servers, raised by the rows |
//! | 5 | `Status` of each row: by itself, then against its ceiling and the other rows |

use std::collections::BTreeMap;

use crate::axis::Coding;
use crate::record::trial_spec::RequestHeaders;
use crate::record::{ArrayInfo, Client, Measurement, Outcome, Trial, Variant};
use crate::stats::bootstrap::{Bootstrap, Interval};
use crate::stats::family::{Family, Member};
use crate::stats::forecast::Launches;
use crate::stats::histogram::Histogram;
use crate::stats::location::Sample;
use crate::stats::verdict::{Floor, Verdict};

use super::ceiling::Ceiling;
use super::cell::{self, CellTrials, SectionKey, section_key};
use super::control::Control;
use super::malloc;
use super::noise::{Noise, WIDTH_WANTED};
use super::scatter::Scatter;
use super::sockets;
use super::status::Status;

#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    pub array: ArrayInfo,
    pub coding: Coding,
    pub connections: u32,
    pub in_flight: u32,
    pub client: Client,
    /// Headers of the requests, if they have some and the records tell which.
    pub headers: Option<RequestHeaders>,
    /// Allocators of the servers, in words; empty for records that do not tell them.
    pub malloc: String,
    pub rows: Vec<Row>,
    pub noise: Noise,
    pub scatter: Option<Scatter>,
    pub ceilings: Vec<Ceiling>,
    /// Line about servers whose sockets have other options than those of most.
    pub sockets: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub rung: String,
    pub parent: Option<String>,
    pub reference: Option<String>,
    pub original: Option<String>,
    pub in_flight_wanted: Option<u32>,
    pub result: Result<Figures, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    pub cell: CellFigures,
    pub status: Status,
    pub to_parent: Option<Ratio>,
    pub to_reference: Option<Ratio>,
    /// Requests per second that the load generator reaches against a null server.
    pub ceiling_hz: Option<f64>,
}

/// Figures of a cell by itself. Costs and bytes are per request.
#[derive(Clone, Debug, PartialEq)]
pub struct CellFigures {
    pub server_cpu_ns: Option<Interval>,
    /// Share of `server_cpu_ns` in the kernel, by the kernel's tick; `None` without a tick.
    pub system_share: Option<f64>,
    /// CPU of the load generator, without idle polling.
    pub client_cpu_ns: Interval,
    pub rate_hz: Interval,
    /// Over the requests of all blocks.
    pub latencies: Option<Histogram>,
    pub bytes_in: f64,
    pub bytes_out: f64,
    pub rss_peak_bytes: Option<u64>,
    pub page_faults: Option<f64>,
    pub discarded: usize,
}

/// Ratio of costs. The intervals of all ratios of a section hold together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    pub ratio: Interval,
    pub verdict: Verdict,
    /// Largest difference of the two rungs that is not shown.
    pub floor: Floor,
}

pub fn discarded(trials: &[Trial]) -> (usize, usize) {
    let all = trials.iter().filter(|trial| matches!(trial.outcome, Outcome::Measured(_)));
    (all.clone().filter(|trial| trial.discarded.is_some()).count(), all.count())
}

/// Returns the sections, by array from small to large, then by load.
pub fn sections(trials: &[Trial]) -> Vec<Section> {
    cells_by_section(trials).iter().map(|cells| section(cells)).collect()
}

/// Returns the logarithms of the ratios that each section shows, by launch, then by round.
pub(super) fn round_log_ratios(trials: &[Trial]) -> Vec<Vec<Launches>> {
    let ratios = |cells: &Vec<CellTrials<'_>>| {
        let usual = usual(cells);
        let launches = |(ours, theirs): (&CellTrials<'_>, &CellTrials<'_>)| -> Launches {
            ours.round_log_ratios(theirs).into_iter().map(|(_, logs)| logs).collect()
        };
        pairs(&usual).map(launches).collect()
    };
    cells_by_section(trials).iter().map(ratios).collect()
}

/// Groups the timed trials by section, then by cell.
pub(super) fn cells_by_section(trials: &[Trial]) -> Vec<Vec<CellTrials<'_>>> {
    let mut by_section: BTreeMap<SectionKey<'_>, BTreeMap<u32, CellTrials<'_>>> = BTreeMap::new();
    for trial in trials.iter().filter(|trial| trial.is_timed()) {
        let cells = by_section.entry(section_key(trial)).or_default();
        cells.entry(trial.cell).or_default().0.push(trial);
    }
    by_section.into_values().map(|cells| cells.into_values().collect()).collect()
}

fn usual<'a, 'b>(cells: &'a [CellTrials<'b>]) -> Vec<&'a CellTrials<'b>> {
    cells.iter().filter(|cell| cell.first().variant == Variant::Usual).collect()
}

/// Returns true if every ratio is known to within its noise floor or [`WIDTH_WANTED`], whichever is
/// larger, and every known delay was found. Further blocks would add nothing.
pub fn is_resolved(trials: &[Trial]) -> bool {
    let is_known = |ratio: &Ratio| {
        let width = ratio.ratio.half_width().map(|half| half / ratio.ratio.estimate);
        width.is_some_and(|width| width <= ratio.floor.share().max(WIDTH_WANTED))
    };
    sections(trials).iter().all(|section| {
        let figures = section.rows.iter().filter_map(|row| row.result.as_ref().ok());
        let mut ratios = figures.flat_map(|f| [&f.to_parent, &f.to_reference]).flatten();
        let is_control_known = section.noise.control.as_ref().is_none_or(Control::is_decided);
        is_control_known && ratios.all(is_known)
    })
}

/// Evaluates the controls among the cells of a section. Its tables of all kinds share the result.
pub(super) fn noise(cells: &[CellTrials<'_>]) -> Noise {
    Noise::evaluate(cells, &family(&usual(cells)))
}

fn section(cells: &[CellTrials<'_>]) -> Section {
    let usual = usual(cells);
    let figures: Vec<Result<CellFigures, String>> = usual
        .iter()
        .map(|cell| cell.obstacle().map_or_else(|| Ok(CellFigures::compute(cell)), Err))
        .collect();
    let family = family(&usual);
    let noise = Noise::evaluate(cells, &family);
    let ratios = ratios(&usual, &family, &noise);
    let ceilings = ceilings(cells, &usual, &figures);
    let rates = rates(&usual, &figures);
    let stages = usual.iter().zip(figures).zip(ratios);
    let rows = stages.map(|((cell, figures), [to_parent, to_reference])| {
        let result = figures.map(|figures| {
            let ceiling = ceiling_of(&ceilings, cell);
            let status = status(cell, &figures, ceiling, &rates);
            let ceiling_hz = ceiling.map(|ceiling| ceiling.rate_hz);
            Figures { cell: figures, status, to_parent, to_reference, ceiling_hz }
        });
        Row::new(cell.first(), result)
    });
    let rows = rows.collect();
    let first = cells[0].first();
    Section {
        array: first.array.clone(),
        coding: first.coding,
        connections: first.connections,
        in_flight: first.in_flight_sent(),
        client: first.client,
        headers: cell::headers(cells),
        malloc: malloc::names(&usual),
        rows,
        noise,
        scatter: Scatter::evaluate(usual.iter().copied(), pairs(&usual)),
        ceilings,
        sockets: sockets::differences(&usual),
    }
}

/// Returns the pairs of cells that are compared.
fn pairs<'a, 'b>(
    usual: &[&'a CellTrials<'b>],
) -> impl Iterator<Item = (&'a CellTrials<'b>, &'a CellTrials<'b>)> {
    let other =
        |name: Option<&str>| usual.iter().find(|other| Some(other.first().rung.as_str()) == name);
    usual.iter().flat_map(move |cell| {
        compared_with(cell.first()).into_iter().filter_map(move |name| Some((*cell, *other(name)?)))
    })
}

impl Row {
    fn new(trial: &Trial, result: Result<Figures, String>) -> Row {
        Row {
            rung: trial.rung.clone(),
            parent: trial.parent.clone(),
            reference: trial.reference.clone(),
            original: trial.original.clone(),
            in_flight_wanted: trial.in_flight_wanted,
            result,
        }
    }
}

impl CellFigures {
    fn compute(cell: &CellTrials<'_>) -> CellFigures {
        let measured = cell.measured();
        let center = |value: &dyn Fn(&Measurement) -> f64| {
            let sample =
                |(round, m): &(u32, &Measurement)| Sample { round: *round, value: value(m) };
            let samples: Vec<Sample> = measured.iter().map(sample).collect();
            let none = Interval { estimate: 0.0, range: None, units: 0 };
            cell::geometric_center(&samples).unwrap_or(none)
        };
        let (system, user) = measured
            .iter()
            .filter_map(|(_, m)| m.server_cpu)
            .fold((0, 0), |(system, user), cpu| (system + cpu.system_ns, user + cpu.user_ns));
        CellFigures {
            server_cpu_ns: cell::geometric_center(&cell.server_costs()),
            system_share: (system + user > 0).then(|| system as f64 / (system + user) as f64),
            client_cpu_ns: center(&|m| m.client_work_ns() as f64 / m.requests as f64),
            rate_hz: center(&|m| m.requests as f64 * 1e9 / m.wall_ns as f64),
            latencies: cell.latencies(),
            bytes_in: center(&|m| m.bytes_in as f64 / m.requests as f64).estimate,
            bytes_out: center(&|m| m.bytes_out as f64 / m.requests as f64).estimate,
            rss_peak_bytes: measured.iter().filter_map(|(_, m)| m.server_rss_peak_bytes).max(),
            page_faults: cell.page_faults(),
            discarded: cell.discards().len(),
        }
    }
}

/// Returns the rung to compare with the parent, and the one to compare with the reference. A rung
/// that is both counts once, as the parent. A rung is not compared with itself.
fn compared_with(trial: &Trial) -> [Option<&str>; 2] {
    let reference = trial.reference.as_ref().filter(|_| trial.reference != trial.parent);
    [trial.parent.as_ref(), reference]
        .map(|other| other.map(String::as_str).filter(|other| *other != trial.rung))
}

fn by_rung<'a, 'b>(usual: &[&'a CellTrials<'b>]) -> BTreeMap<&'a str, &'a CellTrials<'b>> {
    usual.iter().map(|cell| (cell.first().rung.as_str(), *cell)).collect()
}

fn family(usual: &[&CellTrials<'_>]) -> Family {
    let by_rung = by_rung(usual);
    let ratio = |cell: &CellTrials<'_>, other: Option<&str>| -> Member {
        let other = other.and_then(|other| by_rung.get(other));
        let ratios = other.map_or_else(Vec::new, |other| cell.log_ratios(other));
        vec![ratios.into_iter().map(|sample| sample.value).collect()]
    };
    let ratios =
        |cell: &&CellTrials<'_>| compared_with(cell.first()).map(|other| ratio(cell, other));
    Family::new(Bootstrap::default(), &usual.iter().flat_map(ratios).collect::<Vec<_>>())
}

fn ratios(usual: &[&CellTrials<'_>], family: &Family, noise: &Noise) -> Vec<[Option<Ratio>; 2]> {
    let by_rung = by_rung(usual);
    let ratio = |cell: &CellTrials<'_>, other: Option<&str>, log: &Option<Interval>| {
        let (other, log) = (by_rung.get(other?)?, (*log)?);
        let floor = noise.floor_of([cell, other]);
        Some(Ratio { ratio: log.exp(), verdict: Verdict::judge(&log, floor), floor })
    };
    let intervals = family.intervals();
    let both = |(cell, logs): (&&CellTrials<'_>, &[Option<Interval>])| {
        let [parent, reference] = compared_with(cell.first());
        let to_parent = ratio(cell, parent, &logs[0]);
        let is_both = cell.first().parent == cell.first().reference;
        [to_parent, if is_both { to_parent } else { ratio(cell, reference, &logs[1]) }]
    };
    usual.iter().zip(intervals.chunks(2)).map(both).collect()
}

fn ceilings(
    cells: &[CellTrials<'_>],
    usual: &[&CellTrials<'_>],
    figures: &[Result<CellFigures, String>],
) -> Vec<Ceiling> {
    let is_null = |cell: &&CellTrials<'_>| {
        cell.first().variant == Variant::Null && !cell.is_noisy() && cell.obstacle().is_none()
    };
    let ceiling = |null: &CellTrials<'_>| {
        let rung = &null.first().rung;
        let rate_and_cost = |f: &CellFigures| (f.rate_hz.estimate, f.client_cpu_ns.estimate);
        let (rate_hz, client_cpu_ns) = rate_and_cost(&CellFigures::compute(null));
        let others = usual.iter().zip(figures);
        others
            .filter(|(cell, _)| cell.first().null.as_ref() == Some(rung))
            .filter_map(|(_, figures)| figures.as_ref().ok().map(rate_and_cost))
            .fold(
                Ceiling::new(rung, rate_hz, client_cpu_ns),
                |ceiling, (rate_hz, client_cpu_ns)| ceiling.raised(rate_hz, client_cpu_ns),
            )
    };
    cells.iter().filter(is_null).map(ceiling).collect()
}

fn ceiling_of<'a>(ceilings: &'a [Ceiling], cell: &CellTrials<'_>) -> Option<&'a Ceiling> {
    ceilings.iter().find(|ceiling| cell.first().null.as_ref() == Some(&ceiling.null))
}

fn rates(usual: &[&CellTrials<'_>], figures: &[Result<CellFigures, String>]) -> Vec<(String, f64)> {
    let rate = |(cell, figures): (&&CellTrials<'_>, &Result<CellFigures, String>)| {
        Some((stack(&cell.first().rung).to_owned(), figures.as_ref().ok()?.rate_hz.estimate))
    };
    usual.iter().zip(figures).filter_map(rate).collect()
}

fn status(
    cell: &CellTrials<'_>,
    figures: &CellFigures,
    ceiling: Option<&Ceiling>,
    rates: &[(String, f64)],
) -> Status {
    let rate_hz = figures.rate_hz.estimate;
    let status = Status::judge(cell);
    let status = match ceiling {
        Some(ceiling) => status.with_ceiling(ceiling, rate_hz),
        None => status,
    };
    let status = status.with_plateau(stack(&cell.first().rung), rate_hz, rates);
    status.with_reconnects(cell.reconnects())
}

fn stack(rung: &str) -> &str {
    rung.rsplit_once('/').map_or(rung, |(stack, _)| stack)
}
