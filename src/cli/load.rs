//! Flags of `ndecho load`. One conversion turns them into a [`LoadSpec`], or `--spec` reads one.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;

use crate::array::DType;
use crate::axis::{Codec, Coding, DataSet, Encoding, Family, UnknownName};
use crate::cli::interrupt::Interrupt;
use crate::cli::output::{Failure, print};
use crate::cli::{spec_file, values};
use crate::load::{self, Load, LoadError, Loaded, WARM, conformance};
use crate::record::Measurement;
use crate::record::trial_spec::{
    ArraySpec, FRAME_SIZES, Knobs, Length, LoadSpec, RequestHeaders, ServerUrl, SpecError, Target,
    WINDOWS,
};
use crate::report::summary;
use crate::sys::affinity;

/// Time beyond the load itself after which a run without --timeout fails.
const SLACK: Duration = Duration::from_secs(60);

/// Puts a server under load, checks every reply, and prints what it cost.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    #[command(flatten)]
    flags: LoadFlags,

    /// Reads the load from this document of a trial (JSON; - is stdin) instead of from flags
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "LoadFlags")]
    spec: Option<PathBuf>,

    /// Prints the measurement as one JSON line
    #[arg(long)]
    json: bool,
}

#[derive(Args, Clone, Debug)]
struct LoadFlags {
    /// grpc://HOST:PORT, http://HOST:PORT, raw://HOST:PORT or zmtp://HOST:PORT (a ZeroMQ server)
    #[arg(required_unless_present = "spec")]
    url: Option<ServerUrl>,

    /// Encoding of the array: reflect, protobuf, json, json_binary, msgpack, npy, cbor,
    /// safetensors, protobuf_packed, kserve, kserve_typed, kserve_http, arrow; over ZMTP,
    /// multipart
    #[arg(long, value_name = "NAME", value_parser = encoding, default_value = "protobuf")]
    codec: Encoding,

    /// Connections [default: 1; over HTTP/1.1 and ZMTP, as many as requests in flight]
    #[arg(long, value_name = "C")]
    connections: Option<u32>,

    /// Requests in flight over all connections [default: as many as connections]
    #[arg(long, value_name = "N")]
    in_flight: Option<u32>,

    /// Bytes of the array, one-dimensional
    #[arg(long, value_parser = values::size, default_value = "64KiB", conflicts_with_all = ["shape", "array"])]
    size: u64,

    /// Dimensions of the array, e.g. 8192 or 128,64; "" for a 0-d one
    #[arg(long, value_name = "DIMS", conflicts_with = "array")]
    shape: Option<String>,

    /// Item type of the array
    #[arg(long, default_value = "<f8", conflicts_with = "array")]
    dtype: String,

    /// Coding of the messages both ways: identity, gzip, zstd, lz4, shuffle-zstd
    #[arg(long, value_name = "NAME", default_value = "identity")]
    coding: Coding,

    /// Sends a data set of --size instead: smooth (<f4), image (<u2) or random (<f8)
    #[arg(long, value_name = "NAME", conflicts_with_all = ["shape", "dtype", "array"])]
    data: Option<DataSet>,

    /// Sends the array in this .npy file; - is stdin
    #[arg(long, value_name = "FILE.npy")]
    array: Option<PathBuf>,

    /// Seed from which the array is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Sends arrays of every type, byte order and shape instead, drawn from --seed, each once and
    /// one at a time, and names the first one that was not echoed correctly
    #[arg(long, conflicts_with_all = ["size", "shape", "dtype", "array", "data", "connections", "in_flight", "rate", "requests", "warmup", "duration", "settle"])]
    conformance: bool,

    /// Load before anything is counted: a time, or a bare number of replies
    #[arg(long, value_name = "TIME", value_parser = warmup, default_value = "200ms")]
    warmup: Length,

    /// Extends a warm-up in time until the rate shows no trend, at most to this time
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    settle: Option<Duration>,

    /// Requests per second of an open loop: each is sent when it is due, whatever happened to
    /// earlier ones, at most --in-flight at once; latency counts from when it was due. Without
    /// this flag the next request is sent when a reply arrives
    #[arg(long, value_name = "HZ")]
    rate: Option<f64>,

