//! The report that a server writes when it ends (`--report FILE`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::probe::injected_delay::DelayTotals;
use crate::sys::socket::SocketOptions;

/// Resources that a server used, over all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReport {
    #[serde(default)]
    pub requests: u64,
    pub accepted: u64,
    /// Connections closed for a fault of the peer.
    pub peer_faults: u64,
    /// Requests that failed because the server panicked while it handled them.
    #[serde(default)]
    pub panics: u64,
    /// Refused requests by HTTP status or name of the gRPC status; zeros are left out.
    #[serde(default)]
    pub refusals: BTreeMap<String, u64>,
    /// Number of times that peers reached a limit, by the limit's name; zeros are left out.
    #[serde(default)]
    pub limits: BTreeMap<String, u64>,
    /// Events that were told on stderr, by name; zeros are left out.
    #[serde(default)]
    pub alarms: BTreeMap<String, u64>,
    /// Options of the first accepted socket, read back.
    pub socket: Option<SocketOptions>,
    /// Most memory that connections held at once, and idle buffers.
    #[serde(default)]
    pub held_bytes_peak: u64,
    pub rss_peak_bytes: u64,
    pub minor_faults: u64,
    pub voluntary_switches: u64,
    pub involuntary_switches: u64,
    /// Total of the delays injected into messages ([`Variant::Delayed`](super::Variant::Delayed)).
    #[serde(default, rename = "spun", skip_serializing_if = "Option::is_none")]
    pub injected_delay: Option<DelayTotals>,
}
