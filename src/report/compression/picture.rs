//! Picture of the time of a call over the speed of the link: a panel for each array and rung, with
//! a curve for each coding. A square marks the speed at which a coding stops to pay.

use super::super::Run;
use super::super::palette;
use super::super::svg::Svg;
use super::super::units;
use super::super::wrap::wrap;
use super::costs::{RungCodings, Table};
use super::crossover::Crossover;
use super::{name, sentences, title};
use crate::axis::Coding;
use crate::report::answer::load_cells::LoadCells;
use crate::report::answer::{facts, warnings};

const STYLE: &str = include_str!("style.css");

const TITLE: &str = "Time of a call over the speed of the link, by coding";

const WIDTH: f64 = 900.0;
const LEFT: f64 = 24.0;
const LINE: f64 = 17.0;

/// Characters of a line, of a font with wide letters.
const LINE_CHARACTERS: usize = 120;

/// Panels side by side, their size, and the space of the axes beside and below the curves.
const COLUMNS: usize = 2;
const PANEL: (f64, f64) = (414.0, 230.0);
const PANEL_GAP: f64 = 24.0;
const AXIS: (f64, f64) = (58.0, 20.0);

/// Height of a panel's name, and of half a tick's text at its upper edge.
const HEAD: f64 = 24.0;

/// Slowest and fastest link, in Gbit/s, as exponents of ten, and points of a curve.
const DECADES: (i32, i32) = (-2, 2);
const POINTS: u32 = 64;

const MARK: f64 = 6.0;

/// Scales of a panel: logarithms of speed and time to pixels.
struct Scales {
    corner: (f64, f64),
    size: (f64, f64),
    /// Logarithms of the shortest and the longest time in nanoseconds.
    times: (f64, f64),
}

/// Draws `tables` of `run`.
pub(super) fn render(run: &Run, tables: &[Table]) -> String {
    let mut svg = Svg::default();
    let mut y = draw_head(&mut svg, run);
    for table in tables {
        y += PANEL_GAP;
        svg.text("panel", (LEFT, y), &title(table));
        let rows = table.rungs.chunks(COLUMNS);
        for row in rows {
            for (column, rung) in row.iter().enumerate() {
                let left = LEFT + (PANEL.0 + PANEL_GAP) * column as f64;
                draw_panel(&mut svg, rung, (left, y + LINE));
            }
            y += PANEL.1 + LINE + PANEL_GAP;
        }
    }
    let description: Vec<String> = tables
        .iter()
        .flat_map(sentences)
        .map(|(name, sentence)| format!("{name}: {sentence}"))
        .collect();
    let style = palette::style_of_picture(STYLE);
    svg.document((WIDTH, y + LEFT), &style, TITLE, &description.join("\n"))
}

fn draw_head(svg: &mut Svg, run: &Run) -> f64 {
    svg.text("title", (LEFT, 38.0), TITLE);
    let mut y = 44.0;
    let mut paragraph = |class: &str, text: &str| {
        for line in wrap("", text, LINE_CHARACTERS).lines() {
            y += LINE;
            svg.text(class, (LEFT, y), line);
        }
    };
    paragraph("note", &facts(run, &LoadCells::all(run)).join(", "));
    for warning in warnings(run) {
        paragraph("warning", &format!("warning: {warning}"));
    }
    paragraph(
        "note",
        "Both scales are logarithmic. A call takes the measured CPU time of server and client, and \
         its measured bits at the speed of the link, which is a model. A square: the coding pays \
         on slower links only.",
    );
    y += LINE + 4.0;
    let mut x = LEFT;
    for coding in Coding::ALL {
        svg.line(&class(coding), (x, y - 4.0), (x + 24.0, y - 4.0));
        svg.text("label", (x + 31.0, y), name(coding));
        x += 60.0 + 7.2 * name(coding).len() as f64;
    }
    y
}

fn class(coding: Coding) -> String {
    format!("curve {}", coding.name())
}

