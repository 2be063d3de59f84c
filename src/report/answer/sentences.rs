//! The answer in sentences, made from the figures of the tables.

use std::collections::BTreeMap;

use crate::record::ArrayInfo;
use crate::stats::verdict::Verdict;

use super::super::cell::SKIPPED;
use super::super::control::Control;
use super::super::wrap::wrap;
use super::super::{Run, units};
use super::Answer;
use super::encodings::{Encodings, NPY_SERVER, Row};
use super::layers::Layers;
use super::load_cells::{self, LoadCells, Ratio};

/// Size of a message above which tonic refuses it, if its limits stay as they are.
const TONIC_BYTES_MAX: u64 = 4 << 20;

/// Group of sentences whose figures are rows of a table, so that the text has them only there.
const IN_TABLE: &str = "Best";

/// Returns the sentences, each group with its name. Groups without a sentence are left out.
pub(super) fn parts(answer: &Answer<'_>) -> Vec<(&'static str, String)> {
    let parts = [
        ("Layers", layers(&answer.layers)),
        (IN_TABLE, best(&answer.layers)),
        ("Encoding", answer.encodings.iter().map(encodings).collect::<Vec<_>>().join(" ")),
        ("Choice", choice(answer)),
        ("Limits", limits(answer)),
        ("How sure", confidence(answer)),
        ("Open", unresolved(answer)),
        ("Failed", obstacles(answer, false)),
        ("Skipped", obstacles(answer, true)),
        ("Dropped", reconnects(answer)),
        (
            "Not shown",
            "networks, more cores, work in handlers, TLS, memory, 16 KiB frames (--client h2load)."
                .to_owned(),
        ),
    ];
    parts.into_iter().filter(|(_, sentences)| !sentences.is_empty()).collect()
}

pub(super) fn render(run: &Run, answer: &Answer<'_>, width: usize) -> String {
    let mut text = String::from("In short\n");
    for (name, sentences) in parts(answer).into_iter().filter(|(name, _)| *name != IN_TABLE) {
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
        let (step, scale) = (load.largest_above_floor()?, load.scale());
        let (title, name, price) = (&load.title, &step.name, scale.interval(&step.ns));
        let (whole, unit) = (scale.number(load.tonic_ns), scale.unit);
        // Another layer can make a call cheaper, so that one costs more than all together.
        if step.ns.estimate > load.tonic_ns {
            return Some(format!(
                "{title}: {name} adds most, {price} {unit}; other layers make a call cheaper, and \
                 all together cost {whole} {unit}."
            ));
        }
        let floor = load.floor().filter(|floor| floor.ns.estimate > step.ns.estimate);
        let floor = floor.map_or_else(String::new, |floor| {
            let socket = scale.interval(&floor.ns);
            format!(", after the floor of {socket} (kernel and loopback, nothing to save)")
        });
        Some(format!("{title}: {name} costs most, {price} of {whole} {unit}{floor}."))
    };
    loads.iter().filter_map(sentence).collect::<Vec<_>>().join(" ")
}

/// Says what the settings of tonic save, and what our own server does, for one load in a sentence.
fn best(loads: &[Layers]) -> String {
    let sentence = |load: &Layers| {
        let part = |name: &str, ratio: Option<Ratio>| Some(format!("{name} {}", ratio?.text()));
        let best = part("tonic at its best", load.best);
        let own = part("our own server", load.own);
        let to_best = load.own_to_best.map(|ratio| format!(" ({} of the best)", ratio.text()));
        let own = own.map(|own| own + &to_best.unwrap_or_default());
        let parts: Vec<String> = best.into_iter().chain(own).collect();
        (!parts.is_empty()).then(|| format!("{}: {}.", load.title, parts.join(", ")))
    };
    let sentences: Vec<String> = loads.iter().filter_map(sentence).collect();
    if sentences.is_empty() {
        return String::new();
    }
    format!("Ratios to tonic as documented. {}", sentences.join(" "))
}

fn encodings(table: &Encodings) -> String {
    let all = || table.rows.iter().filter_map(|row| Some((row, row.to_npy?)));
    let others = || all().filter(|(row, _)| row.server == NPY_SERVER);
    let shown: Vec<String> = others()
        .filter(|(_, ratio)| ratio.is_shown())
        .map(|(row, ratio)| format!("{} {}", row.name, ratio.text_known()))
        .collect();
    let mut parts = Vec::new();
    if !shown.is_empty() {
        parts.push(shown.join(", "));
    }
    let same: Vec<&str> = others()
        .filter(|(_, ratio)| ratio.verdict == Verdict::Same)
        .map(|(row, _)| row.name)
        .collect();
    if !same.is_empty() {
        parts.push(format!("between .npy and {} no difference was shown", same.join(", ")));
    }
    for (row, ratio) in all().filter(|(row, _)| row.server != NPY_SERVER) {
        let Row { server, name, .. } = row;
        parts.push(format!("{server} with {name} {}", ratio.text()));
    }
    if parts.is_empty() {
        return String::new();
    }
    let array = units::array(&table.array);
    let list = table.list_to_bytes.map_or_else(String::new, |ratio| {
        format!(" In tonic, a list of numbers (repeated) costs {} of bytes.", ratio.text())
    });
    format!("{array}, ratios to {NPY_SERVER}'s .npy: {}.{list}", parts.join("; "))
}

