//! Run that the parts of a page are made of, evaluated once.

use super::super::Run;
use super::super::aggregate::{self, Section};
use super::super::answer::Answer;
use super::super::answer::layers::Layers;
use super::super::answer::load_cells::LoadCells;
use super::super::{text, units};
use super::figure::slug;

pub(super) struct Subject<'a> {
    pub(super) run: &'a Run,
    pub(super) sections: Vec<Section>,
    /// Cells of each section, in the same order.
    pub(super) loads: Vec<LoadCells<'a>>,
    /// Answer of a main job.
    pub(super) answer: Option<Answer<'a>>,
}

impl<'a> Subject<'a> {
    pub(super) fn evaluate(run: &'a Run) -> Subject<'a> {
        Subject {
            run,
            sections: aggregate::sections(&run.trials),
            loads: LoadCells::all(run),
            answer: Answer::evaluate(run),
        }
    }

    /// Returns the layers that the answer has for the load `index`.
    pub(super) fn answer_of(&self, index: usize) -> Option<&Layers> {
        self.answer.as_ref()?.layers.iter().find(|layers| layers.load == index)
    }
}

/// `8 B, 1x1000`, with the client if it is not ours.
pub(super) fn short_load(section: &Section) -> String {
    let load = text::load(section.connections, section.in_flight);
    let client = match section.client {
        crate::record::Client::Own => String::new(),
        client => format!(", {}", client.name()),
    };
    format!("{}, {load}{client}", units::bytes(section.array.bytes))
}

/// Returns the anchor of a section: `8-B--1x1000`, with its number if another one has the same.
pub(super) fn load_anchor(sections: &[Section], index: usize) -> String {
    let name = short_load(&sections[index]);
    let is_first = sections.iter().position(|section| short_load(section) == name) == Some(index);
    if is_first { slug(&name) } else { format!("{}-{index}", slug(&name)) }
}
