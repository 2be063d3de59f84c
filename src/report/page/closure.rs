//! Closure of the differences between rungs: each difference by the clock, split over the layers,
//! with the part that leaks into layers which the axis may not change, and the planted costs.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::axis::Layer;
use crate::stats::bootstrap::Interval;

use super::super::closure::{self, LEAK_MAX, Pair, Planted, Section, Unit};
use super::super::markup::escape;
use super::super::palette;
use super::chart::{Chart, Scale};
use super::figure::{Figure, interval_fields};
use super::heat::breakable;
use super::layers;
use super::subject::{Subject, load_anchor};
use super::text;

/// Pairs and planted costs that a page shows. A ladder of every rung has hundreds.
pub(super) const PAIRS_MAX: usize = 24;

const ROW: f64 = 108.0;
const NAME: f64 = 13.0;
const OTHER: f64 = 28.0;
const LAYERS: (f64, f64) = (35.0, 11.0);
const LEAK: (f64, f64) = (50.0, 6.0);
const CLOCK_TEXT: f64 = 73.0;
const LEAK_TEXT: f64 = 88.0;

/// Opacity of a layer that may not differ.
const LEAK_OPACITY: f64 = 0.4;

/// Row of a picture: a difference, in per cent of some whole.
struct Row<'a> {
    name: &'a str,
    /// Other side of the difference.
    other: String,
    result: &'static str,
    /// Word for the part in layers that may not differ.
    others: &'static str,
    pair: &'a Pair,
    whole_ns: f64,
    /// Limits of the leak, or the size that is expected, in per cent.
    marks: &'static [f64],
}

/// Figures of one load.
struct Load<'a> {
    section: &'a Section,
    anchor: String,
    pairs: &'a [Pair],
    planted: &'a [Planted],
}

/// Returns the pictures of the pairs and of the planted costs of each load.
pub(super) fn figures(subject: &Subject<'_>) -> Vec<Figure> {
    let sections = closure::sections(subject.run);
    loads(subject, &sections).iter().flat_map(|load| load.figures()).collect()
}

/// Returns the section of the page.
pub(super) fn section(subject: &Subject<'_>) -> String {
    if !closure::is_attributed(subject.run) {
        return text::missing(
            "The differences between rungs were not split over the layers",
            "ndecho ladder --attribute --rungs '{uring/raw,uring/h2,tokio/h2}/protobuf' --sizes 8",
        );
    }
    let sections = closure::sections(subject.run);
    let loads = loads(subject, &sections);
    let mut html = format!(
        "<p>{}</p>\n<p>A bar splits the difference of a rung and its parent over the layers, in per \
         cent of the rung's CPU time. Layers that the axis may change, as it declares in advance, \
         have their full colour; the others are pale and make the leak, which the thin bar shows. \
         The whisker on the split is the difference by the clock. Dotted lines: {:.0} %, the \
         largest leak of a closed pair.</p>\n{}",
        escape(&closure::summary(&sections)),
        LEAK_MAX * 100.0,
        layers::legend(&all_layers(&loads))
    );
    let shown: usize = loads.iter().map(|load| load.pairs.len() + load.planted.len()).sum();
    let all: usize = sections.iter().map(|it| it.pairs.len() + it.planted.len()).sum();
    if all > shown {
        let _ = writeln!(
            html,
            "<p>{} more differences are left out; <code>ndecho report</code> prints them.</p>",
            all - shown
        );
    }
    for load in &loads {
        html.push_str(&load.html());
    }
    for obstacle in sections.iter().flat_map(|section| &section.obstacles) {
        let _ = writeln!(html, "<p>{}</p>", escape(&format!("Not split: {obstacle}.")));
    }
    html
}

/// Returns as many pairs as a page shows.
fn loads<'a>(subject: &Subject<'_>, sections: &'a [Section]) -> Vec<Load<'a>> {
    let mut room = PAIRS_MAX;
    let mut loads = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        let pairs = &section.pairs[..section.pairs.len().min(room)];
        room -= pairs.len();
        let planted = &section.planted[..section.planted.len().min(room)];
        room -= planted.len();
        if pairs.len() + planted.len() > 0 {
            let anchor = load_anchor(&subject.sections, index);
            loads.push(Load { section, anchor, pairs, planted });
        }
    }
    loads
}