/// Draws the curves of a rung, with the upper left corner of the panel at `corner`.
fn draw_panel(svg: &mut Svg, rung: &RungCodings, corner: (f64, f64)) {
    svg.text("head", (corner.0, corner.1 + 12.0), &rung.rung);
    let Some(scales) = Scales::fit(rung, corner) else {
        svg.text("note", (corner.0, corner.1 + 12.0 + LINE), "no coding was measured");
        return;
    };
    scales.draw_axes(svg);
    for (coding, costs) in rung.measured() {
        let point = |gbit_s: f64| Some(scales.point(gbit_s, costs.call_ns(gbit_s)?));
        let points: Vec<(f64, f64)> = speeds().filter_map(point).collect();
        if points.is_empty() {
            continue;
        }
        svg.polyline(&class(coding), &points);
        let crossover = costs.to_plain.as_ref().and_then(|to| to.both);
        if let Some(Crossover::Below(speed)) = crossover
            && is_on_axis(speed.estimate)
            && let Some((x, y)) = point(speed.estimate)
        {
            let class = format!("mark {}", coding.name());
            svg.rect(&class, (x - MARK / 2.0, y - MARK / 2.0), (MARK, MARK));
        }
    }
}

fn speeds() -> impl Iterator<Item = f64> {
    let (slow, fast) = DECADES;
    let step = f64::from(fast - slow) / f64::from(POINTS);
    (0..=POINTS).map(move |point| 10_f64.powf(f64::from(slow) + step * f64::from(point)))
}

fn is_on_axis(gbit_s: f64) -> bool {
    let exponent = gbit_s.log10();
    (f64::from(DECADES.0)..=f64::from(DECADES.1)).contains(&exponent)
}

impl Scales {
    /// Creates the scales on which every curve fits; `None` without curves.
    fn fit(rung: &RungCodings, corner: (f64, f64)) -> Option<Scales> {
        let times = || {
            let ends = DECADES;
            let times = rung.measured().flat_map(move |(_, costs)| {
                [ends.0, ends.1].map(|exponent| costs.call_ns(10_f64.powi(exponent)))
            });
            times.flatten().map(f64::log10).filter(|time| time.is_finite())
        };
        let (low, high) = (times().reduce(f64::min)?, times().reduce(f64::max)?);
        let corner = (corner.0 + AXIS.0, corner.1 + HEAD);
        let size = (PANEL.0 - AXIS.0, PANEL.1 - HEAD - AXIS.1);
        Some(Scales { corner, size, times: (low, high.max(low + 0.1)) })
    }

    fn x(&self, gbit_s: f64) -> f64 {
        let (slow, fast) = (f64::from(DECADES.0), f64::from(DECADES.1));
        self.corner.0 + (gbit_s.log10() - slow) / (fast - slow) * self.size.0
    }

    fn point(&self, gbit_s: f64, ns: f64) -> (f64, f64) {
        let (low, high) = self.times;
        let up = (ns.log10() - low) / (high - low) * self.size.1;
        (self.x(gbit_s), self.corner.1 + self.size.1 - up)
    }

    fn draw_axes(&self, svg: &mut Svg) {
        let (left, top) = self.corner;
        let (right, bottom) = (left + self.size.0, top + self.size.1);
        for exponent in DECADES.0..=DECADES.1 {
            let speed = 10_f64.powi(exponent);
            let x = self.x(speed);
            svg.line("grid", (x, top), (x, bottom));
            let unit = if exponent == DECADES.1 { " Gbit/s" } else { "" };
            svg.text("tick end", (x + 12.0, bottom + 15.0), &format!("{speed}{unit}"));
        }
        let (low, high) = self.times;
        for exponent in (low.ceil() as i32)..=(high.floor() as i32) {
            let ns = 10_f64.powi(exponent);
            let (_, y) = self.point(1.0, ns);
            svg.line("grid", (left, y), (right, y));
            svg.text("tick end", (left - 6.0, y + 4.0), &units::time(ns));
        }
    }
}
