//! The original benchmark's table in its form: its eleven rows under their names, then our rungs.
//!
//! A figure is wall time over requests, as in the original. There it contained the work of one
//! Python client, here that of our load generator, or with `--client python` of a Python client
//! again. gRPC has all calls on one connection. REST has 100 connections, as aiohttp's client had.

use std::collections::BTreeMap;

use crate::axis::{Family, Rung};

use super::Run;
use super::aggregate::{Row, Section, sections};
use super::text::WIDTH_MAX;
use super::wrap::wrap;

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

const NAME_WIDTH: usize = 25;

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
    let rows: Vec<(&Section, &Row)> = sections
        .iter()
        .flat_map(|section| section.rows.iter().map(move |row| (section, row)))
        .collect();
    let mut lines: Vec<(String, Figure)> = Vec::new();
    for name in ORIGINAL_ROWS {
        let row = rows.iter().find(|(_, row)| row.original.as_deref() == Some(name));
        let figure = row.map_or_else(
            || Err("skipped: no external server of this run is this row".to_owned()),
            |r| figure(*r),
        );
        lines.push((name.to_owned(), figure));
    }
    let others = rows.iter().filter(|(_, row)| !is_original(row));
    lines.extend(others.map(|row| (name(*row), figure(*row))));
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(NAME_WIDTH);
    let head = format!(
        "######### {points} points ({} bytes), {parallel} parallel requests #########\n",
        array.bytes
    );
    let line = |(name, figure): &(String, Figure)| match figure {
        Ok(figure) => format!("{name:<width$}:{figure}\n"),
        Err(reason) => wrap(&format!("{name:<width$}: "), reason, WIDTH_MAX),
    };
    head + &lines.iter().map(line).collect::<String>()
}

fn is_original(row: &Row) -> bool {
    row.original.as_deref().is_some_and(|name| ORIGINAL_ROWS.contains(&name))
}

/// Time of a request as text, or the reason why there is none.
type Figure = Result<String, String>;

fn figure((section, row): (&Section, &Row)) -> Figure {
    let reduced = match row.in_flight_wanted {
        Some(_) => format!(" ({} in flight)", section.in_flight),
        None => String::new(),
    };
    match &row.result {
        Ok(figures) => {
            let ms = milliseconds(figures.cell.rate_hz.estimate);
            Ok(format!("{ms:>8} ms/request{reduced}"))
        }
        Err(reason) => Err(format!("{reason}{reduced}")),
    }
}

fn milliseconds(rate_hz: f64) -> String {
    let ms = 1000.0 / rate_hz;
    let places = if ms < 0.1 { 5 } else { 3 };
    format!("{ms:.places$}")
}

/// Returns the rung, for raw rungs with the load, since they are tried under two.
fn name((section, row): (&Section, &Row)) -> String {
    if row.rung.parse::<Rung>().is_ok_and(|rung| rung.family() == Family::Raw) {
        return format!("{} {} conn", row.rung, section.connections);
    }
    row.rung.clone()
}

fn notes(run: &Run) -> String {
    let clock = match &run.header.client {
        Some(client) => format!(
            "Timed by {client}, including its own encoding and decoding, as in the original. It \
             checked every reply."
        ),
        None => "Timed by our load generator, which checked every reply. It is not a Python program, so \
                 the servers take most of the time."
            .to_owned(),
    };
    let load = "gRPC has all calls in flight on 1 connection. REST has one request in flight on each \
                of 100 connections, as many as the original's client opened.";
    let lines = [load, &clock, &run.machine()].map(|line| wrap("", line, WIDTH_MAX));
    format!("\n{}", lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{header, trial, with};
    use crate::record::{Outcome, Trial};

    fn peer(rung: &str, original: &str, cell: u32) -> Trial {
        let original = Some(original.to_owned());
        Trial { original, cell, parent: None, ..trial(rung, 0, 1000) }
    }

    fn lines(trials: Vec<Trial>) -> Vec<String> {
        render(&Run::new(header(), trials)).lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_form_is_the_originals_and_so_are_its_rows() {
        let purerpc = peer("external/purerpc/protobuf", "purerpc", 2);
        let skipped = Outcome::Skipped { reason: "needs python3".into() };
        let lines = lines(vec![
            trial("uring/h1/json", 0, 1000),
            Trial { in_flight: 100, in_flight_wanted: Some(1000), ..purerpc },
            peer("external/aiohttp/json", "asyncio json", 3),
            with(peer("external/grpcio/protobuf", "grpc", 4), skipped),
            peer("external/other/json", "no such row", 5),
        ]);
        assert_eq!(lines[0], "######### 1 points (8 bytes), 1000 parallel requests #########");
        assert_eq!(lines[1], "grpc                     : skipped: needs python3");
        assert_eq!(lines[2], "purerpc                  : 0.01000 ms/request (100 in flight)");
        assert_eq!(
            lines[3],
            "tornado sync msgpack     : skipped: no external server of this run is this row"
        );
        assert_eq!(lines[11], "asyncio json             : 0.01000 ms/request");
        assert_eq!(lines[12], "uring/h1/json            : 0.01000 ms/request");
        assert_eq!(lines[13], "external/other/json      : 0.01000 ms/request");
    }

    #[test]
    fn who_held_the_clock_is_said() {
        let trials = vec![trial("uring/h1/json", 0, 1000)];
        let client = Some("tools/external/client.py".to_owned());
        let run = Run::new(crate::record::Header { client, ..header() }, trials);
        assert!(render(&run).contains("Timed by tools/external/client.py,"));
    }

    #[test]
    fn figures_have_digits_at_every_speed() {
        assert_eq!(milliseconds(64.9), "15.408");
        assert_eq!(milliseconds(400_000.0), "0.00250");
    }
}
