//! Counts and figures of a load generator's window.

use serde::{Deserialize, Serialize};

use crate::probe::cpu_clock::CpuTime;
use crate::probe::kernel_counts::KernelCounts;
use crate::stats::histogram::Quantiles;
use crate::sys::socket::SocketOptions;

/// Share of its core above which the load generator is the limit of a rate.
pub const CLIENT_BUSY: f64 = 0.85;

/// Counts between the end of warm-up and the end of the window. `ndecho load --json` prints one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    pub requests: u64,
    pub wall_ns: u64,
    /// Bytes sent, framing included.
    pub bytes_out: u64,
    pub bytes_in: u64,
    /// Time from handing a request to the connection until its reply was complete.
    pub latency_ns: Quantiles,
    pub latency_histogram: String,
    pub client_cpu: CpuTime,
    /// Part of `client_cpu` in which the load generator polled for replies without finding one.
    #[serde(default, rename = "client_spun_ns")]
    pub client_busy_poll_idle_ns: u64,
    pub server_cpu: Option<CpuTime>,
    pub server_rss_peak_bytes: Option<u64>,
    #[serde(default)]
    pub server_faults: Option<u64>,
    /// Events of the kernel in the server, of a cell that is profiled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_kernel: Option<KernelCounts>,
    /// Connections that the server ended between two requests, and that were replaced; of the
    /// warm-up too.
    #[serde(default)]
    pub reconnects: u64,
    pub socket: SocketOptions,
    pub server_settings: Option<Http2Settings>,
    pub client_settings: Option<Http2Settings>,
    #[serde(default)]
    pub warmup_ns: u64,
    /// False if the rate still showed a trend at the end of the warm-up; `None` without a check.
    #[serde(default)]
    pub is_steady: Option<bool>,
    #[serde(default)]
    pub schedule: Option<ScheduleReport>,
    /// Parts of the window of a load in slices; the totals above are their sums.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<Slice>,
    /// True if the load generator ran on poll(2), because it could not have a ring.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_client_on_poll: bool,
}

/// Part of a window, between two readings of the server's CPU clock under load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    pub requests: u64,
    pub wall_ns: u64,
    pub server_cpu_ns: Option<u64>,
    pub client_work_ns: u64,
    /// Time of a fixed piece of work on the server's core just before the slice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_work_ns: Option<u64>,
    /// True if another program disturbed the slice, and its repetitions too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_disturbed: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleReport {
    pub offered_hz: f64,
    /// Delay of the load generator itself: after a request's intended time, or after the reply that
    /// freed its slot.
    pub lag_ns: Quantiles,
    pub lag_histogram: String,
}

/// HTTP/2 SETTINGS of one side; `None` is the default of RFC 9113.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http2Settings {
    pub header_table_size: Option<u32>,
    pub max_concurrent_streams: Option<u32>,
    pub initial_window_size: Option<u32>,
    pub max_frame_size: Option<u32>,
    pub max_header_list_size: Option<u32>,
}

impl Slice {
    /// CPU time of the server for a request, in nanoseconds; `None` if it was not read.
    pub fn cost_ns(&self) -> Option<f64> {
        Some(self.server_cpu_ns? as f64 / self.requests as f64).filter(|cost| *cost > 0.0)
    }
}

impl Measurement {
    pub fn client_work_ns(&self) -> u64 {
        self.client_cpu.total_ns.saturating_sub(self.client_busy_poll_idle_ns)
    }
}
