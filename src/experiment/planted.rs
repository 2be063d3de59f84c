//! Planted cells: rungs with a known cost in a named layer, which samples and clock have to find.
//!
//! One own protocol and one stack of others have them, where the array is smallest and several
//! requests are in flight: there the cost of a request is smallest, and so is the noise.

use crate::axis::{Layer, Protocol, Rung, Shape};
use crate::record::Variant;
use crate::service::planted;

use super::any_rung::AnyRung;
use super::cell::Cell;

/// Planted cost of a protocol whose small request costs less than a microsecond.
pub const SMALL_NS: u64 = 500;

/// Planted cost of any other, about a quarter of tonic's small call.
pub const LARGE_NS: u64 = 4000;

/// Protocols whose own code has places for a cost, the best ones first.
const OWN: [Protocol; 3] = [Protocol::H2, Protocol::H1, Protocol::Raw];

const STACKS: [Protocol; 3] = [Protocol::TonicTuned, Protocol::Tonic, Protocol::Axum];

/// Returns the planted cells of a plan, each with a second one that is sampled. The application is
/// left out: the usual control delays it.
pub fn cells(cells: &[Cell]) -> Vec<Cell> {
    let tried: Vec<&Cell> = cells.iter().filter(|cell| is_usable(cell)).collect();
    let smallest = tried.iter().map(|cell| cell.array.bytes).min();
    let is_deep = |cell: &Cell| cell.concurrency.in_flight > 1;
    let small: Vec<&Cell> =
        tried.into_iter().filter(|cell| Some(cell.array.bytes) == smallest).collect();
    let any_deep = small.iter().any(|cell| is_deep(cell));
    let candidates: Vec<&Cell> =
        small.into_iter().filter(|cell| is_deep(cell) || !any_deep).collect();
    [&OWN[..], &STACKS[..]]
        .into_iter()
        .filter_map(|of| best(&candidates, of))
        .flat_map(plant)
        .collect()
}

fn is_usable(cell: &Cell) -> bool {
    cell.variant == Variant::Usual
        && cell.is_sliced()
        && cell.skip.is_none()
        && rung(cell).is_some()
}

fn rung(cell: &Cell) -> Option<Rung> {
    match cell.rung {
        AnyRung::Own(rung) => Some(rung),
        AnyRung::External(_) => None,
    }
}

/// Returns the cell with the most places among those of the first protocol that is there.
fn best<'a>(cells: &[&'a Cell], protocols: &[Protocol]) -> Option<&'a Cell> {
    let places = |cell: &Cell| rung(cell).map_or(0, |rung| planted::layers(rung).len());
    let of = |protocol: &Protocol| {
        let is_its = |cell: &&&Cell| rung(cell).is_some_and(|rung| rung.protocol() == *protocol);
        // The first of equals.
        cells.iter().filter(is_its).rev().max_by_key(|cell| places(cell)).copied()
    };
    protocols.iter().find_map(of)
}

fn plant(cell: &Cell) -> Vec<Cell> {
    let Some(rung) = rung(cell) else { return Vec::new() };
    let ns = delay_ns(rung);
    let layers = planted::layers(rung).into_iter().filter(|layer| *layer != Layer::Application);
    let of = |layer| {
        [false, true].map(|is_profiled| Cell {
            variant: Variant::Planted { layer, ns, is_profiled },
            parent: None,
            reference: None,
            ..cell.clone()
        })
    };
    layers.flat_map(of).collect()
}

fn delay_ns(rung: Rung) -> u64 {
    let is_own = rung.protocol().spec().shape == Shape::Machine;
    // A request of HTTP/1.1 is one system call or more.
    if is_own && rung.protocol() != Protocol::H1 { SMALL_NS } else { LARGE_NS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::options::RunOptions;
    use crate::experiment::preset::Preset;

    fn planted_in(preset: Preset, rungs: Option<&str>) -> Vec<String> {
        let options = RunOptions {
            rungs: rungs.map(str::to_owned),
            attribute: true,
            ..RunOptions::new(preset)
        };
        let plan = options.plan().unwrap();
        let is_planted = |cell: &&Cell| matches!(cell.variant, Variant::Planted { .. });
        plan.cells.iter().filter(is_planted).map(Cell::to_string).collect()
    }

    #[test]
    fn own_http2_and_tonic_have_every_place_twice() {
        let of = |rung: &str, ns: u64, layers: &[&str]| -> Vec<String> {
            let both = |layer: &&str| {
                let name = format!("{rung} 8 B 1x1000 +{ns} ns in {layer}");
                [name.clone(), name + ", profiled"]
            };
            layers.iter().flat_map(both).collect()
        };
        let own = ["codec decode", "HTTP framing", "runtime", "allocator", "user copies"];
        let tonic = ["codec decode", "framework", "allocator", "user copies"];
        let wanted = [
            of("uring/h2/protobuf", SMALL_NS, &own),
            of("tokio/tonic:tuned/protobuf:prost", LARGE_NS, &tonic),
        ];
        assert_eq!(planted_in(Preset::Chains, None), wanted.concat());
    }

    #[test]
    fn rest_alone_has_its_own_places() {
        let planted = planted_in(Preset::Broad, Some("uring/h1/npy,tokio/axum/npy"));
        assert!(planted[0].starts_with("uring/h1/npy 8 B 50x1 +4000 ns in codec decode"));
        assert_eq!(planted.len(), 2 * (5 + 3), "{planted:?}");
    }

    #[test]
    fn a_run_that_attributes_nothing_plants_nothing() {
        let plan = RunOptions::new(Preset::Quick).plan().unwrap();
        let is_planted = |cell: &Cell| matches!(cell.variant, Variant::Planted { .. });
        assert!(!plan.cells.iter().any(is_planted));
    }
}
