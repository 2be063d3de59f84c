//! The choice on each axis: points become types here and nowhere else.
//!
//! A new driver is an arm of [`choose`], a new protocol an arm of [`endpoint`]. A [`Host`] takes
//! the types: a listener on a driver, or a lane in memory.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::axis::{Driver, Layer, Protocol, Tuning};
use crate::driver::planted::{Place, Planted};
use crate::driver::tokio::{Tokio, TokioUring};
use crate::driver::uring::Uring;
use crate::driver::{self, Connected, Service, StopSignal, Urgent};
use crate::probe::injected_delay::{InjectedDelay, PlacedDelay};
use crate::server::{Plan, ServerError};
use crate::service::codecs::CodecSet;
use crate::service::echo::EchoService;
use crate::service::handler::EchoHandler;
use crate::service::health;
use crate::stack::axum::{Axum, AxumBest};
use crate::stack::h2_crate::H2Crate;
use crate::stack::hyper::Hyper;
use crate::stack::hyper_h2::HyperH2;
use crate::stack::standalone::{self, Stack};
use crate::stack::tonic::{Tonic, TonicBest, TonicTuned};
use crate::sys::affinity;
use crate::sys::listener::Listener;
use crate::sys::socket::SocketOptions;
use crate::wire::h1::{DateClock, H1};
use crate::wire::h2::H2;
use crate::wire::raw::Raw;
use crate::wire::{Limits, MemoryBudget, Pool};

/// Requests for health, which are answered when all places for connections are taken. Over HTTP/2
/// the first bytes are those of any call.
const URGENT: [Urgent; 3] = [
    Urgent { prefix: health::REST_PREFIXES[0], needs_restriction: false },
    Urgent { prefix: health::REST_PREFIXES[1], needs_restriction: false },
    Urgent { prefix: b"PRI * HTTP/2.0\r\n", needs_restriction: true },
];

pub(super) struct WorkerConfig {
    pub(super) core: Option<usize>,
    pub(super) listeners: Vec<Listener>,
    pub(super) protocols: Vec<Protocol>,
    pub(super) codecs: CodecSet,
    /// Codecs for the thread that does long work.
    pub(super) job_codecs: CodecSet,
    pub(super) limits: Limits,
    pub(super) driver: driver::Options,
    pub(super) stop: StopSignal,
    pub(super) memory: Arc<MemoryBudget>,
}

/// Function that runs a worker from its start to its end, sends once the worker is up, and returns
/// the options of the first accepted socket.
pub(super) type Build = fn(WorkerConfig, Sender<()>) -> Result<Option<SocketOptions>, ServerError>;

pub(super) fn choose(plan: &Plan) -> Result<Build, ServerError> {
    let protocols = plan.listens.iter().map(|listen| listen.protocol);
    let standalone: Vec<_> =
        protocols.filter_map(|protocol| Some((protocol, protocol.only_driver()?))).collect();
    let fits = standalone.len() == plan.listens.len()
        && standalone.iter().all(|(_, only)| *only == plan.driver);
    if let Some((protocol, only)) = standalone.first()
        && !fits
    {
        return Err(ServerError::Impossible {
            protocol: *protocol,
            driver: plan.driver,
            reason: "it brings its own accept loop",
            nearest: format!("{only}/{protocol}"),
        });
    }
    Ok(match plan.driver {
        Driver::Uring => serve::<Uring>,
        Driver::Tokio => serve::<Tokio>,
        Driver::TokioUring => serve::<TokioUring>,
    })
}

fn serve<D: driver::Driver>(
    config: WorkerConfig,
    up: Sender<()>,
) -> Result<Option<SocketOptions>, ServerError> {
    config.core.map_or(Ok(()), affinity::pin)?;
    let pool = Pool::within(config.memory, config.limits.counts);
    let (codecs, job_codecs) = (config.codecs, config.job_codecs);
    let service = EchoService::with_jobs(codecs, job_codecs, config.limits, pool.clone());
    let (mut hosted, mut standalone) = (Vec::new(), Vec::new());
    for (listener, protocol) in config.listeners.into_iter().zip(config.protocols) {
        let delay = service.codecs().delay();
        let host = Listening::<D> { listener, delay, driver: PhantomData };
        match endpoint(protocol, &service, host) {
            Endpoint::Hosted(endpoint) => hosted.push(endpoint),
            Endpoint::Standalone(endpoint) => standalone.push(*endpoint),
        }
    }
    Ok(if standalone.is_empty() {
        let options = driver::Options { urgent: &URGENT, ..config.driver };
        let driver = D::new(options, pool)?;
        report_up(up);
        driver.run(hosted, config.stop)?
    } else {
        report_up(up);
        standalone::run(standalone, &config.driver, config.stop)?
    })
}

