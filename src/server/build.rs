//! The choice on each axis: points become types here and nowhere else.
//!
//! A new driver is an arm of [`choose`], a new protocol an arm of [`endpoint`].

use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::axis::{Driver, Layer, Protocol, Tuning};
use crate::driver::planted::{Place, Planted};
use crate::driver::tokio::{Tokio, TokioUring};
use crate::driver::uring::Uring;
use crate::driver::{self, Connected, Counters, StopSignal};
use crate::probe::injected_delay::InjectedDelay;
use crate::server::{Plan, ServerError};
use crate::service::codecs::CodecSet;
use crate::service::echo::EchoService;
use crate::service::handler::EchoHandler;
use crate::stack::axum::{Axum, AxumBest};
use crate::stack::h2_crate::H2Crate;
use crate::stack::hyper::Hyper;
use crate::stack::hyper_h2::HyperH2;
use crate::stack::standalone::{self, Stack};
use crate::stack::tonic::{Tonic, TonicBest, TonicTuned};
use crate::sys::affinity;
use crate::sys::listener::Listener;
use crate::wire::h1::{DateClock, H1};
use crate::wire::h2::H2;
use crate::wire::raw::Raw;
use crate::wire::{Limits, Pool};

pub(super) struct WorkerConfig {
    pub(super) core: Option<usize>,
    pub(super) listeners: Vec<Listener>,
    pub(super) protocols: Vec<Protocol>,
    pub(super) codecs: CodecSet,
    pub(super) limits: Limits,
    pub(super) driver: driver::Options,
    pub(super) stop: StopSignal,
}

/// Function that runs a worker from its start to its end and sends once the worker is up.
pub(super) type Build = fn(WorkerConfig, Sender<()>) -> Result<Counters, ServerError>;

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

fn serve<D: driver::Driver>(config: WorkerConfig, up: Sender<()>) -> Result<Counters, ServerError> {
    config.core.map_or(Ok(()), affinity::pin)?;
    let pool = Pool::default();
    let service = EchoService::new(config.codecs, config.limits, pool.clone());
    let (mut hosted, mut standalone) = (Vec::new(), Vec::new());
    for (listener, protocol) in config.listeners.into_iter().zip(config.protocols) {
        match endpoint::<D>(protocol, listener, &service) {
            Endpoint::Hosted(endpoint) => hosted.push(endpoint),
            Endpoint::Standalone(endpoint) => standalone.push(*endpoint),
        }
    }
    if standalone.is_empty() {
        let driver = D::new(config.driver, pool)?;
        report_up(up);
        return Ok(driver.run(hosted, config.stop)?);
    }
    report_up(up);
    Ok(standalone::run(standalone, config.driver.drain_timeout, config.stop)?)
}

enum Endpoint<D: driver::Driver> {
    Hosted(D::Endpoint),
    Standalone(Box<standalone::Endpoint>),
}

fn endpoint<D: driver::Driver>(
    protocol: Protocol,
    listener: Listener,
    service: &EchoService,
) -> Endpoint<D> {
    let service = service.clone();
    let limits = Rc::new(service.limits().clone());
    let handler = EchoHandler::new(protocol.family(), service.clone());
    let delay = service.codecs().delay();
    Endpoint::Hosted(match protocol {
        Protocol::Raw => {
            machine::<D, _>(listener, delay, move || Raw::new(handler.clone(), Rc::clone(&limits)))
        }
        Protocol::H1 => {
            let clock = clock();
            machine::<D, _>(listener, delay, move || {
                H1::new(handler.clone(), Rc::clone(&limits), clock.clone())
            })
        }
        Protocol::H2 => {
            machine::<D, _>(listener, delay, move || H2::new(handler.clone(), Rc::clone(&limits)))
        }
        Protocol::Hyper => D::service(listener, Hyper::new(service)),
        Protocol::HyperTuned => D::service(listener, Hyper::tuned(service)),
        Protocol::HyperBest => D::service(listener, Hyper::best(service)),
        Protocol::H2Crate => D::service(listener, H2Crate::new(service)),
        Protocol::H2CrateTuned => D::service(listener, H2Crate::tuned(service)),
        Protocol::HyperH2 => D::service(listener, HyperH2::new(service, Tuning::Default)),
        Protocol::HyperH2Tuned => D::service(listener, HyperH2::new(service, Tuning::Tuned)),
        Protocol::HyperH2Best => D::service(listener, HyperH2::new(service, Tuning::Best)),
        Protocol::Axum => return standalone::<D, Axum>(listener, &service),
        Protocol::AxumBest => return standalone::<D, AxumBest>(listener, &service),
        Protocol::Tonic => return standalone::<D, Tonic>(listener, &service),
        Protocol::TonicTuned => return standalone::<D, TonicTuned>(listener, &service),
        Protocol::TonicBest => return standalone::<D, TonicBest>(listener, &service),
    })
}

/// Hosts an own protocol, in a machine that spends the delay if it lies around the protocol.
fn machine<D: driver::Driver, M: Connected>(
    listener: Listener,
    delay: InjectedDelay,
    make: impl Fn() -> M + 'static,
) -> D::Endpoint {
    let places = [(Layer::HttpFraming, Place::Framing), (Layer::Runtime, Place::Runtime)];
    let placed = places.into_iter().find_map(|(layer, at)| Some((delay.placed_in(layer)?, at)));
    match placed {
        None => D::machine(listener, make),
        Some((delay, at)) => {
            D::machine(listener, move || Planted::new(Box::new(make()), delay, at))
        }
    }
}

fn standalone<D: driver::Driver, S: Stack>(
    listener: Listener,
    service: &EchoService,
) -> Endpoint<D> {
    let (codecs, limits) = (*service.codecs(), service.limits().clone());
    Endpoint::Standalone(Box::new(standalone::Endpoint::new::<S>(listener, codecs, limits)))
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
