//! Lanes of a run: its protocols with their codecs in memory, without sockets and kernel. A child
//! process measures each of them, by the clock and by instructions.
//!
//! ```text
//! LaneDocument ─▶ child ─▶ LaneTimed, several times ┐
//!              └▶ child under a tool that counts    ┴▶ Lane, a line of the records
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::axis::{Codec, Layer, Malloc, Protocol};
use crate::probe::injected_delay::DelayTotals;

use super::trial::ArrayInfo;
use super::trial_spec::ArraySpec;

/// Identity of a lane. Rungs that differ in driver or transport only have the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneSubject {
    pub protocol: Protocol,
    pub codec: Codec,
    pub malloc: Malloc,
    pub array: ArrayInfo,
    /// Requests in flight on each connection of the run. A lane may have fewer.
    pub in_flight: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<PlantedWork>,
}

/// Known cost of a call in one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlantedWork {
    pub layer: Layer,
    pub ns: u64,
}

/// Document that describes a lane to a child process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneDocument {
    pub subject: LaneSubject,
    pub array: ArraySpec,
    /// Core on which the lane runs; `None` leaves the choice to the system.
    pub core: Option<usize>,
    /// Steps of the planted work, for a tool under which a clock tells nothing.
    pub steps: Option<u64>,
}

/// Result of a child that timed a lane.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneTimed {
    /// Calls in flight.
    pub in_flight: u32,
    /// Calls that the child makes under a tool that counts.
    pub counted_calls: u32,
    /// CPU time of a call.
    pub ns: f64,
    pub planted: Option<DelayTotals>,
    /// Steps of the planted work of a call.
    pub steps: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    pub version: u32,
    pub subject: LaneSubject,
    /// Processes that timed the lane, one for each launch. Those of all lanes took turns.
    pub launches: Vec<LaneTimed>,
    /// Counts under valgrind, or the reason why there are none.
    pub counts: Result<LaneCounts, String>,
    /// Reason why the lane could not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneCounts {
    /// Calls that were counted.
    pub calls: u32,
    /// Instructions of all calls.
    pub instructions: BTreeMap<Layer, u64>,
    /// Calls of the C library's allocator; `None` with another allocator.
    pub allocations: Option<u64>,
    /// Calls of `memcpy` and `memmove`.
    pub copies: u64,
}

impl LaneTimed {
    /// Returns the planted time of a call, in nanoseconds.
    pub fn planted_ns(&self) -> Option<f64> {
        let planted = self.planted.filter(|planted| planted.messages > 0)?;
        Some(planted.ns as f64 / planted.messages as f64)
    }
}

impl LaneCounts {
    pub fn all(&self) -> u64 {
        self.instructions.values().sum()
    }
}
