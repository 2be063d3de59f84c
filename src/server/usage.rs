//! Descriptor limit and resource usage of the server process, and sums over its workers.

use std::collections::BTreeMap;

use nix::sys::resource::{UsageWho, getrusage};

use crate::probe::injected_delay::InjectedDelay;
use crate::probe::memory;
use crate::record::{DelayTotals, ServerReport};
use crate::server::ServerError;
use crate::sys::descriptors;
use crate::sys::socket::SocketOptions;
use crate::wire::{MemoryBudget, WorkerCounts};

/// Raises the soft limit of descriptors, usually 1024, to the hard one.
pub fn raise_descriptor_limit() -> Result<(), ServerError> {
    let what = "raise the descriptor limit";
    descriptors::raise().map_err(|source| ServerError::System { what, source })
}

pub(super) fn report(
    counts: &[&WorkerCounts],
    socket: Option<SocketOptions>,
    memory: &MemoryBudget,
    delays: &[InjectedDelay],
) -> Result<ServerReport, ServerError> {
    let system = |source| ServerError::System { what: "read what this process used", source };
    let usage = getrusage(UsageWho::RUSAGE_SELF).map_err(|error| system(error.into()))?;
    let count = |value: i64| u64::try_from(value).unwrap_or_default();
    Ok(ServerReport {
        requests: sum(counts, |counts| counts.requests.get()),
        accepted: sum(counts, |counts| counts.accepted.get()),
        peer_faults: sum(counts, |counts| counts.peer_faults.get()),
        panics: sum(counts, WorkerCounts::panics),
        refusals: named(refusals(counts)),
        limits: named(limits(counts)),
        alarms: named(alarms(counts)),
        socket,
        held_bytes_peak: memory.peak_bytes() as u64,
        rss_peak_bytes: memory::rss_peak_bytes(std::process::id()).map_err(system)?,
        minor_faults: count(usage.minor_page_faults()),
        voluntary_switches: count(usage.voluntary_context_switches()),
        involuntary_switches: count(usage.involuntary_context_switches()),
        injected_delay: delays.iter().filter_map(|delay| delay.sum()).reduce(add),
    })
}

fn sum(workers: &[&WorkerCounts], count: impl Fn(&WorkerCounts) -> u64) -> u64 {
    workers.iter().map(|counts| count(counts)).sum()
}

/// Returns the refusals of all workers by code.
pub(super) fn refusals(workers: &[&WorkerCounts]) -> BTreeMap<&'static str, u64> {
    sums(workers.iter().flat_map(|counts| counts.refusals()))
}

pub(super) fn limits(workers: &[&WorkerCounts]) -> BTreeMap<&'static str, u64> {
    let limits = workers.iter().flat_map(|counts| counts.limits());
    sums(limits.map(|(limit, count)| (limit.name(), count)))
}

pub(super) fn alarms(workers: &[&WorkerCounts]) -> BTreeMap<&'static str, u64> {
    let alarms = workers.iter().flat_map(|counts| counts.alarms());
    sums(alarms.map(|(alarm, count)| (alarm.name(), count)))
}

fn sums(counts: impl Iterator<Item = (&'static str, u64)>) -> BTreeMap<&'static str, u64> {
    let mut sums = BTreeMap::new();
    counts.for_each(|(name, count)| *sums.entry(name).or_default() += count);
    sums
}

/// Leaves zeros out.
fn named(sums: BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    let counted = sums.into_iter().filter(|(_, count)| *count > 0);
    counted.map(|(name, count)| (name.to_owned(), count)).collect()
}

fn add(some: DelayTotals, more: DelayTotals) -> DelayTotals {
    DelayTotals { messages: some.messages + more.messages, ns: some.ns + more.ns }
}
