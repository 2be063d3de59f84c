//! Trials become rows: one row for each cell, with its figures over all rounds and its ratios to two other rows.
//!
//! A ratio is only ever made between cells of the same array and load, within a round. A cell with one failed trial
//! has no figures at all: a server that answers wrongly now and then has no speed.

use std::collections::BTreeMap;

use crate::record::{ArrayInfo, Measurement, Outcome, Trial};
use crate::stats::histogram::Histogram;
use crate::stats::location::Sample;
use crate::stats::summary::{Summary, paired_ratio};

/// Share of its core above which a process counts as busy.
const BUSY: f64 = 0.85;

/// Share of a trial in which some task had to wait for a processor, above which the trial counts as disturbed. It was
/// 0.01 to 0.05 in trials on two otherwise idle cores, 0.18 to 0.52 beside a compiler.
const WAITED_MAX: f64 = 0.1;

/// Rows of one array under one load.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// What was sent.
    pub array: ArrayInfo,
    /// Connections.
    pub connections: u32,
    /// In flight over all connections.
    pub in_flight: u32,
    /// In the ladder's order.
    pub rows: Vec<Row>,
}

/// One cell over all rounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The rung.
    pub rung: String,
    /// What it is compared with.
    pub parent: Option<String>,
    /// The standard server it is compared with.
    pub reference: Option<String>,
    /// The row of numpy_rpc_benchmark's table that it is.
    pub original: Option<String>,
    /// Requests that were to be in flight, where the server cannot bear as many.
    pub in_flight_wanted: Option<u32>,
    /// Figures, or why there are none.
    pub result: Result<Figures, String>,
}

/// What was measured of a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// Server CPU per request.
    pub server_cpu_ns: Option<Summary>,
    /// Load generator's CPU per request.
    pub client_cpu_ns: Summary,
    /// Ratio of server CPU per request to the parent's.
    pub to_parent: Option<Summary>,
    /// Ratio of server CPU per request to the reference's.
    pub to_reference: Option<Summary>,
    /// Requests per second.
    pub rate_hz: Summary,
    /// True when the load generator's core was the busy one, so that the rate is a lower bound: it was nearly always
    /// busy, or the server was not and it was busier than the server.
    pub is_client_bound: bool,
    /// Latency that half of all requests of all rounds did not exceed; the Python client does not tell.
    pub p50_ns: Option<u64>,
    /// Latency that 99 of 100 did not exceed.
    pub p99_ns: Option<u64>,
    /// Bytes received per request, framing included.
    pub bytes_in: f64,
    /// Bytes sent per request, framing included.
    pub bytes_out: f64,
    /// The server's peak resident set.
    pub rss_peak_bytes: Option<u64>,
}

/// Trials in which other programs or guests had a noticeable part of the machine, and all that were measured.
pub fn disturbed(trials: &[Trial]) -> (usize, usize) {
    let all = trials.iter().filter(|trial| matches!(trial.outcome, Outcome::Measured(_)));
    let is_disturbed = |trial: &&Trial| {
        trial
            .disturbance
            .is_some_and(|d| (d.waited_ns + d.stolen_ns) as f64 > WAITED_MAX * d.wall_ns as f64)
    };
    (all.clone().filter(is_disturbed).count(), all.count())
}

type Key<'a> = (u64, &'a str, &'a [u64], u32, u32);

/// All rows, by array from small to large, then by load from deep to wide.
pub fn sections(trials: &[Trial]) -> Vec<Section> {
    let mut by_section: BTreeMap<Key<'_>, BTreeMap<u32, Vec<&Trial>>> = BTreeMap::new();
    for trial in trials {
        by_section.entry(key(trial)).or_default().entry(trial.cell).or_default().push(trial);
    }
    by_section.into_values().map(section).collect()
}

fn key(trial: &Trial) -> Key<'_> {
    let array = &trial.array;
    (array.bytes, &array.dtype, &array.shape, trial.connections, trial.in_flight)
}

fn section(cells: BTreeMap<u32, Vec<&Trial>>) -> Section {
    let cells: Vec<Vec<&Trial>> = cells.into_values().collect();
    let first = cells[0][0];
    let costs: BTreeMap<&str, Vec<Sample>> =
        cells.iter().map(|trials| (trials[0].rung.as_str(), server_costs(trials))).collect();
    Section {
        array: first.array.clone(),
        connections: first.connections,
        in_flight: first.in_flight,
        rows: cells.iter().map(|trials| row(trials, &costs)).collect(),
    }
}

fn row(trials: &[&Trial], costs: &BTreeMap<&str, Vec<Sample>>) -> Row {
    let Trial { rung, parent, reference, original, in_flight_wanted, .. } = trials[0];
    let ratio_to = |other: &Option<String>| {
        let other = costs.get(other.as_deref()?)?;
        paired_ratio(costs.get(rung.as_str())?, other)
    };
    let result = obstacle(trials).map_or_else(
        || {
            Ok(Figures {
                to_parent: ratio_to(parent),
                to_reference: ratio_to(reference),
                ..figures(trials)
            })
        },
        Err,
    );
    Row {
        rung: rung.clone(),
        parent: parent.clone(),
        reference: reference.clone(),
        original: original.clone(),
        in_flight_wanted: *in_flight_wanted,
        result,
    }
}

