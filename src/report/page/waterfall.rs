//! Waterfall from a bare socket to a framework: what each rung adds to the one below it, and the
//! layers inside each rung where the run has profiles.

use crate::axis::Rung;
use crate::ladder::table::parent;
use crate::stats::bootstrap::Interval;
use crate::stats::verdict::Verdict;

use super::super::answer::bars::Scale as Unit;
use super::super::answer::layers::{CHAIN, Layers};
use super::super::answer::load_cells::LoadCells;
use super::super::profile::RungLayers;
use super::super::units;
use super::chart::{Chart, Scale};
use super::figure::{Figure, interval_fields};
use super::layers;
use super::selector::{CHOICES_MAX, Choosable};
use super::subject::{Subject, load_anchor};

/// Rungs of a chain that make a waterfall.
const RUNGS_MIN: usize = 3;

/// Waterfalls of a page. A run of every rung has hundreds of chains. The selector has a choice for
/// each at most.
pub(super) const WATERFALLS_MAX: usize = CHOICES_MAX;

const ROW: f64 = 57.0;
const LABEL: f64 = 13.0;
const BAR_TOP: f64 = 19.0;
const BAR: f64 = 10.0;
const RUNG: f64 = 42.0;

/// Height of the strip of layers below a rung, with its gap.
const STRIP: f64 = 9.0;
const STRIP_GAP: f64 = 9.0;

/// A rung and what it adds to the rung below.
struct Step<'a> {
    label: &'a str,
    rung: &'a str,
    cost_ns: f64,
    adds: Interval,
    /// False if the interval holds 0, or the difference is within the noise.
    is_shown: bool,
    layers: Option<&'a RungLayers>,
}

/// Waterfall of a load up to one rung.
pub(super) struct Waterfall {
    size: String,
    codec: String,
    pub(super) figure: Figure,
}

impl Waterfall {
    pub(super) fn choosable(&self) -> Choosable {
        let (size, codec) = (self.size.clone(), self.codec.clone());
        Choosable { size, codec, html: self.figure.html() }
    }
}

/// Returns the waterfalls, and the number of those that were left out.
pub(super) fn figures(subject: &Subject<'_>) -> (Vec<Waterfall>, usize) {
    let mut figures = Vec::new();
    for (index, load) in subject.loads.iter().enumerate() {
        let profiles = load.profiles();
        let anchor = load_anchor(&subject.sections, index);
        let mut add = |steps: &[Step<'_>], title: &str, anchor: String| {
            let end = steps.last().map_or("", |step| step.rung);
            figures.push(Waterfall {
                size: units::bytes(load.array().bytes),
                codec: codec(end).to_owned(),
                figure: figure(steps, title, anchor),
            });
        };
        if let Some(layers) = subject.answer_of(index) {
            let steps = of_answer(layers, &profiles);
            add(&steps, &format!("gRPC, {}", load.long_title()), anchor);
            continue;
        }
        for (number, chain) in chains(load).iter().enumerate() {
            let title = format!("{}, {}", chain[chain.len() - 1], load.long_title());
            let steps = of_chain(load, chain, &profiles);
            if steps.len() >= RUNGS_MIN {
                add(&steps, &title, format!("{anchor}-{number}"));
            }
        }
    }
    let left_out = figures.len().saturating_sub(WATERFALLS_MAX);
    figures.truncate(WATERFALLS_MAX);
    (figures, left_out)
}

/// Returns the steps that the answer of a main job has, from the socket upwards.
fn of_answer<'a>(layers: &'a Layers, profiles: &'a [RungLayers]) -> Vec<Step<'a>> {
    let step = |index: usize| {
        let (step, cost) = (layers.steps[index].as_ref()?, layers.costs[index]?);
        let rung = CHAIN[index].0;
        Some(Step {
            label: &step.name,
            rung,
            cost_ns: cost.estimate,
            adds: step.ns,
            is_shown: step.is_shown,
            layers: profiles.iter().find(|profile| profile.rung == rung),
        })
    };
    (0..CHAIN.len()).rev().filter_map(step).collect()
}

