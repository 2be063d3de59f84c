//! Controls: cells that show how far the figures of a run can be trusted.
//!
//! - Twins, in every table: a rung again, so the difference of the two is noise alone. How much
//!   that is depends on the family and the allocator of a server, so there is a twin for each of
//!   these that several servers of the table have.
//! - A delay, where the array is smallest and several requests are in flight: a known cost of every
//!   request that the run has to find. Where the standard server has glibc's malloc as it is, its
//!   form with an allocator that keeps its pages gets the delay: whether glibc returns pages after
//!   each batch is chance in each process, and moves the cost by more than the delay
//!   (docs/TRIED.md).
//! - A second delay, if the rung is no standard server and so may be faster than the load
//!   generator. The first one keeps its server busy, and the second is found on top of it.

use std::collections::BTreeMap;

use crate::axis::{Malloc, Payload};
use crate::record::Variant;
use crate::stats::bootstrap::UNITS_MIN;

use super::any_rung::AnyRung;
use super::cell::Cell;

/// Fewest blocks from which controls can tell anything. A shorter run has none.
pub const BLOCKS_MIN: u32 = UNITS_MIN as u32;

/// Delay of a request with an array below 1 KiB.
pub const DELAY_NS: u64 = 500;

/// More for each KiB of the array, a tenth of what tonic costs: no run could find 500 ns in the
/// price of a mebibyte.
const DELAY_NS_PER_KIB: u64 = 128;

/// Second delay, as a share of the first, which it contains.
const SECOND_DELAY: (u64, u64) = (7, 5);

/// Makes the controls of `cells`, whose servers get `malloc` or the allocator that each has by
/// itself.
pub fn cells(cells: &[Cell], malloc: Option<Malloc>) -> Vec<Cell> {
    // What the machine does to a server without a coding, it does to one with a coding.
    let tried = |cell: &&Cell| {
        let is_own = matches!(cell.rung, AnyRung::Own(_));
        cell.skip.is_none() && is_own && cell.coding.is_identity()
    };
    let mut tables: BTreeMap<_, Vec<&Cell>> = BTreeMap::new();
    for cell in cells.iter().filter(tried) {
        let key = (
            cell.array.bytes,
            cell.array.shape.as_slice(),
            cell.array.data_set,
            cell.concurrency.connections,
            cell.concurrency.in_flight,
        );
        tables.entry(key).or_default().push(cell);
    }
    let smallest = tables.keys().map(|(bytes, ..)| *bytes).min();
    // A lone request costs the most, so a delay is the hardest to find in it.
    let is_deep = |in_flight: u32| {
        in_flight > 1
            || tables.keys().all(|(bytes, _, _, _, other)| Some(*bytes) != smallest || *other == 1)
    };
    let mut controls = Vec::new();
    for ((bytes, _, _, _, in_flight), table) in &tables {
        let Some((rung, times)) = most_compared_with(table) else { continue };
        controls.extend(twins(table, rung, malloc));
        if Some(*bytes) == smallest && is_deep(*in_flight) {
            let ns = DELAY_NS + bytes / 1024 * DELAY_NS_PER_KIB;
            let delayed = form_that_keeps_pages(table, rung, malloc).unwrap_or(rung);
            controls.push(control(delayed, Variant::Delayed { ns }));
            if times == 0 {
                let (more, than) = SECOND_DELAY;
                controls.push(control(delayed, Variant::Delayed { ns: ns / than * more }));
            }
        }
    }
    controls
}

/// Makes a twin of the rung that most others of the table are compared with, and one of each other
/// kind of server: of the best form of the standard server, else of the one that most are compared
/// with among those whose payload is plain bytes, since text takes longer.
fn twins(table: &[&Cell], rung: &Cell, malloc: Option<Malloc>) -> Vec<Cell> {
    let kind = |cell: &Cell| (cell.rung.family(), cell.malloc(malloc));
    let mut twins = vec![control(rung, Variant::Twin)];
    for cell in table {
        let alike = table.iter().filter(|other| kind(other) == kind(cell)).copied();
        let mut alike: Vec<&Cell> = alike.collect();
        if alike.len() < 2 || twins.iter().any(|twin| kind(twin) == kind(cell)) {
            continue;
        }
        let best = form_that_keeps_pages(&alike, rung, malloc);
        let is_plain = |cell: &&Cell| cell.rung.encoding().spec().payload == Payload::Bytes;
        if alike.iter().any(is_plain) {
            alike.retain(is_plain);
        }
        let usual = || most_compared_with(&alike).map(|(cell, _)| cell);
        twins.extend(best.or_else(usual).map(|cell| control(cell, Variant::Twin)));
    }
    twins
}

fn control(cell: &Cell, variant: Variant) -> Cell {
    Cell { variant, parent: None, reference: None, ..cell.clone() }
}

