//! Layout that the tables share: aligned columns, titles, notes below a table.

use super::aggregate::Section;
use super::scatter::Scatter;
use super::units;
use super::wrap::wrap;
use crate::record::Client;

/// Indent of the columns below a first column that stands on a line of its own.
const FOLD: usize = 4;

/// Widest line of a report, and the width without a terminal.
pub const WIDTH_MAX: usize = 100;

/// Aligns columns two spaces apart: the first to the left, the others to the right. A line with
/// fewer cells than the first line does not widen the columns, and its text may take several lines.
/// If a line would be wider than [`WIDTH_MAX`], the first column stands on a line of its own, and
/// the others below it.
pub(super) fn align(lines: &[Vec<String>]) -> String {
    let columns = lines[0].len();
    let is_full = |line: &&Vec<String>| line.len() == columns;
    let width = |column: usize| {
        let texts = lines.iter().filter(|line| column == 0 || is_full(line));
        texts.map(|line| line[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let is_folded = widths.iter().map(|width| width + 2).sum::<usize>() > WIDTH_MAX;
    let mut text = String::new();
    for line in lines {
        let label = if is_folded {
            text.push_str(&wrap("  ", &line[0], WIDTH_MAX));
            " ".repeat(FOLD)
        } else {
            format!("  {:<width$}", line[0], width = widths[0])
        };
        if !is_full(&line) {
            text.push_str(&wrap(&format!("{label}  "), &line[1..].join("  "), WIDTH_MAX));
            continue;
        }
        let mut used = label.chars().count();
        text.push_str(&label);
        for (cell, width) in line[1..].iter().zip(&widths[1..]) {
            if is_folded && used > FOLD && used + 2 + width > WIDTH_MAX {
                text.push_str(&format!("\n{:FOLD$}", ""));
                used = FOLD;
            }
            text.push_str(&format!("  {cell:>width$}"));
            used += 2 + width;
        }
        text.push('\n');
    }
    text
}

pub(super) fn title(section: &Section) -> String {
    let Section { array, coding, connections, in_flight, client, headers, malloc, .. } = section;
    let mut parts = vec![
        units::array(array),
        self::connections(*connections),
        format!("{in_flight} in flight"),
    ];
    parts.extend((!coding.is_identity()).then(|| format!("coding: {coding}")));
    parts.extend((*client != Client::Own).then(|| client.name().to_owned()));
    parts.extend(headers.map(|headers| format!("{} headers", headers.name())));
    parts.extend((!malloc.is_empty()).then(|| format!("malloc: {malloc}")));
    parts.join(", ")
}

pub(super) fn connections(count: u32) -> String {
    format!("{count} connection{}", if count == 1 { "" } else { "s" })
}

/// `1x64`: connections and requests in flight on each.
pub(super) fn load(connections: u32, in_flight: u32) -> String {
    format!("{connections}x{}", in_flight / connections.max(1))
}

/// Returns the notes below a section's table: its controls, the sources of scatter, then the load
/// generator's ceilings.
pub(super) fn notes(section: &Section) -> Vec<String> {
    let mut notes = section.noise.lines();
    notes.extend(section.scatter.as_ref().map(Scatter::line));
    let ceilings: Vec<String> = section
        .ceilings
        .iter()
        .map(|ceiling| {
            let bound = if ceiling.is_proved { "" } else { ">=" };
            format!("{bound}{} {}", units::rate(ceiling.rate_hz), ceiling.null)
        })
        .collect();
    if !ceilings.is_empty() {
        let ceilings = ceilings.join(", ");
        notes.push(format!("load generator alone, requests/s against null servers: {ceilings}"));
    }
    notes.extend(section.sockets.clone());
    notes
}
