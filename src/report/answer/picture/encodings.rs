//! Panel of the encodings: for each encoding a standard server and ours.

use super::super::super::units;
use super::super::encodings::{Encodings, Row};
use super::bar::{Bar, Kind};
use super::draw_title;
use super::rows::{self, Line};
use crate::report::svg::Svg;

/// Draws the panel below `top`. Returns its lower edge.
pub(super) fn draw(svg: &mut Svg, top: f64, table: &Encodings) -> f64 {
    let top =
        draw_title(svg, top, &table.title(), "Linear scale from 0, CPU of the server per call.");
    let npy_ns = table.rows[0].cost_ns.estimate;
    let lines: Vec<Line> = table.rows.iter().flat_map(|row| lines(row, npy_ns)).collect();
    rows::draw(svg, top, &lines)
}

fn lines(row: &Row, npy_ns: f64) -> Vec<Line> {
    let standard = Line {
        label: row.name.to_owned(),
        detail: row.server.to_owned(),
        cost: units::time(row.cost_ns.estimate),
        bar: match &row.to_npy {
            Some(ratio) => {
                Bar { ns: row.cost_ns.estimate, ..Bar::of_ratio(Kind::Standard, ratio, npy_ns) }
            }
            None => Bar::without_range(Kind::Standard, row.cost_ns.estimate),
        },
        figure: match &row.to_npy {
            Some(ratio) => format!("{} times .npy", ratio.text()),
            None => String::new(),
        },
    };
    let own = row.own.as_ref().zip(row.own_ns).map(|(ratio, own_ns)| Line {
        label: String::new(),
        detail: "ours".to_owned(),
        cost: units::time(own_ns),
        bar: Bar { ns: own_ns, ..Bar::of_ratio(Kind::Ours, ratio, row.cost_ns.estimate) },
        figure: format!("{} of {}", ratio.text(), row.server),
    });
    [Some(standard), own].into_iter().flatten().collect()
}
