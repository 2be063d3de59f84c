//! Rows with a label, a cost, a bar and a ratio, on one scale.

use super::bar::{Bar, HEIGHT, Scale};
use super::{LEFT, RIGHT};
use crate::report::svg::Svg;

const ROW: f64 = 18.0;

/// Space between rows whose label differs, if some rows have no label of their own.
const GROUP_GAP: f64 = 5.0;

/// Left edges of the second column, of the bars and of the ratios; right edge of the costs.
const DETAILS: f64 = 136.0;
const COSTS_END: f64 = 326.0;
const BARS: f64 = 336.0;
const FIGURES: f64 = 676.0;

const BASELINE: f64 = 13.0;

pub(super) struct Line {
    /// Empty for a row that belongs to the one above.
    pub(super) label: String,
    pub(super) detail: String,
    pub(super) cost: String,
    pub(super) bar: Bar,
    pub(super) figure: String,
}

/// Draws rows below `top`. Returns their lower edge.
pub(super) fn draw(svg: &mut Svg, top: f64, lines: &[Line]) -> f64 {
    let bars: Vec<Bar> = lines.iter().map(|line| line.bar).collect();
    let scale = Scale::fit(&bars, BARS, FIGURES - 10.0);
    let has_groups = lines.iter().any(|line| line.label.is_empty());
    let mut y = top;
    for (index, line) in lines.iter().enumerate() {
        if has_groups && index > 0 && !line.label.is_empty() {
            svg.line("rule", (LEFT, y + GROUP_GAP / 2.0), (RIGHT, y + GROUP_GAP / 2.0));
            y += GROUP_GAP;
        }
        svg.text("label", (LEFT, y + BASELINE), &line.label);
        svg.text("note", (DETAILS, y + BASELINE), &line.detail);
        svg.text("figure end", (COSTS_END, y + BASELINE), &line.cost);
        line.bar.draw(svg, scale, y + (ROW - HEIGHT) / 2.0);
        svg.text("figure", (FIGURES, y + BASELINE), &line.figure);
        y += ROW;
    }
    scale.draw_zero(svg, top, y);
    y
}
