//! The terminal table: CPU per request first, then its ratios, then rate and latency.

use super::delta::{Ceiling, Figures, Ratio, Row, Section, sections};
use super::{Run, counts, model, open, units};
use crate::stats::verdict::Verdict;

/// Columns after the rung; shared with `markdown`.
pub(super) const HEADS: [&str; 8] =
    ["CPU/request", "95%", "x parent", "x standard", "requests/s", "p50", "p99", "status"];

/// What the columns mean; shared with `markdown`.
pub(super) const LEGEND: [&str; 6] = [
    "CPU/request: the server's whole process, user and system; middle of the blocks with its 95 % interval.",
    "x parent: ratio to the rung that differs in the one axis named; x standard: ratio to tokio/tonic \
     (gRPC) or tokio/axum (REST), defaults, with the usual library for the same encoding. Both taken within blocks; the \
     intervals of all ratios of a table hold together at 95 %.",
    "= in front of a ratio: no difference was shown, or one within what a rung differs from itself (A/A).",
    "requests/s: >= where the server could do more (status CLIENT-LIMITED).",
    "status: VALID, CLIENT-LIMITED, NOISY (most trials were disturbed; for the eye only), DNF, INVALID; reasons in the \
     CSV report.",
    "Latency: closed loop, so it follows from depth and rate; compare it only under the same load.",
];

/// The whole run.
pub fn render(run: &Run) -> String {
    let mut text = format!("{}\n", run.machine());
    for warning in run.warnings() {
        text.push_str(&format!("warning: {warning}\n"));
    }
    if let Some(conformance) = run.conformance() {
        text.push_str(&format!("{conformance}\n"));
    }
    for section in sections(&run.trials) {
        text.push('\n');
        text.push_str(&render_section(&section, run.shares_core()));
    }
    for part in [open::render(run), model::render(run), counts::render(run)].into_iter().flatten() {
        text.push('\n');
        text.push_str(&part);
    }
    text.push('\n');
    for line in LEGEND {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// Title of a section; shared with `markdown`.
pub(super) fn title(section: &Section) -> String {
    let Section { array, connections, in_flight, .. } = section;
    let s = if *connections == 1 { "" } else { "s" };
    format!("{}, {connections} connection{s}, {in_flight} in flight", units::array(array))
}

/// The cells of a row under [`HEADS`]; shared with `markdown`.
pub(super) fn cells(row: &Row, figures: &Figures, shares_core: bool) -> [String; 8] {
    let none = || "-".to_owned();
    let ratio_to_parent = figures.to_parent.map(|to| {
        let axis = row.parent.as_deref().map_or("", |parent| changed_axis(&row.rung, parent));
        format!("{} {axis}", ratio(&to))
    });
    let bound = if figures.status.is_bound() { ">=" } else { "" };
    let alone = |text: String| if shares_core { none() } else { text };
    [
        figures.server_cpu_ns.map_or_else(none, |cpu| units::time(cpu.estimate)),
        figures.server_cpu_ns.map_or_else(none, |cpu| units::half_width(&cpu)),
        ratio_to_parent.unwrap_or_else(none),
        figures.to_reference.map_or_else(none, |to| ratio(&to)),
        alone(format!("{bound}{}", units::rate(figures.rate_hz.estimate))),
        figures.p50_ns.map_or_else(none, |ns| alone(units::time(ns as f64))),
        figures.p99_ns.map_or_else(none, |ns| alone(units::time(ns as f64))),
        figures.status.word().to_owned(),
    ]
}

/// A ratio with its interval, behind `=` where it is no difference.
fn ratio(to: &Ratio) -> String {
    let same = if to.verdict == Verdict::Same { "= " } else { "" };
    format!("{same}{}", units::ratio(&to.ratio))
}

/// The first axis in which two rungs differ.
fn changed_axis(rung: &str, parent: &str) -> &'static str {
    let axes = ["driver", "protocol", "codec"];
    let mut pairs = axes.into_iter().zip(rung.split('/').zip(parent.split('/')));
    pairs.find(|(_, (a, b))| a != b).map_or("", |(axis, _)| axis)
}

fn render_section(section: &Section, shares_core: bool) -> String {
    let mut lines = vec![head()];
    lines.extend(section.rows.iter().map(|row| match &row.result {
        Ok(figures) => {
            let mut line = vec![row.rung.clone()];
            line.extend(cells(row, figures, shares_core));
            line
        }
        Err(reason) => vec![row.rung.clone(), reason.clone()],
    }));
    let controls = section.noise.lines().into_iter().map(|line| format!("  {line}\n"));
    let ceilings = ceilings(section).map_or_else(String::new, |line| format!("  {line}\n"));
    format!("{}\n{}{}{ceilings}", title(section), align(&lines), controls.collect::<String>())
}

/// What the load generator reached against null servers, in a line; shared with `markdown`.
pub(super) fn ceilings(section: &Section) -> Option<String> {
    let ceiling = |ceiling: &Ceiling| {
        let bound = if ceiling.is_proved { "" } else { ">=" };
        format!("{bound}{} {}", units::rate(ceiling.rate_hz), ceiling.null)
    };
    let all: Vec<String> = section.ceilings.iter().map(ceiling).collect();
    (!all.is_empty()).then(|| {
        format!("the load generator alone, requests/s against null servers: {}", all.join(", "))
    })
}

fn head() -> Vec<String> {
    std::iter::once("rung").chain(HEADS).map(str::to_owned).collect()
}

/// Columns two spaces apart: the first to the left, the others to the right. A short line does not widen them.
pub(super) fn align(lines: &[Vec<String>]) -> String {
    let columns = lines[0].len();
    let is_whole = |line: &&Vec<String>| line.len() == columns;
    let width = |column: usize| {
        let texts = lines.iter().filter(|line| column == 0 || is_whole(line));
        texts.map(|line| line[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        text.push_str(&format!("  {:<1$}", line[0], widths[0]));
        for (cell, width) in line[1..].iter().zip(&widths[1..]) {
            let width = if is_whole(&line) { *width } else { 0 };
            text.push_str(&format!("  {cell:>width$}"));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;
    use crate::report::delta::tests::{header, trial, with};

    fn run() -> Run {
        let failed = Outcome::Failed { reason: "died".into(), stderr: String::new() };
        let mut other = with(trial("uring/h1/npy", 0, 1), failed);
        other.cell = 2;
        let trials =
            vec![trial("uring/raw/reflect", 0, 1000), trial("uring/h1/reflect", 0, 3000), other];
        Run::new(header(), trials)
    }

    #[test]
    fn rows_stand_under_their_array_and_load() {
        let text = render(&run());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("A CPU, "), "{text}");
        assert!(lines[1].starts_with("warning: 1 blocks"), "{text}");
        let lines = &lines[1..];
        assert_eq!(lines[2], "8 B <f8 [1], 1 connection, 1000 in flight");
        assert!(lines[4].contains("1.00 µs") && lines[4].contains("100k"), "{text}");
        assert!(lines[5].contains("3.00 protocol"), "{text}");
        assert!(lines[6].ends_with("INVALID in 1 of 1 rounds: died"), "{text}");
        assert_eq!(lines[4].chars().count(), lines[5].chars().count(), "{text}");
    }

    #[test]
    fn a_shared_core_hides_rates() {
        let mut run = run();
        run.header.cpu_client = run.header.cpu_server;
        let text = render(&run);
        assert!(text.contains("shared one core") && !text.contains("100k"), "{text}");
    }
}