/// Returns the steps of a chain from the socket upwards.
fn of_chain<'a>(
    load: &LoadCells<'_>,
    chain: &[&'a str],
    profiles: &'a [RungLayers],
) -> Vec<Step<'a>> {
    let pairs: Vec<(&str, &str)> = chain.windows(2).map(|pair| (pair[1], pair[0])).collect();
    let ratios = load.ratios(&pairs);
    let costs: Vec<Option<Interval>> = chain.iter().map(|rung| load.cost_ns(rung)).collect();
    let step = |(index, rung): (usize, &&'a str)| {
        let cost = costs[index]?;
        let (adds, is_shown) = match index {
            0 => (cost, true),
            _ => {
                let (log, verdict) = ratios.log(index - 1)?;
                let below = costs[index - 1]?.estimate;
                let is_shown = matches!(verdict, Verdict::Faster | Verdict::Slower);
                (log.map(|log| log.exp_m1() * below), is_shown)
            }
        };
        let layers = profiles.iter().find(|profile| profile.rung == *rung);
        let label = rung.rsplit_once('/').map_or(*rung, |(stack, _)| stack);
        Some(Step { label, rung, cost_ns: cost.estimate, adds, is_shown, layers })
    };
    chain.iter().enumerate().filter_map(step).collect()
}

/// `protobuf:prost`: the last part of a rung's name.
fn codec(rung: &str) -> &str {
    rung.rsplit_once('/').map_or("", |(_, codec)| codec)
}

/// Returns the chains of rungs of one encoding that were measured, each from the socket upwards,
/// the longest of those that share their end.
pub(super) fn chains<'a>(load: &LoadCells<'a>) -> Vec<Vec<&'a str>> {
    let rungs: Vec<&'a str> = load.rungs().filter(|rung| load.cost_ns(rung).is_some()).collect();
    let mut chains: Vec<Vec<&'a str>> = rungs
        .iter()
        .map(|rung| chain(rung, &rungs))
        .filter(|chain| chain.len() >= RUNGS_MIN)
        .collect();
    chains.sort_by_key(|chain| std::cmp::Reverse(chain.len()));
    let mut kept: Vec<Vec<&'a str>> = Vec::new();
    for chain in chains {
        let is_part = kept.iter().any(|longer| longer.starts_with(&chain));
        if !is_part {
            kept.push(chain);
        }
    }
    kept
}

