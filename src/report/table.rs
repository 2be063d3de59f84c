//! The terminal table: CPU per request first, then its ratios, then rate and latency.

use super::aggregate::{Row, Section, sections};
use super::columns::{LEGEND, Shown, Table, View, shown_columns};
use super::text::{WIDTH_MAX, align, notes, title};
use super::wrap::wrap;
use super::{Run, clients, counts, model, open, rivals, warning};

pub fn render(run: &Run) -> String {
    let mut text = wrap("", &run.machine(), WIDTH_MAX);
    for warning in warning::warnings(run) {
        text.push_str(&wrap("warning: ", &warning.to_string(), WIDTH_MAX));
    }
    if let Some(conformance) = run.conformance() {
        text.push_str(&wrap("", &conformance, WIDTH_MAX));
    }
    for section in sections(&run.trials) {
        text.push('\n');
        text.push_str(&render_section(&section, run.shares_core()));
    }
    let parts = [rivals::render, clients::render, open::render, model::render, counts::render];
    for part in parts.into_iter().filter_map(|render| render(run)) {
        text.push('\n');
        text.push_str(&part);
    }
    text.push('\n');
    for line in LEGEND {
        text.push_str(&wrap("", line, WIDTH_MAX));
    }
    text
}

/// Prints the costs, then the rates of the rows that have figures, then the notes.
fn render_section(section: &Section, shares_core: bool) -> String {
    let mut text = wrap("", &title(section), WIDTH_MAX);
    text.push_str(&align(&lines(section, Table::Costs, shares_core)));
    let rates = lines(section, Table::Rates, shares_core);
    if rates.len() > 1 {
        text.push_str(&align(&rates));
    }
    let reason = |row: &Row| {
        let status = &row.result.as_ref().ok()?.status;
        let reason = Some(status.reason()).filter(|reason| !reason.is_empty())?;
        Some(format!("{}: {} ({reason})", row.rung, status.word()))
    };
    for note in section.rows.iter().filter_map(reason).chain(notes(section)) {
        text.push_str(&wrap("  ", &note, WIDTH_MAX));
    }
    text
}

fn lines(section: &Section, table: Table, shares_core: bool) -> Vec<Vec<String>> {
    let columns: Vec<&Shown> = shown_columns().filter(|column| column.table == table).collect();
    let heads = std::iter::once("rung").chain(columns.iter().map(|column| column.head));
    let mut lines: Vec<Vec<String>> = vec![heads.map(str::to_owned).collect()];
    lines.extend(section.rows.iter().filter_map(|row| {
        let mut line = vec![row.rung.clone()];
        match &row.result {
            Ok(figures) => {
                let view = View { section, row, figures, shares_core };
                line.extend(columns.iter().map(|column| (column.text)(&view)));
            }
            Err(obstacle) if table == Table::Costs => line.push(obstacle.clone()),
            Err(_) => return None,
        }
        Some(line)
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{header, trial, with};
    use crate::record::{ArrayInfo, Outcome, Trial};

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
        assert!(lines[4].contains("1.00 µs"), "{text}");
        assert!(lines[5].contains("3.00"), "{text}");
        assert!(lines[6].ends_with("INVALID in 1 of 1 rounds: died"), "{text}");
        assert_eq!(lines[4].chars().count(), lines[5].chars().count(), "{text}");
        assert!(lines[8].contains("100k") && lines[9].contains("protocol"), "{text}");
    }

    #[test]
    fn no_line_is_wider_than_a_hundred_columns() {
        let mut run = run();
        for trial in &mut run.trials {
            trial.rung = format!("external/{}-with-a-long-name/json_binary:pybase64", trial.rung);
        }
        let text = render(&run);
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(WIDTH_MAX), "{widest:?}\n{text}");
    }

    #[test]
    fn long_reasons_take_several_lines() {
        let long = format!("cannot start {}: no such file", "/a/long/path".repeat(20));
        let failed = Outcome::Failed { reason: long.clone(), stderr: String::new() };
        let mut run = run();
        for (number, trial) in (0..).zip(run.trials.clone()) {
            let other = Trial { cell: trial.cell + 10, round: 1, ..trial.clone() };
            let open = Trial { offered_hz: Some(30_000.0), cell: 20 + number, ..trial.clone() };
            let noisy = Trial { discarded: Some(long.clone()), ..open.clone() };
            let skipped = Outcome::Skipped { reason: long.clone() };
            let socket_failure = Some(long.clone());
            let shape = vec![1; 60];
            let array = ArrayInfo { shape, ..trial.array.clone() };
            run.trials.extend([
                with(other.clone(), failed.clone()),
                with(Trial { cell: 30 + number, array, ..other.clone() }, skipped),
                Trial { cell: 40 + number, discarded: Some(long.clone()), ..other },
                Trial { socket_failure, ..open.clone() },
                Trial { rung: "uring/raw/npy".into(), cell: 50 + number, ..noisy },
                with(Trial { cell: 60 + number, ..open }, failed.clone()),
            ]);
        }
        run.header.client = Some(long);
        for text in [render(&run), crate::report::seed::render(&run)] {
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(WIDTH_MAX), "{widest:?}\n{text}");
            assert!(text.contains("cannot start"), "{text}");
        }
    }

    #[test]
    fn a_shared_core_hides_rates() {
        let mut run = run();
        run.header.cpu_client = run.header.cpu_server;
        let text = render(&run);
        assert!(text.contains("shared one core") && !text.contains("100k"), "{text}");
    }
}
