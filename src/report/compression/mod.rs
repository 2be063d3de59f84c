//! Compression: what each coding of messages costs and saves, and on which links it pays.
//!
//! | part | purpose |
//! |---|---|
//! | `costs` | times, bytes and comparisons of each coding, from the trials |
//! | `crossover` | link speed below which a coding pays, with its interval |
//! | `picture` | time of a call over the speed of the link, as an SVG |
//!
//! The speed is a model, and no link is measured: the trials run over loopback. The times and bytes
//! that it is made of are measured.

mod costs;
mod crossover;
mod picture;

use crate::axis::Coding;

use super::answer::load_cells::LoadCells;
use super::answer::{self, WIDTH_MIN};
use super::text::{WIDTH_MAX, align};
use super::wrap::wrap;
use super::{Run, units};
use costs::{Costs, RungCodings, Table};
use crossover::Crossover;

/// Link speeds of the sentences, in Gbit/s.
const LINKS: [f64; 4] = [0.1, 1.0, 10.0, 100.0];

/// Heads of the columns behind the coding.
const HEADS: [&str; 5] = ["server", "client", "bytes", "pays below: server", "server + client"];

const LEGEND: [&str; 5] = [
    "server, client: CPU time of the whole process for a call, center of the launches. The client \
     deflates every request, and inflates and compares every reply.",
    "bytes: request and reply with their framing, and their share of the plain ones.",
    "pays below: speed of the link in Gbit/s below which a call is faster with the coding. It is \
     the saved bits divided by the added time: of the server alone, or of server and client, which \
     a call waits for one after the other. The interval is that of the differences of launches, \
     95 % for each figure by itself.",
    "at least: no added time was shown beyond the noise, so it pays up to this speed or more. any \
     speed: coded messages take less time on the cores too. never: the messages do not shrink.",
    "No link was measured: times are those over loopback, and a link is assumed to carry the bits \
     of a call one after the other at its full speed. For a link that is shared, take the share of \
     a call. A server whose cores are busy saves links and loses calls: see its column.",
];

/// Returns the tables in lines of at most `width` characters; `None` for a run whose messages had
/// no codings.
pub fn render(run: &Run, width: usize) -> Option<String> {
    let tables = costs::tables(run);
    if tables.is_empty() {
        return None;
    }
    let width = width.clamp(WIDTH_MIN, WIDTH_MAX);
    let facts = answer::facts(run, &LoadCells::all(run)).join(", ");
    let mut text = wrap("ndecho compression: ", &facts, width);
    for warning in answer::warnings(run) {
        text.push_str(&wrap("warning: ", &warning.to_string(), width));
    }
    text.push('\n');
    for (name, sentence) in tables.iter().flat_map(sentences) {
        text.push_str(&wrap(&format!("{name}: "), &sentence, width));
    }
    for (number, table) in (1..).zip(&tables) {
        text.push('\n');
        text.push_str(&wrap(&format!("{number}  "), &title(table), width));
        for rung in &table.rungs {
            text.push_str(&format!("  {}\n{}", rung.rung, align(&lines(rung))));
        }
    }
    text.push('\n');
    for line in LEGEND {
        text.push_str(&wrap("", line, width));
    }
    text.push_str("All tables of this run: ndecho report DIR --full\n");
    Some(text)
}

/// Returns the time of a call over the speed of the link as an SVG; `None` for a run whose messages
/// had no codings.
pub fn picture(run: &Run) -> Option<String> {
    let tables = costs::tables(run);
    (!tables.is_empty()).then(|| picture::render(run, &tables))
}

fn title(table: &Table) -> String {
    let load = match (table.connections, table.in_flight) {
        (1, 1) => "one connection, one request on it".to_owned(),
        (count, in_flight) if count == in_flight => {
            format!("{count} connections, one request on each")
        }
        (count, in_flight) => format!("{count} connections, {in_flight} requests in flight"),
    };
    format!("{}, {load}", units::array(&table.array))
}

/// Returns a sentence for each rung: the codings with the fastest call on links of some speeds.
fn sentences(table: &Table) -> Vec<(String, String)> {
    let sentence = |rung: &RungCodings| {
        let fastest = |gbit_s: &f64| Some((*gbit_s, rung.fastest(*gbit_s)?));
        let fastest: Vec<(f64, Coding)> = LINKS.iter().filter_map(fastest).collect();
        let mut parts: Vec<String> = Vec::new();
        for group in fastest.chunk_by(|(_, a), (_, b)| a == b) {
            let speeds: Vec<String> = group.iter().map(|(gbit_s, _)| gbit_s.to_string()).collect();
            let speeds = match &speeds[..] {
                [first @ .., last] if !first.is_empty() => {
                    format!("{} and {last}", first.join(", "))
                }
                all => all.concat(),
            };
            parts.push(format!("{} at {speeds} Gbit/s", name(group[0].1)));
        }
        let array = table.array.data_set.map_or_else(|| "this array", |data_set| data_set.name());
        let of = format!("{array}, {}", rung.rung);
        (!parts.is_empty()).then(|| (of, format!("fastest call: {}.", parts.join("; "))))
    };
    table.rungs.iter().filter_map(sentence).collect()
}

fn lines(rung: &RungCodings) -> Vec<Vec<String>> {
    let heads = [""].into_iter().chain(HEADS);
    let line = |(coding, costs): &(Coding, Result<Costs, String>)| match costs {
        Ok(costs) => line(*coding, costs),
        Err(obstacle) => vec![name(*coding).to_owned(), obstacle.clone()],
    };
    let lines = [heads.map(str::to_owned).collect()].into_iter();
    lines.chain(rung.codings.iter().map(line)).collect()
}

fn line(coding: Coding, costs: &Costs) -> Vec<String> {
    let unknown = || "-".to_owned();
    let share = costs.to_plain.as_ref().map_or(1.0, |to| to.bytes.share());
    let crossovers = match &costs.to_plain {
        Some(to) => [Some(to.server), to.both].map(|it| it.map_or_else(unknown, words)),
        None => [unknown(), unknown()],
    };
    let server_ns = &costs.server_ns;
    let [by_server, by_both] = crossovers;
    vec![
        name(coding).to_owned(),
        format!("{} {}", units::time(server_ns.estimate), units::half_width(server_ns)),
        costs.client_ns.map_or_else(unknown, |client| units::time(client.estimate)),
        format!("{} {:>4.0}%", units::bytes(costs.link_bytes as u64), share * 100.0),
        by_server,
        by_both,
    ]
}

fn words(crossover: Crossover) -> String {
    match crossover {
        Crossover::Never => "never".to_owned(),
        Crossover::Below(gbit_s) => units::ratio(&gbit_s),
        Crossover::AtLeast(gbit_s) => format!("at least {}", units::rate(gbit_s)),
        Crossover::Always => "any speed".to_owned(),
        Crossover::Unknown => "?".to_owned(),
    }
}

/// Returns the name of a coding for a reader who does not know what an identity is.
fn name(coding: Coding) -> &'static str {
    if coding.is_identity() { "plain" } else { coding.name() }
}
