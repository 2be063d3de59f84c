//! `hyper`: hyper's HTTP/1.1 server over one lent stream, a *service*.
//!
//! The tuned form raises its buffer. The best form leaves out the `date` field. Keep-alive,
//! chunked bodies, `Expect` and the 4xx of broken framing are hyper's own. `Host` is not checked.
//! The watch has the timeouts, since hyper wants a timer that crosses threads for its own. Several
//! pieces of a body are joined in a buffer of the worker's pool, which grows with arrived bytes.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, ready};

use bytes::Bytes;
use futures_util::future::poll_fn;
use http::header::{
    ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::axis::Encoding;
use crate::driver::{Service, Stream, WorkerHandle};
use crate::service::echo::EchoService;
use crate::service::health;
use crate::service::routes::{self, Target};
use crate::stack::drain::drained;
use crate::stack::echo::{RestReply, StackEcho};
use crate::stack::input::{Exchange, NotedStream};
use crate::stack::memory::{self, MemoryWait, NoMemory};
use crate::stack::message::Message;
use crate::stack::tuning;
use crate::stack::watch::{Late, Watch};
use crate::wire::handler::{NO_MEMORY, PLAIN_TEXT};
use crate::wire::json_head::{self, HeadLen, JSON};
use crate::wire::{RecvBuffer, Refusal, Refused, Slice};

#[derive(Debug)]
pub struct Hyper {
    echo: StackEcho,
    builder: Builder,
}

impl Hyper {
    pub fn new(service: EchoService) -> Hyper {
        Hyper { echo: StackEcho::new(service), builder: Builder::new() }
    }

    pub fn tuned(service: EchoService) -> Hyper {
        let mut builder = Builder::new();
        builder.max_buf_size(tuning::HTTP1_BUFFER_BYTES);
        Hyper { echo: StackEcho::new(service), builder }
    }

    pub fn best(service: EchoService) -> Hyper {
        let mut builder = Builder::new();
        builder.auto_date_header(false);
        Hyper { echo: StackEcho::new(service), builder }
    }
}

impl Service for Hyper {
    fn serve<S: Stream>(
        &self,
        stream: S,
        worker: WorkerHandle,
    ) -> impl Future<Output = ()> + 'static {
        let drained = drained(&worker, self.echo.service());
        let mut watch = Watch::new(&worker, self.echo.service());
        let exchange = Exchange::new();
        let stream = TokioIo::new(NotedStream::new(stream, &exchange));
        // A request takes one reference to all that it needs.
        let responder = Rc::new(Responder {
            echo: self.echo.for_connection(&worker),
            exchange: Rc::clone(&exchange),
            worker,
        });
        let service = service_fn(move |request: Request<Incoming>| {
            let (responder, (head, body)) = (Rc::clone(&responder), request.into_parts());
            // Hyper moves this future, so it holds the head once and lends it to the others.
            async move { Ok::<_, Infallible>(responder.respond(&head, body).await) }
        });
        let connection = self.builder.serve_connection(stream, service);
        async move {
            let (mut connection, mut drained) = (pin!(connection), pin!(drained));
            let mut is_draining = false;
            poll_fn(|cx| {
                if !is_draining && drained.as_mut().poll(cx).is_ready() {
                    is_draining = true;
                    watch.leave();
                    connection.as_mut().graceful_shutdown();
                }
                loop {
                    // The peer is at fault, and hyper has answered it as far as possible.
                    if connection.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(());
                    }
                    match ready!(watch.poll_late(exchange.state(), cx)) {
                        Late::Idle => connection.as_mut().graceful_shutdown(),
                        Late::End => return Poll::Ready(()),
                    }
                }
            })
            .await;
        }
    }
}

struct Answer {
    content_type: &'static str,
    message: Message,
    /// Length of the JSON before other bytes, for the field that tells it.
    json_head_len: Option<usize>,
}

impl Answer {
    fn fixed(content_type: &'static str, text: &'static str) -> Answer {
        Answer { content_type, message: Message::from(Bytes::from(text)), json_head_len: None }
    }
}

/// Answers the requests of one connection.
struct Responder {
    echo: StackEcho,
    worker: WorkerHandle,
    exchange: Rc<Exchange>,
}

