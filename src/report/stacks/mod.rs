//! Call stacks of the profiled servers, in the forms of other viewers and as a picture.
//!
//! | file | form | place of the layer |
//! |---|---|---|
//! | `collapsed` | a line for each stack, as flame graph programs read it | first frame |
//! | `firefox` | JSON of the Firefox Profiler | category of the functions |
//! | [`icicle`] | SVG without script | second row, and the colour |
//!
//! `tree` is the form of the stacks that an icicle shows, here and in a page.

mod collapsed;
mod firefox;
pub mod icicle;
#[cfg(test)]
mod tests;
pub(super) mod tree;

use crate::probe::profile::{Profile, Stacks};
use crate::record::Variant;

use super::cell::CellTrials;
use super::text::connections;
use super::{Run, aggregate, units};

/// Stacks of a server under one load.
#[derive(Clone, Debug, PartialEq)]
pub struct Profiled {
    /// Rung, or `process` for a running process.
    pub server: String,
    /// Array and load.
    pub load: String,
    pub stacks: Stacks,
}

/// Form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Firefox,
    Collapsed,
    Icicle,
}

impl Profiled {
    /// Finds the stacks of every profiled cell, in the order of the tables. They are those of the
    /// launches that the tables use.
    pub fn of_run(run: &Run) -> Vec<Profiled> {
        let cells = aggregate::cells_by_section(&run.trials);
        let profiled =
            cells.iter().flatten().filter(|cell| cell.first().variant == Variant::Profiled);
        let stacks = |cell: &CellTrials<'_>| Profiled {
            server: cell.first().rung.clone(),
            load: load(cell),
            stacks: cell.profiles().flat_map(|(_, profile)| profile.stacks.iter()).collect(),
        };
        profiled.map(stacks).filter(|profiled| !profiled.stacks.is_empty()).collect()
    }

    pub fn of_process(pid: u32, profile: &Profile) -> Profiled {
        Profiled {
            server: format!("process {pid}"),
            load: "the load of others".to_owned(),
            stacks: profile.stacks.clone(),
        }
    }

    pub fn render(&self, form: Form) -> String {
        match form {
            Form::Firefox => firefox::render(self),
            Form::Collapsed => collapsed::render(&self.stacks),
            Form::Icicle => icicle::render(self, &icicle::Size::default()),
        }
    }

    pub(super) fn samples(&self) -> u64 {
        self.stacks.iter().map(|stack| stack.samples).sum()
    }
}

fn load(cell: &CellTrials<'_>) -> String {
    let trial = cell.first();
    format!(
        "{}, {}, {} in flight",
        units::array(&trial.array),
        connections(trial.connections),
        trial.in_flight_sent()
    )
}
