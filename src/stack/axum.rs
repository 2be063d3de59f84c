//! `axum`: a router with one handler per path, as in its documentation. *Standalone*, on tokio.
//!
//! axum's `Json` is `Bytes` and serde_json after a check of the content type, which the contract
//! does not enforce, so handlers take `Bytes`. Only the body limit, and a line of text with each
//! 404 and 405, differ from axum's defaults. The best form runs the router under hyper's own
//! builder and sends the payload of a response from the request's buffer.
//!
//! Requests with a content coding go to a second router, the same one in the layers of tower-http.
//! So other requests are served as ever, also those of a client that accepts codings.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::Router;
use axum::ServiceExt;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::future::RouteFuture;
use axum::routing::{get, post};
use axum::serve::Listener;
use http_body::{Frame, SizeHint};
use hyper::server::conn::http1;
use hyper_util::service::TowerToHyperService;

use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;
use tower_service::Service;

use crate::axis::{Coding, Encoding};
use crate::service::codecs::CodecSet;
use crate::service::echo::{Echoed, echo_once};
use crate::service::inference::Question;
use crate::service::{health, routes};
use crate::stack::echo::COPY_BYTES_MAX;
use crate::stack::standalone::{Serving, Shutdown, Stack, serve_connections};
use crate::wire::json_head::{self, HeadLen, JSON};
use crate::wire::{Limits, Refused, WorkerCounts};

#[derive(Debug)]
pub struct Axum;

impl Stack for Axum {
    fn serve<L>(listener: L, codecs: CodecSet, limits: Limits, shutdown: Shutdown) -> Serving
    where
        L: Listener<Addr: std::fmt::Debug>,
    {
        let router = ByCoding::new(router(codecs, &limits, &shutdown, in_one_piece));
        let router = ServiceExt::<Request>::into_make_service(router);
        let serving = axum::serve(listener, router).with_graceful_shutdown(shutdown.drain());
        Box::pin(serving.into_future())
    }
}

#[derive(Debug)]
pub struct AxumBest;

impl Stack for AxumBest {
    fn serve<L>(listener: L, codecs: CodecSet, limits: Limits, shutdown: Shutdown) -> Serving
    where
        L: Listener,
    {
        let router = ByCoding::new(router(codecs, &limits, &shutdown, in_pieces));
        let mut builder = http1::Builder::new();
        builder.auto_date_header(false);
        let connect = move |stream| {
            builder.serve_connection(stream, TowerToHyperService::new(router.clone()))
        };
        Box::pin(serve_connections(listener, shutdown, connect))
    }
}

/// Router for plain requests, and the same one for those with a content coding.
#[derive(Clone, Debug)]
struct ByCoding {
    plain: Router,
    coded: Router,
}

impl ByCoding {
    fn new(plain: Router) -> ByCoding {
        // The limit of a body holds for the inflated one: the extractor reads it from the layer.
        let inflate = RequestDecompressionLayer::new().gzip(true).zstd(true);
        let deflate = CompressionLayer::new().gzip(true).zstd(true);
        ByCoding { coded: plain.clone().layer(deflate).layer(inflate), plain }
    }
}

impl<B> Service<http::Request<B>> for ByCoding
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> RouteFuture<Infallible> {
        let coding = request.headers().get(CONTENT_ENCODING);
        let is_plain = coding.is_none_or(|coding| coding == Coding::Identity.token());
        let router = if is_plain { &mut self.plain } else { &mut self.coded };
        router.call(request)
    }
}

/// State of the router.
#[derive(Clone, Copy, Debug)]
struct Served {
    codecs: CodecSet,
    counts: &'static WorkerCounts,
}

/// Makes the body of a response of the request's body and of head and tail, cut at the payload.
type Compose = fn(&Bytes, Echoed, Vec<u8>) -> Body;

