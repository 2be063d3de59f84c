//! Picture of the answer: an SVG with one panel of horizontal bars for each table.
//!
//! The picture has the figures of the tables. A whisker is the interval of the ratio or price that
//! stands beside the bar. The file has no script and loads nothing; its colours follow the reader's
//! choice of light or dark. A viewer chooses the font, so that columns have room for a wide one.

mod bar;
mod choice;
mod encodings;
mod layers;
mod rows;

use super::super::Run;
use super::super::palette;
use super::super::svg::Svg;
use super::super::wrap::wrap;
use super::load_cells::Ratio;
use super::{Answer, sentences, warnings};

use bar::{HEIGHT, Kind};

const STYLE: &str = include_str!("style.css");

const WIDTH: f64 = 900.0;
const LEFT: f64 = 24.0;
const RIGHT: f64 = WIDTH - 24.0;

/// Height of a line of text, and of the space above a panel.
const LINE: f64 = 17.0;
const PANEL_GAP: f64 = 20.0;

/// Characters of a line, of a font with wide letters.
const LINE_CHARACTERS: usize = 120;

const TITLE: &str = "What a call costs the server, in CPU time";

/// Draws the answer of `run`.
pub(super) fn render(run: &Run, answer: &Answer<'_>) -> String {
    let mut svg = Svg::default();
    let mut y = draw_head(&mut svg, run, answer);
    for loads in answer.layers.chunks(layers::COLUMNS_MAX) {
        y = layers::draw(&mut svg, y + PANEL_GAP, loads);
    }
    for table in &answer.encodings {
        y = encodings::draw(&mut svg, y + PANEL_GAP, table);
    }
    for choice in &answer.choices {
        y = choice::draw(&mut svg, y + PANEL_GAP, choice);
    }
    let description: Vec<String> = sentences::parts(answer)
        .into_iter()
        .map(|(name, sentences)| format!("{name}: {sentences}"))
        .collect();
    let style = palette::style_of_picture(STYLE);
    svg.document((WIDTH, y + LEFT), &style, TITLE, &description.join("\n"))
}

/// Draws title, machine, warnings and legend. Returns the lower edge.
fn draw_head(svg: &mut Svg, run: &Run, answer: &Answer<'_>) -> f64 {
    svg.text("title", (LEFT, 38.0), TITLE);
    let mut y = 44.0;
    let mut paragraph = |svg: &mut Svg, class: &str, text: &str| {
        for line in wrap("", text, LINE_CHARACTERS).lines() {
            y += LINE;
            svg.text(class, (LEFT, y), line);
        }
        y
    };
    paragraph(svg, "note", &answer.facts(run).join(", "));
    for warning in warnings(run) {
        paragraph(svg, "warning", &format!("warning: {warning}"));
    }
    let y = paragraph(
        svg,
        "note",
        "A whisker is the 95 % interval of the figure beside its bar; = and a dashed whisker: no \
         difference was shown.",
    );
    draw_legend(svg, y + LINE + 4.0)
}

fn draw_legend(svg: &mut Svg, baseline: f64) -> f64 {
    let mut x = LEFT;
    for kind in Kind::ALL {
        svg.rect(kind.class(), (x, baseline - HEIGHT + 1.0), (2.0 * HEIGHT, HEIGHT));
        svg.text("label", (x + 2.0 * HEIGHT + 7.0, baseline), kind.words());
        x += 2.0 * HEIGHT + 32.0 + 7.2 * kind.words().len() as f64;
    }
    baseline
}

/// Draws the title of a panel and a note. Returns the lower edge.
fn draw_title(svg: &mut Svg, top: f64, title: &str, note: &str) -> f64 {
    svg.text("panel", (LEFT, top + 14.0), title);
    svg.text("note", (LEFT, top + 14.0 + LINE), note);
    top + 20.0 + LINE
}
