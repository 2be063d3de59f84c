//! Profiled cells of a plan: the same rung again, with a server that is sampled.

use crate::record::Variant;

use super::cell::Cell;
use super::plan::Plan;

/// Keeps the usual cells of `plan`, and adds a profiled one for each.
pub fn plan(plan: Plan) -> Plan {
    let usual = plan.cells.iter().filter(|cell| is_usual(cell));
    let cells = usual.flat_map(|cell| [cell.clone(), profiled(cell)]).collect();
    Plan { cells, ..plan }
}

/// Keeps all cells of `plan`, and adds a profiled one behind each usual cell. It stands in the same
/// part of a group that does not fit into memory.
pub fn add(plan: Plan) -> Plan {
    let with_profiled = |cell: &Cell| {
        let second = is_usual(cell).then(|| profiled(cell));
        std::iter::once(cell.clone()).chain(second)
    };
    let cells = plan.cells.iter().flat_map(with_profiled).collect();
    Plan { cells, ..plan }
}

/// Skips the profiled cells of `plan`, because this machine cannot sample.
pub fn skip(plan: &mut Plan, reason: &str) {
    for cell in plan.cells.iter_mut().filter(|cell| cell.variant.is_profiled()) {
        cell.skip = Some(reason.to_owned());
    }
}

fn is_usual(cell: &Cell) -> bool {
    cell.variant == Variant::Usual && cell.is_sliced()
}

fn profiled(cell: &Cell) -> Cell {
    Cell { variant: Variant::Profiled, parent: None, reference: None, ..cell.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::options::RunOptions;
    use crate::experiment::preset::Preset;

    #[test]
    fn every_usual_cell_has_a_profiled_one_behind_it_and_there_are_no_others() {
        let options = RunOptions {
            rungs: Some("uring/h2/protobuf,tokio/tonic/protobuf:prost".into()),
            sizes: Some(vec![8]),
            ..RunOptions::new(Preset::Broad)
        };
        let plan = plan(options.plan().unwrap());
        let (usual, profiled): (Vec<&Cell>, Vec<&Cell>) =
            plan.cells.iter().partition(|cell| cell.variant == Variant::Usual);
        assert_eq!(usual.len(), 2);
        assert_eq!(profiled.len(), 2);
        for pair in plan.cells.chunks(2) {
            assert!(pair[0].rung == pair[1].rung && pair[0].is_same_load(&pair[1]));
            assert_eq!(pair[1].variant, Variant::Profiled);
        }
    }

    #[test]
    fn a_ladder_keeps_its_cells_and_only_profiled_ones_come_to_them() {
        let plain = RunOptions {
            rungs: Some("uring/{raw,h2}/protobuf".into()),
            sizes: Some(vec![8]),
            ..RunOptions::new(Preset::Broad)
        };
        let plain = plain.plan().unwrap();
        let mut added = add(plain.clone());
        let is_profiled = |cell: &Cell| cell.variant == Variant::Profiled;
        let others: Vec<Cell> =
            added.cells.iter().filter(|cell| !is_profiled(cell)).cloned().collect();
        assert_eq!(others, plain.cells, "controls and null servers too");
        let usual = plain.cells.iter().filter(|cell| is_usual(cell)).count();
        assert_eq!(added.cells.len() - plain.cells.len(), usual);
        skip(&mut added, "no perf");
        assert!(added.cells.iter().all(|cell| cell.skip.is_some() == is_profiled(cell)));
    }
}
