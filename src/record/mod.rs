//! A run as JSON lines, versioned: the only thing that the ladder writes and a report reads.
//!
//! The first line is a [`Header`], every other one a [`Trial`], written as soon as the trial has ended, or before the
//! first of a rung what it said to arrays of every kind ([`Conformance`]). They hold
//! everything that is needed to redo the analysis: what was run, in which order, on which machine, and what was
//! counted. Durations are nanoseconds, sizes are bytes, both unless the name says otherwise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::histogram::Histogram;

pub mod validity;

/// Format of this file's lines; a reader refuses any other.
pub const VERSION: u32 = 3;

/// A line of a run's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first.
    Header(Box<Header>),
    /// Before the first trial of a rung.
    Conformance(Box<Conformance>),
    /// Every other.
    Trial(Box<Trial>),
}

/// What holds for a whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub version: u32,
    /// When it began, seconds since 1970, UTC.
    pub started_unix_s: u64,
    /// Which trials were chosen: `quick`, `seed`, `full`.
    pub preset: String,
    /// The command line.
    pub argv: Vec<String>,
    /// What the order of trials was drawn from.
    pub seed: u64,
    /// Rounds planned.
    pub rounds: u32,
    /// Core of every server.
    pub cpu_server: u32,
    /// Core of the load generator.
    pub cpu_client: u32,
    /// How long the load generator looked for replies before it slept.
    #[serde(default)]
    pub client_busy_poll_ns: u64,
    /// What loaded the servers, if not our own load generator.
    #[serde(default)]
    pub client: Option<String>,
    /// Versions of the peers tried, by name, as their manifests have them.
    #[serde(default)]
    pub peers: BTreeMap<String, String>,
    /// What took the load generator's core away before the first trial.
    #[serde(default)]
    pub interruptions: Option<Interruptions>,
    /// The machine.
    pub host: Host,
    /// How this program was built.
    pub build: Build,
}

/// The machine, as far as it decides figures. A text is empty where the machine does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Kernel release and version.
    pub kernel: String,
    /// What the kernel was started with.
    pub kernel_command_line: String,
    /// Processor.
    pub cpu_model: String,
    /// True under a hypervisor.
    pub virtual_machine: bool,
    /// Cores this process may use.
    pub cores: Vec<u32>,
    /// Memory.
    pub memory_bytes: u64,
    /// Processor faults and what the kernel does about them.
    pub mitigations: BTreeMap<String, String>,
    /// Where time comes from.
    pub clocksource: String,
    /// Frequency governor of the server's core.
    pub governor: String,
    /// Settings of the network stack and of io_uring, by their path below `/proc/sys`.
    pub sysctl: BTreeMap<String, String>,
    /// Largest packet on loopback.
    pub loopback_mtu: u32,
}

/// How this program was built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// This program's version.
    pub version: String,
    /// The compiler, as it signed the binary.
    pub rustc: String,
    /// `release` or `debug`.
    pub profile: String,
    /// The release profile of `Cargo.toml`, which every rung shares.
    pub settings: String,
    /// Who hands out memory.
    pub allocator: String,
    /// Versions of the stacks measured.
    pub crates: BTreeMap<String, String>,
    /// Commit of the working tree the binary lies in, if it lies in one; `-dirty` behind it when changed.
    pub commit: Option<String>,
}

/// One trial: one rung at one size under one load in one round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// [`VERSION`].
    pub version: u32,
    /// Place of its cell in the ladder's order, from 0.
    pub cell: u32,
    /// The rung, e.g. `uring/h1/npy`.
    pub rung: String,
    /// The rung it is compared with, if it has one.
    pub parent: Option<String>,
    /// The standard server it is compared with, if there is one.
    pub reference: Option<String>,
    /// The null server under the same load, if there is one ([`Variant::Null`]).
    #[serde(default)]
    pub null: Option<String>,
    /// What is special about its server, if anything.
    #[serde(default)]
    pub variant: Variant,
    /// The row of numpy_rpc_benchmark's table that it is, if it is one.
    #[serde(default)]
    pub original: Option<String>,
    /// What was sent.
    pub array: ArrayInfo,
    /// Connections of the load generator.
    pub connections: u32,
    /// Requests in flight over all connections.
    pub in_flight: u32,
    /// Requests that would have been in flight, had the server been able to bear as many.
    #[serde(default)]
    pub in_flight_wanted: Option<u32>,
    /// Requests per second that were to be sent; `None` in a closed loop.
    #[serde(default)]
    pub offered_hz: Option<f64>,
    /// Round, from 0.
    pub round: u32,
    /// Place in its round's random order, from 0.
    pub position: u32,
    /// Bytes that the server's environment was made longer by, so that where its stack lies differs from launch to
    /// launch.
    #[serde(default)]
    pub environment_bytes: u32,
    /// What came of it.
    pub outcome: Outcome,
    /// What the server said when it ended.
    pub server: Option<ServerReport>,
    /// What the rest of the machine did while the load ran, where the kernel tells.
    pub disturbance: Option<Disturbance>,
    /// What its threads waited for while the load ran, where the kernel tells.
    pub waits: Option<Waits>,
    /// How long a fixed piece of work took on the server's core just before and just after the load. It takes longer
    /// while somebody else uses the other half of the physical core, which nothing else tells.
    #[serde(default)]
    pub piece_ns: Option<[u64; 2]>,
    /// What requests made the server do, of a trial that counts it and is not timed.
    #[serde(default)]
    pub counts: Option<Counts>,
    /// Why its figures do not count, if they do not ([`validity`]).
    #[serde(default)]
    pub discarded: Option<String>,
}

