//! Panel of the choice: each server with its cheapest encoding.

use super::super::super::units;
use super::super::choice::{Choice, Row};
use super::bar::{Bar, Kind};
use super::draw_title;
use super::rows::{self, Line};
use crate::report::svg::Svg;

/// Draws the panel below `top`. Returns its lower edge.
pub(super) fn draw(svg: &mut Svg, top: f64, choice: &Choice) -> f64 {
    let top =
        draw_title(svg, top, &choice.title(), "Linear scale from 0, CPU of the server per call.");
    let cheapest_ns = choice.rows[0].cost_ns.estimate;
    let lines: Vec<Line> = choice.rows.iter().map(|row| line(row, cheapest_ns)).collect();
    rows::draw(svg, top, &lines)
}

fn line(row: &Row, cheapest_ns: f64) -> Line {
    let kind = match row {
        Row { is_ours: true, .. } => Kind::Ours,
        Row { is_best: true, .. } => Kind::Best,
        Row { .. } => Kind::Standard,
    };
    let ns = row.cost_ns.estimate;
    Line {
        label: row.stack.to_owned(),
        detail: row.encoding.clone(),
        cost: units::time(ns),
        bar: match &row.to_cheapest {
            Some(ratio) => Bar { ns, ..Bar::of_ratio(kind, ratio, cheapest_ns) },
            None => Bar::without_range(kind, ns),
        },
        figure: match &row.to_cheapest {
            Some(ratio) => format!("{} times the first", ratio.text()),
            None => String::new(),
        },
    }
}
