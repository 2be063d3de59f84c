//! Laws that hold in every run.

use std::time::Duration;

use super::peer::{Manner, Peer};
use super::scenario::{End, Plan, Stack};
use super::world::World;
use crate::wire::Limit;

/// Longest time of a peer that reads at once between the arrival of a request and its answer. No
/// deadline of a connection is as short.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Time for the last turn of a drain.
const DRAIN_SLACK: Duration = Duration::from_millis(50);

/// Returns true if the server has stopped because nothing was left to do.
pub(super) fn is_drained(plan: &Plan, world: &World) -> bool {
    let drained_in = Duration::from_nanos(world.ended_at.saturating_sub(world.stop_at));
    drained_in < plan.options.drain_timeout
}

/// Laws for a server that has stopped, and its peers.
pub(super) fn of_server(plan: &Plan, world: &World) -> Vec<String> {
    let mut problems = Vec::new();
    let drained_in = Duration::from_nanos(world.ended_at.saturating_sub(world.stop_at));
    if drained_in > plan.options.drain_timeout + DRAIN_SLACK {
        problems.push("the drain took longer than its limit".to_owned());
    }
    let is_drained = is_drained(plan, world);
    for (number, peer) in world.peers.iter().enumerate() {
        let checked = check(plan, is_drained, world.stop_at, peer);
        problems.extend(checked.map(|text| format!("peer {number} ({:?}): {text}", peer.manner)));
    }
    let bytes_in: usize = world.peers.iter().map(|peer| peer.line.bytes_in).sum();
    let bytes_out: usize = world.peers.iter().map(|peer| peer.line.bytes_out).sum();
    let are_fair = world.peers.iter().all(|peer| peer.manner.is_fair());
    let counts = plan.options.counts;
    let counted = (counts.bytes_in.get() as usize, counts.bytes_out.get() as usize);
    let is_exact = are_fair && plan.end == End::Late && plan.stack.ends_alone();
    if counted.0 > bytes_in || counted.1 > bytes_out || is_exact && counted != (bytes_in, bytes_out)
    {
        let moved = (bytes_in, bytes_out);
        problems.push(format!("counted {counted:?} bytes of {moved:?} that were moved"));
    }
    problems
}

impl Stack {
    /// Returns true if every connection with a fair peer ends with all bytes taken.
    fn ends_alone(self) -> bool {
        self != Stack::Hyper
    }
}

/// Law for the end: nothing is left of closed connections.
pub(super) fn leftovers(leftovers: &[(&'static str, usize)]) -> Option<String> {
    let left: Vec<_> = leftovers.iter().filter(|(_, count)| *count > 0).collect();
    (!left.is_empty()).then(|| format!("left at the end: {left:?}"))
}

fn check(plan: &Plan, is_drained: bool, stop_at: u64, peer: &Peer) -> Option<String> {
    if let Some(problem) = peer.brain.problem() {
        return Some(problem.to_owned());
    }
    let line = &peer.line;
    let is_late = plan.end == End::Late;
    // Bad peers may hold every place for longer than a drain lasts.
    let is_admitted = line.admitted_at.is_some() || is_drained;
    let is_over = line.server_has_closed || line.peer_has_reset;
    if is_late && !is_over {
        return Some("the connection is still open".to_owned());
    }
    if !peer.manner.is_fair() || !is_admitted {
        return None;
    }
    for (id, request) in peer.brain.requests().iter().enumerate() {
        if has_retired(plan) && line.retired_at().is_some_and(|at| request.begins_after(at)) {
            continue;
        }
        let had_arrived = request.arrived_at.is_some_and(|at| at < stop_at);
        let is_answered = request.answered_at.is_some() && !request.is_refused;
        let can_answer = is_drained && plan.stack.answers_in_drain();
        if !is_answered && (is_late || had_arrived && can_answer) {
            return Some(format!("request {id} has no answer: {request:?}"));
        }
        let begin = request.arrived_at.max(line.admitted_at);
        if let (Some(begin), Some(end)) = (begin, request.answered_at)
            && peer.manner != Manner::Slow
            && Duration::from_nanos(end.saturating_sub(begin)) > ANSWER_MAX
        {
            return Some(format!("request {id} waited too long: {request:?}"));
        }
        if !is_answered && request.arrived_at.is_some() && !is_over && is_drained {
            return Some(format!("request {id} has no answer, and no end: {request:?}"));
        }
    }
    None
}

/// Returns true if the server has ended idle connections, whose places others needed. A request
/// that begins after the server has seen that there is none has no answer.
fn has_retired(plan: &Plan) -> bool {
    plan.options.counts.limits().any(|(limit, count)| limit == Limit::IdlePlace && count > 0)
}

impl Stack {
    /// Returns true if a drain answers what had arrived. The machines of the simulator end at once.
    fn answers_in_drain(self) -> bool {
        self.has_deadlines()
    }
}

/// Laws after the drop of the reactor.
pub(super) fn after(plan: &Plan, world: &World) -> Vec<String> {
    let mut problems = Vec::new();
    let open: Vec<_> = world.sockets.keys().collect();
    if !open.is_empty() {
        problems.push(format!("sockets {open:?} were not closed"));
    }
    if world.is_listening && plan.stack != Stack::Adopted {
        problems.push("the listener was not closed".to_owned());
    }
    problems
}

pub(super) fn answers(world: &World) -> u64 {
    let requests = world.peers.iter().flat_map(|peer| peer.brain.requests());
    requests.filter(|request| request.answered_at.is_some()).count() as u64
}
