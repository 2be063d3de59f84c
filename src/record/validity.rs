//! Rules by which a trial is discarded.
//!
//! The rules look at other programs on the machine and at contradictions within the load
//! generator's figures, never at the result. A discarded trial stays in the record with its reason.
//! The report judges by cell whether a rate is the server's or the load generator's.

use crate::probe::disturbance::Disturbance;

use super::{Measurement, Outcome, Trial};

/// Largest share of a trial in which some task waited for a processor. The share was 0.01 to 0.05
/// on two otherwise idle cores, and 0.18 to 0.52 while a compiler ran.
pub const WAITED_MAX: f64 = 0.1;

pub const STOLEN_MAX: f64 = 0.01;

/// Resolution of the kernel's count of stolen time.
const TICK_NS: f64 = 1e7;

/// Largest relative difference between rate times latency and the requests in flight (Little's
/// law), plus the error at the ends of the window. Both come from one clock, so a larger difference
/// is an error of the load generator.
pub const LITTLE_MAX: f64 = 0.05;

/// Largest rate of preemptions of a server that is alone on its core, if its waits were long too.
pub const PREEMPTIONS_HZ_MAX: f64 = 100.0;

/// Largest share of a trial in which a frequently preempted server waits for other programs.
pub const OTHERS_MAX: f64 = 0.02;

/// Largest 99th percentile of the load generator's lag, as a share of the median latency.
pub const LAG_MAX: f64 = 0.1;

pub const ACHIEVED_MIN: f64 = 0.99;

/// Returns the reason to discard `trial`, if there is one. On a shared core, waiting and preemption
/// are normal and no reason. A launch in slices is not discarded for a disturbance, since both
/// sides of its ratios met it; its disturbed slices were repeated.
pub fn objection(trial: &Trial, shares_core: bool) -> Option<String> {
    let Outcome::Measured(measured) = &trial.outcome else { return None };
    let is_sliced = !measured.slices.is_empty();
    let disturbed = || if shares_core || is_sliced { None } else { disturbance(trial) };
    disturbed().or_else(|| schedule(measured)).or_else(|| little(trial, measured))
}

fn disturbance(trial: &Trial) -> Option<String> {
    let disturbance = trial.disturbance?;
    let stats = trial.sched_stats.unwrap_or_default();
    let wall = disturbance.wall_ns as f64;
    // Waits of a server's threads for each other are part of the server's cost.
    if let Some(reason) = disturbed(&disturbance, stats.own_ns) {
        return Some(reason);
    }
    let rate_hz = stats.preemptions as f64 * 1e9 / wall;
    let others = stats.others_ns as f64 / wall;
    (rate_hz > PREEMPTIONS_HZ_MAX && others > OTHERS_MAX).then(|| {
        format!(
            "the server was preempted {rate_hz:.0} times a second and waited for other programs in \
             {:.0} % of the time",
            others * 100.0
        )
    })
}

/// Returns the reason why other programs or guests disturbed a load. `own_ns` is the time in which
/// threads of the server waited for each other.
pub fn disturbed(disturbance: &Disturbance, own_ns: u64) -> Option<String> {
    let wall = disturbance.wall_ns as f64;
    let waited = disturbance.waited_ns.saturating_sub(own_ns) as f64 / wall;
    if waited > WAITED_MAX {
        return Some(format!(
            "tasks waited for a processor in {:.0} % of the time",
            waited * 100.0
        ));
    }
    let stolen = disturbance.stolen_ns as f64;
    (stolen > STOLEN_MAX * wall + TICK_NS)
        .then(|| format!("other guests took {:.1} % of the time", stolen / wall * 100.0))
}

fn schedule(measured: &Measurement) -> Option<String> {
    let report = measured.schedule.as_ref()?;
    let (lag, p50) = (report.lag_ns.p99 as f64, measured.latency_ns.p50 as f64);
    if lag > LAG_MAX * p50 {
        let lag = lag / 1000.0;
        return Some(format!("the load generator was {lag:.1} us late at its 99th percentile"));
    }
    let achieved = rate_hz(measured) / report.offered_hz;
    (achieved < ACHIEVED_MIN)
        .then(|| format!("only {:.0} % of the offered rate was reached", achieved * 100.0))
}

fn little(trial: &Trial, measured: &Measurement) -> Option<String> {
    let has_latency = measured.latency_ns.mean > 0 && measured.schedule.is_none();
    let in_flight = f64::from(trial.in_flight_sent());
    let off = rate_hz(measured) * measured.latency_ns.mean as f64 / 1e9 / in_flight - 1.0;
    // At each end of a window, the requests in flight belong to it only in part.
    let windows = measured.slices.len().max(1) as f64;
    let blur = in_flight * windows / measured.requests as f64;
    (has_latency && off.abs() > LITTLE_MAX + blur).then(|| {
        format!("rate times latency differs from the requests in flight by {:+.0} %", off * 100.0)
    })
}

fn rate_hz(measured: &Measurement) -> f64 {
    measured.requests as f64 * 1e9 / measured.wall_ns as f64
}
