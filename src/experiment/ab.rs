//! Two builds against each other, and counts of the work for a request.
//!
//! Every cell becomes one cell for each build, so that a block tries all builds in turns. The costs
//! that do not depend on time are counted first: bytes, system calls and allocations of a request,
//! one at a time on one connection. Each count is made with some requests and with twice as many,
//! so that the costs of a connection cancel out. Two passes show counts that do not repeat.

use crate::record::trial_spec::Length;
use crate::record::{Side, Variant};

use super::any_rung::AnyRung;
use super::cell::Cell;
use super::concurrency::Concurrency;
use super::plan::Plan;
use super::preset::Blocks;

/// Requests of the smaller count. The other has twice as many.
pub const COUNTED_REQUESTS: u64 = 200;

const ONE_BUILD_REQUESTS: u64 = 16;
const ONE_BUILD_BYTES_MAX: u64 = 1 << 20;

/// Largest array whose counts are compared. More bytes make counts depend on how they arrive.
const COUNTED_BYTES_MAX: u64 = 4096;

const COUNTS: u32 = 2;

pub fn timed(plan: &Plan, builds: u32, first_cell: u32) -> Plan {
    let usual = plan.cells.iter().filter(|cell| cell.variant == Variant::Usual);
    let cells =
        usual.flat_map(|cell| sides(builds).map(|variant| Cell { variant, ..cell.clone() }));
    Plan { cells: cells.collect(), first_cell, ..plan.clone() }
}

pub fn counted(plan: &Plan, builds: u32) -> Plan {
    let is_counted = |cell: &&Cell| {
        cell.variant == Variant::Usual
            && cell.skip.is_none()
            && cell.array.bytes <= COUNTED_BYTES_MAX
    };
    let cells = one_at_a_time(plan.cells.iter().filter(is_counted), COUNTED_REQUESTS);
    let each = |cell: Cell| sides(builds).map(move |variant| Cell { variant, ..cell.clone() });
    let blocks = Blocks { min: COUNTS, max: COUNTS, time: None };
    Plan { cells: cells.into_iter().flat_map(each).collect(), blocks, settle: None, ..plan.clone() }
}

/// Counts a few requests of every array that a traced server can echo in reasonable time.
pub fn counts_of_one_build(cells: &[Cell]) -> Vec<Cell> {
    let is_counted = |cell: &&Cell| {
        cell.skip.is_none()
            && cell.array.bytes <= ONE_BUILD_BYTES_MAX
            && matches!(cell.rung, AnyRung::Own(_))
    };
    let counted = one_at_a_time(cells.iter().filter(is_counted), ONE_BUILD_REQUESTS);
    counted.into_iter().map(|cell| Cell { is_once: true, ..cell }).collect()
}

/// Changes `cells` to count `requests`. A rung with two loads appears once.
fn one_at_a_time<'a>(cells: impl Iterator<Item = &'a Cell>, requests: u64) -> Vec<Cell> {
    let mut counted: Vec<Cell> = Vec::new();
    for cell in cells {
        let is_same = |other: &Cell| other.rung == cell.rung && other.array == cell.array;
        if !counted.iter().any(is_same) {
            counted.push(Cell {
                concurrency: Concurrency::connections(1),
                is_counted: true,
                window: Length::Requests(requests),
                ..cell.clone()
            });
        }
    }
    counted
}

fn sides(builds: u32) -> impl Iterator<Item = Variant> {
    let both = |number| [Side::Old, Side::New].map(|side| Variant::Build { side, number });
    (0..builds).flat_map(both)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::options::RunOptions;
    use crate::experiment::preset::Preset;

    fn plan() -> Plan {
        let options = RunOptions {
            rungs: Some("uring/{raw,h1}/npy,uring/h2/protobuf,uring/raw/reflect".into()),
            sizes: Some(vec![8, 65_536]),
            ..RunOptions::new(Preset::Quick)
        };
        options.plan().unwrap()
    }

    #[test]
    fn every_cell_is_tried_with_every_build() {
        let timed = timed(&plan(), 2, 7);
        let usual = plan().cells.iter().filter(|cell| cell.variant == Variant::Usual).count();
        assert_eq!((timed.cells.len(), timed.first_cell), (4 * usual, 7));
    }

    #[test]
    fn a_run_of_one_build_counts_each_rung_at_each_array_once() {
        let names: Vec<String> =
            counts_of_one_build(&plan().cells).iter().map(Cell::to_string).collect();
        assert_eq!(names.len(), 4 * 2, "{names:?}");
        assert!(names.contains(&"uring/h1/npy 65536 B 1x1 counted".to_owned()), "{names:?}");
    }

    #[test]
    fn small_arrays_are_counted_once_a_rung() {
        let counted = counted(&plan(), 1);
        let names: Vec<String> = counted.cells.iter().map(|cell| cell.to_string()).collect();
        assert_eq!(names.len(), 4 * 2, "{names:?}");
        assert!(names.contains(&"uring/h1/npy 8 B 1x1 new 0 counted".to_owned()), "{names:?}");
        assert!(counted.cells.iter().all(|cell| cell.is_counted));
    }
}
