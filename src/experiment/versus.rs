//! Two builds against each other: every cell becomes one for each build, so that a block tries all of them in turns;
//! and what is counted of a request, of one build or of two.
//!
//! Before anything is timed, what does not depend on time is counted: the bytes, system calls and allocations of a
//! request, one at a time on one connection. Each count is made with some requests and with twice as many, so that what
//! happens once a connection falls out of the difference; and all of it twice, so that what does not repeat is seen.

use crate::record::trial_spec::Length;
use crate::record::{Side, Variant};

use super::Subject;
use super::cell::{Cell, Load};
use super::plan::Plan;
use super::run::Blocks;

/// Requests of the smaller count; the other has twice as many.
pub const COUNTED_REQUESTS: u64 = 200;

/// Requests of the smaller count where a run of one build counts.
const ONCE_REQUESTS: u64 = 16;

/// Largest arrays that a run of one build counts.
const ONCE_BYTES_MAX: u64 = 1 << 20;

/// Largest arrays whose counts are compared: what a large message takes depends on how it happens to be cut.
const COUNTED_BYTES_MAX: u64 = 4096;

/// Each count is made as often.
const COUNTS: u32 = 2;

/// `plan`, with every cell once for each of `builds` builds of either side.
pub fn timed(plan: &Plan, builds: u32, first_cell: u32) -> Plan {
    let usual = plan.cells.iter().filter(|cell| cell.variant == Variant::Usual);
    let cells =
        usual.flat_map(|cell| sides(builds).map(|variant| Cell { variant, ..cell.clone() }));
    Plan { cells: cells.collect(), first_cell, ..plan.clone() }
}

/// The counts that go before [`timed`].
pub fn counted(plan: &Plan, builds: u32) -> Plan {
    let is_counted = |cell: &&Cell| {
        cell.variant == Variant::Usual
            && cell.skip.is_none()
            && cell.array.bytes <= COUNTED_BYTES_MAX
    };
    let cells = alone(plan.cells.iter().filter(is_counted), COUNTED_REQUESTS);
    let each = |cell: Cell| sides(builds).map(move |variant| Cell { variant, ..cell.clone() });
    let blocks = Blocks { min: COUNTS, max: COUNTS, time: None };
    Plan { cells: cells.into_iter().flat_map(each).collect(), blocks, settle: None, ..plan.clone() }
}

/// The counts of a run of one build: of each of our own rungs among `cells`, with a few requests of every array that is
/// not too large to be sent one at a time by a traced server.
pub fn once(cells: &[Cell]) -> Vec<Cell> {
    let is_counted = |cell: &&Cell| {
        cell.skip.is_none()
            && cell.array.bytes <= ONCE_BYTES_MAX
            && matches!(cell.subject, Subject::Own(_))
    };
    let counted = alone(cells.iter().filter(is_counted), ONCE_REQUESTS);
    counted.into_iter().map(|cell| Cell { is_once: true, ..cell }).collect()
}

/// `cells` with `requests` to be counted, one at a time. A rung that stands there under two loads is counted once: there
/// is one connection either way.
fn alone<'a>(cells: impl Iterator<Item = &'a Cell>, requests: u64) -> Vec<Cell> {
    let mut counted: Vec<Cell> = Vec::new();
    for cell in cells {
        let is_it = |other: &Cell| other.subject == cell.subject && other.array == cell.array;
        if !counted.iter().any(is_it) {
            counted.push(Cell {
                load: Load::connections(1),
                is_counted: true,
                window: Length::Requests(requests),
                ..cell.clone()
            });
        }
    }
    counted
}

/// Every build of both sides.
fn sides(builds: u32) -> impl Iterator<Item = Variant> {
    let of = |number| [Side::Old, Side::New].map(|side| Variant::Build { side, number });
    (0..builds).flat_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::plan::Wish;
    use crate::experiment::preset::Preset;

    fn plan() -> Plan {
        let wish = Wish {
            rungs: Some("uring/{raw,h1}/npy,uring/h2/protobuf,uring/raw/reflect".into()),
            sizes: Some(vec![8, 65_536]),
            ..Wish::of(Preset::Quick)
        };
        wish.plan().unwrap()
    }

    #[test]
    fn every_cell_is_tried_with_every_build() {
        let timed = timed(&plan(), 2, 7);
        let usual = plan().cells.iter().filter(|cell| cell.variant == Variant::Usual).count();
        assert_eq!((timed.cells.len(), timed.first_cell), (4 * usual, 7));
    }

    #[test]
    fn a_run_of_one_build_counts_each_rung_at_each_array_once() {
        let names: Vec<String> = once(&plan().cells).iter().map(Cell::to_string).collect();
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
