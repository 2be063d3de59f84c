//! Cells of every coding: each cell again with messages in gzip, zstd and so on.
//!
//! The codings of a load are launched together, so that their costs are compared within a launch.

use crate::axis::Coding;

use super::cell::Cell;

/// Returns `cells` in each coding. A rung without the coding is skipped, with the reason.
pub fn in_each(cells: &[Cell]) -> Vec<Cell> {
    let in_coding = |cell: &Cell, coding| Cell {
        coding,
        skip: cell.skip.clone().or_else(|| cell.rung.coding_obstacle(coding)),
        ..cell.clone()
    };
    let in_all = |cell| Coding::ALL.into_iter().map(move |coding| in_coding(cell, coding));
    cells.iter().flat_map(in_all).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::axis::DataSet;
    use crate::experiment::group;
    use crate::experiment::options::RunOptions;
    use crate::experiment::preset::Preset;
    use crate::record::Variant;

    #[test]
    fn each_data_set_is_sent_in_each_coding_and_all_are_launched_together() {
        let plan = RunOptions::new(Preset::Compression).plan().unwrap();
        let groups = group::groups(&plan, 64 << 30);
        assert_eq!(groups.len(), DataSet::ALL.len());
        for group in groups {
            let cells: Vec<&Cell> = group.cells.iter().map(|index| &plan.cells[*index]).collect();
            let usual = || cells.iter().filter(|cell| cell.variant == Variant::Usual);
            let own = usual().filter(|cell| cell.rung.to_string() == "uring/h2/protobuf");
            let codings: Vec<Coding> = own.map(|cell| cell.coding).collect();
            assert_eq!(codings, Coding::ALL);
            let data_sets: BTreeSet<_> = cells.iter().map(|cell| cell.array.data_set).collect();
            assert_eq!(data_sets.len(), 1);
            let is_twin = |cell: &&&Cell| cell.variant == Variant::Twin;
            assert!(cells.iter().filter(is_twin).all(|twin| twin.coding.is_identity()));
            assert!(cells.iter().any(|cell| cell.variant == Variant::Twin));
        }
    }

    #[test]
    fn a_rung_without_the_coding_is_skipped_with_the_reason() {
        let rungs = Some("uring/{h1,raw}/npy".to_owned());
        let plan = RunOptions { rungs, ..RunOptions::new(Preset::Compression) }.plan().unwrap();
        for cell in &plan.cells {
            let is_raw = cell.rung.to_string() == "uring/raw/npy";
            let reason = (is_raw && !cell.coding.is_identity())
                .then(|| format!("raw has no {} here", cell.coding));
            assert_eq!(cell.skip, reason, "{cell}");
        }
    }
}
