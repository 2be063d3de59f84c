//! The original benchmark's table, in its form, with its eleven rows' places and ours below.
//!
//! A figure is wall time over requests, as in the original; there it also held the work of one Python client, here
//! the load generator's. The original put 1000 calls on one gRPC connection and let aiohttp's client open 100
//! connections for REST; so do we.

use std::collections::BTreeMap;

use super::Run;
use super::delta::{Row, Section, sections};

/// The original's rows, in its order.
pub const ORIGINAL_ROWS: [&str; 11] = [
    "grpc",
    "purerpc",
    "tornado sync msgpack",
    "tornado async msgpack",
    "asyncio msgpack",
    "tornado sync json_binary",
    "tornado async json_binary",
    "asyncio json_binary",
    "tornado sync json",
    "tornado async json",
    "asyncio json",
];

/// Width of the original's names.
const NAME_WIDTH: usize = 25;

/// The whole run, array by array.
pub fn render(run: &Run) -> String {
    let mut by_array: BTreeMap<(u64, Vec<u64>), Vec<Section>> = BTreeMap::new();
    for section in sections(&run.trials) {
        let key = (section.array.bytes, section.array.shape.clone());
        by_array.entry(key).or_default().push(section);
    }
    let tables: Vec<String> = by_array.into_values().map(|sections| table(&sections)).collect();
    tables.join("\n") + &notes(run)
}

fn table(sections: &[Section]) -> String {
    let array = &sections[0].array;
    let points: u64 = array.shape.iter().product();
    let parallel = sections.iter().map(|section| section.in_flight).max().unwrap_or(0);
    let rows: Vec<(String, &Row)> = sections
        .iter()
        .flat_map(|section| section.rows.iter().map(move |row| (name(row, section), row)))
        .collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(NAME_WIDTH);
    let mut text = format!(
        "######### {points} points ({} bytes), {parallel} parallel requests #########\n",
        array.bytes
    );
    for name in ORIGINAL_ROWS {
        text.push_str(&format!("{name:<width$}: skipped (no Python server in this run)\n"));
    }
    for (name, row) in rows {
        let figure = match &row.result {
            Ok(figures) => format!("{:>8} ms/request", milliseconds(figures.rate_hz.median)),
            Err(reason) => format!(" {reason}"),
        };
        text.push_str(&format!("{name:<width$}:{figure}\n"));
    }
    text
}

/// Three decimals as in the original; more where that would leave no digits.
fn milliseconds(rate_hz: f64) -> String {
    let ms = 1000.0 / rate_hz;
    let places = if ms < 0.1 { 5 } else { 3 };
    format!("{ms:.places$}")
}

/// The raw rungs stand under two loads, so theirs is part of the name.
fn name(row: &Row, section: &Section) -> String {
    if row.rung.contains("/raw/") {
        return format!("{} {} conn", row.rung, section.connections);
    }
    row.rung.clone()
}

fn notes(run: &Run) -> String {
    format!(
        "\nOur rows: gRPC has all its calls in flight on 1 connection; REST has one in flight on each of 100 \
         connections, which is what the original's client opened.\n{}\n",
        run.machine()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::delta::tests::{header, trial};

    #[test]
    fn the_form_is_the_originals() {
        let trials = vec![trial("uring/h1/json", 0, 1000)];
        let text = render(&Run { header: header(), trials });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "######### 1 points (8 bytes), 1000 parallel requests #########");
        assert_eq!(lines[1], "grpc                     : skipped (no Python server in this run)");
        assert_eq!(lines[11], "asyncio json             : skipped (no Python server in this run)");
        assert_eq!(lines[12], "uring/h1/json            : 0.01000 ms/request");
    }

    #[test]
    fn figures_have_digits_at_every_speed() {
        assert_eq!(milliseconds(64.9), "15.408");
        assert_eq!(milliseconds(400_000.0), "0.00250");
    }
}
