//! Trials become rows: one row for each cell, with its figures over all blocks and its ratios to two other rows.
//!
//! A ratio is only ever made between cells of the same array and load, within a block. A cell with one failed trial
//! has no figures at all: a server that answers wrongly now and then has no speed. Trials that were discarded do not
//! count, unless so many were that the cell is [`Status::Noisy`].

use std::collections::BTreeMap;

use crate::record::{ArrayInfo, Measurement, Outcome, Trial, Variant};
use crate::stats::bootstrap::{Bootstrap, Interval};
use crate::stats::family::{Family, Member};
use crate::stats::histogram::Histogram;
use crate::stats::location::{self, Sample};
use crate::stats::verdict::Verdict;

use super::noise::{self, Noise};
use super::status::{self, Status};

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
    /// What its controls say.
    pub noise: Noise,
    /// What the load generator reached against null servers.
    pub ceilings: Vec<Ceiling>,
}

/// What the load generator reached against a null server, or against one that turned out to be cheaper.
#[derive(Clone, Debug, PartialEq)]
pub struct Ceiling {
    /// The null server's rung.
    pub null: String,
    /// Requests per second.
    pub rate_hz: f64,
    /// True if the load generator was the busy one, so that it can do no more.
    pub is_proved: bool,
}

/// One cell over all blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The rung.
    pub rung: String,
    /// What it is compared with.
    pub parent: Option<String>,
    /// The standard server it is compared with.
    pub reference: Option<String>,
    /// Its row in the original benchmark's table.
    pub original: Option<String>,
    /// Requests in flight that it could not bear.
    pub in_flight_wanted: Option<u32>,
    /// Figures, or why there are none.
    pub result: Result<Figures, String>,
}

/// What was measured of a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// Whether its figures are what they are called.
    pub status: Status,
    /// Server CPU per request.
    pub server_cpu_ns: Option<Interval>,
    /// Part of it that the kernel's tick saw in the kernel; `None` where it saw none.
    pub system_share: Option<f64>,
    /// Load generator's CPU per request.
    pub client_cpu_ns: Interval,
    /// Ratio of server CPU per request to the parent's.
    pub to_parent: Option<Ratio>,
    /// Ratio of server CPU per request to the reference's.
    pub to_reference: Option<Ratio>,
    /// Requests per second.
    pub rate_hz: Interval,
    /// Latency that half of all requests of all blocks did not exceed.
    pub p50_ns: Option<u64>,
    /// Latency that 99 of 100 did not exceed.
    pub p99_ns: Option<u64>,
    /// Bytes received per request, framing included.
    pub bytes_in: f64,
    /// Bytes sent per request, framing included.
    pub bytes_out: f64,
    /// The server's peak resident set.
    pub rss_peak_bytes: Option<u64>,
    /// The server's page faults per request.
    pub faults: Option<f64>,
    /// Requests per second that the load generator reaches against a null server.
    pub ceiling_hz: Option<f64>,
    /// Trials that were discarded.
    pub discarded: usize,
}

/// A ratio of costs. The intervals of all ratios of a table hold together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The ratio.
    pub ratio: Interval,
    /// What it says, above the table's noise.
    pub verdict: Verdict,
}

/// Trials that were discarded, and all that were measured.
pub fn discarded(trials: &[Trial]) -> (usize, usize) {
    let all = trials.iter().filter(|trial| matches!(trial.outcome, Outcome::Measured(_)));
    (all.clone().filter(|trial| trial.discarded.is_some()).count(), all.count())
}

type Key<'a> = (u64, &'a str, &'a [u64], u32, u32);

/// All rows, by array from small to large, then by load from deep to wide.
pub fn sections(trials: &[Trial]) -> Vec<Section> {
    let mut by_section: BTreeMap<Key<'_>, BTreeMap<u32, Vec<&Trial>>> = BTreeMap::new();
    for trial in trials.iter().filter(|trial| trial.is_timed()) {
        by_section.entry(key(trial)).or_default().entry(trial.cell).or_default().push(trial);
    }
    by_section.into_values().map(|cells| section(cells.into_values().collect())).collect()
}

/// What places a trial in a table.
pub(super) fn key(trial: &Trial) -> Key<'_> {
    let array = &trial.array;
    (array.bytes, &array.dtype, &array.shape, trial.connections, trial.in_flight)
}