fn choice(answer: &Answer<'_>) -> String {
    let sentence = |choice: &super::choice::Choice| {
        let first = choice.rows.first()?;
        let cost = |row: &super::choice::Row| {
            format!("{} with {} ({})", row.stack, row.encoding, units::time(row.cost_ns.estimate))
        };
        let standard = choice.rows.iter().find(|row| !row.is_ours);
        let standard = standard.filter(|_| first.is_ours).map_or_else(String::new, |row| {
            let ratio = row.to_cheapest.filter(Ratio::is_shown);
            let ratio =
                ratio.map_or_else(String::new, |ratio| format!(", {} times that", ratio.text()));
            format!("; of the servers that are not ours, {}{ratio}", cost(row))
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
    // The layers have arrays of their own, which are sent as protobuf only.
    let arrays: Vec<&ArrayInfo> = answer.encodings.iter().map(|table| &table.array).collect();
    let has = |kinds: &[&str]| {
        arrays.iter().any(|array| {
            kinds.iter().any(|kind| array.dtype.get(1..).is_some_and(|of| of.starts_with(kind)))
        })
    };
    let is_large = answer.loads.iter().any(|load| load.array().bytes > TONIC_BYTES_MAX);
    let mut text = format!(
        "tonic refuses more than 4 MiB by default{}.",
        if is_large { " (its limits were raised here)" } else { "" }
    );
    if has(&["f"]) {
        text.push_str(" If the array has NaN, JSON.parse refuses it.");
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
    let twins = match load_cells::noise_text(&answer.loads) {
        Some(shares) => format!("A server against itself differed by {shares}."),
        None => "This run does not tell how far a server differs from itself.".to_owned(),
    };
    let control = |load: &LoadCells<'_>| {
        let noise = load.noise();
        let obstacle = noise.control_obstacle.as_ref();
        let obstacle = obstacle
            .map(|reason| format!("The control with an added delay could not be made: {reason}."));
        noise.control.as_ref().map(Control::sentence).or(obstacle)
    };
    let mut sentences = vec![twins];
    sentences.extend(answer.loads.iter().filter_map(control));
    sentences.dedup();
    sentences.join(" ")
}

/// Names the differences that the run could not show.
fn unresolved(answer: &Answer<'_>) -> String {
    // Loads with the same open differences, by the names of these.
    let mut of_layers: Vec<(String, Vec<&str>)> = Vec::new();
    for load in &answer.layers {
        let names = open_layers(load).join(", ");
        match of_layers.iter_mut().find(|(known, _)| *known == names) {
            _ if names.is_empty() => {}
            Some((_, titles)) => titles.push(&load.title),
            None => of_layers.push((names, vec![&load.title])),
        }
    }
    let listed = |(names, titles): (String, Vec<&str>)| format!("{names} ({})", titles.join("; "));
    let mut open: Vec<String> = of_layers.into_iter().map(listed).collect();
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

/// Returns the names of the steps and ends of a chain for which no difference was shown.
fn open_layers(load: &Layers) -> Vec<&str> {
    let steps = load.steps.iter().flatten().filter(|step| !step.is_shown);
    let steps = steps.map(|step| step.name.as_str());
    let ends = [("tonic's settings", load.best), ("our server", load.own)];
    let is_open = |ratio: Option<Ratio>| ratio.is_some_and(|ratio| !ratio.is_shown());
    let ends = ends.into_iter().filter(|(_, ratio)| is_open(*ratio)).map(|(name, _)| name);
    steps.chain(ends).collect()
}

/// Lists the rungs without figures by their reasons: skipped ones, or those that failed.
fn obstacles(answer: &Answer<'_>, are_skipped: bool) -> String {
    let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (rung, obstacle) in answer.loads.iter().flat_map(LoadCells::obstacles) {
        let reason = match obstacle.strip_prefix(SKIPPED) {
            Some(reason) if are_skipped => reason.to_owned(),
            None if !are_skipped => obstacle,
            _ => continue,
        };
        let rungs = reasons.entry(reason).or_default();
        if !rungs.contains(&rung) {
            rungs.push(rung);
        }
    }
    let line = |(reason, rungs): (String, Vec<&str>)| format!("{}: {reason}.", rungs.join(", "));
    reasons.into_iter().map(line).collect::<Vec<_>>().join(" ")
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
