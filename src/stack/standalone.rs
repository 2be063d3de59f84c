//! Host of the standalone stacks: one current-thread tokio runtime per worker. The host sees each
//! connection first, so every stack gets the same socket options and counts connections. It does
//! not limit them and counts no bytes: these stacks are as their documentation has them.

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

use crate::driver::{DriverError, Options, StopSignal, note_accepted};
use crate::service::codecs::CodecSet;
use crate::sys::listener::Listener;
use crate::sys::socket::{self, SocketOptions};
use crate::wire::counts::LoopTime;
use crate::wire::{Alarm, Limits, WorkerCounts};

pub trait Stack {
    /// Serves until `shutdown` is at its drain, and ends once the calls in progress are answered.
    fn serve<L>(listener: L, codecs: CodecSet, limits: Limits, shutdown: Shutdown) -> Serving
    where
        L: Accepts<Io: Connected, Addr: std::fmt::Debug>;
}

pub struct Endpoint {
    listener: Listener,
    codecs: CodecSet,
    limits: Limits,
    start: fn(Endpoint, Accepted, Shutdown) -> io::Result<Serving>,
}

pub type Serving = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// Shutdown of the worker, as its stacks see it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Option<watch::Receiver<Stage>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Ready,
    /// Health says that the server shuts down; requests are still served.
    Unready,
    /// No further connection is taken, and the open ones end.
    Drain,
}

impl Shutdown {
    /// Returns the shutdown of a worker that never shuts down.
    pub fn never() -> Shutdown {
        Shutdown(None)
    }

    /// Returns what health says.
    pub fn is_ready(&self) -> bool {
        self.0.as_ref().is_none_or(|stage| *stage.borrow() == Stage::Ready)
    }

    /// Resolves when the server is no longer ready.
    pub fn unready(&self) -> impl Future<Output = ()> + Send + use<> {
        self.clone().reach(Stage::Unready)
    }

    /// Resolves when no further connection is to be taken.
    pub fn drain(&self) -> impl Future<Output = ()> + Send + use<> {
        self.clone().reach(Stage::Drain)
    }

    async fn reach(self, wanted: Stage) {
        match self.0 {
            // Without its sender the worker has ended.
            Some(mut stage) => drop(stage.wait_for(|stage| *stage >= wanted).await),
            None => std::future::pending().await,
        }
    }
}

/// Options of the first accepted socket.
type Accepted = Arc<Mutex<Option<SocketOptions>>>;

impl Endpoint {
    /// Applies `body_bytes_max` of `limits`; the stack's own defaults replace the other limits.
    pub fn new<S: Stack>(listener: Listener, codecs: CodecSet, limits: Limits) -> Endpoint {
        Endpoint { listener, codecs, limits, start: start::<S> }
    }
}

/// Serves until `stop` is signalled, then drains and returns within the drain timeout of `options`.
pub fn run(
    endpoints: Vec<Endpoint>,
    options: &Options,
    stop: StopSignal,
) -> Result<Option<SocketOptions>, DriverError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| DriverError::Io { what: "start the tokio runtime", source })?;
    let metrics = runtime.metrics();
    options.counts.measure_loop(move || LoopTime {
        turns: metrics.worker_park_count(0),
        busy: metrics.worker_total_busy_duration(0),
    });
    let accepted = Accepted::default();
    runtime.block_on(serve(endpoints, options, stop, &accepted))?;
    let socket = accepted.lock().expect("nothing panics while it counts");
    Ok(socket.clone())
}

async fn serve(
    endpoints: Vec<Endpoint>,
    options: &Options,
    stop: StopSignal,
    accepted: &Accepted,
) -> Result<(), DriverError> {
    let (stage, shutdown) = watch::channel(Stage::Ready);
    let shutdown = Shutdown(Some(shutdown));
    let (mut serving, mut grace) = (Vec::new(), Duration::ZERO);
    for endpoint in endpoints {
        grace = grace.max(endpoint.limits.drain_grace);
        let started = (endpoint.start)(endpoint, Arc::clone(accepted), shutdown.clone());
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
    stage.send_replace(Stage::Unready);
    let drained = async {
        let grace = Box::pin(tokio::time::sleep(grace));
        if let Either::Left(((), serving)) = select(grace, serving).await {
            stage.send_replace(Stage::Drain);
            serving.await;
        }
    };
    // Work that is not done by then is dropped with the runtime.
    if tokio::time::timeout(options.drain_timeout, drained).await.is_err() {
        options.counts.alarm(Alarm::DrainAborted);
    }
    Ok(())
}

/// Serves each connection with what `connect` makes of it, as a user of hyper does.
pub async fn serve_connections<L, C>(
    mut listener: L,
    shutdown: Shutdown,
    connect: impl Fn(TokioIo<L::Io>) -> C,
) -> io::Result<()>
where
    L: Accepts,
    C: GracefulConnection<Error = hyper::Error> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let mut drain = Box::pin(shutdown.drain());
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut drain => break,
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
    accepted: Accepted,
    shutdown: Shutdown,
) -> io::Result<Serving> {
    let Endpoint { listener, codecs, limits, .. } = endpoint;
    let counts = limits.counts;
    listener.set_nonblocking(true)?;
    match listener {
        Listener::Tcp(listener) => {
            let listener = counted(TcpListener::from_std(listener)?, counts, accepted);
            Ok(S::serve(listener, codecs, limits, shutdown))
        }
        Listener::Unix(listener, file) => {
            let listener = counted(UnixListener::from_std(listener)?, counts, accepted);
            let serving = S::serve(listener, codecs, limits, shutdown);
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
    counts: &'static WorkerCounts,
    accepted: Accepted,
) -> impl Accepts<Io = L::Io, Addr = L::Addr> {
    listener.tap_io(move |stream| {
        // Inherited from the listener; a stream that is gone fails its first read.
        let _ = socket::tune(stream);
        let mut socket = accepted.lock().expect("nothing panics while it counts");
        note_accepted(stream, counts, &mut socket);
    })
}
