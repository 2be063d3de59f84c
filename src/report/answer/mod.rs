//! The answer of the main job: one table for each question, then sentences.
//!
//! | part | question |
//! |---|---|
//! | `layers` | what does each layer between the socket and tonic cost? |
//! | `encodings` | what does each encoding cost, compared with `.npy`? |
//! | `choice` | which server and encoding are the cheapest for this array? |
//! | `sentences` | what does that say, what limits it, and how sure is it? |
//! | `picture` | the tables as an SVG |
//!
//! `standards` is the answer of `cargo bench`: each server against tonic or axum.
//!
//! Every ratio has an interval. The intervals of all ratios of one table under one load hold
//! together at 95 %; two tables of one load do not share them. The price of a layer is a ratio less
//! 1, in units of the lower rung's cost, which is taken as known: its interval has the scatter of
//! the ratio only. The cost of the bare socket has an interval of its own. A difference that the
//! run could not show is marked with `=`.

pub mod advice;
pub(super) mod bars;
mod choice;
mod encodings;
pub(super) mod layers;
pub(super) mod load_cells;
mod picture;
mod sentences;
mod standards;

use std::path::Path;
use std::time::Duration;

use crate::record::{ArrayInfo, Outcome};

use super::text::WIDTH_MAX;
use super::warning::{self, Warning};
use super::wrap::wrap;
use super::{Run, units};

use load_cells::LoadCells;

/// Narrowest layout. A narrower terminal breaks lines by itself.
pub const WIDTH_MIN: usize = 80;

/// The three tables of a run; each is empty if the run has none of its rungs.
pub(super) struct Answer<'a> {
    pub(super) layers: Vec<layers::Layers>,
    encodings: Vec<encodings::Encodings>,
    choices: Vec<choice::Choice>,
    loads: Vec<LoadCells<'a>>,
}

impl<'a> Answer<'a> {
    /// Returns `None` for a run that asked other questions than the main job and `messages`, which
    /// asks only for encodings.
    pub(super) fn evaluate(run: &'a Run) -> Option<Answer<'a>> {
        let has_all = match run.header.preset.as_str() {
            "quick" => true,
            "messages" => false,
            _ => return None,
        };
        let loads = LoadCells::all(run);
        let encodings = loads.iter().filter_map(encodings::Encodings::evaluate).collect();
        let (mut layers, mut choices) = (Vec::new(), Vec::new());
        if has_all {
            layers.extend(loads.iter().enumerate().filter_map(layers::Layers::evaluate));
            choices.extend(loads.iter().filter_map(choice::Choice::evaluate));
        }
        let answer = Answer { layers, encodings, choices, loads };
        let is_empty = answer.layers.is_empty() && answer.encodings.is_empty();
        (!is_empty).then_some(answer)
    }

    /// Returns the sentences, each group with its name.
    pub(super) fn sentences(&self) -> Vec<(&'static str, String)> {
        sentences::parts(self)
    }

    /// Returns the array, the machine, the time and the noise.
    pub(super) fn facts(&self, run: &Run) -> Vec<String> {
        let array = match &self.encodings[..] {
            [table] => Some(array(run, &table.array)),
            _ => None,
        };
        array.into_iter().chain(facts(run, &self.loads)).collect()
    }
}

/// Returns the answer in lines of at most `width` characters; `None` for a run that asked other
/// questions than the main job.
pub fn render(run: &Run, width: usize) -> Option<String> {
    let answer = Answer::evaluate(run)?;
    let width = width.clamp(WIDTH_MIN, WIDTH_MAX);
    let mut parts = vec![head(run, &answer, width)];
    if !answer.layers.is_empty() {
        parts.push(layers::table(&answer.layers, width));
    }
    let first = if answer.layers.is_empty() { 1 } else { 2 };
    let encodings = (first..).zip(&answer.encodings);
    parts.extend(encodings.map(|(number, table)| table.render(number, width)));
    parts.extend(answer.choices.iter().map(|table| table.render(width)));
    parts.push(sentences::render(run, &answer, width));
    Some(parts.join("\n"))
}

/// Returns tables of every server against the standard one, as documented and at its best, and a
/// sentence about our own servers; `None` if no standard server was measured.
pub fn against_standards(run: &Run) -> Option<String> {
    standards::render(&LoadCells::all(run))
}

/// Returns the answer as an SVG; `None` for a run that has no answer.
pub fn picture(run: &Run) -> Option<String> {
    Answer::evaluate(run).map(|answer| picture::render(run, &answer))
}

/// Returns the sentences of the answer, each group with its name; `None` for a run that has no
/// answer.
pub fn in_short(run: &Run) -> Option<Vec<(&'static str, String)>> {
    Answer::evaluate(run).map(|answer| answer.sentences())
}

/// Returns the names of the rungs that the tables have places for.
pub fn rungs() -> Vec<&'static str> {
    let layers = layers::CHAIN.iter().map(|(rung, _)| *rung).chain([layers::BEST, layers::OWN]);
    let encodings = encodings::ENCODINGS.iter().flat_map(|(_, standard, own)| [*standard, *own]);
    layers.chain(encodings).chain([choice::AXUM_BEST]).collect()
}