fn all_layers(loads: &[Load<'_>]) -> BTreeSet<Layer> {
    let planted = loads.iter().flat_map(|load| load.planted).map(|planted| &planted.pair);
    let pairs = loads.iter().flat_map(|load| load.pairs).chain(planted);
    pairs.flat_map(|pair| &pair.layers).map(|difference| difference.layer).collect()
}

impl Load<'_> {
    fn figures(&self) -> Vec<Figure> {
        let title = &self.section.title;
        let pairs = Figure {
            name: format!("closure-{}", self.anchor),
            title: title.clone(),
            note: String::new(),
            chart: chart(&self.pairs.iter().map(row_of_pair).collect::<Vec<_>>()),
            data: data(self.pairs.iter()),
        };
        let planted = Figure {
            name: format!("planted-{}", self.anchor),
            title: format!("{title}, planted costs"),
            note: "In per cent of the cost that was planted. Dotted line: all of it.".to_owned(),
            chart: chart(&self.planted.iter().map(row_of_planted).collect::<Vec<_>>()),
            data: data(self.planted.iter().map(|planted| &planted.pair)),
        };
        let has_pairs = (!self.pairs.is_empty()).then_some(pairs);
        has_pairs.into_iter().chain((!self.planted.is_empty()).then_some(planted)).collect()
    }

    fn html(&self) -> String {
        let mut html: String = self.figures().iter().map(Figure::html).collect();
        if !self.pairs.is_empty() {
            html.push_str(&table(self.pairs, &self.section.title));
        }
        let sentences = self.pairs.iter().flat_map(|pair| {
            let warnings = pair.warnings.iter().map(|it| format!("{}: warning: {it}.", pair.rung));
            let leaks = (!pair.closure.is_closed())
                .then(|| format!("{}: {}.", pair.rung, pair.closure.sentence()));
            leaks.into_iter().chain(warnings)
        });
        let planted = self.planted.iter().map(|it| format!("{}: {}.", it.pair.rung, it.sentence()));
        let lines: String =
            sentences.chain(planted).map(|line| format!("<li>{}</li>\n", escape(&line))).collect();
        if !lines.is_empty() {
            let _ = write!(html, "<ul>\n{lines}</ul>\n");
        }
        html
    }
}

fn row_of_pair(pair: &Pair) -> Row<'_> {
    const LIMITS: &[f64] = &[-LEAK_MAX * 100.0, LEAK_MAX * 100.0];
    Row {
        name: &pair.rung,
        other: format!("less {}", pair.parent),
        result: pair.closure.word(),
        others: "leak",
        pair,
        whole_ns: pair.whole.estimate,
        marks: LIMITS,
    }
}

fn row_of_planted(planted: &Planted) -> Row<'_> {
    Row {
        name: &planted.pair.rung,
        other: format!("{:.0} ns in {}", planted.added_ns, planted.layer),
        result: planted.finding.word(),
        others: "elsewhere",
        pair: &planted.pair,
        whole_ns: planted.added_ns,
        marks: &[100.0],
    }
}

impl Row<'_> {
    fn percent(&self, ns: f64) -> f64 {
        if self.whole_ns > 0.0 { ns / self.whole_ns * 100.0 } else { 0.0 }
    }

    /// Returns the ends of the bars of the layers that add time, or of those that take it.
    fn side(&self, adds: bool) -> f64 {
        let layers = self.pair.layers.iter().map(|it| it.ns.estimate);
        self.percent(layers.filter(|ns| (*ns > 0.0) == adds).sum())
    }

    fn ends(&self) -> Vec<f64> {
        let range =
            |interval: &Interval| interval.range.unwrap_or((interval.estimate, interval.estimate));
        let (clock, leak) = (range(&self.pair.clock), range(&self.pair.leak));
        let ends = [clock.0, clock.1, leak.0, leak.1].map(|ns| self.percent(ns));
        ends.into_iter().chain([self.side(true), self.side(false)]).collect()
    }

    fn draw(&self, chart: &mut Chart, scale: Scale, top: f64) {
        chart.label("halo strong", top + NAME, self.name);
        chart.label("halo small", top + OTHER, &self.other);
        chart.text("halo small end", (100.0, top + OTHER), self.result);
        let x = |ns: f64| scale.x(self.percent(ns));
        let (mut right, mut left) = (0.0, 0.0);
        for it in &self.pair.layers {
            let from = if it.ns.estimate > 0.0 { &mut right } else { &mut left };
            let to = *from + it.ns.estimate;
            let opacity = if it.may_differ { 1.0 } else { LEAK_OPACITY };
            let class = palette::class(it.layer);
            let place = (top + LAYERS.0, LAYERS.1);
            chart.faded_bar(&class, (x(*from), x(to)), place, opacity);
            *from = to;
        }
        let bottom = top + LEAK.0 + LEAK.1 + 3.0;
        chart.line("rail", (x(0.0), top + LAYERS.0 - 2.0), (x(0.0), bottom));
        for mark in self.marks {
            let mark = scale.x(*mark);
            chart.line("link", (mark, top + LAYERS.0 - 2.0), (mark, bottom));
        }
        let leak = &self.pair.leak;
        chart.bar("between", (x(0.0), x(leak.estimate)), (top + LEAK.0, LEAK.1));
        for (interval, (y, height)) in [(&self.pair.clock, LAYERS), (leak, LEAK)] {
            if let Some((low, high)) = interval.range {
                chart.whisker("whisker", (x(low), x(high)), top + y + height / 2.0);
            }
        }
        let unit = Unit::fitting(self.pair.whole.estimate);
        let line = |name: &str, interval: &Interval| {
            let share = self.percent(interval.estimate);
            format!("{name} {} ({share:+.1} %)", unit.difference(interval).trim())
        };
        let clock = line("by the clock", &self.pair.clock);
        chart.text("halo small", (0.0, top + CLOCK_TEXT), &clock);
        chart.text("halo small", (0.0, top + LEAK_TEXT), &line(self.others, leak));
    }
}

