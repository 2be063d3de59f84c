//! Flags of `ndecho load`: raw arguments become [`Options`] by one conversion.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::array::{DType, Shape};
use crate::axis::Family;
use crate::cli::values;
use crate::load::plan::{
    ALLOWANCE, Body, Extent, FRAME_SIZES, Options, PlanError, Source, Target, WINDOWS,
};
use crate::load::{self, LoadError, conform};
use crate::wire::h2::Allowance;

/// Puts a server under load, checks every reply, and prints what it cost.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// grpc://HOST:PORT, http://HOST:PORT or raw://HOST:PORT
    pub url: String,

    /// How arrays are written: reflect, protobuf, json, json_binary, msgpack, npy
    #[arg(long, value_name = "NAME", default_value = "protobuf")]
    pub codec: String,

    /// Connections [default: 1; over HTTP/1.1, as many as requests in flight]
    #[arg(long, value_name = "C")]
    pub connections: Option<u32>,

    /// Requests in flight over all connections [default: as many as connections]
    #[arg(long, value_name = "N")]
    pub in_flight: Option<u32>,

    /// Bytes of the array, one-dimensional
    #[arg(long, value_parser = values::size, default_value = "64KiB", conflicts_with_all = ["shape", "array"])]
    pub size: u64,

    /// Dimensions of the array, e.g. 8192 or 128,64; "" for a 0-d one
    #[arg(long, value_name = "DIMS", conflicts_with = "array")]
    pub shape: Option<String>,

    /// Item type of the array
    #[arg(long, default_value = "<f8", conflicts_with = "array")]
    pub dtype: String,

    /// Sends the array in this .npy file
    #[arg(long, value_name = "FILE.npy")]
    pub array: Option<PathBuf>,

    /// Seed the array is drawn from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Sends arrays of every type, byte order and shape instead, drawn from --seed, each once and one at a time, and says
    /// which was answered wrongly
    #[arg(long, conflicts_with_all = ["size", "shape", "dtype", "array", "connections", "in_flight", "rate", "requests", "warmup", "duration", "settle"])]
    pub conformance: bool,

    /// Load before anything is counted: a time, or a bare number of replies
    #[arg(long, value_name = "TIME", value_parser = warmup, default_value = "200ms")]
    pub warmup: Extent,

    /// Goes on with a warm-up that is a time until the rate shows no trend, at most for this long
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub settle: Option<Duration>,

    /// Requests per second of an open loop: sent when they are due, whatever became of those before, at most
    /// --in-flight at once; latency counts from when they were due. Without it each reply asks for the next request
    #[arg(long, value_name = "HZ")]
    pub rate: Option<f64>,

    /// How long replies are counted
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "1s", conflicts_with = "requests")]
    pub duration: Duration,

    /// Counts this many replies instead, and asks for no more
    #[arg(long, value_name = "N")]
    pub requests: Option<u64>,

    /// Bound on the whole run; a server that hangs fails it
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "60s")]
    pub timeout: Duration,

    /// What a gRPC server may send.
    #[command(flatten)]
    pub http2: Http2Args,

    /// Looks for replies for this long before it sleeps, so that a server need not wake it
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "0us")]
    pub busy_poll: Duration,

    /// Core for the one thread
    #[arg(long, value_name = "CORE")]
    pub cpu: Option<usize>,

    /// Server process whose CPU and memory are read
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,

    /// Keeps the client busy for as long with every reply: a load generator that is too slow, to see that it is found out
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "0ns", hide = true)]
    pub spin_per_reply: Duration,

    /// Prints the measurement as one JSON line
    #[arg(long)]
    pub json: bool,
}

/// What the load generator's HTTP/2 allows a server.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Http2Args {
    /// Over gRPC, window of each stream and of the connection [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = window)]
    pub h2_window: Option<u32>,

    /// Over gRPC, largest frame the server may send; most clients leave it at 16KiB [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = frame_size)]
    pub h2_frame_size: Option<u32>,
}

impl Http2Args {
    /// What they mean.
    fn allowance(self) -> Allowance {
        Allowance {
            window: self.h2_window.unwrap_or(ALLOWANCE.window),
            frame_bytes_max: self.h2_frame_size.unwrap_or(ALLOWANCE.frame_bytes_max),
        }
    }

