//! What a run tries beside its rungs so that it can say how far its figures are to be trusted.
//!
//! In every table one rung is tried a second time under another name: the two differ by noise alone, and what they
//! differ by is the least difference that means anything. Where the arrays are smallest, it is tried a third time with
//! a known cost added to every request, which the run has to find again; and if it is no standard server, but one that
//! may be faster than the load generator, a fourth time with twice as much, to be found on top of the first.

use std::collections::BTreeMap;

use crate::record::Variant;
use crate::stats::bootstrap::UNITS_MIN;

use super::Subject;
use super::cell::Cell;

/// Blocks below which controls say nothing, so that there are none.
pub const BLOCKS_MIN: u32 = UNITS_MIN as u32;

/// What is added to every request of the positive control, in nanoseconds.
pub const SPIN_NS: u64 = 500;

/// The controls of `cells`: a twin in every table, spins in those of the smallest array.
pub fn of(cells: &[Cell]) -> Vec<Cell> {
    let tried = |cell: &&Cell| cell.skip.is_none() && matches!(cell.subject, Subject::Own(_));
    let mut tables: BTreeMap<(u64, &[u64], u32, u32), Vec<&Cell>> = BTreeMap::new();
    for cell in cells.iter().filter(tried) {
        let key = (
            cell.array.bytes,
            cell.array.shape.as_slice(),
            cell.load.connections,
            cell.load.in_flight,
        );
        tables.entry(key).or_default().push(cell);
    }
    let smallest = tables.keys().map(|(bytes, ..)| *bytes).min();
    let mut controls = Vec::new();
    for ((bytes, ..), table) in &tables {
        let Some((subject, times)) = most_compared_with(table) else { continue };
        let control = |variant| Cell { variant, parent: None, reference: None, ..subject.clone() };
        controls.push(control(Variant::Twin));
        if Some(*bytes) == smallest {
            controls.push(control(Variant::Delayed { ns: SPIN_NS }));
            if times == 0 {
                controls.push(control(Variant::Delayed { ns: 2 * SPIN_NS }));
            }
        }
    }
    controls
}

/// The cell that most others name as their reference, or the first, and how many do.
fn most_compared_with<'a>(table: &[&'a Cell]) -> Option<(&'a Cell, usize)> {
    let times = |cell: &Cell| {
        let is_it = |other: &&&Cell| {
            other.reference.is_some_and(|reference| cell.subject == reference.into())
        };
        table.iter().filter(is_it).count()
    };
    // The first of equals.
    table.iter().rev().map(|cell| (*cell, times(cell))).max_by_key(|(_, times)| *times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::plan::Wish;
    use crate::experiment::preset::Preset;
    use crate::record::{ArrayInfo, Trial};

    #[test]
    fn every_table_of_quick_has_a_twin_of_its_standard_and_the_smallest_a_spin() {
        let plan = Wish::of(Preset::Quick).plan().unwrap();
        let controls: Vec<String> = plan
            .cells
            .iter()
            .filter(|cell| cell.variant != Variant::Usual && !cell.is_once)
            .map(Cell::to_string)
            .collect();
        assert!(controls.contains(&"tokio/tonic/protobuf:prost 8 B 1x1000 again".to_owned()));
        assert!(controls.contains(&"tokio/axum/msgpack:serde 8 B 50x1 +500 ns".to_owned()));
        let count = |end: &str| controls.iter().filter(|name| name.ends_with(end)).count();
        assert_eq!((count("again"), count("+500 ns")), (6, 2), "{controls:?}");
    }

    #[test]
    fn a_rung_that_is_no_standard_has_two_spins() {
        let wish = Wish { rungs: Some("uring/h2/protobuf".into()), ..Wish::of(Preset::Quick) };
        let is_spin = |cell: &&Cell| matches!(cell.variant, Variant::Delayed { .. });
        let cells = wish.plan().unwrap().cells;
        let spins: Vec<String> = cells.iter().filter(is_spin).map(Cell::to_string).collect();
        assert_eq!(
            spins,
            ["uring/h2/protobuf 8 B 1x1000 +500 ns", "uring/h2/protobuf 8 B 1x1000 +1000 ns"]
        );
    }

    #[test]
    fn a_trial_is_of_the_cell_that_has_its_variant_and_array() {
        let cells = Wish::of(Preset::Quick).plan().unwrap().cells;
        let spin =
            cells.iter().find(|cell| matches!(cell.variant, Variant::Delayed { .. })).unwrap();
        let trial = Trial {
            rung: spin.subject.to_string(),
            variant: spin.variant,
            array: spin.array.clone(),
            ..Trial::default()
        };
        assert!(spin.is_of(&trial));
        assert!(!spin.is_of(&Trial { variant: Variant::Null, ..trial.clone() }));
        assert!(!spin.is_of(&Trial { array: ArrayInfo::default(), ..trial }));
    }

    #[test]
    fn a_few_blocks_have_none() {
        let wish = Wish { rounds: Some(BLOCKS_MIN - 1), ..Wish::of(Preset::Quick) };
        let is_control =
            |cell: &Cell| matches!(cell.variant, Variant::Twin | Variant::Delayed { .. });
        assert!(!wish.plan().unwrap().cells.iter().any(is_control));
    }
}
