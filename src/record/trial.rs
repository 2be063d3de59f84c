//! One trial: a rung at one size under one load in one round.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::array::{ArrayError, ArrayView, DType, Shape};
use crate::axis::{Coding, DataSet, Layer};
use crate::probe::disturbance::Disturbance;
use crate::probe::profile::Profile;
use crate::probe::sched_stats::SchedStats;
use crate::probe::tracer::Allocations;
use crate::sys::socket::SocketOptions;

use super::client::Client;
use super::measurement::Measurement;
use super::server::ServerReport;
use super::trial_spec::{ArraySpec, TrialSpec};

/// Bits of a launch's number that hold its part.
const PART_BITS: u32 = 8;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    pub version: u32,
    pub cell: u32,
    #[serde(deserialize_with = "crate::axis::external::deserialize")]
    pub rung: String,
    pub parent: Option<String>,
    /// The standard server that the rung is compared with.
    pub reference: Option<String>,
    #[serde(default)]
    pub null: Option<String>,
    #[serde(default)]
    pub variant: Variant,
    /// Load generator. Older records name it in the header only.
    #[serde(default)]
    pub client: Client,
    /// The corresponding row of numpy_rpc_benchmark's table.
    #[serde(default)]
    pub original: Option<String>,
    pub array: ArrayInfo,
    /// Coding of the messages, both ways.
    #[serde(default, skip_serializing_if = "Coding::is_identity")]
    pub coding: Coding,
    pub connections: u32,
    pub in_flight: u32,
    /// Requested concurrency, before the rung's limit was applied.
    #[serde(default)]
    pub in_flight_wanted: Option<u32>,
    #[serde(default)]
    pub offered_hz: Option<f64>,
    pub round: u32,
    /// Number among the parts of a group whose servers do not fit into memory together.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub part: u32,
    pub position: u32,
    /// Padding of the server's environment, which moves its stack from launch to launch.
    #[serde(default)]
    pub environment_bytes: u32,
    #[serde(default)]
    pub spec: Option<Box<TrialSpec>>,
    pub outcome: Outcome,
    pub server: Option<ServerReport>,
    /// Options of a TCP socket that the server accepted, read from outside of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<SocketOptions>,
    /// Reason why the options of a TCP socket are unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_failure: Option<String>,
    /// Use of the machine by others while the load ran.
    pub disturbance: Option<Disturbance>,
    /// Waits of the server's threads; `None` if several clients loaded its process in turns.
    #[serde(rename = "waits")]
    pub sched_stats: Option<SchedStats>,
    /// Times of a fixed piece of work on the server's core just before and just after the load.
    #[serde(default, rename = "piece_ns")]
    pub reference_work_ns: Option<[u64; 2]>,
    /// Time from the start of the launches, in this session of the run. Older records lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ns: Option<u64>,
    /// Activity per request; `None` for a timed trial.
    #[serde(default)]
    pub counts: Option<Counts>,
    /// Samples of the server, of a cell that is profiled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Box<Profile>>,
    /// Reason for which the figures do not count ([`validity`](super::validity)).
    #[serde(default)]
    pub discarded: Option<String>,
}

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    #[default]
    Usual,
    /// Second cell of the same rung in every round. The difference of the two is noise.
    Twin,
    /// Rung with a delay in every request. A run that misses the delay would also miss a real
    /// difference of this size.
    #[serde(rename = "spin")]
    Delayed { ns: u64 },
    /// Rung with a delay in every request, spent in one layer. A run must find it there.
    Planted {
        layer: Layer,
        ns: u64,
        /// True for a server that is sampled too.
        is_profiled: bool,
    },
    /// Rung whose server is sampled. The samples cost time, so its other figures are not those of
    /// the rung.
    Profiled,
    /// Server that returns the bytes undecoded. The rate against it limits the load generator.
    Null,
    Build {
        side: Side,
        /// Index of the build on its side.
        number: u32,
    },
}

impl Variant {
    /// Returns whether the server is sampled.
    pub fn is_profiled(self) -> bool {
        matches!(self, Variant::Profiled | Variant::Planted { is_profiled: true, .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Old,
    New,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrayInfo {
    pub dtype: String,
    pub shape: Vec<u64>,
    /// Size of the array without framing.
    pub bytes: u64,
    /// Data of the array; `None` for drawn numbers, and for a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_set: Option<DataSet>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Measured(Box<Measurement>),
    /// Error, wrong reply, or process that ended early.
    Failed {
        reason: String,
        stderr: String,
    },
    DidNotFinish {
        budget_ns: u64,
        #[serde(default)]
        stderr: String,
    },
    Skipped {
        reason: String,
    },
}

/// Activity of a server that answers requests one at a time on one connection. It does not depend
/// on speed. The difference of the two counts does not contain what happens once per connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub few: RequestCounts,
    /// Counts of twice as many requests.
    pub many: RequestCounts,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCounts {
    pub requests: u64,
    pub calls: u64,
    /// System calls that have a name here; empty in older records.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub calls_by_name: BTreeMap<String, u64>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub allocations: Option<Allocations>,
}

impl ArrayInfo {
    pub fn new(array: &ArrayView<'_>) -> ArrayInfo {
        ArrayInfo {
            dtype: array.dtype().name().to_owned(),
            shape: array.shape().dims().to_vec(),
            bytes: array.data().len() as u64,
            data_set: None,
        }
    }

    pub fn of_shape(dtype: DType, shape: &Shape) -> Result<ArrayInfo, ArrayError> {
        let bytes = shape.byte_len(dtype)?;
        let (dtype, shape) = (dtype.name().to_owned(), shape.dims().to_vec());
        Ok(ArrayInfo { dtype, shape, bytes, data_set: None })
    }

    /// Returns the specification of such an array, drawn from `seed`.
    pub fn seeded(&self, seed: u64) -> Result<ArraySpec, ArrayError> {
        if let Some(name) = self.data_set {
            return Ok(ArraySpec::DataSet { name, bytes: self.bytes, seed });
        }
        let (dtype, shape) = (DType::parse(&self.dtype)?, Shape::new(&self.shape)?);
        Ok(ArraySpec::Seeded { dtype, shape, seed })
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Trial {
    /// Returns the number of the launch, which the trials of its group share.
    pub fn launch(&self) -> u32 {
        self.round << PART_BITS | self.part
    }

    /// Returns the requests that were in flight at most: those beyond the server's limit of
    /// concurrent streams wait in the load generator.
    pub fn in_flight_sent(&self) -> u32 {
        let settings = match &self.outcome {
            Outcome::Measured(measured) => measured.server_settings,
            _ => None,
        };
        let streams = settings.and_then(|settings| settings.max_concurrent_streams);
        let most = streams.map_or(u32::MAX, |streams| streams.saturating_mul(self.connections));
        self.in_flight.min(most)
    }

    pub fn is_timed(&self) -> bool {
        self.offered_hz.is_none() && self.counts.is_none()
    }
}

impl Default for Outcome {
    fn default() -> Outcome {
        Outcome::Skipped { reason: String::new() }
    }
}