fn chart(rows: &[Row<'_>]) -> Chart {
    let marks = rows.iter().flat_map(|row| row.marks.iter().copied());
    let scale = Scale::linear(rows.iter().flat_map(Row::ends).chain(marks).collect::<Vec<_>>());
    let mut chart = Chart::new(ROW * rows.len() as f64);
    for (index, row) in rows.iter().enumerate() {
        row.draw(&mut chart, scale, ROW * index as f64);
    }
    chart
}

/// Returns the split of each pair as a table. Layers that may differ are bold.
fn table(pairs: &[Pair], title: &str) -> String {
    let heads: String = pairs
        .iter()
        .map(|pair| {
            format!(
                "<th scope=\"col\">{}<small>less {}: {}</small></th>",
                breakable(&pair.rung),
                breakable(&pair.parent),
                escape(&pair.axes.join(" and "))
            )
        })
        .collect();
    let cell = |pair: &Pair, ns: &Interval, class: &str| {
        let unit = Unit::fitting(pair.whole.estimate);
        let estimate = Interval { range: None, ..*ns };
        let range = match ns.range {
            Some(_) => format!(" title=\"{}\"", escape(unit.difference(ns).trim())),
            None => String::new(),
        };
        format!("<td{class}{range}>{}</td>", escape(unit.difference(&estimate).trim()))
    };
    let line = |name: &str, part: &dyn Fn(&Pair) -> String| {
        let cells: String = pairs.iter().map(part).collect();
        format!("<tr><th scope=\"row\">{name}</th>{cells}</tr>\n")
    };
    let mut rows = line("by the clock", &|pair| cell(pair, &pair.clock, ""));
    for layer in Layer::ALL {
        let of = |pair: &Pair| pair.layers.iter().find(|it| it.layer == layer).copied();
        if pairs.iter().any(|pair| of(pair).is_some()) {
            rows.push_str(&line(layer.name(), &|pair| match of(pair) {
                Some(it) => cell(pair, &it.ns, if it.may_differ { " class=\"may\"" } else { "" }),
                None => "<td class=\"none\">–</td>".to_owned(),
            }));
        }
    }
    rows.push_str(&line("leak", &|pair| cell(pair, &pair.leak, "")));
    format!(
        "<details><summary>Split of each difference; the layers that may differ are bold</summary>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">\n\
         <table><thead><tr><th scope=\"col\">layer</th>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\
         </table></div></details>\n",
        escape(title)
    )
}

fn data<'a>(pairs: impl Iterator<Item = &'a Pair>) -> Vec<Vec<String>> {
    let heads = ["rung", "parent", "part", "may_differ", "ns", "ns_low", "ns_high"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    for pair in pairs {
        let mut line = |part: &str, may_differ: &str, interval: &Interval| {
            let [ns, low, high] = interval_fields(Some(*interval));
            let texts = [&pair.rung, &pair.parent, part, may_differ].map(str::to_owned);
            lines.push(texts.into_iter().chain([ns, low, high]).collect());
        };
        line("rung", "", &pair.whole);
        line("clock", "", &pair.clock);
        for it in &pair.layers {
            line(it.layer.name(), &it.may_differ.to_string(), &it.ns);
        }
        line("declared", "true", &pair.declared);
        line("leak", "false", &pair.leak);
    }
    lines
}
