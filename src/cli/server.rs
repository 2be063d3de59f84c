//! Flags of the three server programs. One conversion makes the options of a server of them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Parser, ValueEnum};

use crate::axis::{Driver, Layer, Malloc, Protocol, Rung};
use crate::cli::options::server_options;
use crate::cli::output::{Failure, exit, usage};
use crate::cli::{serving, spec_file, values};
use crate::driver::DriverError;
use crate::probe::injected_delay::InjectedDelay;
use crate::record::trial_spec::{ServerSpec, TrialSpec};
use crate::server::{self, Listen, Plan, ServerError};
use crate::service::codecs::CodecSet;
use crate::service::planted;
use crate::sys::address::Address;
use crate::sys::{affinity, malloc};

/// Serves the echo on io_uring, hand-written: gRPC, REST and, if asked, raw frames on one ring per
/// worker.
#[derive(Clone, Debug, Parser)]
#[command(name = "uring-server", version)]
pub struct UringServerArgs {
    #[command(flatten)]
    addresses: Addresses,
    /// Address for raw frames, which are not served without it
    #[arg(long, value_name = "ADDR")]
    raw: Option<Address>,
    /// Implementation of HTTP/2
    #[arg(long, value_name = "ENGINE", value_enum, default_value_t = GrpcEngine::H2)]
    grpc_engine: GrpcEngine,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GrpcEngine {
    /// Own HTTP/2
    H2,
    /// The h2 crate under hand-written framing
    H2Crate,
}

impl GrpcEngine {
    fn protocol(self) -> Protocol {
        match self {
            GrpcEngine::H2 => Protocol::H2,
            GrpcEngine::H2Crate => Protocol::H2CrateTuned,
        }
    }
}

/// Serves the echo the standard way: tonic and axum in one tokio runtime per worker.
#[derive(Clone, Debug, Parser)]
#[command(name = "tonic-server", version)]
pub struct TonicServerArgs {
    #[command(flatten)]
    addresses: Addresses,
    /// Raises the windows and frames of tonic to those of the hand-written server
    #[arg(long)]
    tuned: bool,
    #[command(flatten)]
    common: CommonArgs,
}

/// Serves one rung.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    #[command(flatten)]
    flags: ServeFlags,
    /// Reads the server from this document of a trial (JSON; - is stdin) instead of from flags
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "ServeFlags")]
    spec: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
struct ServeFlags {
    /// The rung to serve: driver/protocol/codec, e.g. uring/h1/npy; `ndecho rungs` lists them
    #[arg(required_unless_present = "spec")]
    rung: Option<String>,
    /// Address to listen on, IP:PORT or unix:PATH; port 0 picks a free one [default: a free
    /// address]
    #[arg(long, value_name = "ADDR", alias = "listen")]
    addr: Option<Address>,
    /// Busy wait for every message, in addition to its echo: a known difference, for a run to find
    /// again
    #[arg(long, value_name = "TIME", value_parser = values::duration, hide = true)]
    delay: Option<Duration>,
    /// Layer that spends --delay: application, codec decode, HTTP framing, framework, runtime,
    /// allocator or user copies
    #[arg(long, value_name = "LAYER", requires = "delay", hide = true)]
    delay_in: Option<Layer>,
    /// Returns the bytes that came, in any encoding, without decoding them: a null server
    #[arg(long, hide = true)]
    undecoded: bool,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Args, Clone, Debug)]
struct Addresses {
    /// Address for gRPC, IP:PORT or unix:PATH; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:50051")]
    grpc: Address,
    /// Address for REST, IP:PORT or unix:PATH; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:50055")]
    rest: Address,
}

