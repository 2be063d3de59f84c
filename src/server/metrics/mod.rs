//! View for operators: `GET /metrics` on a listener and a thread of its own, so that no request of
//! a worker waits for a scrape, and a scrape is answered while all workers are busy.
//!
//! A connection carries one request, in a bounded time, and only a few are served at once.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderName, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;

use crate::driver::tokio::{TokioListener, TokioStream};
use crate::server::{Server, ServerError};
use crate::sys::address::Address;
use crate::sys::listener::Listener;
use crate::wire::handler::PLAIN_TEXT;
use crate::wire::{MemoryBudget, WorkerCounts};

mod exposition;

const PATH: &str = "/metrics";

/// Time for a whole scrape.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

const CONNECTIONS_MAX: usize = 64;

/// Time for descriptors to become free, after an accept has failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Figures of a server that a scrape shows.
#[derive(Debug)]
struct Sources {
    workers: Vec<&'static WorkerCounts>,
    memory: Arc<MemoryBudget>,
}

/// Serves the counts and the memory of a server until the process ends. Returns the address.
pub fn serve(address: &Address, server: &Server) -> Result<Address, ServerError> {
    let sources = Sources { workers: server.counts(), memory: Arc::clone(server.memory()) };
    let system = |what| move |source| ServerError::System { what, source };
    let listener = Listener::bind(address)?;
    let address = listener.address().map_err(system("read the port of the metrics"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the tokio runtime of the metrics"))?;
    let entered = runtime.enter();
    let listener = TokioListener::watch(listener);
    drop(entered);
    let listener = listener.map_err(system("watch the listener of the metrics"))?;
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || runtime.block_on(accept(listener, Arc::new(sources))))
        .map_err(system("start the thread of the metrics"))?;
    Ok(address)
}

async fn accept(listener: TokioListener, sources: Arc<Sources>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(_) => {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let sources = Arc::clone(&sources);
        tokio::spawn(async move {
            // A peer that breaks off, or is too slow, gets nothing.
            let _ = tokio::time::timeout(SCRAPE_TIMEOUT, serve_one(stream, sources)).await;
            drop(permit);
        });
    }
}

async fn serve_one(stream: TokioStream, sources: Arc<Sources>) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<_>| {
        let response = respond(request.method(), request.uri().path(), &sources);
        async move { Ok::<_, Infallible>(response) }
    });
    Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn respond(method: &Method, path: &str, sources: &Sources) -> Response<Full<Bytes>> {
    if path != PATH {
        let text = format!("no such path; try GET {PATH}\n");
        return response(StatusCode::NOT_FOUND, (CONTENT_TYPE, PLAIN_TEXT), text);
    }
    if method != Method::GET && method != Method::HEAD {
        let text = "only GET and HEAD are allowed\n".to_owned();
        return response(StatusCode::METHOD_NOT_ALLOWED, (ALLOW, "GET, HEAD"), text);
    }
    match exposition::text(sources) {
        Ok(text) => response(StatusCode::OK, (CONTENT_TYPE, exposition::CONTENT_TYPE), text),
        Err(error) => {
            let text = format!("{error}\n");
            response(StatusCode::INTERNAL_SERVER_ERROR, (CONTENT_TYPE, PLAIN_TEXT), text)
        }
    }
}

fn response(
    status: StatusCode,
    (name, value): (HeaderName, &'static str),
    text: String,
) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header(name, value);
    response.body(Full::new(Bytes::from(text))).expect("its parts are well-formed")
}