enum Endpoint<D: driver::Driver> {
    Hosted(D::Endpoint),
    Standalone(Box<standalone::Endpoint>),
}

/// Taker of the type that a protocol becomes.
pub(super) trait Host {
    type Endpoint;

    fn machine<M: Connected>(self, make: impl Fn() -> M + 'static) -> Self::Endpoint;

    fn service<S: Service>(self, service: S) -> Self::Endpoint;

    fn standalone<S: Stack>(self, codecs: CodecSet, limits: Limits) -> Self::Endpoint;
}

/// Host of the connections of a listener, on driver `D`.
struct Listening<D> {
    listener: Listener,
    delay: InjectedDelay,
    driver: PhantomData<D>,
}

impl<D: driver::Driver> Host for Listening<D> {
    type Endpoint = Endpoint<D>;

    fn machine<M: Connected>(self, make: impl Fn() -> M + 'static) -> Endpoint<D> {
        Endpoint::Hosted(machine::<D, M>(self.listener, self.delay, make))
    }

    fn service<S: Service>(self, service: S) -> Endpoint<D> {
        Endpoint::Hosted(D::service(self.listener, service))
    }

    fn standalone<S: Stack>(self, codecs: CodecSet, limits: Limits) -> Endpoint<D> {
        let endpoint = standalone::Endpoint::new::<S>(self.listener, codecs, limits);
        Endpoint::Standalone(Box::new(endpoint))
    }
}

/// Hosts an own protocol, in a machine that spends the delay if it lies around the protocol.
fn machine<D: driver::Driver, M: Connected>(
    listener: Listener,
    delay: InjectedDelay,
    make: impl Fn() -> M + 'static,
) -> D::Endpoint {
    match place_around(delay) {
        None => D::machine(listener, make),
        Some((delay, at)) => {
            D::machine(listener, move || Planted::new(Box::new(make()), delay, at))
        }
    }
}

/// Returns the delay and its place if it lies around an own protocol.
pub(super) fn place_around(delay: InjectedDelay) -> Option<(PlacedDelay, Place)> {
    let places = [(Layer::HttpFraming, Place::Framing), (Layer::Runtime, Place::Runtime)];
    places.into_iter().find_map(|(layer, at)| Some((delay.placed_in(layer)?, at)))
}

/// Hands the type of `protocol` to `host`.
pub(super) fn endpoint<H: Host>(protocol: Protocol, service: &EchoService, host: H) -> H::Endpoint {
    let service = service.clone();
    let (codecs, limits) = (*service.codecs(), service.limits().clone());
    let handler = EchoHandler::new(protocol.family(), service.clone());
    match protocol {
        Protocol::Raw => {
            let limits = Rc::new(limits);
            host.machine(move || Raw::new(handler.clone(), Rc::clone(&limits)))
        }
        Protocol::H1 => {
            let (clock, limits) = (clock(), Rc::new(limits));
            host.machine(move || H1::new(handler.clone(), Rc::clone(&limits), clock.clone()))
        }
        Protocol::H2 => {
            let limits = Rc::new(limits);
            host.machine(move || H2::new(handler.clone(), Rc::clone(&limits)))
        }
        Protocol::Hyper => host.service(Hyper::new(service)),
        Protocol::HyperTuned => host.service(Hyper::tuned(service)),
        Protocol::HyperBest => host.service(Hyper::best(service)),
        Protocol::H2Crate => host.service(H2Crate::new(service)),
        Protocol::H2CrateTuned => host.service(H2Crate::tuned(service)),
        Protocol::HyperH2 => host.service(HyperH2::new(service, Tuning::Default)),
        Protocol::HyperH2Tuned => host.service(HyperH2::new(service, Tuning::Tuned)),
        Protocol::HyperH2Best => host.service(HyperH2::new(service, Tuning::Best)),
        Protocol::Axum => host.standalone::<Axum>(codecs, limits),
        Protocol::AxumBest => host.standalone::<AxumBest>(codecs, limits),
        Protocol::Tonic => host.standalone::<Tonic>(codecs, limits),
        Protocol::TonicTuned => host.standalone::<TonicTuned>(codecs, limits),
        Protocol::TonicBest => host.standalone::<TonicBest>(codecs, limits),
    }
}

/// Reads the wall clock once; a machine counts on from here.
fn clock() -> DateClock {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    DateClock::new(Instant::now(), unix)
}

/// Tells `start` that this worker is up. `start` counts the workers until every sender is gone.
fn report_up(up: Sender<()>) {
    let _ = up.send(());
}
