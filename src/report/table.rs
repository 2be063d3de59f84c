//! The terminal table: CPU per request first, then its ratios, then rate and latency.

use super::aggregate::{Section, sections};
use super::columns::{LEGEND, View, shown_columns};
use super::text::{align, notes, title};
use super::{Run, counts, model, open, warning};

pub fn render(run: &Run) -> String {
    let mut text = format!("{}\n", run.machine());
    for warning in warning::warnings(run) {
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

fn render_section(section: &Section, shares_core: bool) -> String {
    let heads = std::iter::once("rung").chain(shown_columns().map(|column| column.head));
    let mut lines = vec![heads.map(str::to_owned).collect()];
    lines.extend(section.rows.iter().map(|row| {
        let mut line = vec![row.rung.clone()];
        match &row.result {
            Ok(figures) => {
                let view = View { section, row, figures, shares_core };
                line.extend(shown_columns().map(|column| (column.text)(&view)));
            }
            Err(obstacle) => line.push(obstacle.clone()),
        }
        line
    }));
    let notes = notes(section).into_iter().map(|note| format!("  {note}\n"));
    format!("{}\n{}{}", title(section), align(&lines), notes.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;
    use crate::record::tests::{header, trial, with};

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
        assert!(lines[1].starts_with("warning: only 1 block"), "{text}");
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