impl Responder {
    async fn respond(&self, head: &Parts, body: Incoming) -> Response<Full<Message>> {
        self.exchange.begin(!body.is_end_stream());
        let answered = self.answer(head, body).await;
        self.exchange.end();
        let service = self.echo.service();
        let mut response = match answered {
            Ok(Answer { content_type, message, json_head_len }) => {
                let mut response = response(StatusCode::OK, content_type, message);
                if let Some(len) = json_head_len {
                    let name = HeaderName::from_static(json_head::FIELD);
                    response.headers_mut().insert(name, HeaderValue::from(len));
                }
                response
            }
            Err(Refused { kind, detail }) => {
                service.limits().counts.refused(kind.into());
                let (content_type, text) = match head.uri.path() == Encoding::KserveHttp.path() {
                    true => (JSON, json_head::error(&detail)),
                    false => (PLAIN_TEXT, detail + "\n"),
                };
                let text = Message::from(Bytes::from(text));
                let mut response = response(kind.into(), content_type, text);
                if let Refusal::MethodNotAllowed(allowed) = kind {
                    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
                }
                response
            }
        };
        if service.is_draining() {
            // Hyper would close the connection at the end of the grace, perhaps under a request. A
            // peer that pipelines has to send the requests behind this one again.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn answer(&self, head: &Parts, body: Incoming) -> Result<Answer, Refused> {
        let Responder { echo, worker, exchange } = self;
        let (method, path) = (head.method.as_str(), head.uri.path());
        match routes::rest(method.as_bytes(), path.as_bytes())? {
            Target::Health => {
                echo.service().limits().counts.requests.add(1);
                let text = health::rest(!echo.service().is_draining())?;
                Ok(Answer::fixed(PLAIN_TEXT, text))
            }
            Target::Inference(question) => {
                echo.service().limits().counts.requests.add(1);
                let text = question.rest(!echo.service().is_draining())?;
                Ok(Answer::fixed(JSON, text))
            }
            Target::Echo(encoding) => {
                echo.check_place()?;
                let body = self.collect(head, body).await?;
                exchange.begin(false);
                let body_len = body.len();
                let reply = echo.rest(worker, encoding, body).await?;
                let RestReply { content_type, message, head_len, payload_len } = reply;
                let mut json_head_len = None;
                if encoding == Encoding::KserveHttp {
                    HeadLen::from(&head.headers).check(body_len, payload_len)?;
                    json_head_len = Some(head_len);
                }
                Ok(Answer { content_type, message, json_head_len })
            }
        }
    }

    async fn collect(&self, head: &Parts, mut body: Incoming) -> Result<Slice, Refused> {
        let Responder { echo, worker, exchange } = self;
        let (pool, limits) = (echo.pool(), echo.service().limits());
        let limit = limits.body_bytes_max;
        if ![CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|name| head.headers.contains_key(name)) {
            return Err(routes::length_refused());
        }
        if head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(routes::coding_refused());
        }
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        within(limit, announced)?;
        let Some(first) = next_piece(&mut body).await? else {
            return Ok(Slice::from(Bytes::new()));
        };
        within(limit, first.len())?;
        if body.is_end_stream() {
            return Ok(Slice::from(first));
        }
        if pool.refuses_body() {
            return Err(Refused::new(Refusal::Unavailable, NO_MEMORY));
        }
        let mut collected = RecvBuffer::new(announced, pool);
        // The length of a chunked body is unknown.
        let most = if announced > 0 { announced } else { limit };
        collected.append(&first, most);
        drop(first);
        let mut wait = MemoryWait::default();
        loop {
            // Memory may become short between two pieces.
            let mut next = pin!(next_piece(&mut body));
            let piece = poll_fn(|cx| {
                let turn = wait.poll_turn(pool, limits, worker, cx);
                exchange.pause(!wait.is_over());
                match ready!(turn) {
                    Ok(()) => next.as_mut().poll(cx),
                    Err(NoMemory) => {
                        Poll::Ready(Err(Refused::new(Refusal::Unavailable, NO_MEMORY)))
                    }
                }
            });
            let Some(piece) = piece.await? else { break };
            memory::received(piece.len(), pool, worker);
            let len = collected.len();
            within(limit, len + piece.len())?;
            collected.append(&piece, most - len);
        }
        memory::ended(pool);
        Ok(collected.into_slice())
    }
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    message: Message,
) -> Response<Full<Message>> {
    let mut response = Response::new(Full::new(message));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>, Refused> {
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Refused::new(Refusal::BadRequest, format!("body: {error}")))?;
        if let Ok(piece) = frame.into_data() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

fn within(limit: usize, len: usize) -> Result<(), Refused> {
    if len <= limit {
        return Ok(());
    }
    Err(Refused::new(Refusal::TooLarge, format!("body is over the limit of {limit} bytes")))
}
