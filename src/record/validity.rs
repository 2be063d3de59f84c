//! Whether a trial's figures count, from what the record itself says.
//!
//! A trial is discarded by rule, never by its result: because something else had the machine, because the load
//! generator's own books do not add up, because it did not keep its schedule. It stays in the record with the reason.
//! Whether a rate is the server's or the load generator's is no matter of a trial; a report judges that by cell.

use super::{Measurement, Outcome, Trial};

/// Share of a trial in which some task had to wait for a processor, above which it does not count. It was 0.01 to 0.05
/// in trials on two otherwise idle cores, 0.18 to 0.52 beside a compiler.
pub const WAITED_MAX: f64 = 0.1;

/// Share of a trial that the hypervisor may give to other guests, a tick aside.
pub const STOLEN_MAX: f64 = 0.01;

/// A tick of the kernel's account of stolen time.
const TICK_NS: f64 = 1e7;

/// How far rate times latency may be from the requests in flight (Little's law), beside what the ends of the window
/// blur. Both come from the same clock, so what is beyond is a mistake in the books.
pub const LITTLE_MAX: f64 = 0.05;

/// Times a second that a server alone on its core may be taken off it, unless it hardly had to wait for that.
pub const PREEMPTIONS_HZ_MAX: f64 = 100.0;

/// Share of a trial in which a server that is taken off its core so often may wait for others than its own threads.
pub const OTHERS_MAX: f64 = 0.02;

/// Share of the median latency that the load generator's own lag may have at its 99th percentile.
pub const LAG_MAX: f64 = 0.1;

/// Share of the offered rate that must have been reached.
pub const ACHIEVED_MIN: f64 = 0.99;

/// Why `trial` does not count, if it does not. On a shared core, waiting and being preempted are what happens.
pub fn objection(trial: &Trial, shares_core: bool) -> Option<String> {
    let Outcome::Measured(measured) = &trial.outcome else { return None };
    let disturbed = || if shares_core { None } else { disturbance(trial) };
    disturbed().or_else(|| schedule(measured)).or_else(|| little(trial, measured))
}

fn disturbance(trial: &Trial) -> Option<String> {
    let account = trial.disturbance?;
    let waits = trial.sched_stats.unwrap_or_default();
    let wall = account.wall_ns as f64;
    // Threads of a server that wait for each other are part of what it costs.
    let waited = account.waited_ns.saturating_sub(waits.own_ns) as f64 / wall;
    if waited > WAITED_MAX {
        return Some(format!("tasks waited for a processor in {:.0} % of it", waited * 100.0));
    }
    let stolen = account.stolen_ns as f64;
    if stolen > STOLEN_MAX * wall + TICK_NS {
        return Some(format!("{:.1} % of it was stolen by other guests", stolen / wall * 100.0));
    }
    let rate_hz = waits.preemptions as f64 * 1e9 / wall;
    let others = waits.others_ns as f64 / wall;
    (rate_hz > PREEMPTIONS_HZ_MAX && others > OTHERS_MAX).then(|| {
        format!(
            "the server was taken off its core {rate_hz:.0} times a second and waited for others in {:.0} % of it",
            others * 100.0
        )
    })
}

fn schedule(measured: &Measurement) -> Option<String> {
    let report = measured.schedule.as_ref()?;
    let (lag, p50) = (report.lag_ns.p99 as f64, measured.latency_ns.p50 as f64);
    if lag > LAG_MAX * p50 {
        let lag = lag / 1000.0;
        return Some(format!("the load generator was {lag:.1} us late at its 99th percentile"));
    }
    let achieved = rate_hz(measured) / report.offered_hz;
    (achieved < ACHIEVED_MIN).then(|| format!("{:.0} % of the rate was reached", achieved * 100.0))
}

fn little(trial: &Trial, measured: &Measurement) -> Option<String> {
    let has_latency = measured.latency_ns.mean > 0 && measured.schedule.is_none();
    // A server that lets fewer streams be open than it is to be asked for has the rest of the requests wait unsent.
    let streams = measured.server_settings.and_then(|settings| settings.max_concurrent_streams);
    let sent = streams.map_or(u32::MAX, |streams| streams.saturating_mul(trial.connections));
    let in_flight = f64::from(trial.in_flight.min(sent));
    let off = rate_hz(measured) * measured.latency_ns.mean as f64 / 1e9 / in_flight - 1.0;
    // At either end of the window as many requests as are in flight belong to it by a part only.
    let blur = in_flight / measured.requests as f64;
    (has_latency && off.abs() > LITTLE_MAX + blur)
        .then(|| format!("rate times latency is {:+.0} % off the requests in flight", off * 100.0))
}

fn rate_hz(measured: &Measurement) -> f64 {
    measured.requests as f64 * 1e9 / measured.wall_ns as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::disturbance::Disturbance;
    use crate::probe::sched_stats::SchedStats;
    use crate::record::{Http2Settings, ScheduleReport};
    use crate::report::delta::tests::trial;
    use crate::stats::histogram::Quantiles;

    /// 100 requests in 1 ms, ten in flight: 0.1 ms each.
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
    fn what_others_did_to_it_is_an_objection_unless_a_core_was_shared() {
        let quiet = Disturbance { wall_ns: 1_000_000_000, ..Disturbance::default() };
        let waited = Disturbance { waited_ns: 200_000_000, ..quiet };
        let stolen = Disturbance { stolen_ns: 30_000_000, ..quiet };
        let preempted = SchedStats { preemptions: 500, others_ns: 30_000_000, own_ns: 0 };
        for (disturbance, waits, want) in [
            (quiet, None, None),
            (Disturbance { waited_ns: 50_000_000, stolen_ns: 10_000_000, ..quiet }, None, None),
            (waited, None, Some("waited for a processor in 20 %")),
            (stolen, None, Some("3.0 % of it was stolen")),
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
    fn threads_that_take_the_core_from_each_other_are_no_disturbance() {
        let account = Disturbance {
            wall_ns: 1_000_000_000,
            waited_ns: 900_000_000,
            ..Disturbance::default()
        };
        let waits = SchedStats { preemptions: 5000, own_ns: 850_000_000, others_ns: 10_000_000 };
        let trial = Trial { disturbance: Some(account), sched_stats: Some(waits), ..sound() };
        assert_eq!(objection(&trial, false), None);
        // The same beside another program.
        let waits = SchedStats { own_ns: 600_000_000, others_ns: 250_000_000, ..waits };
        let trial = Trial { sched_stats: Some(waits), ..trial };
        assert!(objection(&trial, false).unwrap().contains("in 30 % of it"));
    }

    #[test]
    fn books_that_do_not_add_up_are_an_objection() {
        let trial = changed(|measured| measured.latency_ns.mean = 200_000);
        assert!(objection(&trial, true).unwrap().contains("+100 % off"));
    }

    #[test]
    fn requests_that_the_server_lets_nobody_send_are_not_in_flight() {
        let trial = |streams| {
            let trial = changed(|measured| {
                // Two of the ten at a time.
                measured.latency_ns.mean = 20_000;
                let max_concurrent_streams = Some(streams);
                let settings = Http2Settings { max_concurrent_streams, ..Http2Settings::default() };
                measured.server_settings = Some(settings);
            });
            objection(&trial, true)
        };
        assert_eq!(trial(2), None);
        assert!(trial(5).unwrap().contains("-60 % off"));
        assert!(trial(u32::MAX).unwrap().contains("-80 % off"));
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
        assert!(objection(&open(9_000, 110_000.0), true).unwrap().contains("91 % of the rate"));
    }
}
