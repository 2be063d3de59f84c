//! One trial: a rung at one size under one load in one round.

use serde::{Deserialize, Serialize};

use crate::probe::disturbance::Disturbance;
use crate::probe::sched_stats::SchedStats;
use crate::probe::tracer::Allocations;

use super::measurement::Measurement;
use super::server::ServerReport;
use super::trial_spec::TrialSpec;

/// Record of one trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// [`VERSION`](super::VERSION).
    pub version: u32,
    /// Index of the cell in the ladder's order.
    pub cell: u32,
    /// Name of the rung, e.g. `uring/h1/npy`.
    #[serde(deserialize_with = "crate::axis::external::deserialize")]
    pub rung: String,
    pub parent: Option<String>,
    /// The standard server that the rung is compared with.
    pub reference: Option<String>,
    /// The null server under the same load ([`Variant::Null`]).
    #[serde(default)]
    pub null: Option<String>,
    #[serde(default)]
    pub variant: Variant,
    /// The corresponding row of numpy_rpc_benchmark's table.
    #[serde(default)]
    pub original: Option<String>,
    pub array: ArrayInfo,
    pub connections: u32,
    /// Requests in flight over all connections.
    pub in_flight: u32,
    /// Requested concurrency, before the rung's limit was applied.
    #[serde(default)]
    pub in_flight_wanted: Option<u32>,
    /// Offered requests per second; `None` in a closed loop.
    #[serde(default)]
    pub offered_hz: Option<f64>,
    /// Round, from 0.
    pub round: u32,
    /// Position in the random order of the round, from 0.
    pub position: u32,
    /// Padding of the server's environment, which moves its stack from launch to launch.
    #[serde(default)]
    pub environment_bytes: u32,
    /// Document from which the server and the load generator of this program were started.
    #[serde(default)]
    pub spec: Option<Box<TrialSpec>>,
    pub outcome: Outcome,
    pub server: Option<ServerReport>,
    /// Use of the machine by others while the load ran.
    pub disturbance: Option<Disturbance>,
    /// Scheduler statistics of the server while the load ran.
    #[serde(rename = "waits")]
    pub sched_stats: Option<SchedStats>,
    /// Time of a fixed piece of work on the server's core just before and just after the load
    /// ([`core_speed`](crate::probe::core_speed)).
    #[serde(default, rename = "piece_ns")]
    pub reference_work_ns: Option<[u64; 2]>,
    /// Activity per request; `None` for a timed trial.
    #[serde(default)]
    pub counts: Option<Counts>,
    /// Reason for which the figures do not count ([`validity`](super::validity)).
    #[serde(default)]
    pub discarded: Option<String>,
}

/// Special property of a trial's server.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    #[default]
    Usual,
    /// A second cell of the same rung in every round. The difference of the two is noise.
    Twin,
    /// A known delay is injected into every request. A run that does not find the delay would not
    /// find a real difference of this size either.
    #[serde(rename = "spin")]
    Delayed { ns: u64 },
    /// The leanest server: it returns the request's bytes undecoded. The rate against it is the
    /// limit of the load generator.
    Null,
    /// Another build of the program.
    Build {
        side: Side,
        /// Index of the build on its side.
        number: u32,
    },
}

/// Side of a comparison of builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Old,
    New,
}

/// The array that a trial sends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrayInfo {
    /// NumPy type string.
    pub dtype: String,
    pub shape: Vec<u64>,
    /// Size of the array without framing.
    pub bytes: u64,
}

/// Outcome of a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every reply was verified.
    Measured(Box<Measurement>),
    /// An error, a wrong reply, or a process that ended early.
    Failed {
        reason: String,
        /// Last lines of the server's stderr.
        stderr: String,
    },
    /// The trial exceeded its time budget.
    DidNotFinish {
        budget_ns: u64,
        /// Last lines of the server's stderr.
        #[serde(default)]
        stderr: String,
    },
    Skipped {
        reason: String,
    },
}

/// Activity of a server that answers requests one at a time on one connection. It does not depend
/// on speed. The difference of the two counts does not contain what happens once per connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub few: RequestCounts,
    /// Counts of twice as many requests.
    pub many: RequestCounts,
}

/// Activity of a server during a number of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCounts {
    pub requests: u64,
    /// System calls.
    pub calls: u64,
    /// Bytes to the client, framing included.
    pub bytes_in: u64,
    /// Bytes to the server, framing included.
    pub bytes_out: u64,
    /// `None` if they cannot be counted.
    pub allocations: Option<Allocations>,
}

impl Trial {
    /// Returns true if the trial measures time in a closed loop.
    pub fn is_timed(&self) -> bool {
        self.offered_hz.is_none() && self.counts.is_none()
    }
}

impl Default for Outcome {
    fn default() -> Outcome {
        Outcome::Skipped { reason: String::new() }
    }
}
