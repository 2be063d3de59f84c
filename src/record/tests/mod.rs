//! Records for the tests of this room and of reports.

use super::*;
use crate::probe::cpu_clock::CpuTime;
use crate::stats::histogram::Histogram;

mod validity;

pub(crate) fn header() -> Header {
    Header {
        version: VERSION,
        preset: "quick".into(),
        seed: 1,
        rounds: 2,
        cpu_client: 1,
        host: Host { cpu_model: "A CPU".into(), ..Host::default() },
        build: Build { profile: "release".into(), ..Build::default() },
        ..Header::default()
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
        array: ArrayInfo { dtype: "<f8".into(), shape: vec![1], bytes: 8, data_set: None },
        connections: 1,
        in_flight: 1000,
        round,
        outcome: Outcome::Measured(Box::new(Measurement {
            requests: 100,
            wall_ns: 1_000_000,
            bytes_out: 2000,
            bytes_in: 1000,
            latency_histogram: latency.to_text(),
            client_cpu: CpuTime { total_ns: 500_000, ..CpuTime::default() },
            server_cpu: Some(CpuTime { total_ns: cost_ns * 100, ..CpuTime::default() }),
            server_rss_peak_bytes: Some(1 << 20),
            server_faults: Some(50),
            ..Measurement::default()
        })),
        ..Trial::default()
    }
}

pub(crate) fn with(trial: Trial, outcome: Outcome) -> Trial {
    Trial { outcome, ..trial }
}
