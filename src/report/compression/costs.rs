//! Costs of each coding under one load: time on the cores, bytes on the link, and the link speed
//! below which it pays.

use std::collections::BTreeMap;

use crate::axis::Coding;
use crate::record::{ArrayInfo, Measurement, Trial, Variant};
use crate::stats::bootstrap::{Bootstrap, Interval};
use crate::stats::location::{self, Sample};

use super::super::Run;
use super::super::aggregate;
use super::super::cell::{self, CellTrials, section_key};
use super::super::noise::Noise;
use super::crossover::{Crossover, LinkBytes};

/// Codings of one array under one load, rung by rung.
pub(super) struct Table {
    pub(super) array: ArrayInfo,
    pub(super) connections: u32,
    pub(super) in_flight: u32,
    pub(super) rungs: Vec<RungCodings>,
}

/// A rung with each coding that was tried, the plain messages first.
pub(super) struct RungCodings {
    pub(super) rung: String,
    /// Figures of each coding, or the obstacle.
    pub(super) codings: Vec<(Coding, Result<Costs, String>)>,
}

/// Costs of a call in one coding. Times are CPU times of whole processes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Costs {
    pub(super) server_ns: Interval,
    /// The load generator deflates each request, and inflates and compares each reply. `None` if
    /// its work could not be told from its polling.
    pub(super) client_ns: Option<Interval>,
    /// Bytes of request and reply, framing included.
    pub(super) link_bytes: f64,
    /// Comparison with the plain messages of the rung; `None` for those, and if they failed.
    pub(super) to_plain: Option<ToPlain>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ToPlain {
    pub(super) bytes: LinkBytes,
    /// By the time of the server alone.
    pub(super) server: Crossover,
    /// By the time of server and client.
    pub(super) both: Option<Crossover>,
}

impl Costs {
    /// Returns the time of server and client, and of a link of `gbit_s` that has no other traffic.
    pub(super) fn call_ns(&self, gbit_s: f64) -> Option<f64> {
        let cpu_ns = self.server_ns.estimate + self.client_ns?.estimate;
        Some(cpu_ns + 8.0 * self.link_bytes / gbit_s)
    }
}

impl RungCodings {
    pub(super) fn measured(&self) -> impl Iterator<Item = (Coding, &Costs)> {
        let measured = self.codings.iter();
        measured.filter_map(|(coding, costs)| Some((*coding, costs.as_ref().ok()?)))
    }

    /// Returns the coding with the fastest call on a link of `gbit_s`; `None` if a time is unknown.
    pub(super) fn fastest(&self, gbit_s: f64) -> Option<Coding> {
        let time = |(coding, costs): (Coding, &Costs)| Some((coding, costs.call_ns(gbit_s)?));
        let times: Vec<(Coding, f64)> = self.measured().map(time).collect::<Option<_>>()?;
        let fastest = times.into_iter().min_by(|(_, a), (_, b)| a.total_cmp(b));
        fastest.map(|(coding, _)| coding)
    }
}

/// Returns a table for each array and load that was tried in several codings.
pub(super) fn tables(run: &Run) -> Vec<Table> {
    let mut loads: BTreeMap<_, Vec<Vec<CellTrials<'_>>>> = BTreeMap::new();
    for section in aggregate::cells_by_section(&run.trials) {
        let (bytes, dtype, shape, data_set, _, connections, in_flight, client) =
            section_key(section[0].first());
        let load = (bytes, dtype, shape, data_set, connections, in_flight, client);
        loads.entry(load).or_default().push(section);
    }
    let tables = loads.into_values().filter(|sections| sections.len() > 1);
    tables.map(|sections| table(&sections)).collect()
}

