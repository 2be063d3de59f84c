//! Latency under an offered load: what a request waits when requests come at a rate and do not wait for each other.
//!
//! Rungs of a table share the offered rates, parts of what the standard server among them reached in the closed loop.
//! Latencies begin when a request was due. A cell whose load generator did not keep its schedule has none, and neither
//! has one that was offered nearly all it can do.

use std::collections::{BTreeMap, BTreeSet};

use crate::probe::os_noise::OsNoise;
use crate::record::Trial;

use super::delta::{key, latencies, measured};
use super::status;
use super::table::align;
use super::{Run, units};

/// The tables, one for each array and load that has open-loop trials; `None` if none has.
pub fn render(run: &Run) -> Option<String> {
    let mut tables: BTreeMap<_, Vec<&Trial>> = BTreeMap::new();
    for trial in run.trials.iter().filter(|trial| trial.offered_hz.is_some()) {
        tables.entry((key(trial), trial.reference.as_deref())).or_default().push(trial);
    }
    let texts: Vec<String> = tables.into_values().map(|trials| table(&trials)).collect();
    (!texts.is_empty()).then(|| texts.join("\n") + &interruptions(run))
}

/// How punctual the load generator can be at all, if it was found out.
fn interruptions(run: &Run) -> String {
    let Some(OsNoise { watched_ns, count, lost_ns }) = run.header.os_noise else {
        return String::new();
    };
    format!(
        "  before the run the load generator's core was taken away {:.0} times a second, {:.1} % of the time in all\n",
        count as f64 * 1e9 / watched_ns.max(1) as f64,
        lost_ns as f64 / watched_ns.max(1) as f64 * 100.0
    )
}

fn table(trials: &[&Trial]) -> String {
    let first = trials[0];
    let rates: BTreeSet<u64> = trials.iter().filter_map(|trial| rate(trial)).collect();
    let mut rows: BTreeMap<&str, BTreeMap<u64, Vec<&Trial>>> = BTreeMap::new();
    for trial in trials {
        let cells = rows.entry(&trial.rung).or_default();
        cells.entry(rate(trial).unwrap_or_default()).or_default().push(trial);
    }
    let mut lines = vec![vec!["rung".to_owned()]];
    lines[0].extend(
        rates.iter().map(|rate| format!("at {}/s: p50 / p99 / p99.9", units::rate(*rate as f64))),
    );
    for (rung, cells) in &rows {
        let cell = |rate| cells.get(rate).map_or_else(|| "-".to_owned(), |trials| cell(trials));
        lines.push(std::iter::once((*rung).to_owned()).chain(rates.iter().map(cell)).collect());
    }
    let s = if first.connections == 1 { "" } else { "s" };
    format!(
        "open loop: {}, {} connection{s}, at most {} in flight; latency from when a request was due\n{}",
        units::array(&first.array),
        first.connections,
        first.in_flight,
        align(&lines)
    )
}

fn rate(trial: &Trial) -> Option<u64> {
    trial.offered_hz.map(|rate| rate.round() as u64)
}

/// The latencies of a cell, or why there are none.
fn cell(trials: &[&Trial]) -> String {
    if let Some(reason) = status::obstacle(trials) {
        return reason;
    }
    if status::is_noisy(trials) {
        let reason = trials.iter().find_map(|trial| trial.discarded.as_deref());
        return format!("refused: {}", reason.unwrap_or_default());
    }
    let Some(all) = latencies(&measured(trials)) else { return "-".to_owned() };
    let at = |quantile| units::time(all.quantile(quantile) as f64);
    format!("{} / {} / {}", at(0.5), at(0.99), at(0.999))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Header;
    use crate::report::delta::tests::{header, trial};

    fn open(rung: &str, round: u32, rate: f64) -> Trial {
        Trial { offered_hz: Some(rate), cell: rate as u32, ..trial(rung, round, 1000) }
    }

    #[test]
    fn rungs_stand_under_the_rates_they_were_offered() {
        let late = Some("the load generator was 9.0 us late".to_owned());
        let trials = vec![
            open("uring/raw/npy", 0, 30_000.0),
            open("uring/raw/npy", 0, 60_000.0),
            Trial { discarded: late, ..open("uring/h1/npy", 0, 30_000.0) },
            trial("uring/h1/npy", 0, 1),
        ];
        let text = render(&Run::new(header(), trials)).unwrap();
        assert!(text.contains("at 30.0k/s: p50 / p99 / p99.9"), "{text}");
        assert!(text.contains("50.0 µs / 50.0 µs / 50.0 µs"), "{text}");
        assert!(text.contains("refused: the load generator was 9.0 us late"), "{text}");
        assert!(!text.contains("taken away"), "nothing is known of its core");
        assert_eq!(render(&Run::new(header(), vec![trial("uring/raw/npy", 0, 1)])), None);
    }

    #[test]
    fn what_keeps_a_load_generator_from_its_schedule_is_told() {
        let os_noise = OsNoise { watched_ns: 100_000_000, count: 43, lost_ns: 1_400_000 };
        let header = Header { os_noise: Some(os_noise), ..header() };
        let run = Run::new(header, vec![open("uring/raw/npy", 0, 30_000.0)]);
        let text = render(&run).unwrap();
        assert!(
            text.ends_with("taken away 430 times a second, 1.4 % of the time in all\n"),
            "{text}"
        );
    }
}
