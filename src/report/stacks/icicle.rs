//! Icicle of a profile: an SVG whose areas are as wide as their share of the samples.
//!
//! ```text
//! | all samples                                         |
//! | HTTP framing             | allocator    | runtime   |   layers
//! | h2              | hyper  | malloc       | tokio     |   crates
//! | store.rs | hpack | h1.rs | tonic | hyper| task.rs   |   source files
//! | insert   | take  | poll  |               | poll     |   functions that decided
//! | tonic | hyper   |               callers with a layer, outwards
//! ```
//!
//! `tree` says what stands below what. An area has the colour of the layer of its function. The
//! file has no script; the same stacks give the same bytes.

use std::collections::BTreeMap;

use crate::axis::Layer;
use crate::report::palette;
use crate::report::svg::{Area, Svg};
use crate::report::wrap::wrap;

use super::Profiled;
use super::tree::{self, Node};

/// Style of the text around the areas.
const STYLE: &str = include_str!("../answer/picture/style.css");

const MARGIN: f64 = 24.0;
const LINE: f64 = 17.0;
const ROW: f64 = 17.0;
const BASELINE: f64 = 12.5;

/// Space between the side of an area and its text, and the width of a letter.
const PADDING: f64 = 4.0;
const LETTER: f64 = 7.0;

/// Letters that make a name worth printing.
const LETTERS_MIN: usize = 4;

const LEGEND_COLUMN: f64 = 212.0;

/// Extent of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    pub width: f64,
    /// Rows of functions below the layers.
    pub rows_max: usize,
    /// Width in pixels from which an area is drawn.
    pub area_min: f64,
}

impl Default for Size {
    fn default() -> Size {
        Size { width: 1200.0, rows_max: 16, area_min: 1.2 }
    }
}

/// Renders a picture with a title and a legend.
pub fn render(profiled: &Profiled, size: &Size) -> String {
    let layers = tree::layers(profiled);
    let all = profiled.samples();
    let mut svg = Svg::default();
    let title = format!("{}: CPU time by layer and function", profiled.server);
    svg.text("title", (MARGIN, 38.0), &title);
    let mut y = 44.0;
    let note = format!(
        "{}; {all} samples. The width is the share of the samples. Below a layer stand \
         crate, source file and function that decided it, below these the callers with a layer, as \
         far as their part of the stack was recorded. Point at an area for its name and share.",
        profiled.load
    );
    let letters = ((size.width - 2.0 * MARGIN) / LETTER) as usize;
    for line in wrap("", &note, letters).lines() {
        y += LINE;
        svg.text("note", (MARGIN, y), line);
    }
    y = draw_legend(&mut svg, &layers, all, size, y + LINE + 4.0);
    let bottom = draw(&mut svg, &layers, size, all, y + LINE);
    svg.document(
        (size.width, bottom + MARGIN),
        &palette::style_of_picture(&(STYLE.to_owned() + &palette::layer_rules(&["fill"]))),
        &title,
        &note,
    )
}

/// Draws the shares of all layers. Returns the lower edge.
fn draw_legend(
    svg: &mut Svg,
    layers: &BTreeMap<Layer, Node<'_>>,
    all: u64,
    size: &Size,
    top: f64,
) -> f64 {
    let columns = (((size.width - 2.0 * MARGIN) / LEGEND_COLUMN) as usize).max(1);
    let mut bottom = top;
    for (index, (layer, node)) in layers.iter().enumerate() {
        let x = MARGIN + LEGEND_COLUMN * (index % columns) as f64;
        let y = top + LINE * (index / columns) as f64;
        svg.rect(&palette::class(*layer), (x, y - 10.0), (20.0, 11.0));
        let text = format!("{} {}", layer.name(), share(node.samples, all));
        svg.text("label", (x + 27.0, y), &text);
        bottom = y;
    }
    bottom
}

/// Draws all samples, the layers and their functions below `top`. Returns the lower edge.
fn draw(svg: &mut Svg, layers: &BTreeMap<Layer, Node<'_>>, size: &Size, all: u64, top: f64) -> f64 {
    let mut drawing = Drawing {
        svg,
        size,
        all,
        pixels: (size.width - 2.0 * MARGIN) / all.max(1) as f64,
        bottom: top + ROW,
    };
    drawing.area(palette::WITHOUT_LAYER, (MARGIN, top), all, ["all samples"; 2]);
    let mut x = MARGIN;
    for (layer, node) in layers {
        let class = palette::class(*layer);
        if drawing.area(&class, (x, top + ROW), node.samples, [layer.name(); 2]) {
            drawing.below(node, (x, top + 2.0 * ROW), size.rows_max);
        }
        x += node.samples as f64 * drawing.pixels;
    }
    drawing.bottom
}

struct Drawing<'a> {
    svg: &'a mut Svg,
    size: &'a Size,
    all: u64,
    pixels: f64,
    bottom: f64,
}

impl Drawing<'_> {
    /// Draws what stands below `node`, the widest first.
    fn below(&mut self, node: &Node<'_>, (mut x, y): (f64, f64), rows: usize) {
        if rows == 0 {
            return;
        }
        for (name, node) in node.below() {
            let whole = format!("{} ({})", name.whole, name.layer.name());
            if !self.area(&palette::class(name.layer), (x, y), node.samples, [&whole, name.part]) {
                // The rest is narrower.
                break;
            }
            self.below(node, (x, y + ROW), rows - 1);
            x += node.samples as f64 * self.pixels;
        }
    }

    /// Draws an area with a tooltip and a text, if it is wide enough. Returns whether it is.
    fn area(
        &mut self,
        class: &str,
        (x, y): (f64, f64),
        samples: u64,
        [whole, part]: [&str; 2],
    ) -> bool {
        let width = samples as f64 * self.pixels;
        if width < self.size.area_min {
            return false;
        }
        let tooltip = format!("{whole}: {}", share(samples, self.all));
        let letters = ((width - 2.0 * PADDING) / LETTER).max(0.0) as usize;
        self.svg.area(&Area {
            class,
            corner: (x, y),
            // A gap of a pixel parts the areas.
            size: ((width - 0.5).max(0.2), ROW - 1.0),
            tooltip: &tooltip,
            text: &cut(part, letters),
            text_offset: (PADDING, BASELINE),
        });
        self.bottom = self.bottom.max(y + ROW);
        true
    }
}

/// `12.3 %`.
fn share(samples: u64, all: u64) -> String {
    format!("{:.1} %", samples as f64 / all.max(1) as f64 * 100.0)
}

/// Shortens a name to `letters`, at its end; empty if too few are left.
fn cut(name: &str, letters: usize) -> String {
    if name.chars().count() <= letters {
        return name.to_owned();
    }
    if letters < LETTERS_MIN {
        return String::new();
    }
    name.chars().take(letters - 1).chain(['…']).collect()
}
