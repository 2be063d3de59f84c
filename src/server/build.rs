//! The choice on each axis: names become types here and nowhere else.
//!
//! [`choose`] returns the one function that a worker of the plan runs; it is a driver's [`serve_on`] or the *Whole*
//! stacks' [`serve_whole`]. A new driver is a line in [`choose`], a new protocol a line in [`endpoint`] or
//! [`whole_stack`].

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::driver::tokio::Tokio;
use crate::driver::tokio::TokioUring;
use crate::driver::uring::Uring;
use crate::driver::{self, Counters, Driver, StopSignal};
use crate::server::{Listen, Plan, ServerError};
use crate::service::echo::CodecSet;
use crate::service::handler::{EchoHandler, Work};
use crate::stack::h2_crate::H2Crate;
use crate::stack::hyper::Hyper;
use crate::stack::hyper_h2::HyperH2;
use crate::stack::standalone::{self, Stack};
use crate::stack::{self, Family, Shape};
use crate::sys::affinity;
use crate::wire::h1::{DateClock, H1};
use crate::wire::h2::H2;
use crate::wire::raw::Raw;
use crate::wire::{Limits, SharedPool};

/// What one worker gets.
pub(super) struct Seat {
    pub(super) core: Option<usize>,
    pub(super) listeners: Vec<TcpListener>,
    pub(super) protocols: Vec<&'static str>,
    pub(super) codecs: CodecSet,
    pub(super) limits: Limits,
    pub(super) driver: driver::Options,
    pub(super) stop: StopSignal,
}

/// A worker from its start to its end; it sends once it is up.
pub(super) type Build = fn(Seat, Sender<()>) -> Result<Counters, ServerError>;

/// The function that serves `plan`, or why there is none.
pub(super) fn choose(plan: &Plan) -> Result<Build, ServerError> {
    let wholes: Vec<_> =
        plan.listens.iter().filter_map(|l| Some((l.protocol, whole_driver(l)?))).collect();
    if wholes.len() == plan.listens.len() && wholes.iter().all(|(_, only)| *only == plan.driver) {
        return Ok(serve_whole);
    }
    if let Some((protocol, only)) = wholes.first() {
        return Err(ServerError::Impossible {
            protocol,
            driver: plan.driver,
            reason: "it brings its own accept loop",
            nearest: format!("{only}/{protocol}"),
        });
    }
    match plan.driver {
        "uring" => Ok(serve_on::<Uring>),
        "tokio" => Ok(serve_on::<Tokio>),
        "tokio-uring" => Ok(serve_on::<TokioUring>),
        unknown => unreachable!("{unknown} is in the driver table but has no line here"),
    }
}

/// The driver that a *Whole* stack needs; `None` for the other shapes.
fn whole_driver(listen: &Listen) -> Option<&'static str> {
    match stack::find(listen.protocol)?.shape {
        Shape::Whole { driver } => Some(driver),
        Shape::Machine | Shape::Service => None,
    }
}

fn serve_on<D: Driver>(seat: Seat, up: Sender<()>) -> Result<Counters, ServerError> {
    pin(seat.core)?;
    let pool = SharedPool::default();
    let work = Work::new(seat.codecs, seat.limits, Rc::clone(&pool));
    let pairs = seat.listeners.into_iter().zip(seat.protocols);
    let endpoints = pairs.map(|(listener, name)| endpoint::<D>(name, listener, &work)).collect();
    let driver = D::new(seat.driver, pool)?;
    tell(up);
    Ok(driver.run(endpoints, seat.stop)?)
}

/// A listener with the machine or service called `name` behind it.
fn endpoint<D: Driver>(name: &str, listener: TcpListener, work: &Work) -> D::Endpoint {
    let work = work.clone();
    let limits = Rc::new(work.limits().clone());
    match name {
        "raw" => {
            let handler = EchoHandler::new(Family::Raw, work);
            D::machine(listener, move || Raw::new(handler.clone(), Rc::clone(&limits)))
        }
        "h1" => {
            let (handler, clock) = (EchoHandler::new(Family::Rest, work), clock());
            D::machine(listener, move || {
                H1::new(handler.clone(), Rc::clone(&limits), clock.clone())
            })
        }
        "h2" => {
            let handler = EchoHandler::new(Family::Grpc, work);
            D::machine(listener, move || H2::new(handler.clone(), Rc::clone(&limits)))
        }
        "hyper" => D::service(listener, Hyper::new(work)),
        "hyper:tuned" => D::service(listener, Hyper::tuned(work)),
        "h2-crate" => D::service(listener, H2Crate::new(work)),
        "hyper-h2" => D::service(listener, HyperH2::new(work)),
        "hyper-h2:tuned" => D::service(listener, HyperH2::tuned(work)),
        _ => unreachable!("{name} is in the protocol table but has no line here"),
    }
}

/// The wall clock, read once; a machine counts on from here.
fn clock() -> DateClock {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    DateClock::new(Instant::now(), unix)
}

fn serve_whole(seat: Seat, up: Sender<()>) -> Result<Counters, ServerError> {
    pin(seat.core)?;
    let pairs = seat.listeners.into_iter().zip(seat.protocols);
    let endpoints = pairs
        .map(|(listener, name)| standalone::Endpoint {
            listener,
            stack: whole_stack(name),
            codecs: seat.codecs,
            limits: seat.limits.clone(),
        })
        .collect();
    tell(up);
    Ok(standalone::run(endpoints, seat.driver.drain_timeout, seat.stop)?)
}

fn whole_stack(name: &str) -> Stack {
    match name {
        "axum" => Stack::Axum,
        "tonic" => Stack::Tonic,
        "tonic:tuned" => Stack::TonicTuned,
        _ => unreachable!("{name} is in the protocol table but has no line here"),
    }
}

/// Tells `start` that this worker is up; once every sender is gone, it knows who is not.
fn tell(up: Sender<()>) {
    let _ = up.send(());
}

fn pin(core: Option<usize>) -> Result<(), ServerError> {
    core.map_or(Ok(()), |core| Ok(affinity::pin(core)?))
}