fn section(cells: Vec<Vec<&Trial>>) -> Section {
    let first = cells[0][0];
    let mut ceilings: Vec<Ceiling> = cells.iter().filter_map(|trials| null(trials)).collect();
    let usual: Vec<&Vec<&Trial>> =
        cells.iter().filter(|trials| trials[0].variant == Variant::Usual).collect();
    let costs: BTreeMap<&str, Vec<Sample>> =
        usual.iter().map(|trials| (trials[0].rung.as_str(), server_costs(trials))).collect();
    let mut rows: Vec<Row> = usual.iter().map(|trials| row(trials)).collect();
    let family = family(&rows, &costs);
    let noise = Noise::of(&cells, &family);
    compare(&mut rows, &family, &noise);
    for (row, trials) in rows.iter().zip(&usual) {
        let is_its = |ceiling: &&mut Ceiling| Some(&ceiling.null) == trials[0].null.as_ref();
        if let (Ok(figures), Some(ceiling)) = (&row.result, ceilings.iter_mut().find(is_its)) {
            ceiling.raise(figures);
        }
    }
    for (row, trials) in rows.iter_mut().zip(&usual) {
        let is_its = |ceiling: &&Ceiling| Some(&ceiling.null) == trials[0].null.as_ref();
        if let (Ok(figures), Some(ceiling)) = (&mut row.result, ceilings.iter().find(is_its)) {
            figures.ceiling_hz = Some(ceiling.rate_hz);
            status::mark_near(figures, ceiling);
        }
    }
    status::mark_plateaus(&mut rows);
    Section {
        array: first.array.clone(),
        connections: first.connections,
        in_flight: first.in_flight,
        rows,
        noise,
        ceilings,
    }
}

/// What the trials of a null server say; nothing where it was disturbed or failed.
fn null(trials: &[&Trial]) -> Option<Ceiling> {
    let is_one = trials[0].variant == Variant::Null && !status::is_noisy(trials);
    if !is_one || status::obstacle(trials).is_some() {
        return None;
    }
    let mut ceiling = Ceiling { null: trials[0].rung.clone(), rate_hz: 0.0, is_proved: false };
    ceiling.raise(&figures(trials));
    Some(ceiling)
}

impl Ceiling {
    /// What the load generator reached against any server it can reach; a null server is tried once only, perhaps at a
    /// bad moment.
    fn raise(&mut self, figures: &Figures) {
        let rate_hz = figures.rate_hz.estimate;
        if rate_hz > self.rate_hz {
            let busy = rate_hz * figures.client_cpu_ns.estimate / 1e9;
            *self = Ceiling {
                rate_hz,
                is_proved: busy > status::CLIENT_BUSY,
                null: std::mem::take(&mut self.null),
            };
        }
    }
}

fn row(trials: &[&Trial]) -> Row {
    let Trial { rung, parent, reference, original, in_flight_wanted, .. } = trials[0];
    Row {
        rung: rung.clone(),
        parent: parent.clone(),
        reference: reference.clone(),
        original: original.clone(),
        in_flight_wanted: *in_flight_wanted,
        result: status::obstacle(trials).map_or_else(|| Ok(figures(trials)), Err),
    }
}

/// The ratios of a table, each row's to its parent and to its reference: all are one family.
fn family(rows: &[Row], costs: &BTreeMap<&str, Vec<Sample>>) -> Family {
    let ratio_of = |ours: &str, theirs: &Option<String>| -> Member {
        let pair = || Some((costs.get(ours)?, costs.get(theirs.as_deref()?)?));
        // A rung is not told from itself.
        let pair = pair().filter(|_| theirs.as_deref() != Some(ours));
        let ratios =
            pair.map_or_else(Vec::new, |(ours, theirs)| location::log_ratios(ours, theirs));
        vec![ratios.into_iter().map(|sample| sample.value).collect()]
    };
    let ratios_of = |row: &Row| {
        // One that is both is one ratio.
        let reference = row.reference.clone().filter(|_| row.reference != row.parent);
        [ratio_of(&row.rung, &row.parent), ratio_of(&row.rung, &reference)]
    };
    let members: Vec<Member> = rows.iter().flat_map(ratios_of).collect();
    Family::new(Bootstrap::default(), &members)
}

/// Puts the ratios of a table into its rows.
fn compare(rows: &mut [Row], family: &Family, noise: &Noise) {
    let mut intervals = family.intervals().into_iter();
    let mut next = || {
        let log = intervals.next().flatten()?;
        Some(Ratio { ratio: log.exp(), verdict: Verdict::of(&log, noise.floor()) })
    };
    for row in rows {
        let (to_parent, to_reference) = (next(), next());
        let is_both = row.parent == row.reference;
        if let Ok(figures) = &mut row.result {
            figures.to_parent = to_parent;
            figures.to_reference = if is_both { to_parent } else { to_reference };
        }
    }
}