    /// The same as flags of `ndecho load`.
    pub fn flags(self) -> Vec<String> {
        let flag = |name: &str, size: Option<u32>| size.map(|size| format!("--{name}={size}"));
        let flags = [flag("h2-window", self.h2_window), flag("h2-frame-size", self.h2_frame_size)];
        flags.into_iter().flatten().collect()
    }
}

impl LoadArgs {
    /// Runs the load and prints what came of it: 0 done, 1 failed, 2 wrong flags.
    pub fn run(&self) -> ExitCode {
        let options = match self.options() {
            Ok(options) => options,
            Err(error) => {
                eprintln!("ndecho load: {error}");
                return ExitCode::from(2);
            }
        };
        match load::run(&options).and_then(|measured| self.text(&measured)) {
            Ok(text) => {
                println!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("ndecho load: {}: {error}", options.target);
                ExitCode::FAILURE
            }
        }
    }

    /// The checked options that these flags mean.
    pub fn options(&self) -> Result<Options, PlanError> {
        let target = Target::parse(&self.url)?;
        let (connections, in_flight) = self.concurrency(target.protocol);
        let options = Options {
            target,
            body: Body::parse(&self.codec)?,
            source: self.source()?,
            connections,
            in_flight,
            warmup: if self.conformance { Extent::Requests(0) } else { self.warmup },
            settle: self.settle,
            rate_hz: self.rate,
            window: self.window(),
            timeout: self.timeout,
            allowance: self.http2.allowance(),
            busy_poll: self.busy_poll,
            cpu: self.cpu,
            server_pid: self.server_pid,
            spin: self.spin_per_reply,
        };
        options.check()?;
        Ok(options)
    }

    fn concurrency(&self, family: Family) -> (u32, u32) {
        match (self.connections, self.in_flight) {
            (Some(connections), Some(in_flight)) => (connections, in_flight),
            (Some(connections), None) => (connections, connections),
            (None, Some(in_flight)) if family == Family::Rest => (in_flight, in_flight),
            (None, in_flight) => (1, in_flight.unwrap_or(1)),
        }
    }

    fn window(&self) -> Extent {
        match (self.conformance, self.requests) {
            (true, _) => Extent::Requests(conform::ARRAYS as u64),
            (false, Some(requests)) => Extent::Requests(requests),
            (false, None) => Extent::Duration(self.duration),
        }
    }

    fn source(&self) -> Result<Source, PlanError> {
        if self.conformance {
            return Ok(Source::Random { seed: self.seed });
        }
        if let Some(path) = &self.array {
            return Ok(Source::File(path.clone()));
        }
        let dtype = DType::parse(&self.dtype)?;
        let Some(text) = &self.shape else {
            return Source::of_size(self.size, dtype, self.seed);
        };
        let dims: Result<Vec<u64>, _> =
            text.split(',').filter(|dim| !dim.is_empty()).map(|dim| dim.trim().parse()).collect();
        let dims = dims.map_err(|_| PlanError::Shape(text.clone()))?;
        Ok(Source::Seeded { dtype, shape: Shape::new(&dims)?, seed: self.seed })
    }

    fn text(&self, measured: &crate::record::Measurement) -> Result<String, LoadError> {
        if self.json {
            return Ok(serde_json::to_string(measured).expect("a measurement is plain data"));
        }
        Ok(load::summary::summary(measured))
    }
}

fn warmup(text: &str) -> Result<Extent, String> {
    match text.parse() {
        Ok(replies) => Ok(Extent::Requests(replies)),
        Err(_) => values::duration(text).map(Extent::Duration),
    }
}

fn window(text: &str) -> Result<u32, String> {
    size_within(text, WINDOWS)
}

fn frame_size(text: &str) -> Result<u32, String> {
    size_within(text, FRAME_SIZES)
}

fn size_within(text: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let size = u32::try_from(values::size(text)?).ok().filter(|size| range.contains(size));
    size.ok_or_else(|| format!("expected {} to {} bytes", range.start(), range.end()))
}
