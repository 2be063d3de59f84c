//! The answer in sentences, made from the figures of the tables.

use std::collections::BTreeMap;

use crate::record::ArrayInfo;
use crate::stats::verdict::Verdict;

use super::super::wrap::wrap;
use super::super::{Run, units};
use super::Answer;
use super::encodings::Encodings;
use super::layers::Layers;
use super::load_cells::{self, Ratio, Ratios};

/// Size of a message above which tonic refuses it, if its limits stay as they are.
const TONIC_BYTES_MAX: u64 = 4 << 20;

/// Returns the sentences, each group with its name. Groups without a sentence are left out.
pub(super) fn parts(answer: &Answer<'_>) -> Vec<(&'static str, String)> {
    let parts = [
        ("Layers", layers(&answer.layers)),
        ("Best", best(&answer.layers)),
        ("Encoding", answer.encodings.iter().map(encodings).collect::<Vec<_>>().join(" ")),
        ("Choice", choice(answer)),
        ("Limits", limits(answer)),
        ("How sure", confidence(answer)),
        ("Open", unresolved(answer)),
        ("Failed", obstacles(answer)),
        ("Dropped", reconnects(answer)),
        (
            "Not shown",
            "a network, more than one core, work in the handler, TLS, memory, frames of 16 KiB as \
             other clients send them (--client own,h2load)."
                .to_owned(),
        ),
    ];
    parts.into_iter().filter(|(_, sentences)| !sentences.is_empty()).collect()
}

pub(super) fn render(run: &Run, answer: &Answer<'_>, width: usize) -> String {
    let mut text = String::from("In short\n");
    for (name, sentences) in parts(answer) {
        text.push_str(&wrap(&format!("   {name:<11}"), &sentences, width));
    }
    let shared = if run.shares_core() {
        "Server and load generator shared a core, which costs every server some cache. "
    } else {
        ""
    };
    text + &wrap("", &format!("{shared}All tables of this run: ndecho report DIR --full"), width)
}

fn layers(loads: &[Layers]) -> String {
    let sentence = |load: &Layers| {
        let (step, scale) = (load.largest()?, load.scale());
        let (title, name, price) = (&load.title, step.name, scale.interval(&step.ns));
        let (whole, unit) = (scale.number(load.tonic_ns), scale.unit);
        // Another layer can make a call cheaper, so that one costs more than all together.
        Some(match step.ns.estimate <= load.tonic_ns {
            true => format!("{title}: {name} takes most, {price} of {whole} {unit}."),
            false => format!(
                "{title}: {name} adds most, {price} {unit}; other layers make a call cheaper, and \
                 all together cost {whole} {unit}."
            ),
        })
    };
    loads.iter().filter_map(sentence).collect::<Vec<_>>().join(" ")
}

/// Says what the settings of tonic save, and what our own server does.
fn best(loads: &[Layers]) -> String {
    let list = |ratio: fn(&Layers) -> Option<Ratio>| -> Vec<String> {
        let known = loads.iter().filter_map(|load| Some((load, ratio(load)?)));
        known
            .filter(|(_, ratio)| ratio.is_shown())
            .map(|(load, ratio)| format!("{} ({})", ratio.text_known(), load.title))
            .collect()
    };
    let (best, own) = (list(|load| load.best), list(|load| load.own));
    let own_to_best = list(|load| load.own_to_best);
    let mut text = String::new();
    if !best.is_empty() {
        text.push_str(&format!(
            "tonic with every setting that helps costs {} of tonic as documented; docs/BIAS.md \
             has the lines.",
            best.join(", ")
        ));
    }
    if !own.is_empty() {
        text.push_str(&format!(" Our own server costs {} of it.", own.join(", ")));
    }
    if !own_to_best.is_empty() {
        text.push_str(&format!(" To the best tonic that is {}.", own_to_best.join(", ")));
    }
    text.trim_start().to_owned()
}

fn encodings(table: &Encodings) -> String {
    let others = || table.rows.iter().filter_map(|row| Some((row, row.to_npy?)));
    let mut parts: Vec<String> = others()
        .filter(|(_, ratio)| ratio.is_shown())
        .map(|(row, ratio)| format!("{} costs {} times .npy", row.name, ratio.text_known()))
        .collect();
    let same: Vec<&str> = others()
        .filter(|(_, ratio)| ratio.verdict == Verdict::Same)
        .map(|(row, _)| row.name)
        .collect();
    if !same.is_empty() {
        parts.push(format!("between .npy and {} no difference was shown", same.join(", ")));
    }
    if parts.is_empty() {
        return String::new();
    }
    format!("For {}, {}.", units::array(&table.array), parts.join("; "))
}