/// The measurements that count, by block: those that were not discarded, or all where too few are left.
pub(super) fn measured<'a>(trials: &'a [&Trial]) -> Vec<(u32, &'a Measurement)> {
    let all = || {
        trials.iter().filter_map(|trial| match &trial.outcome {
            Outcome::Measured(measured) if measured.requests > 0 => Some((*trial, &**measured)),
            _ => None,
        })
    };
    let is_kept = |trial: &Trial| trial.discarded.is_none() || status::is_noisy(trials);
    all().filter(|(trial, _)| is_kept(trial)).map(|(trial, m)| (trial.round, m)).collect()
}

/// The server's CPU per request, by block.
pub(super) fn server_costs(trials: &[&Trial]) -> Vec<Sample> {
    if status::obstacle(trials).is_some() {
        return Vec::new();
    }
    let cost = |(round, m): (u32, &Measurement)| {
        let value = m.server_cpu?.total_ns as f64 / m.requests as f64;
        Some(Sample { round, value })
    };
    measured(trials).into_iter().filter_map(cost).collect()
}

/// Everything but the ratios.
fn figures(trials: &[&Trial]) -> Figures {
    let measured = measured(trials);
    let middle = |value: &dyn Fn(&Measurement) -> f64| {
        let samples: Vec<Sample> =
            measured.iter().map(|(round, m)| Sample { round: *round, value: value(m) }).collect();
        absolute(&samples).unwrap_or(Interval { estimate: 0.0, range: None, units: 0 })
    };
    let latency = latencies(&measured);
    let (system, user) = measured
        .iter()
        .filter_map(|(_, m)| m.server_cpu)
        .fold((0, 0), |(system, user), cpu| (system + cpu.system_ns, user + cpu.user_ns));
    Figures {
        status: Status::of(trials),
        server_cpu_ns: absolute(&server_costs(trials)),
        system_share: (system + user > 0).then(|| system as f64 / (system + user) as f64),
        client_cpu_ns: middle(&|m| m.client_work_ns() as f64 / m.requests as f64),
        to_parent: None,
        to_reference: None,
        rate_hz: middle(&|m| m.requests as f64 * 1e9 / m.wall_ns as f64),
        p50_ns: latency.as_ref().map(|all| all.quantile(0.5)),
        p99_ns: latency.as_ref().map(|all| all.quantile(0.99)),
        bytes_in: middle(&|m| m.bytes_in as f64 / m.requests as f64).estimate,
        bytes_out: middle(&|m| m.bytes_out as f64 / m.requests as f64).estimate,
        rss_peak_bytes: measured.iter().filter_map(|(_, m)| m.server_rss_peak_bytes).max(),
        faults: faults(&measured),
        ceiling_hz: None,
        discarded: trials.iter().filter(|trial| trial.discarded.is_some()).count(),
    }
}

/// Page faults per request over all blocks: most windows have none, and a middle would hide the few.
pub(super) fn faults(measured: &[(u32, &Measurement)]) -> Option<f64> {
    let faults = measured.iter().map(|(_, m)| m.server_faults).sum::<Option<u64>>()?;
    let requests: u64 = measured.iter().map(|(_, m)| m.requests).sum();
    (requests > 0).then(|| faults as f64 / requests as f64)
}

/// The middle of values above zero, on a scale of ratios.
pub(super) fn absolute(samples: &[Sample]) -> Option<Interval> {
    Bootstrap::default().blocks(&location::logs(samples)).map(Interval::exp)
}

/// All blocks' latencies counted together; a quantile of quantiles would be a figure of nothing.
pub(super) fn latencies(measured: &[(u32, &Measurement)]) -> Option<Histogram> {
    let mut all: Option<Histogram> = None;
    for (_, measurement) in measured {
        if let Ok(histogram) = Histogram::from_text(&measurement.latency_histogram) {
            all.get_or_insert_default().merge(&histogram);
        }
    }
    all
}