/// Finds the last cell compared with `standard` whose allocator keeps its pages, the best form of
/// the stack; `None` if there is none or if `standard` has such an allocator itself.
fn form_that_keeps_pages<'a>(
    table: &[&'a Cell],
    standard: &Cell,
    malloc: Option<Malloc>,
) -> Option<&'a Cell> {
    let returns_pages = |cell: &Cell| cell.malloc(malloc) == Malloc::Default;
    let is_form = |cell: &&&Cell| cell.reference.is_some_and(|named| standard.rung == named.into());
    let keeps = |cell: &&&Cell| !returns_pages(cell);
    if !returns_pages(standard) {
        return None;
    }
    table.iter().filter(is_form).rfind(keeps).copied()
}

/// Finds the cell that most others name as their reference (the first of equals), and their number.
fn most_compared_with<'a>(table: &[&'a Cell]) -> Option<(&'a Cell, usize)> {
    let times = |cell: &Cell| {
        let names_it =
            |other: &&&Cell| other.reference.is_some_and(|reference| cell.rung == reference.into());
        table.iter().filter(names_it).count()
    };
    table.iter().rev().map(|cell| (*cell, times(cell))).max_by_key(|(_, times)| *times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::options::RunOptions;
    use crate::experiment::preset::Preset;
    use crate::record::{ArrayInfo, Trial};

    #[test]
    fn every_table_of_quick_has_a_twin_of_its_standard_and_the_smallest_a_delay() {
        let plan = RunOptions::new(Preset::Quick).plan().unwrap();
        let controls: Vec<String> = plan
            .cells
            .iter()
            .filter(|cell| cell.variant != Variant::Usual && !cell.is_once)
            .map(Cell::to_string)
            .collect();
        let expected = [
            "tokio/tonic/protobuf:prost 8 B 1x1 again",
            "tokio/tonic:best/protobuf:prost_bytes 8 B 1x1 again",
            "tokio/tonic/protobuf:prost 8 B 1x1000 again",
            "tokio/tonic:best/protobuf:prost_bytes 8 B 1x1000 again",
            "tokio/tonic:best/protobuf:prost_bytes 8 B 1x1000 +500 ns",
            "tokio/tonic/protobuf:prost 65536 B 8x1 again",
            "tokio/axum/msgpack:serde 65536 B 8x1 again",
            "tokio/tonic/protobuf:prost 1048576 B 1x8 again",
            "tokio/tonic:best/protobuf:prost_bytes 1048576 B 1x8 again",
        ];
        assert_eq!(controls, expected);
    }

    #[test]
    fn the_delay_stays_at_the_standard_if_every_server_has_one_allocator() {
        for malloc in [Malloc::Default, Malloc::Keep] {
            let options = RunOptions { malloc: Some(malloc), ..RunOptions::new(Preset::Quick) };
            let cells = options.plan().unwrap().cells;
            let delayed = cells.iter().find(|cell| matches!(cell.variant, Variant::Delayed { .. }));
            assert_eq!(delayed.unwrap().rung.to_string(), "tokio/tonic/protobuf:prost");
        }
    }

    #[test]
    fn a_rung_that_is_no_standard_has_two_delays() {
        let options = RunOptions {
            rungs: Some("uring/h2/protobuf".into()),
            ..RunOptions::new(Preset::Quick)
        };
        let is_delayed = |cell: &&Cell| matches!(cell.variant, Variant::Delayed { .. });
        let cells = options.plan().unwrap().cells;
        let delays: Vec<String> = cells.iter().filter(is_delayed).map(Cell::to_string).collect();
        assert_eq!(
            delays,
            ["uring/h2/protobuf 8 B 1x1000 +500 ns", "uring/h2/protobuf 8 B 1x1000 +700 ns"]
        );
    }

    #[test]
    fn a_large_array_has_a_delay_that_can_be_seen_beside_its_cost() {
        let options = RunOptions {
            rungs: Some("uring/h2/protobuf".into()),
            sizes: Some(vec![1 << 20]),
            ..RunOptions::new(Preset::Quick)
        };
        let cells = options.plan().unwrap().cells;
        let delays: Vec<u64> = cells
            .iter()
            .filter_map(|cell| match cell.variant {
                Variant::Delayed { ns } => Some(ns),
                _ => None,
            })
            .collect();
        assert_eq!(delays, [131_572, 184_198]);
    }

    #[test]
    fn a_trial_is_of_the_cell_that_has_its_variant_and_array() {
        let cells = RunOptions::new(Preset::Quick).plan().unwrap().cells;
        let delayed =
            cells.iter().find(|cell| matches!(cell.variant, Variant::Delayed { .. })).unwrap();
        let trial = Trial {
            rung: delayed.rung.to_string(),
            variant: delayed.variant,
            array: delayed.array.clone(),
            ..Trial::default()
        };
        assert!(delayed.matches(&trial));
        assert!(!delayed.matches(&Trial { variant: Variant::Null, ..trial.clone() }));
        assert!(!delayed.matches(&Trial { array: ArrayInfo::default(), ..trial }));
    }

    #[test]
    fn a_few_blocks_have_none() {
        let options = RunOptions { rounds: Some(BLOCKS_MIN - 1), ..RunOptions::new(Preset::Quick) };
        let is_control =
            |cell: &Cell| matches!(cell.variant, Variant::Twin | Variant::Delayed { .. });
        assert!(!options.plan().unwrap().cells.iter().any(is_control));
    }
}