fn choice(answer: &Answer<'_>) -> String {
    let sentence = |choice: &super::choice::Choice| {
        let first = choice.rows.first()?;
        let cost = |row: &super::choice::Row| {
            format!("{} with {} ({})", row.stack, row.encoding, units::time(row.cost_ns.estimate))
        };
        let standard = choice.rows.iter().find(|row| !row.is_ours);
        let standard = standard.filter(|_| first.is_ours).map_or_else(String::new, |row| {
            format!("; of servers that everyone has, {}", cost(row))
        });
        let ties: Vec<&str> = choice
            .rows
            .iter()
            .filter(|row| row.to_cheapest.is_some_and(|ratio| !ratio.is_shown()))
            .map(|row| row.stack)
            .collect();
        let ties = match ties.as_slice() {
            [] => String::new(),
            ties => format!(" This run cannot tell the first from {}.", ties.join(", ")),
        };
        Some(format!("The cheapest was {}{standard}.{ties}", cost(first)))
    };
    answer.choices.iter().filter_map(sentence).collect::<Vec<_>>().join(" ")
}

/// Says what the encodings and servers cannot carry, as far as it concerns the arrays of the run.
fn limits(answer: &Answer<'_>) -> String {
    let arrays: Vec<&ArrayInfo> = answer.loads.iter().map(|load| load.array()).collect();
    let has = |kinds: &[&str]| {
        arrays.iter().any(|array| {
            kinds.iter().any(|kind| array.dtype.get(1..).is_some_and(|of| of.starts_with(kind)))
        })
    };
    let is_large = arrays.iter().any(|array| array.bytes > TONIC_BYTES_MAX);
    let mut text = format!(
        "tonic refuses messages above 4 MiB unless its limits are raised{}.",
        if is_large { ", as they were here" } else { "" }
    );
    if has(&["f"]) {
        text.push_str(" JSON.parse in JavaScript refuses NaN and Infinity.");
    }
    if has(&["i8", "u8"]) {
        text.push_str(" JavaScript loses digits of JSON integers beyond 2^53.");
    }
    if has(&["c"]) {
        text.push_str(" A JSON list cannot carry complex numbers.");
    }
    text
}

fn confidence(answer: &Answer<'_>) -> String {
    let all = answer
        .layers
        .iter()
        .map(|table| &table.ratios)
        .chain(answer.encodings.iter().map(|table| &table.ratios));
    let control = |ratios: &Ratios| match (&ratios.control, &ratios.control_obstacle) {
        (Some(control), _) => Some(control.sentence()),
        (None, Some(reason)) => {
            Some(format!("The control with an added delay could not be made: {reason}."))
        }
        (None, None) => None,
    };
    let controls: Vec<String> = all.filter_map(control).collect();
    let twins = match load_cells::noise_share(&answer.loads) {
        Some(noise) => format!(
            "A server against itself differed by up to {:.0} %, and smaller differences are marked \
             with =.",
            noise * 100.0
        ),
        None => "This run does not tell how far a server differs from itself.".to_owned(),
    };
    format!("{twins} {}", controls.join(" ")).trim_end().to_owned()
}

/// Names the differences that the run could not show.
fn unresolved(answer: &Answer<'_>) -> String {
    let mut open: Vec<String> = Vec::new();
    for load in &answer.layers {
        let steps = load.steps.iter().flatten().filter(|step| !step.is_shown);
        let mut names: Vec<&str> = steps.map(|step| step.name).collect();
        let ends = [("tonic's settings", load.best), ("our server", load.own)];
        names.extend(
            ends.into_iter().filter_map(|(name, ratio)| (!ratio?.is_shown()).then_some(name)),
        );
        if !names.is_empty() {
            open.push(format!("{} ({})", names.join(", "), load.title));
        }
    }
    for table in &answer.encodings {
        let rows = table.rows.iter().filter(|row| row.own.is_some_and(|own| !own.is_shown()));
        let names: Vec<&str> = rows.map(|row| row.name).collect();
        if !names.is_empty() {
            open.push(format!("our server against axum or tonic with {}", names.join(", ")));
        }
    }
    if open.is_empty() {
        return String::new();
    }
    format!("No difference was shown for {}.", open.join("; "))
}

fn obstacles(answer: &Answer<'_>) -> String {
    let mut reasons: Vec<String> = Vec::new();
    for load in &answer.loads {
        for (rung, reason) in load.obstacles() {
            let line = format!("{rung}: {reason}.");
            if !reasons.contains(&line) {
                reasons.push(line);
            }
        }
    }
    reasons.join(" ")
}

/// Names the servers that ended connections while they were loaded.
fn reconnects(answer: &Answer<'_>) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (rung, count) in answer.loads.iter().flat_map(|load| load.reconnects()) {
        *counts.entry(rung).or_default() += count;
    }
    let sentence = |(rung, count): (&str, u64)| {
        let connections = if count == 1 { "connection" } else { "connections" };
        format!("{rung} ended {count} {connections}, which were replaced.")
    };
    counts.into_iter().map(sentence).collect::<Vec<_>>().join(" ")
}
