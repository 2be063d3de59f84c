//! One server of a trial.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::nanoseconds;
use crate::axis::{Layer, Malloc};
use crate::sys::address::Address;

/// Rung to serve, its address and its limits. `None` leaves a setting at the default of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSpec {
    /// Name of a rung, `driver/protocol/codec` or `external/NAME/CODEC`.
    pub rung: String,
    /// Allocator of the process; `None` means that of the rung's protocol.
    pub malloc: Option<Malloc>,
    /// Address to listen on; `None` means a free one of the transport of the rung.
    pub listen: Option<Address>,
    pub cores: Vec<usize>,
    /// True for a null server, which returns the bytes that came without decoding them.
    pub is_null: bool,
    /// Busy wait for every message: a known difference, for a run to find again.
    #[serde(rename = "delay_ns", with = "nanoseconds::option")]
    pub delay: Option<Duration>,
    /// Layer that spends the delay; `None` means the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_in: Option<Layer>,
    pub body_bytes_max: Option<u64>,
    pub head_bytes_max: Option<u64>,
    pub head_fields_max: Option<usize>,
    #[serde(rename = "head_timeout_ns", with = "nanoseconds::option")]
    pub head_timeout: Option<Duration>,
    /// Longest pause inside a body.
    #[serde(rename = "body_timeout_ns", with = "nanoseconds::option")]
    pub body_timeout: Option<Duration>,
    /// Longest pause between requests.
    #[serde(rename = "idle_timeout_ns", with = "nanoseconds::option")]
    pub idle_timeout: Option<Duration>,
    /// Longest wait of a response for the peer's HTTP/2 windows.
    #[serde(rename = "window_timeout_ns", with = "nanoseconds::option")]
    pub window_timeout: Option<Duration>,
    /// Longest time in which a peer takes no byte of a response.
    #[serde(rename = "send_timeout_ns", with = "nanoseconds::option")]
    pub send_timeout: Option<Duration>,
    /// Least bytes per second that a peer must send of a body and take of a response.
    pub rate_min: Option<u64>,
    /// Memory of the process for all peers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_bytes_max: Option<u64>,
    /// JSON text from which a message is worked on outside of its worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_bytes_min: Option<u64>,
    pub connections_max: Option<usize>,
    /// Most connections of one address at a worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_connections_max: Option<usize>,
    /// Unsent bytes at which a connection is no longer read.
    pub unsent_bytes_max: Option<u64>,
    #[serde(rename = "drain_timeout_ns", with = "nanoseconds::option")]
    pub drain_timeout: Option<Duration>,
    /// Time in which requests sent before the stop may arrive.
    #[serde(rename = "drain_grace_ns", with = "nanoseconds::option")]
    pub drain_grace: Option<Duration>,
    #[serde(rename = "busy_poll_ns", with = "nanoseconds::option")]
    pub busy_poll: Option<Duration>,
    pub report: Option<PathBuf>,
    /// Address of the view for operators; there is none without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Address>,
}
