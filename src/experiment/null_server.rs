//! Null servers: the highest rate that the load generator reaches with each of its loads.
//!
//! The null server of a protocol is our own stack on the ring without a codec. It returns the bytes
//! that came, so its replies pass the same checks and cost the load generator the same work as
//! those of any server. A rate near that of the null server is the limit of the load generator.
//!
//! Where io_uring is not available, the same stack runs on epoll. It is slower, so the load
//! generator may not be the busy side; the ceiling is then a lower bound.

use std::time::Duration;

use crate::axis::{Driver, Rung};
use crate::record::Variant;
use crate::record::trial_spec::Length;

use super::any_rung::AnyRung;
use super::cell::Cell;

const WINDOW: Duration = Duration::from_millis(100);

/// Makes a cell for each protocol, encoding, array and load of `cells`.
pub fn cells(cells: &[Cell]) -> Vec<Cell> {
    let mut null_cells: Vec<Cell> = Vec::new();
    for cell in cells.iter().filter(|cell| cell.skip.is_none()) {
        let Some(rung) = cell.rung.null_server() else { continue };
        let null = Cell {
            rung: rung.into(),
            variant: Variant::Null,
            parent: None,
            reference: None,
            null: None,
            in_flight_wanted: None,
            is_once: true,
            window: match cell.window {
                Length::Time(time) => Length::Time(time.min(WINDOW)),
                count => count,
            },
            ..cell.clone()
        };
        let is_same = |other: &Cell| other.rung == null.rung && other.is_same_load(&null);
        if !null_cells.iter().any(is_same) {
            null_cells.push(null);
        }
    }
    null_cells
}

/// Moves all null servers to epoll, also as the names by which other cells refer to them.
pub fn move_to_epoll(cells: &mut [Cell]) {
    for cell in cells {
        cell.null = cell.null.and_then(on_epoll);
        if let (Variant::Null, AnyRung::Own(rung)) = (cell.variant, &cell.rung)
            && let Some(rung) = on_epoll(*rung)
        {
            cell.rung = rung.into();
        }
    }
}

fn on_epoll(rung: Rung) -> Option<Rung> {
    Rung::new(Driver::Tokio, rung.protocol(), rung.codec(), rung.transport()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::options::RunOptions;
    use crate::experiment::preset::Preset;

    #[test]
    fn every_protocol_encoding_array_and_load_is_tried_once() {
        let options = RunOptions {
            rungs: Some("{uring,tokio}/{h1,raw}/npy,tokio/axum/{npy,json:serde}".into()),
            sizes: Some(vec![8, 65_536]),
            rounds: Some(1),
            ..RunOptions::new(Preset::Quick)
        };
        let plan = options.plan().unwrap();
        let tries: Vec<String> =
            plan.cells.iter().filter(|cell| cell.is_once).map(Cell::to_string).collect();
        let at = |bytes: u64| {
            let names = ["uring/h1/json", "uring/raw/npy", "uring/h1/npy"];
            names.map(|name| format!("{name} {bytes} B 50x1 null"))
        };
        assert_eq!(tries, [at(8), at(65_536)].concat());
        let usual = plan.cells.iter().filter(|cell| cell.variant == Variant::Usual);
        let axum = usual.filter(|cell| cell.rung.to_string() == "tokio/axum/json:serde");
        assert!(
            axum.into_iter()
                .all(|cell| { cell.null.is_some_and(|null| null.to_string() == "uring/h1/json") })
        );
    }
}