#[derive(Args, Clone, Debug)]
struct CommonArgs {
    /// Cores of the workers, e.g. 0 or 2-5,7 [default: the first that this process may use]
    #[arg(long, value_name = "LIST", value_parser = values::cores)]
    cpu: Option<values::Cores>,
    /// Threads, each pinned and with listeners and a ring of its own [default: one per core of
    /// --cpu]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Memory allocator of this process: default (the C library's), keep (glibc's, which keeps its
    /// pages) or mimalloc [default: keep for a rung with :best, default for others]
    #[arg(long, value_name = "NAME")]
    malloc: Option<Malloc>,
    /// Largest message body [default: 192MiB]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    max_message: Option<u64>,
    /// JSON text from which a message is worked on by a thread beside the worker, so that it holds
    /// up no other; messages whose bytes are only copied count for an eighth [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    long_message: Option<u64>,
    /// Largest request head [default: 16KiB]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    max_head: Option<u64>,
    /// Most fields of a request head [default: 128]
    #[arg(long, value_name = "N")]
    max_fields: Option<usize>,
    /// Time for a complete request head to arrive [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    head_timeout: Option<Duration>,
    /// Longest pause inside a body [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    body_timeout: Option<Duration>,
    /// Longest pause between requests [default: 75s]
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    idle_timeout: Option<Duration>,
    /// Longest wait of a response for the peer's HTTP/2 windows [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    window_timeout: Option<Duration>,
    /// Longest time in which a peer takes no byte of a response [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    send_timeout: Option<Duration>,
    /// Fewest bytes per second that a peer must send of a body and take of a response; 0 asks for
    /// one byte per timeout [default: 1KiB]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    min_rate: Option<u64>,
    /// Memory for all bodies, responses and streams of peers, which get no more [default: half of
    /// the memory that this process may use]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    memory_budget: Option<u64>,
    /// Memory for one connection [default: half of --memory-budget]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    connection_memory: Option<u64>,
    /// Most connections of a worker; for others, idle ones are closed [default: 16384]
    #[arg(long, value_name = "N")]
    max_connections: Option<usize>,
    /// Most connections of one address at a worker; more are closed at once [default: 12288, so
    /// that no address takes all places]
    #[arg(long, value_name = "N")]
    max_per_address: Option<usize>,
    /// Unsent bytes at which a connection is no longer read [default: 4MiB]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    max_unsent: Option<u64>,
    /// Time for open requests after the server was told to stop [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    drain_timeout: Option<Duration>,
    /// Time in which requests sent before the stop may arrive on idle connections [default: 100ms]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    drain_grace: Option<Duration>,
    /// Time of polling before a worker sleeps, on io_uring; trades CPU time for latency [default:
    /// 0us]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    busy_poll: Option<Duration>,
    /// Address for GET /metrics, IP:PORT or unix:PATH: counts of requests, refusals, limits and
    /// connections in the text format of Prometheus; not served without it
    #[arg(long, value_name = "ADDR")]
    metrics: Option<Address>,
    /// Writes a report of connections, limits and resources to this file at the end, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl UringServerArgs {
    pub fn run(&self) -> ExitCode {
        let listen = |protocol, address: &Address| Listen { protocol, address: address.clone() };
        let Addresses { grpc, rest } = &self.addresses;
        let mut listens = vec![
            ("grpc", listen(self.grpc_engine.protocol(), grpc)),
            ("rest", listen(Protocol::H1, rest)),
        ];
        listens.extend(self.raw.iter().map(|address| ("raw", listen(Protocol::Raw, address))));
        exit("uring-server", self.common.serve(Driver::Uring, &listens, CodecSet::own()))
    }
}

impl TonicServerArgs {
    pub fn run(&self) -> ExitCode {
        let tonic = if self.tuned { Protocol::TonicTuned } else { Protocol::Tonic };
        let listens = [
            ("grpc", Listen { protocol: tonic, address: self.addresses.grpc.clone() }),
            ("rest", Listen { protocol: Protocol::Axum, address: self.addresses.rest.clone() }),
        ];
        exit("tonic-server", self.common.serve(Driver::Tokio, &listens, CodecSet::library()))
    }
}

impl ServeArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let spec = match &self.spec {
            Some(path) => spec_file::read(path).and_then(only_server),
            None => self.flags.spec(),
        };
        let spec = spec.map_err(Failure::Usage)?;
        let rung: Rung = spec.rung.parse().map_err(usage)?;
        let address = spec.listen.clone().unwrap_or_else(|| Address::unused(rung.transport()));
        if address.transport() != rung.transport() {
            let wanted = rung.transport().spec().about;
            return Err(usage(format!("{rung} needs the address of a {wanted}, got {address}")));
        }
        let codecs =
            if spec.is_null { CodecSet::none() } else { CodecSet::own().with(rung.codec()) };
        let codecs = match spec.delay {
            Some(time) => {
                let layer = spec.delay_in.unwrap_or(Layer::Application);
                check_place(rung, layer).map_err(Failure::Usage)?;
                codecs.delayed(delay(time, layer, &spec.cores)?)
            }
            None => codecs,
        };
        let listen = Listen { protocol: rung.protocol(), address };
        serve(&spec, rung.driver(), &[("", listen)], codecs)
            .map_err(|failure| without_ring(failure, rung))
    }
}

impl ServeFlags {
    fn spec(&self) -> anyhow::Result<ServerSpec> {
        Ok(ServerSpec {
            rung: self.rung.clone().expect("clap asks for a rung where no document is given"),
            listen: self.addr.clone(),
            is_null: self.undecoded,
            delay: self.delay,
            delay_in: self.delay_in,
            ..self.common.spec()?
        })
    }
}