    /// Time for which replies are counted
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration, default_value = "1s", conflicts_with = "requests")]
    duration: Duration,

    /// Counts this many replies instead, and sends no more requests
    #[arg(long, value_name = "N")]
    requests: Option<u64>,

    /// Bound of the whole run; a server that hangs fails it [default: a minute more than warm-up,
    /// settling and --duration]
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    timeout: Option<Duration>,

    #[command(flatten)]
    knobs: KnobArgs,

    /// Polls for replies for this long before it sleeps, so that the server does not pay for waking
    /// the load generator
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "0us")]
    busy_poll: Duration,

    /// Core for the one thread
    #[arg(long, value_name = "CORE")]
    cpu: Option<usize>,

    /// Server process whose CPU and memory are read
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
}

/// Settings of the load generator that `load` and `ladder` share.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct KnobArgs {
    /// Over gRPC, window of each stream and of the connection [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = within(WINDOWS))]
    h2_window: Option<u32>,

    /// Over gRPC, largest frame the server may send; most clients leave it at 16KiB [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = within(FRAME_SIZES))]
    h2_frame_size: Option<u32>,

    /// Sends the same head in every request; otherwise each has another traceparent, and over gRPC
    /// another grpc-timeout
    #[arg(long)]
    equal_headers: bool,

    /// Over gRPC, puts the changing fields into the server's table of fields, as the clients of
    /// tonic and Go do; they are literals otherwise
    #[arg(long, conflicts_with = "equal_headers")]
    index_headers: bool,

    /// Keeps the load generator busy for this long with every reply, to show that one that is too
    /// slow is found
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "0ns", hide = true)]
    client_delay: Duration,
}

impl KnobArgs {
    pub fn knobs(self, busy_poll: Duration) -> Knobs {
        let usual = Knobs::default();
        Knobs {
            h2_window_bytes: self.h2_window.unwrap_or(usual.h2_window_bytes),
            h2_frame_bytes_max: self.h2_frame_size.unwrap_or(usual.h2_frame_bytes_max),
            headers: match (self.equal_headers, self.index_headers) {
                (true, _) => RequestHeaders::Equal,
                (_, true) => RequestHeaders::Indexed,
                _ => RequestHeaders::Changing,
            },
            busy_poll,
            delay: self.client_delay,
            io: None,
        }
    }
}

impl LoadArgs {
    /// Runs the load and prints its measurement.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let spec = self.spec().map_err(Failure::Usage)?;
        if self.spec.is_none() {
            return self.run_until_stopped(&spec);
        }
        let measured = match spec.slice_head {
            Some(_) => in_slices(&spec),
            None => load::run(&spec).map_err(Into::into),
        };
        self.print(&measured.map_err(|error| failure(error, &spec))?)
    }

    /// Runs a load of a user, whose result so far is printed when a signal stops it.
    fn run_until_stopped(&self, spec: &LoadSpec) -> Result<(), Failure> {
        let interrupt = Interrupt::watch()?;
        let loaded = load::run_until(spec, interrupt.flag());
        let loaded = loaded.map_err(|error| failure(error.into(), spec));
        let Loaded { measured, unanswered } = interrupt.attribute(loaded)?;
        self.print(&measured)?;
        let stopped = unanswered.map_or(Ok(()), |count| {
            Err(anyhow!("stopped early; requests without a reply: {count}").into())
        });
        interrupt.attribute(stopped)
    }

    fn print(&self, measured: &Measurement) -> Result<(), Failure> {
        Ok(print(&(self.text(measured) + "\n"))?)
    }

    fn spec(&self) -> anyhow::Result<LoadSpec> {
        let spec = match &self.spec {
            Some(path) => spec_file::read(path)?.load,
            None => self.flags.spec()?,
        };
        spec.check()?;
        spec.cpu.map(affinity::check).transpose()?;
        Ok(spec)
    }

    fn text(&self, measured: &Measurement) -> String {
        if self.json {
            return serde_json::to_string(measured).expect("a measurement is plain data");
        }
        summary::summary(measured)
    }
}

impl LoadFlags {
    fn spec(&self) -> Result<LoadSpec, SpecError> {
        let url = self.url.clone().expect("clap asks for a URL where no document is given");
        let (connections, in_flight) = self.concurrency(url.family);
        Ok(LoadSpec {
            targets: vec![Target { url, pid: self.server_pid }],
            encoding: self.codec,
            array: self.array()?,
            coding: self.coding,
            connections,
            in_flight,
            rate_hz: self.rate,
            warmup: if self.conformance { Length::Requests(0) } else { self.warmup },
            settle: self.settle,
            window: self.window(),
            slice_head: None,
            timeout: self.timeout.unwrap_or_else(|| self.usual_timeout()),
            cpu: self.cpu,
            counts_kernel_events: false,
            knobs: self.knobs.knobs(self.busy_poll),
        })
    }

