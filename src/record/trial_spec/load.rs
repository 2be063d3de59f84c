//! The load of a trial: target, arrays, concurrency and duration.
//!
//! The command line, the plan of a run and a test get the same refusals from [`LoadSpec::check`].

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::nanoseconds;
use crate::array::{ArrayError, DType, Shape};
use crate::axis::{Coding, DataSet, Encoding, Family, serde_by_name};
use crate::sys::address::Address;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSpec {
    /// One for each server of the trial, in the same order.
    pub targets: Vec<Target>,
    pub encoding: Encoding,
    pub array: ArraySpec,
    /// Coding of the messages, both ways.
    #[serde(default, skip_serializing_if = "Coding::is_identity")]
    pub coding: Coding,
    pub connections: u32,
    pub in_flight: u32,
    #[serde(default)]
    pub rate_hz: Option<f64>,
    pub warmup: Length,
    /// Upper bound of a warm-up in time, which goes on until the rate shows no trend.
    #[serde(default, rename = "settle_ns", with = "nanoseconds::option")]
    pub settle: Option<Duration>,
    /// Load that is counted. Of a number of requests, none is sent beyond it.
    pub window: Length,
    /// Makes the window one slice of many, each of which waits for a line on stdin. This is the
    /// part at the start of a slice that is not counted.
    #[serde(default, rename = "slice_head_ns", with = "nanoseconds::option")]
    pub slice_head: Option<Duration>,
    /// Bound of the whole run, from the first connect to the last reply.
    #[serde(rename = "timeout_ns", with = "nanoseconds")]
    pub timeout: Duration,
    #[serde(default)]
    pub cpu: Option<usize>,
    /// True to count the server's system calls and other events of the kernel in each window.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counts_kernel_events: bool,
    #[serde(default)]
    pub knobs: Knobs,
}

/// Settings of the load generator itself, the same for every trial of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// HTTP/2 window of each stream and of the connection, announced to a gRPC server. By default
    /// it holds no server up, so that the server's own settings decide how it sends.
    pub h2_window_bytes: u32,
    pub h2_frame_bytes_max: u32,
    /// Older records do not name it: their requests had equal heads.
    #[serde(default = "RequestHeaders::before_they_changed")]
    pub headers: RequestHeaders,
    #[serde(rename = "busy_poll_ns", with = "nanoseconds")]
    pub busy_poll: Duration,
    /// Busy wait for every reply, which makes a load generator that is too slow.
    #[serde(rename = "delay_ns", with = "nanoseconds")]
    pub delay: Duration,
    /// `None` means the ring, or poll(2) where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io: Option<ClientIo>,
}

/// System interface of the load generator, the same for every trial of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientIo {
    Ring,
    Poll,
}

/// Heads of the requests of a gRPC or REST connection. Raw frames have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestHeaders {
    /// The same head in each request. Clients of other projects send no other ones.
    Equal,
    /// A `traceparent`, and over gRPC a `grpc-timeout`, that differ in each request. Over HTTP/2
    /// they are literals that no table keeps.
    Changing,
    /// The same, but over HTTP/2 the literals enter the table of the server.
    Indexed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub url: ServerUrl,
    #[serde(default)]
    pub pid: Option<u32>,
}

/// URL `SCHEME://HOST:PORT`, or `SCHEME+ADDRESS` with an address of another transport:
/// `grpc+unix:PATH`. The scheme is `grpc`, `http` or `raw`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    pub family: Family,
    pub place: Place,
}