/// Why a cell has no figures.
fn obstacle(trials: &[&Trial]) -> Option<String> {
    let failures: Vec<&str> = trials.iter().filter_map(|trial| failure(trial)).collect();
    if let Some(reason) = failures.first() {
        return Some(format!("FAILED in {} of {} rounds: {reason}", failures.len(), trials.len()));
    }
    trials.iter().find_map(|trial| match &trial.outcome {
        Outcome::DidNotFinish { budget_ns, .. } => {
            Some(format!("DNF (budget {} s)", *budget_ns as f64 / 1e9))
        }
        Outcome::Skipped { reason } => Some(format!("skipped: {reason}")),
        Outcome::Measured(_) | Outcome::Failed { .. } => None,
    })
}

fn failure(trial: &Trial) -> Option<&str> {
    match &trial.outcome {
        Outcome::Failed { reason, .. } => Some(reason),
        _ => None,
    }
}

fn measured<'a>(trials: &'a [&Trial]) -> impl Iterator<Item = (u32, &'a Measurement)> {
    trials.iter().filter_map(|trial| match &trial.outcome {
        Outcome::Measured(measurement) if measurement.requests > 0 => {
            Some((trial.round, &**measurement))
        }
        _ => None,
    })
}

fn server_costs(trials: &[&Trial]) -> Vec<Sample> {
    if obstacle(trials).is_some() {
        return Vec::new();
    }
    let cost = |(round, m): (u32, &Measurement)| {
        let value = m.server_cpu?.total_ns as f64 / m.requests as f64;
        Some(Sample { round, value })
    };
    measured(trials).filter_map(cost).collect()
}

/// Everything but the ratios.
fn figures(trials: &[&Trial]) -> Figures {
    let per_request = |what: fn(&Measurement) -> u64| {
        summary(trials, move |m| what(m) as f64 / m.requests as f64)
    };
    let latency = latencies(trials);
    let client_busy = summary(trials, |m| m.client_cpu.total_ns as f64 / m.wall_ns as f64).median;
    let server_busy =
        summary(trials, |m| m.server_cpu.map_or(0.0, |cpu| cpu.total_ns as f64 / m.wall_ns as f64));
    Figures {
        server_cpu_ns: Summary::of(server_costs(trials).iter().map(|sample| sample.value)),
        client_cpu_ns: per_request(|m| m.client_cpu.total_ns),
        to_parent: None,
        to_reference: None,
        rate_hz: summary(trials, |m| m.requests as f64 * 1e9 / m.wall_ns as f64),
        is_client_bound: client_busy > BUSY
            || (server_busy.median < BUSY && client_busy > server_busy.median),
        p50_ns: latency.as_ref().map(|all| all.quantile(0.5)),
        p99_ns: latency.as_ref().map(|all| all.quantile(0.99)),
        bytes_in: per_request(|m| m.bytes_in).median,
        bytes_out: per_request(|m| m.bytes_out).median,
        rss_peak_bytes: measured(trials).filter_map(|(_, m)| m.server_rss_peak_bytes).max(),
    }
}

fn summary(trials: &[&Trial], value: impl Fn(&Measurement) -> f64) -> Summary {
    let none = Summary { median: 0.0, low: 0.0, high: 0.0, count: 0 };
    Summary::of(measured(trials).map(|(_, m)| value(m))).unwrap_or(none)
}