/// True when every ratio is known to within `floor` of its table or 2 %, whichever is more: no further block would
/// tell more than the noise lets it.
pub fn is_enough(trials: &[Trial]) -> bool {
    let is_known = |ratio: &Ratio, section: &Section| {
        let width = ratio.ratio.half_width().map(|half| half / ratio.ratio.estimate);
        width.is_some_and(|width| width <= section.noise.floor().share().max(noise::WIDTH_WANTED))
    };
    sections(trials).iter().all(|section| {
        let figures = section.rows.iter().filter_map(|row| row.result.as_ref().ok());
        let ratios = figures.flat_map(|f| [&f.to_parent, &f.to_reference]).flatten();
        ratios.into_iter().all(|ratio| is_known(ratio, section))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::probe::build::Build;
    use crate::probe::cpu_clock::CpuTime;
    use crate::probe::host::Host;
    use crate::record::{Header, VERSION, Variant};
    use crate::stats::histogram::Quantiles;
    use crate::sys::socket::SocketOptions;

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
            client_busy_poll_ns: 0,
            client: None,
            peers: BTreeMap::new(),
            os_noise: None,
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
            null: None,
            variant: Variant::Usual,
            original: None,
            array: ArrayInfo { dtype: "<f8".into(), shape: vec![1], bytes: 8 },
            connections: 1,
            in_flight: 1000,
            in_flight_wanted: None,
            offered_hz: None,
            round,
            position: 0,
            environment_bytes: 0,
            outcome: Outcome::Measured(Box::new(Measurement {
                requests: 100,
                wall_ns: 1_000_000,
                bytes_out: 2000,
                bytes_in: 1000,
                latency_ns: Quantiles::default(),
                latency_histogram: latency.to_text(),
                client_cpu: CpuTime { total_ns: 500_000, ..CpuTime::default() },
                client_busy_poll_idle_ns: 0,
                server_cpu: Some(CpuTime { total_ns: cost_ns * 100, ..CpuTime::default() }),
                server_rss_peak_bytes: Some(1 << 20),
                server_faults: Some(50),
                socket: SocketOptions::default(),
                server_settings: None,
                client_settings: None,
                warmup_ns: 0,
                is_steady: None,
                schedule: None,
            })),
            server: None,
            disturbance: None,
            sched_stats: None,
            reference_work_ns: None,
            counts: None,
            discarded: None,
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
        assert!((figures.server_cpu_ns.unwrap().estimate - 15e6_f64.sqrt()).abs() < 1e-6);
        let Ratio { ratio, verdict } = figures.to_parent.unwrap();
        assert!((ratio.estimate - 7.5_f64.sqrt()).abs() < 1e-9);
        assert_eq!((ratio.range, verdict), (None, Verdict::Unknown));
        assert!((figures.rate_hz.estimate - 100_000.0).abs() < 1e-6);
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
        assert_eq!(reason, "INVALID in 1 of 2 rounds: died: no ring");
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
    fn discarded_trials_do_not_count() {
        let mut trials: Vec<Trial> =
            (0..6).map(|round| trial("uring/raw/npy", round, 1000)).collect();
        let odd =
            Trial { discarded: Some("a compiler ran".into()), ..trial("uring/raw/npy", 6, 9000) };
        trials.push(odd);
        let section = only_section(&trials);
        let figures = section.rows[0].result.as_ref().unwrap();
        assert_eq!((figures.rate_hz.units, figures.discarded), (6, 1));
        assert!((figures.server_cpu_ns.unwrap().estimate - 1000.0).abs() < 1e-6);
        assert_eq!(discarded(&trials), (1, 7));
    }

    /// Blocks of a root and a child that costs `ratio` times as much, off by up to one per cent.
    fn pair(blocks: u32, ratio: f64) -> Vec<Trial> {
        let cost = |round: u32| 100_000 + u64::from(round * 7 % 5) * 500;
        let both = |round| {
            let child = cost(round + 2) as f64 * ratio;
            [
                trial("uring/raw/reflect", round, cost(round)),
                trial("uring/h1/reflect", round, child as u64),
            ]
        };
        (0..blocks).flat_map(both).collect()
    }

    #[test]
    fn a_difference_needs_blocks_enough_to_be_shown() {
        let verdict = |blocks, ratio| {
            let section = only_section(&pair(blocks, ratio));
            section.rows[1].result.as_ref().unwrap().to_parent.unwrap().verdict
        };
        assert_eq!(verdict(10, 1.1), Verdict::Slower);
        assert_eq!(verdict(10, 0.9), Verdict::Faster);
        assert_eq!(verdict(10, 1.0), Verdict::Same);
        assert_eq!(verdict(4, 1.1), Verdict::Unknown);
    }

    #[test]
    fn a_run_is_enough_when_its_ratios_are_known() {
        assert!(is_enough(&pair(10, 1.1)));
        assert!(!is_enough(&pair(4, 1.1)));
        let mut wild = pair(10, 1.1);
        for trial in wild.iter_mut().filter(|trial| trial.round % 2 == 0 && trial.cell == 1) {
            let Outcome::Measured(measured) = &mut trial.outcome else { unreachable!() };
            measured.server_cpu.as_mut().unwrap().total_ns *= 2;
        }
        assert!(!is_enough(&wild));
    }
}
