//! The terminal table's rows as Markdown, for a README or an issue.

use super::aggregate::{Section, sections};
use super::columns::{LEGEND, View, shown_columns};
use super::text::{notes, title};
use super::{Run, clients, counts, model, open, warning};

pub fn render(run: &Run) -> String {
    let mut text = format!("{}.\n", run.machine());
    for warning in warning::warnings(run) {
        text.push_str(&format!("\nWarning: {warning}.\n"));
    }
    if let Some(conformance) = run.conformance() {
        text.push_str(&format!("\n{conformance}.\n"));
    }
    for section in sections(&run.trials) {
        text.push('\n');
        text.push_str(&render_section(&section, run.shares_core()));
    }
    let parts = [clients::render, open::render, model::render, counts::render];
    for part in parts.into_iter().filter_map(|render| render(run)) {
        text.push_str(&format!("\n```text\n{part}```\n"));
    }
    text.push('\n');
    for line in LEGEND {
        text.push_str(&format!("- {line}\n"));
    }
    text
}

fn render_section(section: &Section, shares_core: bool) -> String {
    let heads: Vec<&str> = shown_columns().map(|column| column.head).collect();
    let mut text = format!("**{}**\n\n", title(section));
    text.push_str(&format!("| rung | {} |\n", heads.join(" | ")));
    text.push_str(&format!("|---|{}\n", "---:|".repeat(heads.len())));
    for row in &section.rows {
        let cells = match &row.result {
            Ok(figures) => {
                let view = View { section, row, figures, shares_core };
                let cells = shown_columns().map(|column| escape(&(column.text)(&view)));
                cells.collect::<Vec<_>>().join(" | ")
            }
            Err(obstacle) => format!("{}{}", escape(obstacle), " |".repeat(heads.len() - 1)),
        };
        text.push_str(&format!("| `{}` | {cells} |\n", row.rung));
    }
    for note in notes(section) {
        text.push_str(&format!("\n{note}.\n"));
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;
    use crate::record::tests::{header, trial, with};

    #[test]
    fn every_row_has_every_column() {
        let failed = Outcome::Failed { reason: "a | b".into(), stderr: String::new() };
        let trials = vec![
            trial("uring/raw/reflect", 0, 1000),
            with(trial("uring/h1/reflect", 0, 3000), failed),
        ];
        let text = render(&Run::new(header(), trials));
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 4);
        for row in rows {
            let bars = row.replace("\\|", "").matches('|').count();
            assert_eq!(bars, shown_columns().count() + 2, "{row}");
        }
    }
}