/// Adds the rung that needs no ring to the error of one that has none.
fn without_ring(failure: Failure, rung: Rung) -> Failure {
    let is_missing = |error: &anyhow::Error| {
        let unavailable =
            |error| matches!(error, &ServerError::Driver(DriverError::Unavailable { .. }));
        error.downcast_ref().is_some_and(unavailable)
    };
    match failure {
        Failure::Run(error) if is_missing(&error) => {
            let other = Rung::new(Driver::Tokio, rung.protocol(), rung.codec(), rung.transport());
            let other = other.expect("every protocol runs on tokio");
            Failure::Run(anyhow!("{error}; or serve {other}, which needs no io_uring"))
        }
        failure => failure,
    }
}

fn only_server(spec: TrialSpec) -> anyhow::Result<ServerSpec> {
    let [server] = <[ServerSpec; 1]>::try_from(spec.servers).map_err(|servers| {
        anyhow!("{} servers in the document, expected exactly 1", servers.len())
    })?;
    Ok(server)
}

/// Refuses a layer in which a server of `rung` cannot spend a delay.
fn check_place(rung: Rung, layer: Layer) -> anyhow::Result<()> {
    let places = planted::layers(rung);
    if places.contains(&layer) {
        return Ok(());
    }
    let names: Vec<&str> = places.into_iter().map(Layer::name).collect();
    bail!(
        "--delay-in: a server of {rung} has no place for a delay in {layer}; choose one of {}",
        names.join(", ")
    )
}

fn delay(time: Duration, layer: Layer, cores: &[usize]) -> Result<InjectedDelay, Failure> {
    let calibrated = || {
        cores.first().map(|core| affinity::pin(*core)).transpose()?;
        Ok(InjectedDelay::new(time, layer))
    };
    // On a thread of its own: the threads that this one starts would inherit its core.
    let calibrated =
        thread::scope(|scope| scope.spawn(calibrated).join().expect("nothing in it panics"));
    calibrated.map_err(|error: affinity::AffinityError| Failure::Run(error.into()))
}

/// Serves `listens`, each with its name in the ready line, within the limits of `spec`.
fn serve(
    spec: &ServerSpec,
    driver: Driver,
    listens: &[(&str, Listen)],
    codecs: CodecSet,
) -> Result<(), Failure> {
    let options = server_options(spec).map_err(Failure::Usage)?;
    if !options.driver.busy_poll.is_zero() && driver != Driver::Uring {
        return Err(usage(format!("--busy-poll needs the driver uring, got {driver}")));
    }
    let usual = || listens.iter().map(|(_, listen)| listen.protocol.malloc()).max();
    let malloc = spec.malloc.or_else(usual).unwrap_or(Malloc::Default);
    malloc::adopt(malloc).context("cannot start again with another allocator")?;
    let (names, listens): (Vec<_>, Vec<_>) = listens.iter().cloned().unzip();
    let plan = Plan { driver, listens, codecs };
    Ok(serving::run(|events| server::start(&plan, &options, events), &names, spec)?)
}

impl CommonArgs {
    /// Returns the settings that all servers share.
    fn spec(&self) -> anyhow::Result<ServerSpec> {
        Ok(ServerSpec {
            cores: self.cores()?,
            malloc: self.malloc,
            body_bytes_max: self.max_message,
            job_bytes_min: self.long_message,
            head_bytes_max: self.max_head,
            head_fields_max: self.max_fields,
            head_timeout: self.head_timeout,
            body_timeout: self.body_timeout,
            idle_timeout: self.idle_timeout,
            window_timeout: self.window_timeout,
            send_timeout: self.send_timeout,
            rate_min: self.min_rate,
            memory_bytes_max: self.memory_budget,
            connection_bytes_max: self.connection_memory,
            connections_max: self.max_connections,
            address_connections_max: self.max_per_address,
            unsent_bytes_max: self.max_unsent,
            drain_timeout: self.drain_timeout,
            drain_grace: self.drain_grace,
            busy_poll: self.busy_poll,
            report: self.report.clone(),
            metrics: self.metrics.clone(),
            ..ServerSpec::default()
        })
    }

    fn serve(
        &self,
        driver: Driver,
        listens: &[(&str, Listen)],
        codecs: CodecSet,
    ) -> Result<(), Failure> {
        serve(&self.spec().map_err(Failure::Usage)?, driver, listens, codecs)
    }

    fn cores(&self) -> anyhow::Result<Vec<usize>> {
        let given = self.cpu.as_ref().map(|cores| cores.0.clone());
        given.iter().flatten().try_for_each(|core| affinity::check(*core))?;
        let workers = self.workers.or(given.as_ref().map(Vec::len)).unwrap_or(1);
        let cores = given.unwrap_or_else(affinity::cores);
        if workers == 0 {
            bail!("--workers must be at least 1");
        }
        if workers > cores.len() {
            let list = cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
            bail!(
                "--workers {workers} needs as many cores, but there are {} ({list}); name cores with --cpu",
                cores.len()
            );
        }
        Ok(cores.into_iter().take(workers).collect())
    }
}