/// `sections` have the cells of one coding each.
fn table(sections: &[Vec<CellTrials<'_>>]) -> Table {
    let first = sections[0][0].first();
    let plain = sections.iter().find(|section| section[0].first().coding.is_identity());
    let noise = plain.map(|cells| aggregate::noise(cells));
    let usual = || sections.iter().flatten().filter(|cell| is_usual(cell.first()));
    let mut rungs: BTreeMap<&str, Vec<&CellTrials<'_>>> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    for cell in usual() {
        let rung = cell.first().rung.as_str();
        if !order.contains(&rung) {
            order.push(rung);
        }
        rungs.entry(rung).or_default().push(cell);
    }
    let rung = |name: &str| {
        let cells = &rungs[name];
        let plain = cells.iter().find(|cell| cell.first().coding.is_identity());
        let plain = plain.filter(|cell| cell.obstacle().is_none()).copied();
        let codings = cells.iter().map(|cell| {
            let coding = cell.first().coding;
            let base = plain.filter(|_| !coding.is_identity());
            (coding, costs(cell, base, noise.as_ref()))
        });
        RungCodings { rung: name.to_owned(), codings: codings.collect() }
    };
    Table {
        array: first.array.clone(),
        connections: first.connections,
        in_flight: first.in_flight_sent(),
        rungs: order.into_iter().map(rung).collect(),
    }
}

fn is_usual(trial: &Trial) -> bool {
    trial.variant == Variant::Usual
}

fn costs(
    cell: &CellTrials<'_>,
    plain: Option<&CellTrials<'_>>,
    noise: Option<&Noise>,
) -> Result<Costs, String> {
    if let Some(obstacle) = cell.obstacle() {
        return Err(obstacle);
    }
    let unknown = || "the CPU time of the server was not read".to_owned();
    let server = cell.server_costs();
    let client = client_costs(cell);
    let to_plain = plain.and_then(|plain| {
        let floor = noise.map_or(0.0, |noise| noise.floor_of([cell, plain]).share());
        let bytes = LinkBytes { plain: link_bytes(plain)?, coded: link_bytes(cell)? };
        let compare = |coded: &[Sample], plain: &[Sample]| {
            let added = Bootstrap::default().blocks(&location::differences(coded, plain))?;
            let floor_ns = floor * cell::geometric_center(plain)?.estimate;
            Some(Crossover::evaluate(bytes, &added, floor_ns))
        };
        let (plain_server, plain_client) = (plain.server_costs(), client_costs(plain));
        let plain_both = sums(&plain_server, &plain_client);
        Some(ToPlain {
            bytes,
            server: compare(&server, &plain_server)?,
            both: compare(&sums(&server, &client), &plain_both),
        })
    });
    Ok(Costs {
        server_ns: cell::geometric_center(&server).ok_or_else(unknown)?,
        client_ns: cell::geometric_center(&client),
        link_bytes: link_bytes(cell).ok_or_else(unknown)?,
        to_plain,
    })
}

/// Returns the work of the load generator for a request, by launch. There is none for a launch in
/// which others took so much of its core that its polling, by the clock, was longer than its CPU
/// time.
fn client_costs(cell: &CellTrials<'_>) -> Vec<Sample> {
    let cost = |(round, m): (u32, &Measurement)| Sample {
        round,
        value: m.client_work_ns() as f64 / m.requests as f64,
    };
    let costs = cell.measured().into_iter().map(cost);
    costs.filter(|cost| cost.value > 0.0).collect()
}

/// Returns the bytes of a request and its reply, over all launches.
fn link_bytes(cell: &CellTrials<'_>) -> Option<f64> {
    let measured = cell.measured();
    let requests: u64 = measured.iter().map(|(_, m)| m.requests).sum();
    let bytes: u64 = measured.iter().map(|(_, m)| m.bytes_in + m.bytes_out).sum();
    (requests > 0).then(|| bytes as f64 / requests as f64)
}

/// Adds two series of one figure, by launch.
fn sums(some: &[Sample], others: &[Sample]) -> Vec<Sample> {
    let negated: Vec<Sample> = others.iter().map(|s| Sample { value: -s.value, ..*s }).collect();
    location::differences(some, &negated)
}
