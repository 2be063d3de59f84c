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
//! Every ratio has an interval, and all intervals of one load hold together at 95 %. A difference
//! that the run could not show is marked with `=` and named in the sentences.

pub mod advice;
pub(super) mod bars;
mod choice;
mod encodings;
pub(super) mod layers;
pub(super) mod load_cells;
mod picture;
mod sentences;
mod standards;

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
    /// Returns `None` for a run that asked other questions than the main job.
    pub(super) fn evaluate(run: &'a Run) -> Option<Answer<'a>> {
        if run.header.preset != "quick" {
            return None;
        }
        let loads = LoadCells::all(run);
        let answer = Answer {
            layers: loads.iter().enumerate().filter_map(layers::Layers::evaluate).collect(),
            encodings: loads.iter().filter_map(encodings::Encodings::evaluate).collect(),
            choices: loads.iter().filter_map(choice::Choice::evaluate).collect(),
            loads,
        };
        let is_empty = answer.layers.is_empty() && answer.encodings.is_empty();
        (!is_empty).then_some(answer)
    }

    /// Returns the sentences, each group with its name.
    pub(super) fn sentences(&self) -> Vec<(&'static str, String)> {
        sentences::parts(self)
    }

    /// Returns the machine, the time and the noise.
    pub(super) fn facts(&self, run: &Run) -> Vec<String> {
        facts(run, &self.loads)
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
    parts.extend(answer.encodings.iter().map(|table| table.render(width)));
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

/// Returns the machine, the time, the noise and the warnings.
fn head(run: &Run, answer: &Answer<'_>, width: usize) -> String {
    let mut text = wrap("ndecho quick: ", &facts(run, &answer.loads).join(", "), width);
    for warning in warnings(run) {
        text.push_str(&wrap("warning: ", &warning.to_string(), width));
    }
    text
}

/// Returns the machine, the time and the noise.
fn facts(run: &Run, loads: &[LoadCells<'_>]) -> Vec<String> {
    let host = &run.header.host;
    let noise = match load_cells::noise_share(loads) {
        Some(noise) => format!("noise up to {:.0} %", noise * 100.0),
        None => "noise unknown".to_owned(),
    };
    let launches = run.blocks();
    let facts = [
        host.cpu_model.clone(),
        format!("{} cores", host.cores.len()),
        if host.virtual_machine { "virtual machine".to_owned() } else { String::new() },
        format!("Linux {}", host.kernel.split(' ').next().unwrap_or_default()),
        units::date(run.header.started_unix_s),
        format!("{launches} launch{} of each server", if launches == 1 { "" } else { "es" }),
        noise,
        format!("malloc: {}", loads[0].malloc()),
    ];
    facts.into_iter().filter(|fact| !fact.is_empty()).collect()
}

/// Returns the warnings that concern the answer, which only our own client measures.
pub(super) fn warnings(run: &Run) -> Vec<Warning> {
    let is_grave = |warning: &Warning| !matches!(warning, Warning::ForeignClient { .. });
    warning::warnings(run).into_iter().filter(is_grave).collect()
}
