//! Cost over the size of the array: measured points, the line a + b n through them, and the sizes
//! between which one rung becomes cheaper than another.

use std::collections::BTreeMap;

use crate::record::Client;
use crate::stats::bootstrap::{Bootstrap, Interval};
use crate::stats::family::{Family, Member};
use crate::stats::location;
use crate::stats::verdict::{Floor, Verdict};

use super::super::markup::escape;
use super::super::model::{self, Fit, KIB};
use super::super::{cell, text, units};
use super::chart::{Chart, Scale};
use super::dots::round_time;
use super::figure::{Figure, interval_fields, slug};
use super::heat::breakable;
use super::kind::Kind;
use super::subject::Subject;

/// Rungs that a chart shows; the table below it has all.
const CURVES_MAX: usize = 6;

const PLOT_TOP: f64 = 22.0;
const PLOT: f64 = 230.0;
const AXIS: f64 = 22.0;

/// Points of a curve.
const POINTS: usize = 24;

/// Room for the figures of the vertical axis, in per cent of the width.
const MARGIN: f64 = 13.0;

/// Marks of the curves, in the chart and in the table.
const LETTERS: [&str; CURVES_MAX] = ["A", "B", "C", "D", "E", "F"];

/// Connections, requests in flight, client.
type Load = (Client, u32, u32);

/// Rung with its fit.
type Curve<'a> = (&'a str, &'a Fit);

/// Returns a figure and a table for each load with several sizes.
pub(super) fn figures(subject: &Subject<'_>) -> Vec<(Figure, String)> {
    let fits = model::fits(&subject.run.trials);
    let mut loads: BTreeMap<Load, Vec<Curve<'_>>> = BTreeMap::new();
    for ((client, connections, in_flight, rung), fit) in &fits {
        loads.entry((*client, *connections, *in_flight)).or_default().push((rung, fit));
    }
    loads.into_iter().map(|(load, curves)| figure(load, curves)).collect()
}

fn figure((client, connections, in_flight): Load, mut curves: Vec<Curve<'_>>) -> (Figure, String) {
    curves.sort_by_key(|(rung, _)| (Kind::of_rung(rung), *rung));
    let load = format!(
        "{}, {in_flight} in flight{}",
        text::connections(connections),
        if client == Client::Own { String::new() } else { format!(", {}", client.name()) }
    );
    let drawn = &curves[..curves.len().min(CURVES_MAX)];
    let figure = Figure {
        name: format!("size-{}", slug(&load)),
        note: "Both axes are logarithmic. Dots are measured, curves are a + b × size.".to_owned(),
        title: load,
        chart: chart(drawn),
        data: data(&curves),
    };
    (figure, table(&curves, &crossovers(drawn)))
}

fn costs(fit: &Fit) -> Vec<(u64, Interval)> {
    let cost = |point: &crate::stats::model::Point| {
        Some((point.bytes, cell::geometric_center(&point.costs_ns)?))
    };
    fit.points.iter().filter_map(cost).collect()
}

