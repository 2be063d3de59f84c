//! Schema of a run: JSON lines with a version, written by an experiment and read by a report.
//!
//! The first line is a [`Header`]. Every other line is a [`Trial`], written as soon as the trial
//! has ended, a [`Conformance`], written before the first trial of a rung, or a [`Lane`], written
//! after the last trial. Durations are in nanoseconds and sizes in bytes, unless the name has
//! another unit.
//!
//! The structs of measured facts belong to the rooms that measure them (`probe`, `stats`). JSON
//! names are older than some Rust names and stay the same within a version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::axis::Coding;
use crate::probe::background_load::BackgroundLoad;
use crate::probe::build::Build;
use crate::probe::host::Host;
use crate::probe::os_noise::OsNoise;

mod client;
mod lane;
mod measurement;
mod server;
mod stacks;
#[cfg(test)]
pub(crate) mod tests;
mod trial;
pub mod trial_spec;
pub mod validity;

pub use crate::probe::injected_delay::DelayTotals;
pub use client::Client;
pub use lane::{Lane, LaneCounts, LaneDocument, LaneSubject, LaneTimed, PlantedWork};
pub use measurement::{CLIENT_BUSY, Http2Settings, Measurement, ScheduleReport, Slice};
pub use server::ServerReport;
pub use stacks::TrialStacks;
pub use trial::{ArrayInfo, Counts, Outcome, RequestCounts, Side, Trial, Variant};

/// Version of the format. A reader refuses other versions.
pub const VERSION: u32 = 3;

/// A line of a run's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Header(Box<Header>),
    Conformance(Box<Conformance>),
    Trial(Box<Trial>),
    Lane(Box<Lane>),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub version: u32,
    /// Start, in seconds since 1970, UTC.
    pub started_unix_s: u64,
    pub preset: String,
    pub argv: Vec<String>,
    pub seed: u64,
    pub rounds: u32,
    pub cpu_server: u32,
    pub cpu_client: u32,
    /// Time for which the load generator polls for replies before it sleeps.
    #[serde(default)]
    pub client_busy_poll_ns: u64,
    /// Versions of the load generators that are not ours.
    #[serde(default)]
    pub client: Option<String>,
    #[serde(default, rename = "peers")]
    pub external_versions: BTreeMap<String, String>,
    #[serde(default, rename = "interruptions")]
    pub os_noise: Option<OsNoise>,
    /// Use of the machine by others just before the first launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background_load: Option<BackgroundLoad>,
    pub host: Host,
    pub build: Build,
}

/// Replies of a rung to arrays of every type, byte order and shape, checked before its first trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conformance {
    pub version: u32,
    #[serde(deserialize_with = "crate::axis::external::deserialize")]
    pub rung: String,
    pub build: Option<Variant>,
    /// Coding of the messages, both ways.
    #[serde(default, skip_serializing_if = "Coding::is_identity")]
    pub coding: Coding,
    pub seed: u64,
    /// Number of arrays; 0 in older records.
    #[serde(default)]
    pub arrays: u32,
    /// Kinds of arrays that the encoding cannot carry, as words.
    #[serde(default)]
    pub left_out: String,
    pub failure: Option<Outcome>,
}