/// Returns the measured ancestors of `rung` with its codec, then itself. Where a stack was measured
/// with another codec of the encoding only, as our own servers are with our own codecs, that one
/// stands in the chain.
fn chain<'a>(rung: &'a str, measured: &[&'a str]) -> Vec<&'a str> {
    let mut chain = vec![rung];
    let Ok(mut at) = rung.parse::<Rung>() else { return chain };
    while let Some(above) = parent(at).filter(|above| above.codec() == at.codec()) {
        let name = above.to_string();
        let same = measured.iter().find(|known| **known == name);
        chain.extend(same.or_else(|| measured.iter().find(|known| has_stack(known, above))));
        at = above;
    }
    chain.reverse();
    chain
}

/// Returns whether a rung has the stack and the encoding of another one.
fn has_stack(name: &str, other: Rung) -> bool {
    let stack = |rung: Rung| (rung.driver(), rung.protocol(), rung.transport(), rung.encoding());
    name.parse().is_ok_and(|rung: Rung| stack(rung) == stack(other))
}

fn figure(steps: &[Step<'_>], title: &str, anchor: String) -> Figure {
    Figure {
        name: format!("waterfall-{anchor}"),
        title: title.to_owned(),
        note: note(steps),
        chart: chart(steps),
        data: data(steps),
    }
}

/// Returns a sentence about rungs whose codec is another one.
fn note(steps: &[Step<'_>]) -> String {
    let codecs: Vec<&str> = steps.iter().map(|step| codec(step.rung)).collect();
    if codecs.windows(2).all(|pair| pair[0] == pair[1]) {
        return String::new();
    }
    "Not all rungs have the same codec: a step between two codecs holds the difference of both the \
     codec and the stack."
        .to_owned()
}

fn chart(steps: &[Step<'_>]) -> Chart {
    let below = |index: usize| if index == 0 { 0.0 } else { steps[index - 1].cost_ns };
    let ends = (0..steps.len()).flat_map(|index| {
        let Step { cost_ns, adds, .. } = &steps[index];
        let (low, high) = adds.range.unwrap_or((adds.estimate, adds.estimate));
        [*cost_ns, below(index) + low, below(index) + high]
    });
    let scale = Scale::linear(ends.collect::<Vec<_>>());
    let unit = Unit::for_largest(steps.iter().map(|step| step.cost_ns).fold(0.0, f64::max));
    let has_layers = steps.iter().any(|step| step.layers.is_some());
    let row = if has_layers { ROW + STRIP_GAP + STRIP } else { ROW };
    let mut chart = Chart::new(row * steps.len() as f64);
    for (index, step) in steps.iter().enumerate() {
        let top = row * index as f64;
        if index > 0 {
            let x = scale.x(below(index));
            chart.line("link", (x, top - row + BAR_TOP + BAR), (x, top + BAR_TOP));
        }
        draw(&mut chart, scale, unit, step, (below(index), top));
    }
    chart
}

fn draw(chart: &mut Chart, scale: Scale, unit: Unit, step: &Step<'_>, (below, top): (f64, f64)) {
    chart.label("halo strong", top + LABEL, step.label);
    chart.text("halo strong end", (100.0, top + LABEL), &figure_of(step, unit, below > 0.0));
    let (from, to) = (scale.x(below), scale.x(below + step.adds.estimate));
    let class = if step.is_shown { "between" } else { "unshown" };
    chart.bar(class, (from, to), (top + BAR_TOP, BAR));
    let zero = scale.x(0.0);
    chart.line("rail", (zero, top + BAR_TOP - 2.0), (zero, top + BAR_TOP + BAR + 2.0));
    if let Some((low, high)) = step.adds.range {
        let class = if step.is_shown { "whisker" } else { "whisker faint" };
        let ends = (scale.x(below + low), scale.x(below + high));
        chart.whisker(class, ends, top + BAR_TOP + BAR / 2.0);
    }
    chart.label("halo small", top + RUNG, step.rung);
    let total = format!("{} {} in all", unit.number(step.cost_ns), unit.unit);
    chart.text("halo small end", (100.0, top + RUNG), &total);
    if let Some(layers) = step.layers {
        layers::strip(chart, layers, scale, step.cost_ns, (top + RUNG + STRIP_GAP, STRIP));
    }
}

/// `+7.35 [6.47-8.34] µs`, or `= -0.10 to 0.30 µs` for a difference that was not shown.
fn figure_of(step: &Step<'_>, unit: Unit, is_difference: bool) -> String {
    let plus = if is_difference && step.adds.estimate >= 0.0 { "+" } else { "" };
    match step.adds.range {
        Some(range) if !step.is_shown => format!("= {} {}", unit.range(range), unit.unit),
        _ => format!("{plus}{} {}", unit.interval(&step.adds), unit.unit),
    }
}

fn data(steps: &[Step<'_>]) -> Vec<Vec<String>> {
    let heads =
        ["rung", "adds", "server_cpu_ns", "adds_ns", "adds_ns_low", "adds_ns_high", "is_shown"];
    let line = |step: &Step<'_>| {
        let [adds, low, high] = interval_fields(Some(step.adds));
        let cost = format!("{:.1}", step.cost_ns);
        let (rung, label) = (step.rung.to_owned(), step.label.to_owned());
        vec![rung, label, cost, adds, low, high, step.is_shown.to_string()]
    };
    std::iter::once(heads.map(str::to_owned).to_vec()).chain(steps.iter().map(line)).collect()
}
