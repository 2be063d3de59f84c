//! Figures of icicles.

use std::collections::BTreeSet;

use crate::report::page::chart::Chart;
use crate::report::page::figure::{Figure, slug};
use crate::report::palette;

use super::fold::{Area, Content, Icicle};
use super::{Folded, note};

const ROW: f64 = 17.0;

/// Width of a picture in a file of its own.
const FILE_WIDTH: f64 = 1200.0;

/// Width in per cent from which an area has room for a part of its name.
const TEXT_MIN: f64 = 2.5;

/// Returns a figure of each icicle, in their order.
pub(super) fn figures(folded: &Folded) -> Vec<Figure> {
    let mut names = BTreeSet::new();
    folded.icicles.iter().map(|icicle| figure(icicle, &mut names)).collect()
}

fn figure(icicle: &Icicle, names: &mut BTreeSet<String>) -> Figure {
    let base = format!("icicle-{}--{}", slug(&icicle.server), slug(&icicle.load));
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    let mut free = std::iter::once(base.clone()).chain(numbered);
    Figure {
        name: free.find(|name| names.insert(name.clone())).unwrap_or(base.clone()),
        title: format!("{}, {}", icicle.server, icicle.load),
        note: note(icicle),
        chart: chart(icicle),
        data: data(icicle),
    }
}

fn chart(icicle: &Icicle) -> Chart {
    let rows = icicle.areas.iter().map(|area| area.row + 1).max().unwrap_or(1);
    let mut chart = Chart::new(ROW * rows as f64).with_file_width(FILE_WIDTH);
    // Start of the next area on each row, in samples.
    let mut next = vec![0];
    for area in &icicle.areas {
        next.truncate(area.row + 1);
        let start = next[area.row];
        let end = start + area.samples;
        next[area.row] = end;
        next.push(start);
        let x = [start, end].map(|at| share(at, icicle));
        let words = words(area);
        let tooltip =
            format!("{words} ({}): {:.1} %", area.layer.name(), share(area.samples, icicle));
        let text = if x[1] - x[0] >= TEXT_MIN { words.as_str() } else { "" };
        let top = ROW * area.row as f64;
        chart.area(&palette::class(area.layer), x, (top, ROW), &tooltip, text);
    }
    chart
}

fn words(area: &Area) -> String {
    match &area.content {
        Content::Name(name) => name.clone(),
        Content::Folded(folded) => format!("{folded} more"),
    }
}

/// Returns a number of samples in per cent of all.
fn share(samples: u64, icicle: &Icicle) -> f64 {
    samples as f64 / icicle.samples.max(1) as f64 * 100.0
}

fn data(icicle: &Icicle) -> Vec<Vec<String>> {
    let heads = ["row", "layer", "name", "samples"].map(str::to_owned).to_vec();
    let line = |area: &Area| {
        let layer = area.layer.name().to_owned();
        vec![area.row.to_string(), layer, words(area), area.samples.to_string()]
    };
    std::iter::once(heads).chain(icicle.areas.iter().map(line)).collect()
}
