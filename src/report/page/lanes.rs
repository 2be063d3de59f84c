//! Lanes of a run as lines of a table: time and instructions of a call in memory, by layer.

use std::collections::BTreeSet;

use crate::axis::Layer;
use crate::record::Lane;
use crate::stats::location;

use super::super::Run;
use super::super::units;

pub(super) const NOTE: &str = "A lane replays a conversation in memory, without socket, driver and \
                               kernel. Time is CPU time of a call, instructions are those of a \
                               call under valgrind, by layer.";

/// Returns the head and a line for each lane; `None` for a run without lanes.
pub(super) fn lines(run: &Run) -> Option<Vec<Vec<String>>> {
    let all =
        |lane: &Lane| lane.counts.iter().flat_map(|it| it.instructions.keys()).copied().collect();
    let layers: BTreeSet<Layer> =
        run.lanes.iter().flat_map(|lane| -> Vec<Layer> { all(lane) }).collect();
    let fixed =
        ["lane", "size", "in flight", "malloc", "time", "instructions", "mallocs", "copies"];
    let head = fixed.map(str::to_owned).into_iter().chain(layers.iter().map(Layer::to_string));
    let lines = run.lanes.iter().map(|lane| line(lane, &layers));
    (!run.lanes.is_empty()).then(|| std::iter::once(head.collect()).chain(lines).collect())
}

fn line(lane: &Lane, layers: &BTreeSet<Layer>) -> Vec<String> {
    let subject = &lane.subject;
    let planted = subject.planted.map_or_else(String::new, |planted| {
        format!(" + {} in {}", units::time(planted.ns as f64), planted.layer)
    });
    let mut times: Vec<f64> = lane.launches.iter().map(|launch| launch.ns).collect();
    let time = match (&lane.failure, times.is_empty()) {
        (Some(reason), _) => reason.clone(),
        (None, true) => none(),
        (None, false) => units::time(location::location(&mut times)),
    };
    let in_flight = lane.launches.first().map_or(subject.in_flight, |launch| launch.in_flight);
    let mut line = vec![
        format!("{}/{}{planted}", subject.protocol, subject.codec),
        units::bytes(subject.array.bytes),
        in_flight.to_string(),
        subject.malloc.to_string(),
        time,
    ];
    let Ok(counts) = &lane.counts else {
        line.extend(std::iter::repeat_n(none(), 3 + layers.len()));
        return line;
    };
    let a_call = |count: u64| count as f64 / f64::from(counts.calls.max(1));
    line.push(format!("{:.0}", a_call(counts.all())));
    line.push(counts.allocations.map_or_else(none, |count| format!("{:.1}", a_call(count))));
    line.push(format!("{:.1}", a_call(counts.copies)));
    let of_layer = |layer| counts.instructions.get(layer).copied().unwrap_or_default();
    line.extend(layers.iter().map(|layer| format!("{:.0}", a_call(of_layer(layer)))));
    line
}

fn none() -> String {
    "–".to_owned()
}
