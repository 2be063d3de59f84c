//! A measurement as a few lines for people.
//!
//! A throughput is a lower bound (`>=`) if the load generator's own core was the busy one.

use std::fmt::Write as _;
use std::time::Duration;

use crate::probe::cpu_clock::CpuTime;
use crate::record::{CLIENT_BUSY, Measurement, ScheduleReport};

fn busy(cpu_ns: u64, wall_ns: u64) -> f64 {
    cpu_ns as f64 / wall_ns.max(1) as f64
}

/// Returns the rate of a load generator that never waits. A rate close to it says nothing about the
/// server. Against the cheapest server of a protocol (`uring/PROTOCOL/reflect`), it is the ceiling
/// of all rungs of that protocol.
pub fn ceiling_hz(measured: &Measurement) -> f64 {
    measured.requests as f64 * 1e9 / measured.client_work_ns().max(1) as f64
}

pub fn summary(measured: &Measurement) -> String {
    let wall = Duration::from_nanos(measured.wall_ns);
    let client_busy = busy(measured.client_work_ns(), measured.wall_ns);
    let bound = if client_busy > CLIENT_BUSY { ">= " } else { "" };
    let rate = measured.requests as f64 / wall.as_secs_f64();
    let requests = measured.requests.max(1) as f64;
    let wire = |bytes: u64| bytes as f64 / requests;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12}{value}");
    };
    line("requests", format!("{} in {wall:.3?}, all replies right", measured.requests));
    line("throughput", format!("{bound}{rate:.0} requests/s"));
    line("latency", latency(measured));
    if let Some(schedule) = &measured.schedule {
        line("schedule", punctuality(schedule, rate));
    }
    let (out, into) = (wire(measured.bytes_out), wire(measured.bytes_in));
    line("wire", format!("{out:.0} bytes out, {into:.0} bytes in per request"));
    if measured.reconnects > 0 {
        line("reconnects", format!("{}, as the server ended connections", measured.reconnects));
    }
    line("client CPU", cpu(measured.client_cpu, measured));
    if measured.is_client_on_poll {
        line("", "on poll(2), since io_uring is not available".to_owned());
    }
    if measured.client_busy_poll_idle_ns > 0 {
        let share = 100.0 * busy(measured.client_busy_poll_idle_ns, measured.wall_ns);
        line("", format!("{share:.0} % of a core looked for replies and found none"));
    }
    line(
        "ceiling",
        format!("{:.0} requests/s with all of the client's core", ceiling_hz(measured)),
    );
    if let Some(server) = measured.server_cpu {
        line("server CPU", cpu(server, measured));
    }
    if let Some(faults) = measured.server_faults {
        line("page faults", format!("{:.3} of the server per request", faults as f64 / requests));
    }
    if let Some(bytes) = measured.server_rss_peak_bytes {
        line("server peak", format!("{:.1} MiB resident", bytes as f64 / 1_048_576.0));
    }
    text.truncate(text.trim_end().len());
    text
}

fn latency(measured: &Measurement) -> String {
    let time = |ns| format!("{:.1?}", Duration::from_nanos(ns));
    let latency = measured.latency_ns;
    format!(
        "p50 {}  p90 {}  p99 {}  max {}",
        time(latency.p50),
        time(latency.p90),
        time(latency.p99),
        time(latency.max)
    )
}

fn punctuality(schedule: &ScheduleReport, rate: f64) -> String {
    let lag = |ns| format!("{:.1?}", Duration::from_nanos(ns));
    format!(
        "{:.0} requests/s offered, {:.1} % of them answered; the load generator was late by p50 {}  p99 {}",
        schedule.offered_hz,
        100.0 * rate / schedule.offered_hz,
        lag(schedule.lag_ns.p50),
        lag(schedule.lag_ns.p99)
    )
}

fn cpu(cpu: CpuTime, measured: &Measurement) -> String {
    let each = |ns: u64| ns as f64 / 1000.0 / measured.requests.max(1) as f64;
    format!(
        "{:.3} us/request (about {:.3} user, {:.3} system), {:.0} % of a core",
        each(cpu.total_ns),
        each(cpu.user_ns),
        each(cpu.system_ns),
        100.0 * busy(cpu.total_ns, measured.wall_ns)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::histogram::Quantiles;

    fn measured(client_ns: u64) -> Measurement {
        Measurement {
            requests: 1000,
            wall_ns: 1_000_000_000,
            bytes_out: 98_000,
            bytes_in: 105_000,
            latency_ns: Quantiles { p50: 12_340, max: 2_000_000, ..Quantiles::default() },
            client_cpu: CpuTime { total_ns: client_ns, user_ns: 0, system_ns: 0 },
            server_cpu: Some(CpuTime {
                total_ns: 2_000_000,
                user_ns: 1_500_000,
                system_ns: 500_000,
            }),
            server_rss_peak_bytes: Some(3 << 20),
            server_faults: Some(250),
            ..Measurement::default()
        }
    }

    #[test]
    fn says_what_a_request_cost() {
        let text = summary(&measured(500_000_000));
        assert!(text.contains("page faults 0.250 of the server"), "{text}");
        assert!(text.contains("throughput  1000 requests/s"), "{text}");
        assert!(text.contains("wire        98 bytes out, 105 bytes in"), "{text}");
        assert!(text.contains("server CPU  2.000 us/request (about 1.500 user, 0.500 system)"));
        assert!(text.contains("p50 12.3µs"), "{text}");
        assert!(
            text.contains("ceiling     2000 requests/s with all of the client's core"),
            "{text}"
        );
    }

    #[test]
    fn reconnects_are_named_if_there_were_any() {
        assert!(!summary(&measured(1)).contains("reconnects"));
        let text = summary(&Measurement { reconnects: 2, ..measured(1) });
        assert!(text.contains("reconnects  2, as the server ended connections"), "{text}");
    }

    #[test]
    fn a_busy_client_makes_a_lower_bound() {
        assert!(summary(&measured(900_000_000)).contains("throughput  >= 1000"));
        let awake = Measurement { client_busy_poll_idle_ns: 400_000_000, ..measured(900_000_000) };
        let text = summary(&awake);
        assert!(text.contains("throughput  1000"), "{text}");
        assert!(text.contains("40 % of a core looked for replies"), "{text}");
        assert!(text.contains("ceiling     2000 requests/s"), "{text}");
    }
}
