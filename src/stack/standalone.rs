//! Runs *Whole* stacks: one current-thread tokio runtime per worker, with as many listeners as it is given.
//!
//! It accepts for tonic and looks on while axum accepts, so that both get the same socket options and are counted
//! alike. It does not limit connections and sees no bytes: these stacks keep both to themselves.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{join_all, select};
use futures_util::stream::{Stream, unfold};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::driver::{Counters, DriverError, StopSignal};
use crate::service::echo::CodecSet;
use crate::stack::{axum, tonic};
use crate::sys::socket;
use crate::wire::Limits;

/// How long to wait after a failed accept, until descriptors or memory come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Which stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// [`axum`]
    Axum,
    /// [`tonic`], as it comes.
    Tonic,
    /// [`tonic`], windows and frames raised.
    TonicTuned,
}

/// A listener and the stack behind it.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub listener: TcpListener,
    /// What speaks.
    pub stack: Stack,
    /// Which codec serves which encoding.
    pub codecs: CodecSet,
    /// Limits; of these stacks' own kind, all but the body's are left alone.
    pub limits: Limits,
}

/// Counted by stacks that may accept on any thread.
type Tally = Arc<Mutex<Counters>>;

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
    let counters = Tally::default();
    runtime.block_on(serve(endpoints, drain_timeout, stop, &counters))?;
    let counters = counters.lock().expect("nothing panics while it counts");
    Ok(counters.clone())
}

async fn serve(
    endpoints: Vec<Endpoint>,
    drain_timeout: Duration,
    stop: StopSignal,
    counters: &Tally,
) -> Result<(), DriverError> {
    let (drain, drained) = watch::channel(false);
    let mut serving = Vec::new();
    for endpoint in endpoints {
        let started = start(endpoint, Arc::clone(counters), drained.clone());
        serving
            .push(started.map_err(|source| DriverError::Io { what: "watch a listener", source })?);
    }
    let mut serving = join_all(serving);
    let stop = tokio::net::UnixStream::from_std(stop.into_stream())
        .map_err(|source| DriverError::Io { what: "watch the stop socket", source })?;
    let ended = select(Box::pin(stop.readable()), &mut serving).await;
    if let futures_util::future::Either::Right((results, _)) = ended {
        let failed = results.into_iter().find_map(Result::err);
        return failed.map_or(Ok(()), |source| Err(DriverError::Io { what: "serve", source }));
    }
    drain.send_replace(true);
    // What is not done by then is dropped with the runtime, which closes its sockets.
    let _ = tokio::time::timeout(drain_timeout, serving).await;
    Ok(())
}

fn start(
    endpoint: Endpoint,
    counters: Tally,
    mut drained: watch::Receiver<bool>,
) -> io::Result<Serving> {
    let Endpoint { listener, stack, codecs, limits } = endpoint;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let greet = move |stream: &TcpStream| {
        // Inherited from the listener already; a stream that is gone fails its first read.
        let _ = socket::tune(stream);
        counters.lock().expect("nothing panics while it counts").accept(stream);
    };
    let drained = async move {
        let _ = drained.wait_for(|drained| *drained).await;
    };
    Ok(match stack {
        Stack::Axum => Box::pin(axum::serve(listener, codecs, limits, greet, drained)),
        Stack::Tonic | Stack::TonicTuned => Box::pin(async move {
            let tuned = stack == Stack::TonicTuned;
            let incoming = Box::pin(incoming(listener, greet));
            tonic::serve(incoming, codecs, limits, tuned, drained).await.map_err(io::Error::other)
        }),
    })
}

/// Connections as they come; a failed accept is tried again after a pause.
fn incoming(
    listener: tokio::net::TcpListener,
    greet: impl Fn(&TcpStream),
) -> impl Stream<Item = io::Result<TcpStream>> {
    unfold((listener, greet), |(listener, greet)| async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    greet(&stream);
                    return Some((Ok(stream), (listener, greet)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    })
}