    fn concurrency(&self, family: Family) -> (u32, u32) {
        match (self.connections, self.in_flight) {
            (Some(connections), Some(in_flight)) => (connections, in_flight),
            (Some(connections), None) => (connections, connections),
            (None, Some(in_flight)) if family.is_lock_step() => (in_flight, in_flight),
            (None, in_flight) => (1, in_flight.unwrap_or(1)),
        }
    }

    /// Returns the longest time of a run whose server answers, and a minute for one that is slow.
    fn usual_timeout(&self) -> Duration {
        let warmup = match self.warmup {
            Length::Time(time) => time,
            Length::Requests(_) => Duration::ZERO,
        };
        let parts = [self.settle.unwrap_or_default(), self.duration, SLACK];
        parts.into_iter().fold(warmup, Duration::saturating_add)
    }

    fn window(&self) -> Length {
        match (self.conformance, self.requests) {
            (true, _) => Length::Requests(conformance::ARRAYS as u64),
            (false, Some(requests)) => Length::Requests(requests),
            (false, None) => Length::Time(self.duration),
        }
    }

    fn array(&self) -> Result<ArraySpec, SpecError> {
        if self.conformance {
            return Ok(ArraySpec::Conformance { seed: self.seed, body_bytes_max: None });
        }
        if let Some(path) = &self.array {
            return Ok(ArraySpec::File { path: path.clone() });
        }
        if let Some(name) = self.data {
            return Ok(ArraySpec::DataSet { name, bytes: self.size, seed: self.seed });
        }
        let dtype = DType::parse(&self.dtype)?;
        let Some(text) = &self.shape else {
            return ArraySpec::vector(self.size, dtype, self.seed);
        };
        Ok(ArraySpec::Seeded { dtype, shape: values::shape(text)?, seed: self.seed })
    }
}

/// Tells a mistake in the command line from a failed load.
fn failure(error: anyhow::Error, spec: &LoadSpec) -> Failure {
    match error.downcast_ref() {
        Some(LoadError::File(_) | LoadError::Spec(_)) => Failure::Usage(error),
        _ => Failure::Run(error.context(spec.target().url.to_string())),
    }
}

/// Loads a server for one slice per line of stdin, and prints each slice as JSON. The first line of
/// output says that the server is warm.
fn in_slices(spec: &LoadSpec) -> anyhow::Result<Measurement> {
    let mut load = Load::in_slices(spec)?;
    print(&format!("{WARM}\n"))?;
    let what = "reading stdin";
    for line in std::io::stdin().lines() {
        line.map_err(|source| LoadError::Io { what, source })?;
        let slice = serde_json::to_string(&load.slice()?).expect("a slice is plain data");
        print(&(slice + "\n"))?;
    }
    Ok(load.finish()?)
}

/// Reads an encoding, or the name of a library's codec for it.
fn encoding(name: &str) -> Result<Encoding, UnknownName> {
    name.parse().map(Codec::encoding)
}

fn warmup(text: &str) -> Result<Length, String> {
    match text.parse() {
        Ok(replies) => Ok(Length::Requests(replies)),
        Err(_) => values::duration(text).map(Length::Time),
    }
}

/// Makes a reader of a size within `range`.
fn within(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> + Clone {
    move |text| {
        let size = u32::try_from(values::size(text)?).ok().filter(|size| range.contains(size));
        size.ok_or_else(|| format!("expected {} to {} bytes", range.start(), range.end()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: LoadArgs,
    }

    fn timeout_of(flags: &[&str]) -> Duration {
        let words = ["load", "grpc://127.0.0.1:1"].iter().chain(flags);
        let program = Program::try_parse_from(words).expect("right flags");
        program.args.flags.spec().expect("a load").timeout
    }

    #[test]
    fn a_run_longer_than_a_minute_does_not_time_out_by_default() {
        let seconds = Duration::from_secs;
        assert_eq!(timeout_of(&["--duration", "2m", "--warmup", "5s"]), seconds(185));
        let settled = ["--duration", "2m", "--warmup", "5s", "--settle", "30s"];
        assert_eq!(timeout_of(&settled), seconds(215));
        assert_eq!(timeout_of(&["--requests", "9", "--warmup", "3"]), seconds(61));
        assert_eq!(timeout_of(&["--duration", "2m", "--timeout", "9s"]), seconds(9));
    }
}
