//! What one run of the load generator is to do: checked options, from whatever named them.
//!
//! [`Options::check`] is the one place where conflicts between them are found, so that whoever builds options (the
//! CLI, the ladder, a test) gets the same refusals. Nothing here touches a file or a socket.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::array::{ArrayError, DType, Shape};
use crate::axis::{Codec, Encoding, Family, UnknownName};
use crate::codec::{self, ArrayCodec};
use crate::wire::h2::Allowance;

/// Everything that decides a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom to load, and how to speak to it.
    pub target: Target,
    /// How arrays are written.
    pub body: Body,
    /// Which array is sent.
    pub source: Source,
    /// Connections.
    pub connections: u32,
    /// Requests in flight over all connections.
    pub in_flight: u32,
    /// How long or how much the server is loaded before anything is counted.
    pub warmup: Extent,
    /// Bound on a warm-up that goes on after `warmup`, if that is a time, until the rate shows no trend.
    pub settle: Option<Duration>,
    /// Requests a second of an open loop; without it each reply asks for the next request.
    pub rate_hz: Option<f64>,
    /// How long or how much is counted; of a number of requests, none is sent beyond it.
    pub window: Extent,
    /// Bound on the whole run, from the first connect to the last reply.
    pub timeout: Duration,
    /// What a gRPC server may send us before it has to wait.
    pub allowance: Allowance,
    /// How long the thread looks for replies before it sleeps.
    pub busy_poll: Duration,
    /// Core to pin the one thread to.
    pub cpu: Option<usize>,
    /// Server process whose CPU and memory are read.
    pub server_pid: Option<u32>,
    /// What the client does beside for every reply: nothing, but where it is to be slow.
    pub spin: Duration,
}

/// Address and protocol of a server: `grpc://HOST:PORT`, `http://HOST:PORT` or `raw://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// How it is spoken to.
    pub protocol: Family,
    /// `HOST:PORT`, as the `Host` field and `:authority` carry it.
    pub authority: String,
}

/// What a message body is.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    /// The array's own bytes, sent as `reflect`.
    Reflect,
    /// The array as this codec of our own writes it.
    Codec(&'static dyn ArrayCodec),
}

/// Where the array comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Drawn from a seed.
    Seeded {
        /// Item type.
        dtype: DType,
        /// Dimensions.
        shape: Shape,
        /// Seed.
        seed: u64,
    },
    /// Read from an `.npy` file.
    File(PathBuf),
    /// Arrays of every kind in turns ([`super::conform`]).
    Random {
        /// Seed.
        seed: u64,
    },
}

/// How much of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// This time.
    Duration(Duration),
    /// This many replies.
    Requests(u64),
}

/// Why options do not fit each other or a value is not one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The URL is not of a form we speak.
    #[error("URL {0:?}: expected grpc://HOST:PORT, http://HOST:PORT or raw://HOST:PORT")]
    Url(String),
    #[error(transparent)]
    Codec(#[from] UnknownName),
    /// A count is out of its range.
    #[error("{what} is {got}, expected {expected}")]
    Count {
        /// Which count.
        what: &'static str,
        /// Its value.
        got: u64,
        /// Its range.
        expected: String,
    },
    /// No rate to send at.
    #[error("--rate is {0}, expected requests per second from 1 to {RATE_HZ_MAX}")]
    Rate(f64),
    /// The array cannot be made.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// The shape is not a list of numbers.
    #[error("shape {0:?} is not a list of dimensions, e.g. 128,64")]
    Shape(String),
    /// The size is not a whole number of items.
    #[error("--size {size} is not a multiple of {item} bytes, the item size of {dtype}")]
    Size {
        /// Size asked for.
        size: u64,
        /// Bytes of an item.
        item: u64,
        /// Item type.
        dtype: &'static str,
    },
}

