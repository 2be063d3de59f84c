//! Plan of a profile: every cell twice, once with a server that is sampled.

use crate::record::Variant;

use super::cell::Cell;
use super::plan::Plan;

/// Keeps the usual cells of `plan`, and adds a profiled one for each.
pub fn plan(plan: Plan) -> Plan {
    let usual = plan.cells.iter().filter(|cell| cell.variant == Variant::Usual && !cell.is_once);
    let profiled = |cell: &Cell| Cell {
        variant: Variant::Profiled,
        parent: None,
        reference: None,
        ..cell.clone()
    };
    let cells = usual.flat_map(|cell| [cell.clone(), profiled(cell)]).collect();
    Plan { cells, ..plan }
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
}
