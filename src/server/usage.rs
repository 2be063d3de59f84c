//! Descriptor limit and resource usage of the server process.

use nix::sys::resource::{UsageWho, getrusage};

use crate::driver::Counters;
use crate::probe::injected_delay::InjectedDelay;
use crate::probe::memory;
use crate::record::{DelayTotals, ServerReport};
use crate::server::ServerError;
use crate::sys::descriptors;

/// Raises the soft limit of descriptors, usually 1024, to the hard one.
pub fn raise_descriptor_limit() -> Result<(), ServerError> {
    let what = "raise the descriptor limit";
    descriptors::raise().map_err(|source| ServerError::System { what, source })
}

pub(super) fn report(
    counters: Counters,
    delays: &[InjectedDelay],
) -> Result<ServerReport, ServerError> {
    let system = |source| ServerError::System { what: "read what this process used", source };
    let usage = getrusage(UsageWho::RUSAGE_SELF).map_err(|error| system(error.into()))?;
    let count = |value: i64| u64::try_from(value).unwrap_or_default();
    Ok(ServerReport {
        accepted: counters.accepted,
        peer_faults: counters.peer_faults,
        panics: counters.panics,
        limits: counters.limits.hits().map(|(limit, n)| (limit.name().to_owned(), n)).collect(),
        socket: counters.socket,
        rss_peak_bytes: memory::rss_peak_bytes(std::process::id()).map_err(system)?,
        minor_faults: count(usage.minor_page_faults()),
        voluntary_switches: count(usage.voluntary_context_switches()),
        involuntary_switches: count(usage.involuntary_context_switches()),
        injected_delay: delays.iter().filter_map(|delay| delay.sum()).reduce(add),
    })
}

fn add(some: DelayTotals, more: DelayTotals) -> DelayTotals {
    DelayTotals { messages: some.messages + more.messages, ns: some.ns + more.ns }
}
