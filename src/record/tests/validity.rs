//! Tests of the rules by which trials are discarded.

use super::trial;
use crate::probe::disturbance::Disturbance;
use crate::probe::sched_stats::SchedStats;
use crate::record::validity::objection;
use crate::record::{Http2Settings, Measurement, Outcome, ScheduleReport, Trial};
use crate::stats::histogram::Quantiles;

/// A trial of 100 requests in 1 ms, ten in flight, 0.1 ms each.
fn sound() -> Trial {
    changed(|measured| {
        measured.latency_ns = Quantiles { p50: 100_000, mean: 100_000, ..Quantiles::default() }
    })
}

fn changed(change: impl FnOnce(&mut Measurement)) -> Trial {
    let mut trial = Trial { in_flight: 10, ..trial("uring/raw/reflect", 0, 1000) };
    let Outcome::Measured(measured) = &mut trial.outcome else { unreachable!() };
    change(measured);
    trial
}

#[test]
fn a_sound_trial_counts() {
    assert_eq!(objection(&sound(), false), None);
}

#[test]
fn a_disturbance_is_an_objection_unless_the_core_was_shared() {
    let quiet = Disturbance { wall_ns: 1_000_000_000, ..Disturbance::default() };
    let waited = Disturbance { waited_ns: 200_000_000, ..quiet };
    let stolen = Disturbance { stolen_ns: 30_000_000, ..quiet };
    let preempted = SchedStats { preemptions: 500, others_ns: 30_000_000, own_ns: 0 };
    for (disturbance, waits, want) in [
        (quiet, None, None),
        (Disturbance { waited_ns: 50_000_000, stolen_ns: 10_000_000, ..quiet }, None, None),
        (waited, None, Some("waited for a processor in 20 %")),
        (stolen, None, Some("other guests took 3.0 %")),
        (quiet, Some(preempted), Some("500 times a second")),
        (quiet, Some(SchedStats { others_ns: 1_000_000, ..preempted }), None),
    ] {
        let trial = Trial { disturbance: Some(disturbance), sched_stats: waits, ..sound() };
        let got = objection(&trial, false).unwrap_or_default();
        assert!(
            got.contains(want.unwrap_or_default()) && got.is_empty() == want.is_none(),
            "{got}"
        );
        assert_eq!(objection(&trial, true), None);
    }
}

#[test]
fn threads_of_a_server_that_preempt_each_other_are_no_disturbance() {
    let disturbance =
        Disturbance { wall_ns: 1_000_000_000, waited_ns: 900_000_000, ..Disturbance::default() };
    let waits = SchedStats { preemptions: 5000, own_ns: 850_000_000, others_ns: 10_000_000 };
    let trial = Trial { disturbance: Some(disturbance), sched_stats: Some(waits), ..sound() };
    assert_eq!(objection(&trial, false), None);
    // The same with another program on the core.
    let waits = SchedStats { own_ns: 600_000_000, others_ns: 250_000_000, ..waits };
    let trial = Trial { sched_stats: Some(waits), ..trial };
    assert!(objection(&trial, false).unwrap().contains("in 30 % of the time"));
}

#[test]
fn figures_that_contradict_each_other_are_an_objection() {
    let trial = changed(|measured| measured.latency_ns.mean = 200_000);
    assert!(objection(&trial, true).unwrap().contains("by +100 %"));
}

#[test]
fn requests_beyond_the_servers_stream_limit_are_not_in_flight() {
    let trial = |streams| {
        let trial = changed(|measured| {
            measured.latency_ns.mean = 20_000;
            let max_concurrent_streams = Some(streams);
            let settings = Http2Settings { max_concurrent_streams, ..Http2Settings::default() };
            measured.server_settings = Some(settings);
        });
        objection(&trial, true)
    };
    assert_eq!(trial(2), None);
    assert!(trial(5).unwrap().contains("by -60 %"));
    assert!(trial(u32::MAX).unwrap().contains("by -80 %"));
}

#[test]
fn a_schedule_that_was_not_kept_is_an_objection() {
    let open = |lag_ns, offered_hz| {
        changed(|measured| {
            measured.latency_ns.p50 = 100_000;
            let lag_ns = Quantiles { p99: lag_ns, ..Quantiles::default() };
            let report = ScheduleReport { offered_hz, lag_ns, lag_histogram: String::new() };
            measured.schedule = Some(report);
        })
    };
    assert_eq!(objection(&open(9_000, 100_000.0), true), None);
    assert!(objection(&open(11_000, 100_000.0), true).unwrap().contains("11.0 us late"));
    assert!(
        objection(&open(9_000, 110_000.0), true).unwrap().contains("only 91 % of the offered rate")
    );
}