/// Windows and frames that hold no server up: its own settings decide how it sends. 64 MiB for each stream and each
/// connection, frames of 1 MiB.
pub const ALLOWANCE: Allowance = Allowance { window: 64 << 20, frame_bytes_max: 1 << 20 };

/// Windows that HTTP/2 knows, but for one of 0, which lets nothing through.
pub const WINDOWS: RangeInclusive<u32> = 1..=(1 << 31) - 1;

/// Frame sizes that HTTP/2 knows.
pub const FRAME_SIZES: RangeInclusive<u32> = 1 << 14..=(1 << 24) - 1;

/// Most connections of one run: their sockets must fit an ordinary descriptor limit of 1024 with room to spare.
pub const CONNECTIONS_MAX: u32 = 1000;

/// Most requests in flight, so that a mistyped number is refused and not tried.
pub const IN_FLIGHT_MAX: u32 = 100_000;

/// Highest rate of an open loop: the steps between requests are told apart by a clock of nanoseconds.
pub const RATE_HZ_MAX: f64 = 1e8;

impl Target {
    /// Reads a URL; a trailing slash is accepted, a path is not: the contract fixes the paths.
    pub fn parse(url: &str) -> Result<Target, PlanError> {
        let bad = || PlanError::Url(url.to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
        let protocol = Family::of_scheme(scheme).ok_or_else(bad)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority.rsplit_once(':').ok_or_else(bad)?;
        if host.is_empty() || host.contains(['/', '@']) || port.parse::<u16>().is_err() {
            return Err(bad());
        }
        Ok(Target { protocol, authority: authority.to_owned() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.protocol.scheme(), self.authority)
    }
}

impl Body {
    /// The body that `--codec NAME` means.
    pub fn parse(name: &str) -> Result<Body, PlanError> {
        let codec: Codec = name.parse()?;
        // Our own codec does the client's work, so that its cost is the same for every rung.
        let own = codec::implementation(codec.encoding().own());
        Ok(own.map_or(Body::Reflect, Body::Codec))
    }

    /// What it is on the wire.
    pub fn encoding(self) -> Encoding {
        match self {
            Body::Reflect => Encoding::Reflect,
            Body::Codec(codec) => codec.encoding(),
        }
    }
}

impl Source {
    /// A one-dimensional array of `size` bytes drawn from `seed`.
    pub fn of_size(size: u64, dtype: DType, seed: u64) -> Result<Source, PlanError> {
        let item = dtype.item_size() as u64;
        if !size.is_multiple_of(item) {
            return Err(PlanError::Size { size, item, dtype: dtype.name() });
        }
        Ok(Source::Seeded { dtype, shape: Shape::new(&[size / item])?, seed })
    }
}

impl Extent {
    /// Whether `replies` in `time` are as much.
    pub fn reached(self, replies: u64, time: Duration) -> bool {
        match self {
            Extent::Duration(wanted) => time >= wanted,
            Extent::Requests(wanted) => replies >= wanted,
        }
    }
}

impl Options {
    /// Finds what does not fit together.
    pub fn check(&self) -> Result<(), PlanError> {
        range("--connections", self.connections, 1, CONNECTIONS_MAX, "")?;
        let in_flight_max = match self.target.protocol {
            Family::Rest => self.connections,
            Family::Grpc | Family::Raw => IN_FLIGHT_MAX,
        };
        let why = " (one request in flight on each HTTP/1.1 connection)";
        let why = if self.target.protocol == Family::Rest { why } else { "" };
        range("--in-flight", self.in_flight, self.connections, in_flight_max, why)?;
        let Allowance { window, frame_bytes_max } = self.allowance;
        range("--h2-window", window, *WINDOWS.start(), *WINDOWS.end(), " bytes")?;
        let (least, most) = (*FRAME_SIZES.start(), *FRAME_SIZES.end());
        range("--h2-frame-size", frame_bytes_max, least, most, " bytes")?;
        if let Some(rate) = self.rate_hz
            && !(1.0..=RATE_HZ_MAX).contains(&rate)
        {
            return Err(PlanError::Rate(rate));
        }
        match self.window {
            Extent::Requests(0) => Err(PlanError::Count {
                what: "--requests",
                got: 0,
                expected: "at least 1".to_owned(),
            }),
            Extent::Requests(_) | Extent::Duration(_) => Ok(()),
        }
    }

    /// Requests in flight on connection `index`: equal shares, the first ones take what is left over.
    pub fn share(&self, index: u32) -> u32 {
        let extra = u32::from(index < self.in_flight % self.connections);
        self.in_flight / self.connections + extra
    }
}

fn range(what: &'static str, got: u32, min: u32, max: u32, why: &str) -> Result<(), PlanError> {
    if (min..=max).contains(&got) {
        return Ok(());
    }
    let expected = if min == max { format!("{min}{why}") } else { format!("{min} to {max}{why}") };
    Err(PlanError::Count { what, got: got.into(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str, connections: u32, in_flight: u32) -> Options {
        Options {
            target: Target::parse(url).unwrap(),
            body: Body::Reflect,
            source: Source::of_size(8, DType::F8, 1).unwrap(),
            connections,
            in_flight,
            warmup: Extent::Requests(0),
            window: Extent::Requests(1),
            timeout: Duration::from_secs(1),
            allowance: ALLOWANCE,
            cpu: None,
            server_pid: None,
            settle: None,
            rate_hz: None,
            busy_poll: Duration::ZERO,
            spin: Duration::ZERO,
        }
    }

    #[test]
    fn urls() {
        let target = Target::parse("grpc://127.0.0.1:50051").unwrap();
        assert_eq!(target.protocol, Family::Grpc);
        assert_eq!(target.authority, "127.0.0.1:50051");
        assert_eq!(Target::parse("raw://[::1]:7/").unwrap().to_string(), "raw://[::1]:7");
        for bad in
            ["127.0.0.1:1", "https://a:1", "http://a", "http://a:x", "http://a:1/x", "raw://:1"]
        {
            assert_eq!(Target::parse(bad), Err(PlanError::Url(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn http_carries_one_request_a_connection() {
        assert!(options("http://a:1", 50, 50).check().is_ok());
        let error = options("http://a:1", 4, 64).check().unwrap_err().to_string();
        assert!(error.contains("one request in flight"), "{error}");
        assert!(options("grpc://a:1", 1, 1000).check().is_ok());
        assert!(options("raw://a:1", 8, 4).check().is_err());
        assert!(options("raw://a:1", 0, 0).check().is_err());
    }

    #[test]
    fn windows_and_frames_are_those_of_the_protocol() {
        let check = |window, frame_bytes_max| {
            let allowance = Allowance { window, frame_bytes_max };
            Options { allowance, ..options("grpc://a:1", 1, 1) }.check()
        };
        assert!(check(1, 1 << 14).is_ok() && check(i32::MAX as u32, (1 << 24) - 1).is_ok());
        assert!(check(0, 1 << 14).is_err() && check(1 << 31, 1 << 14).is_err());
        let error = check(1, 1 << 24).unwrap_err().to_string();
        assert_eq!(error, "--h2-frame-size is 16777216, expected 16384 to 16777215 bytes");
    }

    #[test]
    fn a_rate_is_a_number_of_requests() {
        let with = |rate_hz| Options { rate_hz: Some(rate_hz), ..options("raw://a:1", 1, 1) };
        assert!(with(20_000.0).check().is_ok());
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(with(wrong).check(), Err(PlanError::Rate(_))), "{wrong}");
        }
    }

    #[test]
    fn shares_add_up() {
        let options = options("raw://a:1", 3, 64);
        let shares: Vec<u32> = (0..3).map(|index| options.share(index)).collect();
        assert_eq!(shares, [22, 21, 21]);
    }

    #[test]
    fn a_size_is_whole_items() {
        assert!(Source::of_size(12, DType::F8, 1).is_err());
    }
}
