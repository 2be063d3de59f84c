//! Latency under an offered load: requests are sent at a rate and do not wait for each other.
//!
//! The rungs of a table share the offered rates. A latency starts at the moment when the request
//! was due. A cell has no latencies if the load generator did not keep its schedule.

use std::collections::{BTreeMap, BTreeSet};

use crate::probe::os_noise::OsNoise;
use crate::record::Trial;

use super::cell::{CellTrials, section_key};
use super::text::{WIDTH_MAX, align, connections};
use super::wrap::wrap;
use super::{Run, units};

/// Cell whose reason stands below the table.
const NO_LATENCIES: &str = "see below";

/// Renders a table for each array and load with open-loop trials; `None` without such trials.
pub fn render(run: &Run) -> Option<String> {
    let mut tables: BTreeMap<_, Vec<&Trial>> = BTreeMap::new();
    for trial in run.trials.iter().filter(|trial| trial.offered_hz.is_some()) {
        tables.entry((section_key(trial), trial.reference.as_deref())).or_default().push(trial);
    }
    let texts: Vec<String> = tables.into_values().map(|trials| table(&trials)).collect();
    (!texts.is_empty()).then(|| texts.join("\n") + &os_noise(run))
}

/// Describes the noise of the load generator's core, which limits its punctuality.
fn os_noise(run: &Run) -> String {
    let Some(OsNoise { watched_ns, count, lost_ns }) = run.header.os_noise else {
        return String::new();
    };
    let line = format!(
        "before the run the load generator's core was interrupted {:.0} times a second, {:.1} % of \
         the time",
        count as f64 * 1e9 / watched_ns.max(1) as f64,
        lost_ns as f64 / watched_ns.max(1) as f64 * 100.0
    );
    wrap("  ", &line, WIDTH_MAX)
}

fn table(trials: &[&Trial]) -> String {
    let first = trials[0];
    let rates: BTreeSet<u64> = trials.iter().filter_map(|trial| rate(trial)).collect();
    let mut rows: BTreeMap<&str, BTreeMap<u64, CellTrials<'_>>> = BTreeMap::new();
    for trial in trials {
        let cells = rows.entry(&trial.rung).or_default();
        cells.entry(rate(trial).unwrap_or_default()).or_default().0.push(trial);
    }
    let mut lines = vec![vec!["rung".to_owned()]];
    lines[0].extend(
        rates.iter().map(|rate| format!("at {}/s: p50 / p99 / p99.9", units::rate(*rate as f64))),
    );
    let mut notes = String::new();
    for (rung, cells) in &rows {
        let mut line = vec![(*rung).to_owned()];
        for rate in &rates {
            let cell = cells.get(rate).map_or_else(|| Ok("-".to_owned()), latencies);
            line.push(cell.unwrap_or_else(|reason| {
                let rate = units::rate(*rate as f64);
                notes.push_str(&wrap("  ", &format!("{rung} at {rate}/s: {reason}"), WIDTH_MAX));
                NO_LATENCIES.to_owned()
            }));
        }
        lines.push(line);
    }
    let head = format!(
        "open loop: {}, {}, at most {} in flight; latency since a request was due",
        units::array(&first.array),
        connections(first.connections),
        first.in_flight,
    );
    wrap("", &head, WIDTH_MAX) + &align(&lines) + &notes
}

fn rate(trial: &Trial) -> Option<u64> {
    trial.offered_hz.map(|rate| rate.round() as u64)
}

/// Returns the quantiles, or the reason why there are none.
fn latencies(cell: &CellTrials<'_>) -> Result<String, String> {
    if let Some(obstacle) = cell.obstacle() {
        return Err(obstacle);
    }
    if cell.is_noisy() {
        return Err(format!("refused: {}", cell.discards()[0]));
    }
    let Some(all) = cell.latencies() else { return Ok("-".to_owned()) };
    let quantile = |quantile| units::time(all.quantile(quantile) as f64);
    Ok(format!("{} / {} / {}", quantile(0.5), quantile(0.99), quantile(0.999)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Header;
    use crate::record::tests::{header, trial};

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
        assert!(!text.contains("interrupted"), "the noise of its core is unknown");
        assert_eq!(render(&Run::new(header(), vec![trial("uring/raw/npy", 0, 1)])), None);
    }

    #[test]
    fn the_noise_of_the_load_generators_core_is_shown() {
        let os_noise = OsNoise { watched_ns: 100_000_000, count: 43, lost_ns: 1_400_000 };
        let header = Header { os_noise: Some(os_noise), ..header() };
        let run = Run::new(header, vec![open("uring/raw/npy", 0, 30_000.0)]);
        let text = render(&run).unwrap();
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.ends_with("interrupted 430 times a second, 1.4 % of the time"), "{text}");
    }
}
