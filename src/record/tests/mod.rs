//! Records for the tests of this room and of reports.

use std::collections::BTreeMap;

use super::*;
use crate::probe::cpu_clock::CpuTime;
use crate::stats::histogram::{Histogram, Quantiles};
use crate::sys::socket::SocketOptions;

mod validity;

pub(crate) fn header() -> Header {
    Header {
        version: VERSION,
        started_unix_s: 0,
        preset: "quick".into(),
        argv: vec![],
        seed: 1,
        rounds: 2,
        cpu_server: 0,
        cpu_client: 1,
        client_busy_poll_ns: 0,
        client: None,
        peers: BTreeMap::new(),
        os_noise: None,
        host: Host { cpu_model: "A CPU".into(), ..Host::default() },
        build: Build { profile: "release".into(), ..Build::default() },
    }
}

/// A trial of 100 requests in 1 ms that cost the server `cost_ns` each.
pub(crate) fn trial(rung: &str, round: u32, cost_ns: u64) -> Trial {
    let mut latency = Histogram::default();
    latency.record(50_000);
    Trial {
        version: VERSION,
        cell: u32::from(rung != "uring/raw/reflect"),
        rung: rung.into(),
        parent: (rung != "uring/raw/reflect").then(|| "uring/raw/reflect".into()),
        reference: None,
        null: None,
        variant: Variant::Usual,
        original: None,
        array: ArrayInfo { dtype: "<f8".into(), shape: vec![1], bytes: 8 },
        connections: 1,
        in_flight: 1000,
        in_flight_wanted: None,
        offered_hz: None,
        round,
        position: 0,
        environment_bytes: 0,
        spec: None,
        outcome: Outcome::Measured(Box::new(Measurement {
            requests: 100,
            wall_ns: 1_000_000,
            bytes_out: 2000,
            bytes_in: 1000,
            latency_ns: Quantiles::default(),
            latency_histogram: latency.to_text(),
            client_cpu: CpuTime { total_ns: 500_000, ..CpuTime::default() },
            client_busy_poll_idle_ns: 0,
            server_cpu: Some(CpuTime { total_ns: cost_ns * 100, ..CpuTime::default() }),
            server_rss_peak_bytes: Some(1 << 20),
            server_faults: Some(50),
            socket: SocketOptions::default(),
            server_settings: None,
            client_settings: None,
            warmup_ns: 0,
            is_steady: None,
            schedule: None,
        })),
        server: None,
        disturbance: None,
        sched_stats: None,
        reference_work_ns: None,
        counts: None,
        discarded: None,
    }
}

pub(crate) fn with(trial: Trial, outcome: Outcome) -> Trial {
    Trial { outcome, ..trial }
}
