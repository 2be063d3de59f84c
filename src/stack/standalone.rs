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
use futures_util::stream::{Stream, unfold};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;

use crate::driver::{Counters, DriverError, StopSignal};
use crate::service::codecs::CodecSet;
use crate::stack::{axum, tonic};
use crate::sys::listener::Listener;
use crate::sys::socket;
use crate::wire::Limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    Axum,
    Tonic,
    TonicTuned,
}

#[derive(Debug)]
pub struct Endpoint {
    pub listener: Listener,
    pub stack: Stack,
    pub codecs: CodecSet,
    /// Only `body_bytes_max` is applied; the rest are the stacks' defaults.
    pub limits: Limits,
}

type SharedCounters = Arc<Mutex<Counters>>;

type Serving = Pin<Box<dyn Future<Output = io::Result<()>>>>;

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
        let started = start(endpoint, Arc::clone(counters), drained.clone());
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

/// Puts the listener on the runtime as the type that a user would have.
fn start(
    endpoint: Endpoint,
    counters: SharedCounters,
    drained: watch::Receiver<bool>,
) -> io::Result<Serving> {
    let Endpoint { listener, stack, codecs, limits } = endpoint;
    listener.set_nonblocking(true)?;
    match listener {
        Listener::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            Ok(start_on(listener, stack, codecs, limits, counters, drained))
        }
        Listener::Unix(listener, file) => {
            let listener = UnixListener::from_std(listener)?;
            let serving = start_on(listener, stack, codecs, limits, counters, drained);
            Ok(Box::pin(async move {
                let result = serving.await;
                drop(file);
                result
            }))
        }
    }
}

fn start_on<L>(
    listener: L,
    stack: Stack,
    codecs: CodecSet,
    limits: Limits,
    counters: SharedCounters,
    mut drained: watch::Receiver<bool>,
) -> Serving
where
    L: Accepts<Io: AsFd + Connected, Addr: std::fmt::Debug>,
{
    let listener = listener.tap_io(move |stream| {
        // Inherited from the listener; a stream that is gone fails its first read.
        let _ = socket::tune(stream);
        counters.lock().expect("nothing panics while it counts").accept(stream);
    });
    let drained = async move {
        let _ = drained.wait_for(|drained| *drained).await;
    };
    match stack {
        Stack::Axum => Box::pin(axum::serve(listener, codecs, limits, drained)),
        Stack::Tonic | Stack::TonicTuned => Box::pin(async move {
            let tuned = stack == Stack::TonicTuned;
            let incoming = Box::pin(incoming(listener));
            tonic::serve(incoming, codecs, limits, tuned, drained).await.map_err(io::Error::other)
        }),
    }
}

fn incoming<L: Accepts>(listener: L) -> impl Stream<Item = io::Result<L::Io>> {
    unfold(listener, |mut listener| async move {
        let (stream, _) = listener.accept().await;
        Some((Ok(stream), listener))
    })
}