serde_by_name!(ServerUrl);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `HOST:PORT`, over TCP.
    Host(String),
    /// Never TCP.
    Local(Address),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ArraySpec {
    Seeded {
        dtype: DType,
        shape: Shape,
        seed: u64,
    },
    /// Data set of `bytes`, rounded down to whole rows.
    DataSet {
        name: DataSet,
        bytes: u64,
        seed: u64,
    },
    File {
        path: PathBuf,
    },
    /// Arrays of every type, byte order and shape, each of them once.
    Conformance {
        seed: u64,
        /// Size of the largest message that the server accepts; `None` for no limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body_bytes_max: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Length {
    #[serde(rename = "time_ns", with = "nanoseconds")]
    Time(Duration),
    #[serde(rename = "requests")]
    Requests(u64),
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpecError {
    #[error(
        "URL {0:?}: expected grpc://HOST:PORT, http://HOST:PORT, raw://HOST:PORT, zmtp://HOST:PORT, or grpc+unix:PATH, http+unix:PATH, raw+unix:PATH; without the path of a request, which --codec chooses"
    )]
    Url(String),
    #[error("{got} servers to load, expected exactly 1")]
    Targets { got: usize },
    #[error("{what} is {got}, expected {expected}")]
    Count { what: &'static str, got: u64, expected: String },
    #[error("--rate is {0}, expected requests per second from 1 to {RATE_HZ_MAX}")]
    Rate(f64),
    #[error(
        "a message of {bytes} B does not fit {scheme}://, whose length field takes at most {most} B; send a smaller array, or send it over http://"
    )]
    Message { scheme: &'static str, bytes: u64, most: u64 },
    #[error(
        "{scheme}:// does not carry {encoding}; zmtp:// carries multipart only, and the others every other encoding"
    )]
    Encoding { scheme: &'static str, encoding: Encoding },
    #[error(transparent)]
    Array(#[from] ArrayError),
    #[error("--coding {0} needs grpc:// or http://: raw frames name no coding")]
    Coding(Coding),
    #[error("shape {0:?} is not a list of dimensions, expected e.g. 128,64")]
    Shape(String),
    #[error("--size {size} is not a multiple of {item} bytes, the item size of {dtype}")]
    Size { size: u64, item: u64, dtype: &'static str },
}

/// Windows of HTTP/2 (RFC 9113 section 6.9), except 0, which lets nothing through.
pub const WINDOWS: RangeInclusive<u32> = 1..=(1 << 31) - 1;

/// Frame sizes of HTTP/2 (RFC 9113 section 6.5.2).
pub const FRAME_SIZES: RangeInclusive<u32> = 1 << 14..=(1 << 24) - 1;

/// Most connections of one run: their sockets fit the usual descriptor limit of 1024.
pub const CONNECTIONS_MAX: u32 = 1000;

/// Most requests in flight, so that a mistyped number is refused at once.
pub const IN_FLIGHT_MAX: u32 = 100_000;

/// Highest rate of an open loop: a clock of nanoseconds still resolves the steps between requests.
pub const RATE_HZ_MAX: f64 = 1e8;

impl LoadSpec {
    /// Creates a closed loop of one request at a time: 64 KiB of `<f8`, counted for a second.
    pub fn new(url: ServerUrl, encoding: Encoding) -> LoadSpec {
        LoadSpec {
            targets: vec![Target { url, pid: None }],
            encoding,
            array: ArraySpec::float64(64 << 10, 1),
            coding: Coding::Identity,
            connections: 1,
            in_flight: 1,
            rate_hz: None,
            warmup: Length::Time(Duration::from_millis(200)),
            settle: None,
            window: Length::Time(Duration::from_secs(1)),
            slice_head: None,
            timeout: Duration::from_secs(60),
            cpu: None,
            counts_kernel_events: false,
            knobs: Knobs::default(),
        }
    }

    /// Returns the server of a document that [`LoadSpec::check`] accepts.
    pub fn target(&self) -> &Target {
        &self.targets[0]
    }

    pub fn check(&self) -> Result<(), SpecError> {
        let [target] = self.targets.as_slice() else {
            return Err(SpecError::Targets { got: self.targets.len() });
        };
        let family = target.url.family;
        if !family.carries(self.encoding) {
            return Err(SpecError::Encoding { scheme: family.scheme(), encoding: self.encoding });
        }
        let in_flight_max = if family.is_lock_step() { self.connections } else { IN_FLIGHT_MAX };
        let reason = match family {
            Family::Rest => " (one request in flight on each HTTP/1.1 connection)",
            Family::Zmtp => " (one request in flight on each connection of a REQ socket)",
            Family::Raw | Family::Grpc => "",
        };
        check_range("--connections", self.connections, &(1..=CONNECTIONS_MAX), "")?;
        check_range("--in-flight", self.in_flight, &(self.connections..=in_flight_max), reason)?;
        let Knobs { h2_window_bytes, h2_frame_bytes_max, .. } = self.knobs;
        check_range("--h2-window", h2_window_bytes, &WINDOWS, " bytes")?;
        check_range("--h2-frame-size", h2_frame_bytes_max, &FRAME_SIZES, " bytes")?;
        if let ArraySpec::Seeded { dtype, shape, .. } = &self.array {
            // The message of an array that is drawn is no shorter than the array.
            self.check_message(shape.byte_len(*dtype)?)?;
        }
        if self.coding != Coding::Identity && target.url.family == Family::Raw {
            return Err(SpecError::Coding(self.coding));
        }
        match self.rate_hz {
            Some(rate) if !(1.0..=RATE_HZ_MAX).contains(&rate) => Err(SpecError::Rate(rate)),
            _ if self.window == Length::Requests(0) => {
                let expected = "at least 1".to_owned();
                Err(SpecError::Count { what: "--requests", got: 0, expected })
            }
            _ => Ok(()),
        }
    }

    /// Refuses a message of `bytes` that the protocol of the target cannot frame.
    pub fn check_message(&self, bytes: u64) -> Result<(), SpecError> {
        let family = self.target().url.family;
        match family.message_bytes_max() {
            Some(most) if bytes > most => {
                Err(SpecError::Message { scheme: family.scheme(), bytes, most })
            }
            _ => Ok(()),
        }
    }

    /// Returns the requests in flight on connection `index`. The first ones take the remainder.
    pub fn share(&self, index: u32) -> u32 {
        let extra = u32::from(index < self.in_flight % self.connections);
        self.in_flight / self.connections + extra
    }
}

fn check_range(
    what: &'static str,
    got: u32,
    range: &RangeInclusive<u32>,
    reason: &str,
) -> Result<(), SpecError> {
    if range.contains(&got) {
        return Ok(());
    }
    let (min, max) = (range.start(), range.end());
    let expected =
        if min == max { format!("{min}{reason}") } else { format!("{min} to {max}{reason}") };
    Err(SpecError::Count { what, got: got.into(), expected })
}

impl FromStr for ServerUrl {
    type Err = SpecError;

    /// Parses a URL. A slash after `HOST:PORT` is accepted, a path is not: the contract fixes it.
    fn from_str(url: &str) -> Result<ServerUrl, SpecError> {
        let bad = || SpecError::Url(url.to_owned());
        let (scheme, rest) = url.split_at(url.find([':', '+']).ok_or_else(bad)?);
        let family = Family::of_scheme(scheme).ok_or_else(bad)?;
        if let Some(address) = rest.strip_prefix('+') {
            let address: Address = address.parse().map_err(|_| bad())?;
            let is_tcp = address.tcp().is_some();
            let place = Place::Local(address);
            return if is_tcp { Err(bad()) } else { Ok(ServerUrl { family, place }) };
        }
        let authority = rest.strip_prefix("://").ok_or_else(bad)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = authority.rsplit_once(':').ok_or_else(bad)?;
        if host.is_empty() || host.contains(['/', '@']) || port.parse::<u16>().is_err() {
            return Err(bad());
        }
        Ok(ServerUrl { family, place: Place::Host(authority.to_owned()) })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.family.scheme();
        match &self.place {
            Place::Host(authority) => write!(f, "{scheme}://{authority}"),
            Place::Local(address) => write!(f, "{scheme}+{address}"),
        }
    }
}

impl ServerUrl {
    pub fn new(family: Family, address: &Address) -> ServerUrl {
        let place = match address {
            Address::Tcp(address) => Place::Host(address.to_string()),
            local => Place::Local(local.clone()),
        };
        ServerUrl { family, place }
    }

    /// Returns the `Host` field and the `:authority` of requests.
    pub fn authority(&self) -> &str {
        match &self.place {
            Place::Host(authority) => authority,
            Place::Local(_) => "localhost",
        }
    }
}

impl ArraySpec {
    /// Describes a one-dimensional array of `size` bytes.
    pub fn vector(size: u64, dtype: DType, seed: u64) -> Result<ArraySpec, SpecError> {
        let item = dtype.item_size() as u64;
        if !size.is_multiple_of(item) {
            return Err(SpecError::Size { size, item, dtype: dtype.name() });
        }
        Ok(ArraySpec::Seeded { dtype, shape: Shape::new(&[size / item])?, seed })
    }

    /// Describes a float64 vector of `size` bytes, rounded down to whole items.
    pub fn float64(size: u64, seed: u64) -> ArraySpec {
        let shape = Shape::new(&[size / 8]).expect("one dimension");
        ArraySpec::Seeded { dtype: DType::F8, shape, seed }
    }
}

impl RequestHeaders {
    pub fn name(self) -> &'static str {
        match self {
            RequestHeaders::Equal => "equal",
            RequestHeaders::Changing => "changing",
            RequestHeaders::Indexed => "indexed",
        }
    }

    fn before_they_changed() -> RequestHeaders {
        RequestHeaders::Equal
    }
}

impl Length {
    pub fn is_reached(self, replies: u64, time: Duration) -> bool {
        match self {
            Length::Time(wanted) => time >= wanted,
            Length::Requests(wanted) => replies >= wanted,
        }
    }
}

impl Default for Knobs {
    fn default() -> Knobs {
        Knobs {
            h2_window_bytes: 64 << 20,
            h2_frame_bytes_max: 1 << 20,
            headers: RequestHeaders::Changing,
            busy_poll: Duration::ZERO,
            delay: Duration::ZERO,
            io: None,
        }
    }
}