/// Returns array, machine, time, noise and warnings.
fn head(run: &Run, answer: &Answer<'_>, width: usize) -> String {
    let name = format!("ndecho {}: ", run.header.preset);
    let mut text = wrap(&name, &answer.facts(run).join(", "), width);
    for warning in warnings(run) {
        text.push_str(&wrap("warning: ", &warning.to_string(), width));
    }
    text
}

/// `array 64 KiB <f8 [8192] of some.npy`; without a name for an array that was drawn.
fn array(run: &Run, array: &ArrayInfo) -> String {
    let mut words = run.header.argv.iter();
    let value = words.find_map(|word| word.strip_prefix("--array"));
    let path = value.and_then(|value| match value {
        "" => words.next().map(String::as_str),
        value => value.strip_prefix('='),
    });
    let file = path.and_then(|path| Path::new(path).file_name());
    let of = file.map_or_else(String::new, |file| format!(" of {}", file.to_string_lossy()));
    format!("array {}{of}", units::array(array))
}

/// Returns the time from the first launch to the end of the last trial; of older records, the time
/// for which replies were counted.
fn duration(run: &Run) -> String {
    if let Some(ended_ns) = run.trials.iter().filter_map(|trial| trial.ended_ns).max() {
        return format!("took {}", units::minutes(Duration::from_nanos(ended_ns)));
    }
    let counted_ns = run.trials.iter().map(|trial| match &trial.outcome {
        Outcome::Measured(measured) => measured.wall_ns,
        _ => 0,
    });
    format!("{} of load counted", units::minutes(Duration::from_nanos(counted_ns.sum())))
}

/// Returns the machine, the time and the noise.
pub(super) fn facts(run: &Run, loads: &[LoadCells<'_>]) -> Vec<String> {
    let host = &run.header.host;
    let noise = match load_cells::noise_shares(loads) {
        Some(shares) => format!("noise {shares}"),
        None => "noise unknown".to_owned(),
    };
    let launches = run.blocks();
    let facts = [
        host.cpu_model.clone(),
        format!("{} cores", host.cores.len()),
        if host.virtual_machine { "virtual machine".to_owned() } else { String::new() },
        format!("Linux {}", host.kernel.split(' ').next().unwrap_or_default()),
        units::date(run.header.started_unix_s),
        duration(run),
        format!("{launches} launch{} of each server", if launches == 1 { "" } else { "es" }),
        noise,
        format!("malloc: {}", load_cells::malloc(loads)),
    ];
    facts.into_iter().filter(|fact| !fact.is_empty()).collect()
}

/// Returns the warnings that concern the answer, which only our own client measures.
pub(super) fn warnings(run: &Run) -> Vec<Warning> {
    let is_grave = |warning: &Warning| !matches!(warning, Warning::ForeignClient { .. });
    warning::warnings(run).into_iter().filter(is_grave).collect()
}
