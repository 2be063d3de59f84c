//! Host of the standalone stacks: one current-thread tokio runtime per worker. The host sees each
//! connection first, so every stack gets the same socket options and counts connections. It does
//! not limit them and counts no bytes.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::axum::serve::{Listener as Accepts, ListenerExt as _};
use ::tonic::transport::server::Connected;
use futures_util::future::{Either, join_all, select};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;

use crate::driver::{Counters, DriverError, StopSignal};
use crate::service::codecs::CodecSet;
use crate::sys::listener::Listener;
use crate::sys::socket;
use crate::wire::Limits;

pub trait Stack {
    /// Serves until `drained` resolves, and ends once the calls in progress are answered.
    fn serve<L>(listener: L, codecs: CodecSet, limits: Limits, drained: Drained) -> Serving
    where
        L: Accepts<Io: Connected, Addr: std::fmt::Debug>;
}

pub struct Endpoint {
    listener: Listener,
    codecs: CodecSet,
    limits: Limits,
    start: fn(Endpoint, SharedCounters, Drained) -> io::Result<Serving>,
}

pub type Serving = Pin<Box<dyn Future<Output = io::Result<()>>>>;

pub type Drained = Pin<Box<dyn Future<Output = ()> + Send>>;

type SharedCounters = Arc<Mutex<Counters>>;

impl Endpoint {
    /// Applies `body_bytes_max` of `limits`; the stack's own defaults replace the other limits.
    pub fn new<S: Stack>(listener: Listener, codecs: CodecSet, limits: Limits) -> Endpoint {
        Endpoint { listener, codecs, limits, start: start::<S> }
    }
}

/// Serves until `stop` is signalled, then drains and returns within `drain_timeout`.
pub fn run(
    endpoints: Vec<Endpoint>,
    drain_timeout: Duration,
    stop: StopSignal,
) -> Result<Counters, DriverError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| DriverError::Io { what: "start the tokio runtime", source })?;
    let counters = SharedCounters::default();
    runtime.block_on(serve(endpoints, drain_timeout, stop, &counters))?;
    let counters = counters.lock().expect("nothing panics while it counts");
    Ok(counters.clone())
}

async fn serve(
    endpoints: Vec<Endpoint>,
    drain_timeout: Duration,
    stop: StopSignal,
    counters: &SharedCounters,
) -> Result<(), DriverError> {
    let (drain, drained) = watch::channel(false);
    let mut serving = Vec::new();
    for endpoint in endpoints {
        let mut drained = drained.clone();
        let drained = Box::pin(async move {
            let _ = drained.wait_for(|drained| *drained).await;
        });
        let started = (endpoint.start)(endpoint, Arc::clone(counters), drained);
        serving
            .push(started.map_err(|source| DriverError::Io { what: "watch a listener", source })?);
    }
    let mut serving = join_all(serving);
    let stop = UnixStream::from_std(stop.into_stream())
        .map_err(|source| DriverError::Io { what: "watch the stop socket", source })?;
    let ended = select(Box::pin(stop.readable()), &mut serving).await;
    if let Either::Right((results, _)) = ended {
        let failed = results.into_iter().find_map(Result::err);
        return failed.map_or(Ok(()), |source| Err(DriverError::Io { what: "serve", source }));
    }
    drain.send_replace(true);
    // Work that is not done by then is dropped with the runtime.
    let _ = tokio::time::timeout(drain_timeout, serving).await;
    Ok(())
}

/// Serves each connection with what `connect` makes of it, as a user of hyper does.
pub async fn serve_connections<L, C>(
    mut listener: L,
    mut drained: Drained,
    connect: impl Fn(TokioIo<L::Io>) -> C,
) -> io::Result<()>
where
    L: Accepts,
    C: GracefulConnection<Error = hyper::Error> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut drained => break,
        };
        let connection = graceful.watch(connect(TokioIo::new(stream)));
        // The peer is at fault, and hyper has answered it as far as possible.
        tokio::spawn(async move { connection.await.unwrap_or_default() });
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}

/// Puts the listener on the runtime as the type that a user would have.
fn start<S: Stack>(
    endpoint: Endpoint,
    counters: SharedCounters,
    drained: Drained,
) -> io::Result<Serving> {
    let Endpoint { listener, codecs, limits, .. } = endpoint;
    listener.set_nonblocking(true)?;
    match listener {
        Listener::Tcp(listener) => {
            let listener = counted(TcpListener::from_std(listener)?, counters);
            Ok(S::serve(listener, codecs, limits, drained))
        }
        Listener::Unix(listener, file) => {
            let listener = counted(UnixListener::from_std(listener)?, counters);
            let serving = S::serve(listener, codecs, limits, drained);
            Ok(Box::pin(async move {
                let result = serving.await;
                drop(file);
                result
            }))
        }
    }
}

fn counted<L: Accepts<Io: AsFd>>(
    listener: L,
    counters: SharedCounters,
) -> impl Accepts<Io = L::Io, Addr = L::Addr> {
    listener.tap_io(move |stream| {
        // Inherited from the listener; a stream that is gone fails its first read.
        let _ = socket::tune(stream);
        counters.lock().expect("nothing panics while it counts").accept(stream);
    })
}
