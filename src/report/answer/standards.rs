//! Every server against the standard one, as documented and at its best: one table for each load,
//! and one sentence over all of them.

use std::collections::BTreeSet;

use crate::stats::bootstrap::Interval;

use super::super::text::{WIDTH_MAX, align};
use super::super::units;
use super::super::wrap::wrap;
use super::load_cells::{self, LoadCells, Ratio};

/// Stacks whose protocol is ours. The sentence names their rungs.
const OWN: [&str; 2] = ["uring/h2", "uring/h1"];

/// Servers of one load that are compared with the same standard server.
pub(super) struct Standards<'a> {
    title: String,
    size: String,
    standard: &'a str,
    best: Option<&'a str>,
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    rung: &'a str,
    figures: Result<Figures, String>,
}

struct Figures {
    cost_ns: Interval,
    /// Ratio to the standard server; `None` for that server itself.
    to_standard: Option<Ratio>,
    to_best: Option<Ratio>,
}

impl<'a> Standards<'a> {
    /// Returns a table for each standard server that was measured under the load.
    pub(super) fn evaluate(load: &LoadCells<'a>) -> Vec<Standards<'a>> {
        let standards: BTreeSet<&str> =
            load.rungs().filter_map(|rung| load.reference(rung)).collect();
        let is_measured = |standard: &&str| load.cost_ns(standard).is_some();
        let table = |standard| Standards::against(load, standard);
        standards.into_iter().filter(is_measured).map(table).collect()
    }

    fn against(load: &LoadCells<'a>, standard: &'a str) -> Standards<'a> {
        let rungs: Vec<&str> =
            load.rungs().filter(|rung| load.reference(rung) == Some(standard)).collect();
        let best = best(load, standard, &rungs);
        let pairs: Vec<(&str, &str)> = rungs
            .iter()
            .flat_map(|rung| [(*rung, standard), (*rung, best.unwrap_or_default())])
            // A rung against itself is no ratio of the family.
            .map(|(rung, other)| if rung == other { (rung, "") } else { (rung, other) })
            .collect();
        let ratios = load.ratios(&pairs);
        let figures = |index: usize, rung: &str| {
            let [to_standard, to_best] = [0, 1].map(|other| ratios.ratio(2 * index + other));
            Some(Figures { cost_ns: load.cost_ns(rung)?, to_standard, to_best })
        };
        let obstacle = |rung: &str| {
            let reason = load.obstacles().find(|(other, _)| *other == rung);
            reason.map_or_else(|| "no figures".to_owned(), |(_, reason)| reason)
        };
        let row = |(index, rung): (usize, &&'a str)| Row {
            rung,
            figures: figures(index, rung).ok_or_else(|| obstacle(rung)),
        };
        let rows = rungs.iter().enumerate().map(row).collect();
        let size = units::bytes(load.array().bytes);
        Standards { title: load.long_title(), size, standard, best, rows }
    }

    fn render(&self) -> String {
        let stack = protocol(self.standard);
        let heads = ["", "CPU/request", &format!("to {stack}"), &format!("to the best {stack}")];
        let mut lines = vec![heads.map(str::to_owned).to_vec()];
        let mut reasons = String::new();
        for Row { rung, figures } in &self.rows {
            let figures = match figures {
                Ok(figures) => figures,
                Err(reason) => {
                    reasons.push_str(&wrap("  ", &format!("{rung}: {reason}"), WIDTH_MAX));
                    continue;
                }
            };
            let text = |ratio: Option<Ratio>, other: Option<&str>| match ratio {
                _ if other == Some(*rung) => "1".to_owned(),
                Some(ratio) => ratio.text(),
                None => "-".to_owned(),
            };
            lines.push(vec![
                (*rung).to_owned(),
                units::time(figures.cost_ns.estimate),
                text(figures.to_standard, Some(self.standard)),
                text(figures.to_best, self.best),
            ]);
        }
        wrap("", &self.title, WIDTH_MAX) + &align(&lines) + &reasons
    }
}

/// Prints the tables, and the sentence about our own servers; `None` if no standard server was
/// measured.
pub(super) fn render(loads: &[LoadCells<'_>]) -> Option<String> {
    let tables: Vec<Standards<'_>> = loads.iter().flat_map(Standards::evaluate).collect();
    if tables.is_empty() {
        return None;
    }
    let mut text = tables.iter().map(Standards::render).collect::<Vec<_>>().join("\n");
    let noise = load_cells::noise_text(loads)
        .map(|shares| format!(" A server against itself differed by {shares}."));
    let legend = format!(
        "Ratios of CPU per request, taken within launches, with intervals that hold together in \
         each table at 95 %. = before a ratio: no difference was shown.{}",
        noise.unwrap_or_default()
    );
    text.push('\n');
    text.push_str(&wrap("", &legend, WIDTH_MAX));
    if let Some(sentence) = sentence(&tables) {
        text.push('\n');
        text.push_str(&wrap("", &sentence, WIDTH_MAX));
    }
    Some(text)
}

/// `uring/h2/protobuf costs 0.10 of tonic at 8 B (0.20 of tonic at its best), 0.35 at 1 MiB (0.5).`
fn sentence(tables: &[Standards<'_>]) -> Option<String> {
    let is_own = |rung: &str| OWN.contains(&stack(rung));
    let own: BTreeSet<(&str, &str)> = tables
        .iter()
        .flat_map(|table| table.rows.iter().map(|row| (row.rung, table.standard)))
        .filter(|(rung, _)| is_own(rung))
        .collect();
    let clauses: Vec<String> = own
        .into_iter()
        .rev()
        .filter_map(|(rung, standard)| clause(tables, rung, standard))
        .collect();
    (!clauses.is_empty()).then(|| format!("{}.", clauses.join("; ")))
}

fn clause(tables: &[Standards<'_>], rung: &str, standard: &str) -> Option<String> {
    let name = protocol(standard);
    let mut parts: Vec<String> = Vec::new();
    for table in tables.iter().filter(|table| table.standard == standard) {
        let row = table.rows.iter().find(|row| row.rung == rung);
        let Some(Row { figures: Ok(figures), .. }) = row else { continue };
        let Some(to_standard) = figures.to_standard else { continue };
        let [of_standard, of_best] = match parts.is_empty() {
            true => [format!(" of {name}"), format!(" of {name} at its best")],
            false => ["".to_owned(), "".to_owned()],
        };
        let to_best = figures.to_best.map(|ratio| format!(" ({}{of_best})", ratio.text()));
        let (ratio, size) = (to_standard.text(), &table.size);
        parts.push(format!("{ratio}{of_standard} at {size}{}", to_best.unwrap_or_default()));
    }
    (!parts.is_empty()).then(|| format!("{rung} costs {}", parts.join(", ")))
}

/// Returns the cheapest rung of the standard server's stack at its best.
fn best<'a>(load: &LoadCells<'a>, standard: &str, rungs: &[&'a str]) -> Option<&'a str> {
    let best = format!("{}:best", stack(standard));
    let costs = rungs
        .iter()
        .filter(|rung| stack(rung) == best)
        .filter_map(|rung| Some((*rung, load.cost_ns(rung)?.estimate)));
    costs.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(rung, _)| rung)
}

/// `tokio/tonic` of `tokio/tonic/protobuf:prost`.
fn stack(rung: &str) -> &str {
    rung.rsplit_once('/').map_or(rung, |(stack, _)| stack)
}

/// `tonic` of `tokio/tonic/protobuf:prost`.
fn protocol(rung: &str) -> &str {
    let stack = stack(rung);
    stack.rsplit_once('/').map_or(stack, |(_, protocol)| protocol)
}