/// Arrays of every type, byte order and shape, asked of a rung before anything of it was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conformance {
    /// [`VERSION`].
    pub version: u32,
    /// The rung.
    pub rung: String,
    /// Which build of it, where builds are compared.
    pub build: Option<Variant>,
    /// What the arrays were drawn from.
    pub seed: u64,
    /// What came of it, if not right replies to all.
    pub failure: Option<Outcome>,
}

/// What is special about the server of a trial.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// Nothing.
    #[default]
    Usual,
    /// It is tried a second time in every round, under another name: what the two differ by is noise.
    Twin,
    /// Every request costs this much more: a run that does not find it again would not see such a difference.
    Spin {
        /// How much.
        ns: u64,
    },
    /// It gives back the bytes that came, undecoded, over the leanest stack there is: what the load generator reaches
    /// against it is what it can reach.
    Null,
    /// It is another build of the program.
    Build {
        /// Whose.
        side: Side,
        /// Which of that side's builds, from 0.
        number: u32,
    },
}

/// A side of a comparison of builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What is compared with.
    Old,
    /// What is compared.
    New,
}

/// How often a core was taken from a thread that wanted it, with nothing of ours beside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interruptions {
    /// How long the core was watched.
    pub watched_ns: u64,
    /// How often it was away for 5 us or more.
    pub count: u64,
    /// How long in all.
    pub lost_ns: u64,
}

/// How much others had of the machine during a trial, from the kernel's own accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disturbance {
    /// Length of the account.
    pub wall_ns: u64,
    /// Time in which some task, of any program, was ready to run and had no processor (`/proc/pressure/cpu`).
    pub waited_ns: u64,
    /// Time that the hypervisor gave to other guests, over all cores; in steps of a tick.
    pub stolen_ns: u64,
    /// Time in which a core was not idle, over all cores; in steps of a tick.
    #[serde(default)]
    pub busy_ns: u64,
}

/// What the threads of a server, which share a core, waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// Times that one was taken off the core.
    pub preemptions: u64,
    /// Time in which they were ready and may have waited for each other, added up.
    pub own_ns: u64,
    /// Time in which the one that did so longest was ready and waited for nobody of its own.
    pub others_ns: u64,
}

/// What requests, one at a time on one connection, made a server do that does not depend on how fast it is. What happens
/// once a connection is in both counts, and not in their difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Some requests.
    pub few: Counted,
    /// Twice as many.
    pub many: Counted,
}

/// What a number of requests made a server do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// How many requests.
    pub requests: u64,
    /// System calls.
    pub calls: u64,
    /// Bytes to the client, framing included.
    pub bytes_in: u64,
    /// Bytes to the server, framing included.
    pub bytes_out: u64,
    /// Calls of the C library's allocator, where they can be counted.
    pub allocations: Option<Allocations>,
}

/// Calls of an allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocations {
    /// How many.
    pub count: u64,
    /// Bytes asked for.
    pub bytes: u64,
}

/// What a trial sends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrayInfo {
    /// NumPy type string.
    pub dtype: String,
    /// Dimensions.
    pub shape: Vec<u64>,
    /// Bytes of the array itself.
    pub bytes: u64,
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every reply was right.
    Measured(Box<Measurement>),
    /// An error, a wrong reply, a dead process.
    Failed {
        /// Why, one line.
        reason: String,
        /// The last lines that the server wrote to stderr.
        stderr: String,
    },
    /// Not done within the time it was given.
    DidNotFinish {
        /// How long that was.
        budget_ns: u64,
        /// The last lines that the server wrote to stderr.
        #[serde(default)]
        stderr: String,
    },
    /// Not run.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// What the load generator counted between the end of warm-up and the end of the window. `ndecho load --json`
