//! Lanes of a run: which protocols and codecs its cells have, each once.
//!
//! A lane has neither driver nor transport, so several rungs share one.

use crate::record::{LaneDocument, LaneSubject, PlantedWork, Variant};

use super::any_rung::AnyRung;
use super::cell::Cell;
use super::plan::Plan;

/// Returns the lanes of the usual and the planted cells of `plan`, as documents for child
/// processes that run on the server's core `core`.
pub fn documents(plan: &Plan, core: usize) -> Vec<LaneDocument> {
    let mut documents: Vec<LaneDocument> = Vec::new();
    for cell in plan.cells.iter().filter(|cell| cell.is_sliced() && cell.skip.is_none()) {
        let Some(subject) = subject(plan, cell) else { continue };
        if documents.iter().all(|known| known.subject != subject) {
            let array = plan.array_of(cell);
            documents.push(LaneDocument { subject, array, core: Some(core), steps: None });
        }
    }
    documents
}

fn subject(plan: &Plan, cell: &Cell) -> Option<LaneSubject> {
    let planted = match cell.variant {
        Variant::Usual => None,
        Variant::Planted { layer, ns, is_profiled: false } => Some(PlantedWork { layer, ns }),
        _ => return None,
    };
    let AnyRung::Own(rung) = cell.rung else { return None };
    Some(LaneSubject {
        protocol: rung.protocol(),
        codec: rung.codec(),
        malloc: cell.malloc(plan.malloc),
        array: cell.array.clone(),
        in_flight: cell.concurrency.in_flight.div_ceil(cell.concurrency.connections.max(1)),
        planted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::{Layer, Malloc, Protocol};
    use crate::experiment::options::RunOptions;
    use crate::experiment::preset::Preset;

    fn documents_of(rungs: &str, sizes: &[u64]) -> Vec<LaneDocument> {
        let options = RunOptions {
            rungs: Some(rungs.to_owned()),
            sizes: Some(sizes.to_vec()),
            attribute: true,
            ..RunOptions::new(Preset::Broad)
        };
        documents(&options.plan().unwrap(), 3)
    }

    #[test]
    fn drivers_and_transports_share_a_lane_and_each_planted_cost_has_one() {
        let found = documents_of("{uring,tokio}/h2/protobuf{,@unix}", &[8, 65_536]);
        let (planted, plain): (Vec<LaneDocument>, Vec<LaneDocument>) =
            found.into_iter().partition(|it| it.subject.planted.is_some());
        let many = |it: &&LaneDocument| it.subject.in_flight > 1;
        let bytes = |it: &LaneDocument| it.subject.array.bytes;
        let sizes: Vec<u64> = plain.iter().filter(many).map(bytes).collect();
        assert_eq!(sizes, [8, 65_536], "{plain:?}");
        assert!(plain.iter().all(|it| it.subject.protocol == Protocol::H2 && it.core == Some(3)));
        let layers: Vec<Layer> =
            planted.iter().filter_map(|it| Some(it.subject.planted?.layer)).collect();
        assert_eq!(layers.len(), 5, "{layers:?}");
        assert!(layers.contains(&Layer::Runtime) && layers.contains(&Layer::UserCopies));
    }

    #[test]
    fn a_lane_has_the_allocator_of_its_rungs() {
        let found = documents_of("tokio/tonic:{tuned,best}/protobuf:prost_bytes", &[8]);
        let malloc = |protocol| {
            let is_its = |it: &&LaneDocument| it.subject.protocol == protocol;
            found.iter().find(is_its).map(|it| it.subject.malloc)
        };
        assert_eq!(malloc(Protocol::TonicTuned), Some(Malloc::Default));
        assert_eq!(malloc(Protocol::TonicBest), Some(Malloc::Keep));
    }
}