/// All rounds' latencies counted together; a quantile of quantiles would be a figure of nothing.
fn latencies(trials: &[&Trial]) -> Option<Histogram> {
    let mut all: Option<Histogram> = None;
    for (_, measurement) in measured(trials) {
        if let Ok(histogram) = Histogram::from_text(&measurement.latency_histogram) {
            all.get_or_insert_default().merge(&histogram);
        }
    }
    all
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::{Build, Cpu, Disturbance, Header, Host, Quantiles, SocketOptions, VERSION};

    pub(crate) fn header() -> Header {
        Header {
            version: VERSION,
            started_unix_s: 0,
            preset: "quick".into(),
            argv: vec![],
            seed: 1,
            rounds: 2,
            cpu_server: 0,
            cpu_client: 1,
            client: None,
            peers: BTreeMap::new(),
            host: Host { cpu_model: "A CPU".into(), ..Host::default() },
            build: Build { profile: "release".into(), ..Build::default() },
        }
    }

    /// A trial of 100 requests in 1 ms that cost the server `cost_ns` each.
    pub(crate) fn trial(rung: &str, round: u32, cost_ns: u64) -> Trial {
        let mut latency = Histogram::default();
        latency.record(50_000);
        Trial {
            version: VERSION,
            cell: u32::from(rung != "uring/raw/reflect"),
            rung: rung.into(),
            parent: (rung != "uring/raw/reflect").then(|| "uring/raw/reflect".into()),
            reference: None,
            original: None,
            array: ArrayInfo { dtype: "<f8".into(), shape: vec![1], bytes: 8 },
            connections: 1,
            in_flight: 1000,
            in_flight_wanted: None,
            round,
            position: 0,
            outcome: Outcome::Measured(Box::new(Measurement {
                requests: 100,
                wall_ns: 1_000_000,
                bytes_out: 2000,
                bytes_in: 1000,
                latency_ns: Quantiles::default(),
                latency_histogram: latency.to_text(),
                client_cpu: Cpu { total_ns: 500_000, ..Cpu::default() },
                server_cpu: Some(Cpu { total_ns: cost_ns * 100, ..Cpu::default() }),
                server_rss_peak_bytes: Some(1 << 20),
                socket: SocketOptions::default(),
                server_settings: None,
                client_settings: None,
            })),
            server: None,
            disturbance: None,
        }
    }

    pub(crate) fn with(trial: Trial, outcome: Outcome) -> Trial {
        Trial { outcome, ..trial }
    }

    fn only_section(trials: &[Trial]) -> Section {
        let mut sections = sections(trials);
        assert_eq!(sections.len(), 1);
        sections.remove(0)
    }

    #[test]
    fn a_row_has_its_cost_and_its_ratio_to_its_parent() {
        let section = only_section(&[
            trial("uring/h1/reflect", 0, 3000),
            trial("uring/raw/reflect", 0, 1000),
            trial("uring/raw/reflect", 1, 2000),
            trial("uring/h1/reflect", 1, 5000),
        ]);
        let [root, child] = section.rows.as_slice() else { panic!("two rows") };
        assert_eq!(root.rung, "uring/raw/reflect");
        assert_eq!(root.result.as_ref().unwrap().to_parent, None);
        let figures = child.result.as_ref().unwrap();
        assert_eq!(figures.server_cpu_ns.unwrap().median, 4000.0);
        let ratio = figures.to_parent.unwrap();
        assert_eq!((ratio.low, ratio.median, ratio.high), (2.5, 2.75, 3.0));
        assert_eq!(figures.rate_hz.median, 100_000.0);
        assert!(figures.p50_ns.unwrap().abs_diff(50_000) < 100);
    }

    #[test]
    fn one_failure_leaves_a_row_and_its_children_without_figures() {
        let failed =
            Outcome::Failed { reason: "died: no ring".into(), stderr: "a\nno ring".into() };
        let section = only_section(&[
            trial("uring/raw/reflect", 0, 1000),
            with(trial("uring/raw/reflect", 1, 1000), failed),
            trial("uring/h1/reflect", 0, 3000),
        ]);
        let reason = section.rows[0].result.as_ref().unwrap_err();
        assert_eq!(reason, "FAILED in 1 of 2 rounds: died: no ring");
        assert_eq!(section.rows[1].result.as_ref().unwrap().to_parent, None);
    }

    #[test]
    fn what_did_not_finish_or_was_not_tried_says_so() {
        let late = Outcome::DidNotFinish { budget_ns: 2_000_000_000, stderr: String::new() };
        let section = only_section(&[with(trial("uring/raw/reflect", 0, 1), late)]);
        assert_eq!(section.rows[0].result, Err("DNF (budget 2 s)".into()));
        let skipped = Outcome::Skipped { reason: "complex".into() };
        let section = only_section(&[with(trial("uring/raw/reflect", 0, 1), skipped)]);
        assert_eq!(section.rows[0].result, Err("skipped: complex".into()));
    }

    #[test]
    fn another_load_is_another_section() {
        let narrow = trial("uring/raw/reflect", 0, 1000);
        let wide = Trial { connections: 50, in_flight: 50, cell: 2, ..narrow.clone() };
        assert_eq!(sections(&[narrow, wide]).len(), 2);
    }

    #[test]
    fn a_trial_that_had_to_wait_counts_as_disturbed() {
        let quiet = Disturbance { wall_ns: 1000, waited_ns: 20, stolen_ns: 0 };
        let waited = Disturbance { waited_ns: 200, ..quiet };
        let trials = [None, Some(quiet), Some(waited)]
            .map(|disturbance| Trial { disturbance, ..trial("uring/raw/reflect", 0, 1000) });
        assert_eq!(disturbed(&trials), (1, 3));
    }

    #[test]
    fn a_busy_load_generator_makes_the_rate_a_bound() {
        let mut busy = trial("uring/raw/reflect", 0, 1000);
        let Outcome::Measured(measurement) = &mut busy.outcome else { unreachable!() };
        measurement.client_cpu.total_ns = 900_000;
        let is_bound = |trial: &Trial| {
            let section = only_section(std::slice::from_ref(trial));
            section.rows[0].result.as_ref().unwrap().is_client_bound
        };
        assert!(is_bound(&busy));
        // 0.5 of its core here, while the server had 0.2, 0.6 and 0.9 of its own.
        assert!(is_bound(&trial("uring/raw/reflect", 0, 2000)));
        assert!(!is_bound(&trial("uring/raw/reflect", 0, 6000)));
        assert!(!is_bound(&trial("uring/raw/reflect", 0, 9000)));
    }
}