/// prints one.
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
    /// Time from handing a request to the connection until its reply was whole.
    pub latency_ns: Quantiles,
    /// The same as an HDR histogram (V2, base64), for merging.
    pub latency_histogram: String,
    /// CPU of the load generator's process.
    pub client_cpu: Cpu,
    /// Part of it in which the load generator only looked for replies and had nothing to do.
    #[serde(default)]
    pub client_spun_ns: u64,
    /// CPU of the server's whole process, when its pid was given.
    pub server_cpu: Option<Cpu>,
    /// The server's peak resident set so far.
    pub server_rss_peak_bytes: Option<u64>,
    /// The server's page faults, when its pid was given.
    #[serde(default)]
    pub server_faults: Option<u64>,
    /// Options of the load generator's socket, read back.
    pub socket: SocketOptions,
    /// The server's HTTP/2 SETTINGS as received.
    pub server_settings: Option<Http2Settings>,
    /// The load generator's, as sent.
    pub client_settings: Option<Http2Settings>,
    /// Length of the warm-up.
    #[serde(default)]
    pub warmup_ns: u64,
    /// False if the rate still showed a trend when the warm-up had to end; `None` of one that does not look.
    #[serde(default)]
    pub is_steady: Option<bool>,
    /// How well the schedule of an open loop was kept; `None` in a closed one.
    #[serde(default)]
    pub schedule: Option<ScheduleReport>,
}

/// How well the schedule of an open loop was kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleReport {
    /// Requests per second that were to be sent.
    pub offered_hz: f64,
    /// How late the load generator itself sent requests: behind their intended time, or behind the moment at which a
    /// reply let them go.
    pub lag_ns: Quantiles,
    /// The same as an HDR histogram (V2, base64).
    pub lag_histogram: String,
}

/// Processor time of a process, all threads, over the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// Exact sum, from the scheduler.
    pub total_ns: u64,
    /// User part, sampled by the kernel's tick.
    pub user_ns: u64,
    /// System part, sampled by the kernel's tick.
    pub system_ns: u64,
}

/// Latency, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half are faster.
    pub p50: u64,
    /// Nine of ten.
    pub p90: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1000.
    pub p999: u64,
    /// The slowest.
    pub max: u64,
    /// Arithmetic mean.
    pub mean: u64,
}

impl Trial {
    /// True of one whose figures are of time, in a closed loop.
    pub fn is_timed(&self) -> bool {
        self.offered_hz.is_none() && self.counts.is_none()
    }
}

impl Default for Outcome {
    fn default() -> Outcome {
        Outcome::Skipped { reason: String::new() }
    }
}

impl Measurement {
    /// CPU in which the load generator did something: without what it spent on staying awake.
    pub fn client_work_ns(&self) -> u64 {
        self.client_cpu.total_ns.saturating_sub(self.client_spun_ns)
    }
}

impl From<&Histogram> for Quantiles {
    fn from(latencies: &Histogram) -> Quantiles {
        Quantiles {
            p50: latencies.quantile(0.5),
            p90: latencies.quantile(0.9),
            p99: latencies.quantile(0.99),
            p999: latencies.quantile(0.999),
            max: latencies.max(),
            mean: latencies.mean().round() as u64,
        }
    }
}

/// What getsockopt says of a connected socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketOptions {
    /// TCP_NODELAY.
    pub nodelay: bool,
    /// SO_SNDBUF.
    pub send_buffer_bytes: u64,
    /// SO_RCVBUF.
    pub receive_buffer_bytes: u64,
    /// TCP_CONGESTION.
    pub congestion: String,
}

/// HTTP/2 SETTINGS of one side; `None` where the side left the default of RFC 9113.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http2Settings {
    /// SETTINGS_HEADER_TABLE_SIZE.
    pub header_table_size: Option<u32>,
    /// SETTINGS_MAX_CONCURRENT_STREAMS.
    pub max_concurrent_streams: Option<u32>,
    /// SETTINGS_INITIAL_WINDOW_SIZE.
    pub initial_window_size: Option<u32>,
    /// SETTINGS_MAX_FRAME_SIZE.
    pub max_frame_size: Option<u32>,
    /// SETTINGS_MAX_HEADER_LIST_SIZE.
    pub max_header_list_size: Option<u32>,
}

/// What a server writes when it ends (`--report FILE`), for the ladder to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReport {
    /// Connections accepted, over all workers.
    pub accepted: u64,
    /// Connections closed for a peer's fault.
    pub peer_faults: u64,
    /// How often peers ran into which limit, by its name; limits that nobody ran into are left out.
    #[serde(default)]
    pub limits: BTreeMap<String, u32>,
    /// Options of the first accepted socket, read back.
    pub socket: Option<SocketOptions>,
    /// Peak resident set.
    pub rss_peak_bytes: u64,
    /// Page faults that needed no disk.
    pub minor_faults: u64,
    /// Times it gave the processor up by itself.
    pub voluntary_switches: u64,
    /// Times it was taken off the processor.
    pub involuntary_switches: u64,
    /// What it spent on messages beside their echo ([`Variant::Spin`]), if it was to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spun: Option<Spun>,
}

/// What a server spent on messages beside their echo, by its own clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spun {
    /// Messages, those of its warm-up among them.
    pub messages: u64,
    /// Nanoseconds on all of them.
    pub ns: u64,
}