fn chart(curves: &[Curve<'_>]) -> Chart {
    let points: Vec<(u64, Interval)> = curves.iter().flat_map(|(_, fit)| costs(fit)).collect();
    let bytes = Scale::log(points.iter().map(|(bytes, _)| *bytes as f64));
    let x = |size: f64| MARGIN + bytes.x(size) * (1.0 - MARGIN / 100.0);
    let ns = Scale::log(points.iter().map(|(_, cost)| cost.estimate));
    let y = |cost: f64| PLOT_TOP + PLOT * (1.0 - ns.x(cost) / 100.0);
    let mut chart = Chart::new(PLOT_TOP + PLOT + AXIS);
    for tick in ns.ticks() {
        chart.line("grid", (0.0, y(tick)), (100.0, y(tick)));
        chart.text("small halo", (0.0, y(tick) - 4.0), &round_time(tick));
    }
    let mut sizes: Vec<u64> = points.iter().map(|(bytes, _)| *bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for size in sizes {
        let x = x(size as f64);
        chart.line("grid", (x, PLOT_TOP), (x, PLOT_TOP + PLOT));
        let class = match x {
            x if x > 90.0 => "small end",
            _ => "small middle",
        };
        chart.text(class, (x, PLOT_TOP + PLOT + 15.0), &units::bytes(size));
    }
    for ((rung, fit), letter) in curves.iter().zip(LETTERS) {
        let class = Kind::of_rung(rung).class();
        let costs = costs(fit);
        if let (Some((first, _)), Some((last, _))) = (costs.first(), costs.last()) {
            let (first, last) = (*first as f64, *last as f64);
            let at = |step: usize| {
                let size = first * (last / first).powf(step as f64 / POINTS as f64);
                (x(size), y(value(fit, size)))
            };
            let path: Vec<(f64, f64)> = (0..=POINTS).map(at).collect();
            chart.curve(&format!("curve {class}"), &path, (PLOT_TOP, PLOT));
            chart.text("halo strong", (x(first), y(value(fit, first)) - 7.0), letter);
        }
        for (size, cost) in costs {
            chart.dot(&format!("dot {class}"), (x(size as f64), y(cost.estimate)));
        }
    }
    chart
}

/// Returns the cost that the line of `fit` gives for `size` bytes.
fn value(fit: &Fit, size: f64) -> f64 {
    fit.model.fixed_ns.estimate + fit.model.byte_ns.estimate * size
}

/// Returns a sentence for each pair of rungs whose order was shown to change between two sizes.
fn crossovers(curves: &[Curve<'_>]) -> Vec<String> {
    let pairs: Vec<(Curve<'_>, Curve<'_>)> = (0..curves.len())
        .flat_map(|one| (one + 1..curves.len()).map(move |other| (one, other)))
        .map(|(one, other)| (curves[one], curves[other]))
        .collect();
    let mut places: Vec<(usize, u64)> = Vec::new();
    let mut members: Vec<Member> = Vec::new();
    for (number, ((_, one), (_, other))) in pairs.iter().enumerate() {
        for point in &one.points {
            let Some(same) = other.points.iter().find(|other| other.bytes == point.bytes) else {
                continue;
            };
            let logs = location::log_ratios(&point.costs_ns, &same.costs_ns);
            members.push(vec![logs.into_iter().map(|sample| sample.value).collect()]);
            places.push((number, point.bytes));
        }
    }
    let logs = Family::new(Bootstrap::default(), &members).intervals();
    let mut shown: BTreeMap<usize, Vec<(u64, Verdict)>> = BTreeMap::new();
    for ((number, bytes), log) in places.into_iter().zip(logs) {
        let verdict = log.map(|log| Verdict::judge(&log, Floor::default()));
        if let Some(verdict @ (Verdict::Faster | Verdict::Slower)) = verdict {
            shown.entry(number).or_default().push((bytes, verdict));
        }
    }
    let mut sentences = Vec::new();
    for (number, verdicts) in shown {
        let ((one, _), (other, _)) = pairs[number];
        for window in verdicts.windows(2) {
            let [(low, before), (high, after)] = window else { continue };
            if before != after {
                let (cheap, dear) =
                    if *before == Verdict::Faster { (one, other) } else { (other, one) };
                let cross = crossing(&pairs[number], (*low, *high))
                    .map_or_else(String::new, |size| {
                        format!(" Their lines cross at about {}.", units::bytes(size))
                    });
                sentences.push(format!(
                    "Up to {} {cheap} is the cheaper, from {} on {dear}.{cross}",
                    units::bytes(*low),
                    units::bytes(*high)
                ));
            }
        }
    }
    sentences
}

/// Returns the size at which two lines cross, to two digits, if it lies between `low` and `high`.
fn crossing(
    ((_, one), (_, other)): &(Curve<'_>, Curve<'_>),
    (low, high): (u64, u64),
) -> Option<u64> {
    let fixed = other.model.fixed_ns.estimate - one.model.fixed_ns.estimate;
    let size = fixed / (one.model.byte_ns.estimate - other.model.byte_ns.estimate);
    let step = 10_f64.powf(size.log10().floor() - 1.0).max(1.0);
    let size = (size / step).round() * step;
    (size > low as f64 && size < high as f64).then_some(size as u64)
}

fn table(curves: &[Curve<'_>], crossovers: &[String]) -> String {
    let row = |(index, (rung, fit)): (usize, &Curve<'_>)| {
        let letter = LETTERS.get(index).map_or_else(String::new, |letter| format!("{letter}: "));
        format!(
            "<tr><th scope=\"row\"><i class=\"key {}\"></i>{letter}{}</th><td>{}</td><td>{}</td>\
             <td>{:.0} %</td></tr>\n",
            Kind::of_rung(rung).class(),
            breakable(rung),
            model::text(&fit.model.fixed_ns, 1.0),
            model::text(&fit.model.byte_ns, KIB),
            fit.model.error_max * 100.0
        )
    };
    let rows: String = curves.iter().enumerate().map(row).collect();
    let sentences = match crossovers {
        [] => "<p>No change of order between two sizes was shown.</p>\n".to_owned(),
        all => all.iter().map(|sentence| format!("<p>{}</p>\n", escape(sentence))).collect(),
    };
    format!(
        "{sentences}<div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"Fixed cost and cost of a KiB\">\n<table><thead><tr>\
         <th scope=\"col\">rung</th><th scope=\"col\">a: ns per request</th>\
         <th scope=\"col\">b: ns per KiB</th><th scope=\"col\">worst fit</th></tr></thead>\n\
         <tbody>\n{rows}</tbody></table></div>\n"
    )
}

fn data(curves: &[Curve<'_>]) -> Vec<Vec<String>> {
    let heads = ["rung", "bytes", "server_cpu_ns", "server_cpu_ns_low", "server_cpu_ns_high"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    for (rung, fit) in curves {
        for (bytes, cost) in costs(fit) {
            let [cost, low, high] = interval_fields(Some(cost));
            lines.push(vec![(*rung).to_owned(), bytes.to_string(), cost, low, high]);
        }
    }
    lines
}
