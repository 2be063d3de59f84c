//! Lanes of a run that attributes differences: measured after the last trial, since they would
//! disturb the servers.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::bail;

use crate::axis::Malloc;
use crate::cli::lane_children::{self, LaneInput};
use crate::cli::lanes::cores;
use crate::cli::output::tell;
use crate::experiment::plan::Plan;
use crate::experiment::records::Records;
use crate::experiment::testbed::Testbed;
use crate::experiment::{lanes, order};
use crate::probe::profile::Instructions;
use crate::record::{Lane, LaneCounts, LaneDocument, Line, VERSION};
use crate::stats::bootstrap::UNITS_MIN;

/// Launches in which each lane is timed: as many as an interval needs, and one more.
const LAUNCHES: u32 = UNITS_MIN as u32 + 1;

/// Measures the lanes of `plan` that `earlier` does not hold, and appends them to `records`.
pub(super) fn measure(
    testbed: &Testbed,
    plan: &Plan,
    records: &mut Records,
    earlier: &[Lane],
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let is_new = |it: &LaneDocument| earlier.iter().all(|lane| lane.subject != it.subject);
    let documents = lanes::documents(plan, testbed.cpu_server);
    let documents: Vec<LaneDocument> = documents.into_iter().filter(is_new).collect();
    if documents.is_empty() {
        return Ok(());
    }
    tell(format!(
        "lanes: {} protocols and codecs in memory, by the clock and by instructions",
        documents.len()
    ));
    let timed = time(testbed, plan.seed, &documents, stop)?;
    count(&documents, timed, records, stop)
}

/// Times each lane in several launches, in each of which all take their turns.
fn time(
    testbed: &Testbed,
    seed: u64,
    documents: &[LaneDocument],
    stop: &AtomicBool,
) -> anyhow::Result<Vec<Lane>> {
    let new = |document: &LaneDocument| Lane {
        version: VERSION,
        subject: document.subject.clone(),
        launches: Vec::new(),
        counts: Err("the lane did not run".to_owned()),
        failure: None,
    };
    let mut measured: Vec<Lane> = documents.iter().map(new).collect();
    for order in order::rounds(documents.len(), LAUNCHES, seed) {
        for index in order {
            check(stop)?;
            let lane = &mut measured[index];
            if lane.failure.is_some() {
                continue;
            }
            match lane_children::time(&testbed.program, &documents[index]) {
                Ok(timed) => lane.launches.push(timed),
                Err(error) => lane.failure = Some(format!("{error:#}")),
            }
        }
    }
    Ok(measured)
}

/// Counts the instructions of each lane that ran, and appends all lanes to `records`. A lane that
/// cannot be counted holds the reason.
fn count(
    documents: &[LaneDocument],
    mut lanes: Vec<Lane>,
    records: &mut Records,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let ran: Vec<usize> = (0..lanes.len()).filter(|at| lanes[*at].failure.is_none()).collect();
    let input = |index: &usize| {
        let steps = lanes[*index].launches.first().and_then(|timed| timed.steps);
        let document = LaneDocument { core: None, steps, ..documents[*index].clone() };
        LaneInput::Document(Box::new(document))
    };
    let inputs: Vec<LaneInput> = ran.iter().map(input).collect();
    let counted = lane_children::check_valgrind().and_then(|()| {
        lane_children::count(&inputs, cores(), |number, counted| {
            check(stop)?;
            let lane = &mut lanes[ran[number]];
            lane.counts = counted.map(|it| counts(lane, it)).map_err(|error| format!("{error:#}"));
            Ok(())
        })
    });
    check(stop)?;
    for lane in &mut lanes {
        if let (Err(error), Err(reason)) = (&counted, &mut lane.counts) {
            *reason = format!("{error:#}");
        }
        records.append(&Line::Lane(Box::new(lane.clone())))?;
    }
    Ok(())
}

fn counts(lane: &Lane, counted: Instructions) -> LaneCounts {
    let is_of_libc = lane.subject.malloc != Malloc::Mimalloc;
    LaneCounts {
        calls: lane.launches.first().map_or(0, |timed| timed.counted_calls),
        instructions: counted.layers.into_iter().map(|(layer, it)| (layer, it.count)).collect(),
        allocations: is_of_libc.then_some(counted.allocations),
        copies: counted.copies,
    }
}

fn check(stop: &AtomicBool) -> anyhow::Result<()> {
    if stop.load(Ordering::Relaxed) {
        bail!("stopped before the lanes were measured; `ndecho ladder --continue` measures them");
    }
    Ok(())
}
