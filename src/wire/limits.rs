//! Limits of the own protocols.
//!
//! A machine decides on the consequences of a limit that its peer has reached. It counts the event
//! in the counts of its worker, so that an operator sees it at once.

use std::time::Duration;

use super::counts::WorkerCounts;
use super::progress::Pace;

/// Limits of every own protocol. Each has a default, a flag and a test.
#[derive(Clone, Debug)]
pub struct Limits {
    pub body_bytes_max: usize,
    /// Request line and fields, or the HPACK-decoded size.
    pub head_bytes_max: usize,
    pub head_fields_max: usize,
    /// Time from the first byte of a head to its end.
    pub head_timeout: Duration,
    /// Longest pause inside a body.
    pub body_gap_timeout: Duration,
    pub idle_timeout: Duration,
    /// Longest wait of a response for the peer's HTTP/2 windows.
    pub window_timeout: Duration,
    /// Time in which requests that were sent before a shutdown may arrive on an idle connection.
    pub drain_grace: Duration,
    /// Least bytes per second of a body, and of a response that waits for windows.
    pub rate_min: u64,
    /// WorkerCounts of the worker that applies these limits.
    pub counts: &'static WorkerCounts,
    /// Memory of the process for all peers: bodies, responses and streams.
    pub memory_bytes_max: usize,
    /// Memory of one connection.
    pub connection_bytes_max: usize,
    /// Shortest text of numbers that is worked on outside of the worker; for a message whose bytes
    /// are only copied, [`COPIED_FACTOR`] times as much; for one that is compressed, a part of
    /// [`CODED_DIVISOR`].
    pub job_bytes_min: usize,
}

/// A byte that is copied takes about an eighth of the time of one that is converted.
pub const COPIED_FACTOR: usize = 8;

/// A byte that is compressed takes some sixteen times as long as one that is converted.
pub const CODED_DIVISOR: usize = 16;

/// Two to nine milliseconds of work, against some 20 us for the way to another thread and back.
pub const JOB_BYTES_MIN: usize = 1024 * 1024;

/// More than the 100 fields of Envoy and hyper; nginx takes 1000.
const HEAD_FIELDS_MAX: usize = 128;

/// Least bytes per second at which a peer must send and read: that of the slowest modems. A peer
/// that is slower would hold memory and a place for hours.
pub const RATE_MIN: u64 = 1024;

/// 64 MiB of doubles take 86 MiB as base64 and 165 MiB as a JSON list.
pub const BODY_BYTES_MAX: usize = 192 * 1024 * 1024;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes_max: BODY_BYTES_MAX,
            head_bytes_max: 16 * 1024,
            head_fields_max: HEAD_FIELDS_MAX,
            head_timeout: Duration::from_secs(10),
            body_gap_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            window_timeout: Duration::from_secs(60),
            drain_grace: Duration::from_millis(100),
            rate_min: RATE_MIN,
            counts: WorkerCounts::unread(),
            memory_bytes_max: usize::MAX,
            connection_bytes_max: usize::MAX,
            job_bytes_min: JOB_BYTES_MIN,
        }
    }
}

impl Limits {
    pub(crate) fn body_pace(&self) -> Pace {
        Pace { gap: self.body_gap_timeout, rate_min: self.rate_min }
    }

    pub(crate) fn window_pace(&self) -> Pace {
        Pace { gap: self.window_timeout, rate_min: self.rate_min }
    }
}
