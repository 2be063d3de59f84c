//! What the load generator can reach at all: one try of each of its loads against a server that does nothing.
//!
//! The null server of a protocol is our own stack on the ring with nothing behind it: the bytes that came go back, in
//! whatever encoding they are, and no array is read or written. So its replies have the right length and pass the same
//! check as any other, and the load generator's work is the one that it has with every rung of the protocol. It is in no
//! table; a rate that comes near its own is the load generator's.

use std::time::Duration;

use crate::axis::{Driver, Encoding, Family, Rung, Transport};
use crate::record::Variant;
use crate::record::trial_spec::Length;

use super::cell::Cell;

/// Length of a window at most.
const WINDOW: Duration = Duration::from_millis(100);

/// The null server that is to be beside the `family` and encoding of a rung.
pub fn null(family: Family, encoding: Encoding) -> Rung {
    Rung::new(Driver::Uring, family.own(), encoding.own(), Transport::Tcp)
        .expect("our own protocols run on every driver")
}

/// The tries for `cells`: one for each protocol, encoding, array and load.
pub fn of(cells: &[Cell]) -> Vec<Cell> {
    let mut tries: Vec<Cell> = Vec::new();
    for cell in cells.iter().filter(|cell| cell.skip.is_none()) {
        let null = null(cell.subject.family(), cell.subject.encoding());
        let window = match cell.window {
            Length::Time(time) => Length::Time(time.min(WINDOW)),
            count => count,
        };
        let try_ = Cell {
            subject: null.into(),
            variant: Variant::Null,
            parent: None,
            reference: None,
            null: None,
            in_flight_wanted: None,
            is_once: true,
            window,
            ..cell.clone()
        };
        let is_it = |other: &Cell| {
            (&other.subject, &other.array, other.load) == (&try_.subject, &try_.array, try_.load)
        };
        if !tries.iter().any(is_it) {
            tries.push(try_);
        }
    }
    tries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::plan::Wish;
    use crate::experiment::preset::Preset;

    #[test]
    fn every_protocol_encoding_array_and_load_is_tried_once() {
        let wish = Wish {
            rungs: Some("{uring,tokio}/{h1,raw}/npy,tokio/axum/{npy,json:serde}".into()),
            sizes: Some(vec![8, 65_536]),
            rounds: Some(1),
            ..Wish::of(Preset::Quick)
        };
        let plan = wish.plan().unwrap();
        let tries: Vec<String> =
            plan.cells.iter().filter(|cell| cell.is_once).map(Cell::to_string).collect();
        let at = |bytes: u64| {
            let names = ["uring/h1/json", "uring/raw/npy", "uring/h1/npy"];
            names.map(|name| format!("{name} {bytes} B 50x1 null"))
        };
        assert_eq!(tries, [at(8), at(65_536)].concat());
        let usual = plan.cells.iter().filter(|cell| cell.variant == Variant::Usual);
        let axum = usual.filter(|cell| cell.subject.to_string() == "tokio/axum/json:serde");
        assert!(
            axum.into_iter()
                .all(|cell| { cell.null.is_some_and(|null| null.to_string() == "uring/h1/json") })
        );
    }
}
