//! `axum`: a router with one handler per path, as in its documentation. *Standalone*, on tokio.
//!
//! axum's `Json` is `Bytes` and serde_json after a check of the content type, which the contract
//! does not enforce, so handlers take `Bytes`. Only the body limit, and a line of text with each
//! 404 and 405, differ from axum's defaults.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::Listener;

use crate::axis::Encoding;
use crate::service::codecs::CodecSet;
use crate::service::echo::echo_once;
use crate::service::{health, routes};
use crate::stack::standalone::{Drained, Serving, Stack};
use crate::wire::{Limits, Refused};

#[derive(Debug)]
pub struct Axum;

impl Stack for Axum {
    fn serve<L>(listener: L, codecs: CodecSet, limits: Limits, drained: Drained) -> Serving
    where
        L: Listener<Addr: std::fmt::Debug>,
    {
        let router = router(codecs, &limits);
        Box::pin(axum::serve(listener, router).with_graceful_shutdown(drained).into_future())
    }
}

fn router(codecs: CodecSet, limits: &Limits) -> Router {
    let mut router = Router::new().route(health::PATH, get(|| async { health::BODY }));
    for encoding in Encoding::by_path() {
        let handler = move |State(codecs): State<CodecSet>, body: Bytes| async move {
            echo(&codecs, encoding, &body)
        };
        router = router.route(encoding.path(), post(handler));
    }
    router
        .fallback(unserved)
        .method_not_allowed_fallback(unserved)
        .layer(DefaultBodyLimit::max(limits.body_bytes_max))
        .with_state(codecs)
}

fn echo(codecs: &CodecSet, encoding: Encoding, body: &Bytes) -> Result<Response, Refusal> {
    let (echoed, mut out) = echo_once(codecs, encoding, body).map_err(Refusal)?;
    let payload = &body[echoed.payload.clone()];
    let reply = if out.is_empty() {
        Body::from(body.slice(echoed.payload))
    } else {
        out.splice(echoed.head_len..echoed.head_len, payload.iter().copied());
        Body::from(out)
    };
    let content_type = HeaderValue::from_static(echoed.encoding.content_type());
    Ok(([(CONTENT_TYPE, content_type)], reply).into_response())
}

async fn unserved(method: Method, uri: Uri) -> Response {
    match routes::rest(method.as_str().as_bytes(), uri.path().as_bytes()) {
        Err(refused) => Refusal(refused).into_response(),
        Ok(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

struct Refusal(Refused);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refused { kind, detail } = self.0;
        (StatusCode::from(kind), detail + "\n").into_response()
    }
}