fn router(codecs: CodecSet, limits: &Limits, shutdown: &Shutdown, compose: Compose) -> Router {
    let of_health = shutdown.clone();
    let health = move |State(served): State<Served>| async move {
        served.counts.requests.add(1);
        health::rest(of_health.is_ready()).map_err(|it| Refusal::counted(it, served.counts))
    };
    let mut router = Router::new().route(health::PATH, get(health));
    for question in Question::ALL {
        let shutdown = shutdown.clone();
        let answer = move |State(served): State<Served>| async move {
            served.counts.requests.add(1);
            let text = question.rest(shutdown.is_ready());
            let text = text.map_err(|it| Refusal::counted(it, served.counts))?;
            let content_type = HeaderValue::from_static(JSON);
            Ok::<_, Refusal>(([(CONTENT_TYPE, content_type)], text))
        };
        router = router.route(question.rest_path(), get(answer));
    }
    let handler = move |State(served): State<Served>, fields: HeaderMap, body: Bytes| async move {
        infer(&served, &fields, &body, compose)
    };
    router = router.route(Encoding::KserveHttp.path(), post(handler));
    for encoding in Encoding::by_path().filter(|&encoding| encoding != Encoding::KserveHttp) {
        let handler = move |State(served): State<Served>, body: Bytes| async move {
            echo(&served, encoding, &body, compose)
        };
        router = router.route(encoding.path(), post(handler));
    }
    router
        .fallback(unserved)
        .method_not_allowed_fallback(unserved)
        .layer(DefaultBodyLimit::max(limits.body_bytes_max))
        .with_state(Served { codecs, counts: limits.counts })
}

fn echo(
    Served { codecs, counts }: &Served,
    encoding: Encoding,
    body: &Bytes,
    compose: Compose,
) -> Result<Response, Refusal> {
    let echoed = echo_once(codecs, counts, encoding, body);
    let (echoed, out) = echoed.map_err(|refused| Refusal::counted(refused, counts))?;
    let content_type = HeaderValue::from_static(echoed.encoding.content_type());
    Ok(([(CONTENT_TYPE, content_type)], compose(body, echoed, out)).into_response())
}

/// Echoes JSON and the bytes behind it; the refusals are JSON, too.
fn infer(
    Served { codecs, counts }: &Served,
    fields: &HeaderMap,
    body: &Bytes,
    compose: Compose,
) -> Response {
    let encoding = Encoding::KserveHttp;
    let echoed = echo_once(codecs, counts, encoding, body).and_then(|(echoed, out)| {
        HeadLen::from(fields).check(body.len(), echoed.payload.len())?;
        Ok((echoed, out))
    });
    match echoed {
        Ok((echoed, out)) => {
            let fields = [
                (CONTENT_TYPE, HeaderValue::from_static(encoding.content_type())),
                (HeaderName::from_static(json_head::FIELD), HeaderValue::from(echoed.head_len)),
            ];
            (fields, compose(body, echoed, out)).into_response()
        }
        Err(Refused { kind, detail }) => {
            counts.refused(kind.into());
            let fields = [(CONTENT_TYPE, HeaderValue::from_static(JSON))];
            (StatusCode::from(kind), fields, json_head::error(&detail)).into_response()
        }
    }
}

fn in_one_piece(body: &Bytes, echoed: Echoed, mut out: Vec<u8>) -> Body {
    if out.is_empty() {
        return Body::from(body.slice(echoed.payload));
    }
    out.splice(echoed.head_len..echoed.head_len, body[echoed.payload].iter().copied());
    Body::from(out)
}

fn in_pieces(body: &Bytes, echoed: Echoed, out: Vec<u8>) -> Body {
    if echoed.payload.len() < COPY_BYTES_MAX {
        return in_one_piece(body, echoed, out);
    }
    let mut head = Bytes::from(out);
    let tail = head.split_off(echoed.head_len);
    Body::new(Pieces([head, body.slice(echoed.payload), tail]))
}

/// Body of a response whose pieces are sent without joining them.
struct Pieces([Bytes; 3]);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.iter_mut().find(|piece| !piece.is_empty());
        Poll::Ready(piece.map(|piece| Ok(Frame::data(std::mem::take(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}

async fn unserved(State(served): State<Served>, method: Method, uri: Uri) -> Response {
    match routes::rest(method.as_str().as_bytes(), uri.path().as_bytes()) {
        Err(refused) => Refusal::counted(refused, served.counts).into_response(),
        Ok(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

struct Refusal(Refused);

impl Refusal {
    fn counted(refused: Refused, counts: &WorkerCounts) -> Refusal {
        counts.refused(refused.kind.into());
        Refusal(refused)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refused { kind, detail } = self.0;
        (StatusCode::from(kind), detail + "\n").into_response()
    }
}
