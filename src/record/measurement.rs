//! Counts and figures of a load generator's window.

use serde::{Deserialize, Serialize};

use crate::probe::cpu_clock::CpuTime;
use crate::stats::histogram::Quantiles;
use crate::sys::socket::SocketOptions;

/// Share of its core above which the load generator is the limit of a rate.
pub const CLIENT_BUSY: f64 = 0.85;

/// Counts between the end of warm-up and the end of the window. `ndecho load --json` prints one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Requests answered and verified.
    pub requests: u64,
    /// Length of the window.
    pub wall_ns: u64,
    /// Bytes sent, framing included.
    pub bytes_out: u64,
    /// Bytes received, framing included.
    pub bytes_in: u64,
    /// Time from handing a request to the connection until its reply was complete.
    pub latency_ns: Quantiles,
    /// The latencies as an HDR histogram (V2, base64), for merging.
    pub latency_histogram: String,
    /// Processor time of the load generator's process.
    pub client_cpu: CpuTime,
    /// Part of `client_cpu` in which the load generator polled for replies without finding one.
    #[serde(default, rename = "client_spun_ns")]
    pub client_busy_poll_idle_ns: u64,
    /// Processor time of the server's process, if its pid was given.
    pub server_cpu: Option<CpuTime>,
    /// Peak resident set of the server so far.
    pub server_rss_peak_bytes: Option<u64>,
    /// Page faults of the server, if its pid was given.
    #[serde(default)]
    pub server_faults: Option<u64>,
    /// Options of the load generator's socket, read back.
    pub socket: SocketOptions,
    /// SETTINGS that the server sent.
    pub server_settings: Option<Http2Settings>,
    /// SETTINGS that the load generator sent.
    pub client_settings: Option<Http2Settings>,
    #[serde(default)]
    pub warmup_ns: u64,
    /// False if the rate still showed a trend when the warm-up had to end; `None` if the load
    /// generator does not check.
    #[serde(default)]
    pub is_steady: Option<bool>,
    /// Punctuality of an open loop; `None` in a closed loop.
    #[serde(default)]
    pub schedule: Option<ScheduleReport>,
}

/// Punctuality of an open loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleReport {
    /// Offered requests per second.
    pub offered_hz: f64,
    /// Delay of the load generator itself: after a request's intended time, or after the reply that
    /// freed its slot.
    pub lag_ns: Quantiles,
    /// The delays as an HDR histogram (V2, base64).
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

impl Measurement {
    /// Returns the processor time in which the load generator worked, without idle polling.
    pub fn client_work_ns(&self) -> u64 {
        self.client_cpu.total_ns.saturating_sub(self.client_busy_poll_idle_ns)
    }
}
