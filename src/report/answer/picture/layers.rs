//! Panel of the layers: a column for each load, tonic and our own server above the layers.

use super::super::layers::{Layers, TITLE, step_rows};
use super::super::load_cells::Ratio;
use super::bar::{Bar, Kind, Scale};
use super::{LEFT, RIGHT, draw_title};
use crate::report::svg::Svg;

/// Columns side by side; further loads have a panel of their own.
pub(super) const COLUMNS_MAX: usize = 3;

/// Left edge of the first column, width of a column's figures, and the gap before the next column.
const COLUMNS: f64 = 172.0;
const FIGURES: f64 = 122.0;
const GAP: f64 = 18.0;

const ROW: f64 = 19.0;

/// Baseline of a row's text below its upper edge, and the upper edge of its bar.
const BASELINE: f64 = 13.0;
const BAR_TOP: f64 = 4.0;

struct Row<'a> {
    label: &'a str,
    /// One for each load.
    cells: Vec<Cell>,
}

struct Cell {
    bar: Option<Bar>,
    figure: String,
}

/// Draws the panel below `top`. Returns its lower edge.
pub(super) fn draw(svg: &mut Svg, top: f64, loads: &[Layers]) -> f64 {
    let note = "Linear scales from 0, one for each column. ×: ratio to tonic as documented, which \
                is about the sum of the layers.";
    let top = draw_title(svg, top, TITLE, note);
    let servers = place(servers(loads), top + ROW + 3.0);
    let layers_top = top + ROW + 3.0 + ROW * servers.len() as f64 + 8.0;
    let steps = step_rows(loads).into_iter();
    let layers = place(steps.map(|step| layer(loads, step)).collect(), layers_top);
    let rows: Vec<(f64, Row<'_>)> = servers.into_iter().chain(layers).collect();
    for (y, row) in &rows {
        svg.text("label", (LEFT, y + BASELINE), row.label);
    }
    svg.line("rule", (LEFT, layers_top - 4.0), (RIGHT, layers_top - 4.0));
    let width = (RIGHT - COLUMNS + GAP) / loads.len() as f64;
    for (index, load) in loads.iter().enumerate() {
        let left = COLUMNS + width * index as f64;
        let title = format!("{}, {}", load.title, load.scale().unit);
        svg.text("head", (left, top + BASELINE), &title);
        draw_column(svg, &rows, index, (left, left + width - GAP));
    }
    rows.last().map_or(top, |(y, _)| y + ROW)
}

/// Draws the bars and figures of the load `index`.
fn draw_column(svg: &mut Svg, rows: &[(f64, Row<'_>)], index: usize, (left, right): (f64, f64)) {
    let figures = right - FIGURES;
    let bars: Vec<Bar> = rows.iter().filter_map(|(_, row)| row.cells[index].bar).collect();
    let scale = Scale::fit(&bars, left, figures - 8.0);
    if let (Some((first, _)), Some((last, _))) = (rows.first(), rows.last()) {
        scale.draw_zero(svg, *first, last + ROW);
    }
    for (y, row) in rows {
        let cell = &row.cells[index];
        if let Some(bar) = &cell.bar {
            bar.draw(svg, scale, y + BAR_TOP);
        }
        svg.text("figure", (figures, y + BASELINE), &cell.figure);
    }
}

/// Gives each row the y coordinate of its upper edge.
fn place(rows: Vec<Row<'_>>, top: f64) -> Vec<(f64, Row<'_>)> {
    rows.into_iter().enumerate().map(|(index, row)| (top + ROW * index as f64, row)).collect()
}

fn servers(loads: &[Layers]) -> Vec<Row<'static>> {
    let row = |label, cell: &dyn Fn(&Layers) -> Cell| Row {
        label,
        cells: loads.iter().map(cell).collect(),
    };
    let cell = |ratio: Option<Ratio>, kind: Option<Kind>, base_ns: f64| Cell {
        bar: ratio.zip(kind).map(|(ratio, kind)| Bar {
            has_body: ratio.ratio.range.is_some(),
            ..Bar::of_ratio(kind, &ratio, base_ns)
        }),
        figure: match ratio {
            Some(ratio) if ratio.is_shown() => format!("× {}", ratio.text()),
            Some(ratio) => ratio.text(),
            None => "-".to_owned(),
        },
    };
    vec![
        row("tonic as documented", &|load| Cell {
            bar: Some(Bar::without_range(Kind::Standard, load.tonic_ns)),
            figure: load.scale().number(load.tonic_ns),
        }),
        row("tonic at its best", &|load| cell(load.best, Some(Kind::Best), load.tonic_ns)),
        row("our own server", &|load| cell(load.own, Some(Kind::Ours), load.tonic_ns)),
        row("ours to the best tonic", &|load| cell(load.own_to_best, None, load.tonic_ns)),
    ]
}

fn layer<'a>(loads: &[Layers], row: (usize, &'a str)) -> Row<'a> {
    let cell = |load: &Layers| Cell {
        bar: load.step(row).map(|step| Bar {
            kind: Kind::Layer,
            ns: step.ns.estimate,
            range: step.ns.range,
            has_body: step.is_shown,
            is_resolved: step.is_shown,
        }),
        figure: load.price(row),
    };
    Row { label: row.1, cells: loads.iter().map(cell).collect() }
}
