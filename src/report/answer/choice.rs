//! The cheapest server and encoding for an array.

use std::collections::BTreeMap;

use crate::stats::bootstrap::Interval;

use super::super::units;
use super::super::wrap::wrap;
use super::bars::{bar, bar_width, widest};
use super::load_cells::{LoadCells, Ratio};

/// Stacks that a user chooses from, in words.
pub(super) const STACKS: [(&str, &str); 6] = [
    ("uring/h1", "our HTTP/1.1"),
    ("uring/h2", "our HTTP/2, gRPC"),
    ("tokio/axum:best", "axum at its best"),
    ("tokio/axum", "axum"),
    ("tokio/tonic:best", "tonic at its best"),
    ("tokio/tonic", "tonic"),
];

pub(super) const AXUM_BEST: &str = "tokio/axum:best/npy";

/// Greatest width of a bar, and width of the cells before it with their gaps.
const BAR: usize = 30;
const CELLS: usize = 3 + 18 + 21 + 8 + 2;

/// Each stack in its cheapest form and encoding, from cheap to dear.
pub(super) struct Choice {
    array: String,
    pub(super) rows: Vec<Row>,
}

pub(super) struct Row {
    pub(super) stack: &'static str,
    pub(super) encoding: String,
    pub(super) is_ours: bool,
    pub(super) is_best: bool,
    pub(super) cost_ns: Interval,
    /// Ratio to the cheapest; `None` for the cheapest itself.
    pub(super) to_cheapest: Option<Ratio>,
}

impl Choice {
    /// Returns `None` if the load has not both a gRPC and a REST server to choose from.
    pub(super) fn evaluate(load: &LoadCells<'_>) -> Option<Choice> {
        let mut cheapest: BTreeMap<&str, (&'static str, Interval, &str)> = BTreeMap::new();
        for rung in load.rungs() {
            let (stack, _) = rung.rsplit_once('/')?;
            let Some((_, name)) = STACKS.iter().find(|(known, _)| *known == stack) else {
                continue;
            };
            let Some(cost) = load.cost_ns(rung) else { continue };
            let of_any_form = stack.trim_end_matches(":best");
            let known = cheapest.get(of_any_form);
            if known.is_none_or(|(_, other, _)| cost.estimate < other.estimate) {
                cheapest.insert(of_any_form, (name, cost, rung));
            }
        }
        let has = |part: &str| cheapest.values().any(|(.., rung)| rung.contains(part));
        if !has("/axum") || !has("/tonic") {
            return None;
        }
        let mut order: Vec<(&'static str, Interval, &str)> = cheapest.into_values().collect();
        order.sort_by(|a, b| a.1.estimate.total_cmp(&b.1.estimate));
        let first = order[0].2;
        let pairs: Vec<(&str, &str)> =
            order[1..].iter().map(|(_, _, rung)| (*rung, first)).collect();
        let ratios = load.ratios(&pairs);
        let row = |(index, (stack, cost_ns, rung)): (usize, (&'static str, Interval, &str))| Row {
            stack,
            encoding: rung.rsplit('/').next().unwrap_or_default().to_owned(),
            is_ours: rung.starts_with("uring/"),
            is_best: rung.contains(":best/"),
            cost_ns,
            to_cheapest: (index > 0).then(|| ratios.ratio(index - 1)).flatten(),
        };
        let rows = order.into_iter().enumerate().map(row).collect();
        Some(Choice { array: units::array(load.array()), rows })
    }

    pub(super) fn title(&self) -> String {
        format!("The cheapest for {}: each server's best form and encoding", self.array)
    }

    pub(super) fn render(&self, width: usize) -> String {
        let ratio = |row: &Row| row.to_cheapest.map_or("1".to_owned(), |ratio| ratio.text());
        let ratios: Vec<String> = self.rows.iter().map(ratio).collect();
        let taken = CELLS + 2 + widest(ratios.iter().map(String::as_str));
        let bar_width = bar_width(width, taken, BAR);
        let mut text = wrap("3  ", &self.title(), width);
        let largest = self.rows.iter().map(|row| row.cost_ns.estimate).fold(0.0, f64::max);
        for (row, ratio) in self.rows.iter().zip(ratios) {
            let cost = row.cost_ns.estimate;
            let line = format!(
                "   {:<18}{:<21}{:>8}  {:<bar_width$}  {ratio}",
                row.stack,
                row.encoding,
                units::time(cost),
                bar(cost / largest, bar_width),
            );
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::verdict::Verdict;

    #[test]
    fn lines_with_the_longest_ratios_fit_the_width() {
        let row = |cost_ns, to_cheapest| Row {
            stack: "tonic at its best",
            encoding: "protobuf:prost_bytes".to_owned(),
            is_ours: false,
            is_best: true,
            cost_ns: Interval { estimate: cost_ns, range: None, units: 13 },
            to_cheapest,
        };
        let ratio = |estimate, low, high, verdict| {
            let ratio = Interval { estimate, range: Some((low, high)), units: 13 };
            Some(Ratio { ratio, verdict })
        };
        let rows = vec![
            row(36_200.0, None),
            row(39_300.0, ratio(1.07, 1.01, 1.13, Verdict::Same)),
            row(363_000.0, ratio(0.0234, 0.0214, 0.0261, Verdict::Faster)),
        ];
        let choice = Choice { array: "64 KiB <f8 [8192]".to_owned(), rows };
        for width in [80, 100] {
            let text = choice.render(width);
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width), "{widest:?}\n{text}");
            assert!(text.contains("  #"), "no bars:\n{text}");
        }
    }
}
