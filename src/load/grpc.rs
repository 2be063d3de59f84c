//! One gRPC connection of the load generator, over the h2 crate's client, as a single future.
//!
//! It has a slot per request in flight and no task per request: h2 wakes a slot, its number goes on a list, and the
//! future works the list off between two polls of h2's connection. Requests that follow replies of one turn are
//! written together. A reply is accepted when its status, content type, message prefix, message and trailers are
//! all right.
//!
//! ```text
//!   send ──▶ Head ──HEADERS──▶ Body ──DATA, trailers with grpc-status 0──▶ check, send again
//! ```

use std::cell::RefCell;
use std::fmt::Display;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use h2::RecvStream;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};

use crate::driver::Stream;
use crate::wire::grpc::{self, Code, PREFIX_BYTES, prefix};

use super::LoadError;
use super::run::{Reply, Run, Ticket};
use super::settings::Watched;
use super::verify::Arriving;
use super::wake::Woken;

/// Window of a stream: no reply below it ever waits for us.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;

/// Window of the connection, likewise for all streams together.
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// Largest frame we take.
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// h2 charges every small DATA frame that waits to be read and closes the connection when this is used up; a server
/// that answers a thousand calls in one write is no attacker.
const DATA_FRAME_BUDGET: usize = 1 << 30;

/// Streams opened before the server has said how many it allows: a further one might be refused.
const STREAMS_BEFORE_SETTINGS: usize = 1;

/// What follows the nonce is sent from where it lies when it is at least this long.
const SHARE_BYTES_MIN: usize = 8 * 1024;

const STATUS: &str = "grpc-status";

const MESSAGE: &str = "grpc-message";

/// A request's message: what is its own, then what all share.
type Outgoing = bytes::buf::Chain<Bytes, Bytes>;

/// A connection that is up.
struct Calls<S: Stream> {
    connection: Connection<Watched<S>, Outgoing>,
    send: SendRequest<Outgoing>,
    run: Rc<RefCell<Run>>,
    request: Template,
    calls: Vec<Option<Call>>,
    free: Vec<u32>,
    woken: Woken,
}

/// What all requests have in common.
struct Template {
    uri: Uri,
    headers: HeaderMap,
    rest: Bytes,
}

/// A call that waits for its reply.
struct Call {
    ticket: Ticket,
    stage: Stage,
    body: Body,
}

/// The framed message of a reply.
enum Body {
    /// Nothing yet, or one piece that is the whole of it.
    Whole(Bytes),
    /// Longer ones are compared as they come.
    Pieces(Box<Arriving>),
}

enum Stage {
    Head(ResponseFuture),
    Body(RecvStream),
}

/// Loads one connection with `share` requests in flight until the run is over; what fails, fails the run.
pub async fn drive<S: Stream>(stream: S, authority: String, run: Rc<RefCell<Run>>, share: u32) {
    let watched = Watched::new(stream, Rc::clone(run.borrow().traffic()));
    let handshake = builder().handshake::<_, Outgoing>(watched).await;
    match handshake.map(|parts| Calls::new(parts, &authority, &run, share)) {
        Ok(Ok(mut calls)) => poll_fn(|cx| calls.poll(cx)).await,
        Ok(Err(error)) => run.borrow_mut().broken(http2(&error)),
        Err(error) => run.borrow_mut().broken(http2(&error)),
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_send_buffer_size(CONNECTION_WINDOW_BYTES as usize)
        .data_frame_budget(DATA_FRAME_BUDGET)
        .initial_max_send_streams(STREAMS_BEFORE_SETTINGS)
        .enable_push(false);
    builder
}

fn http2(error: &dyn Display) -> LoadError {
    LoadError::Http2(error.to_string())
}

impl<S: Stream> Calls<S> {
    fn new(
        (send, connection): (SendRequest<Outgoing>, Connection<Watched<S>, Outgoing>),
        authority: &str,
        run: &Rc<RefCell<Run>>,
        share: u32,
    ) -> Result<Calls<S>, http::Error> {
        Ok(Calls {
            connection,
            send,
            request: Template::new(authority, &run.borrow())?,
            run: Rc::clone(run),
            calls: (0..share).map(|_| None).collect(),
            free: (0..share).rev().collect(),
            woken: Woken::new(share),
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.woken.listen(cx.waker());
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut self.connection).poll(cx) {
                self.ended(ended);
                return Poll::Ready(());
            }
            let now = Instant::now();
            let replied = self.poll_woken(now);
            let sent = self.fill(cx, now);
            if self.run.borrow().over() {
                return Poll::Ready(());
            }
            if !replied && !sent {
                self.woken.sleep();
                return Poll::Pending;
            }
        }
    }

    fn ended(&self, ended: Result<(), h2::Error>) {
        let mut run = self.run.borrow_mut();
        match ended {
            Ok(()) => run.closed(),
            Err(error) => run.broken(http2(&error)),
        }
    }

    /// Takes up every call that h2 has news for.
    fn poll_woken(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some((slot, waker)) = self.woken.take() {
            any = true;
            let Some(call) = &mut self.calls[slot as usize] else { continue };
            let mut run = self.run.borrow_mut();
            let Poll::Ready(whole) = call.poll(&mut Context::from_waker(waker), &run) else {
                continue;
            };
            if let Some(call) = self.calls[slot as usize].take() {
                call.finish(whole, &mut run, now);
            }
            self.free.push(slot);
        }
        any
    }

    /// Sends what may be sent.
    fn fill(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut any = false;
        while let Some(&slot) = self.free.last() {
            match self.send.poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    self.run.borrow_mut().broken(http2(&error));
                    break;
                }
                Poll::Pending => break,
            }
            let mut run = self.run.borrow_mut();
            let Some(ticket) = run.next(now) else { break };
            let message = self.request.message(&run, ticket.request);
            let started = start(&mut self.send, self.request.head(), message);
            match started {
                Ok(response) => self.calls[slot as usize] = Some(Call::new(ticket, response)),
                Err(error) => {
                    run.broken(http2(&error));
                    break;
                }
            }
            self.free.pop();
            self.woken.push(slot);
            any = true;
        }
        any
    }
}

fn start(
    send: &mut SendRequest<Outgoing>,
    head: Request<()>,
    message: Outgoing,
) -> Result<ResponseFuture, h2::Error> {
    let (response, mut body) = send.send_request(head, false)?;
    body.send_data(message, true)?;
    Ok(response)
}

impl Template {
    fn new(authority: &str, run: &Run) -> Result<Template, http::Error> {
        let uri = Uri::builder()
            .scheme("http")
            .authority(authority)
            .path_and_query("/Calculator/Echo")
            .build()?;
        let content_type = run.message().body().encoding().grpc_content_type();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        let form = run.message().form();
        let rest = Bytes::copy_from_slice(&form.bytes()[form.stamped_len()..]);
        Ok(Template { uri, headers, rest })
    }

    fn head(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    fn message(&self, run: &Run, request: u64) -> Outgoing {
        let form = run.message().form();
        let (copied, shared) = match self.rest.len() {
            SHARE_BYTES_MIN.. => (&[][..], self.rest.clone()),
            _ => (&self.rest[..], Bytes::new()),
        };
        let mut own = Vec::with_capacity(PREFIX_BYTES + form.stamped_len() + copied.len());
        own.extend_from_slice(&prefix(form.len() as u32));
        form.stamp(run.message().nonce(), request, &mut own);
        own.extend_from_slice(copied);
        Bytes::from(own).chain(shared)
    }
}

impl Call {
    fn new(ticket: Ticket, response: ResponseFuture) -> Call {
        Call { ticket, stage: Stage::Head(response), body: Body::Whole(Bytes::new()) }
    }

    /// Ready once the reply is whole, or refused with a reason.
    fn poll(&mut self, cx: &mut Context<'_>, run: &Run) -> Poll<Result<(), String>> {
        if let Stage::Head(response) = &mut self.stage {
            let response = ready!(Pin::new(response).poll(cx)).map_err(text)?;
            let (head, body) = response.into_parts();
            accept_head(head.status, &head.headers)?;
            self.stage = Stage::Body(body);
        }
        let Stage::Body(body) = &mut self.stage else { return Poll::Pending };
        while let Some(piece) = ready!(body.poll_data(cx)) {
            let piece = piece.map_err(text)?;
            body.flow_control().release_capacity(piece.len()).map_err(text)?;
            self.body.take(piece, || run.arriving(self.ticket, &framing(run)));
        }
        let trailers = ready!(body.poll_trailers(cx)).map_err(text)?;
        let trailers = trailers.ok_or("the reply has no trailers")?;
        Poll::Ready(accept_status(&trailers, "no grpc-status in the trailers"))
    }

    /// Hands the reply to the run.
    fn finish(self, whole: Result<(), String>, run: &mut Run, now: Instant) {
        if let Err(refusal) = whole {
            return run.reply(self.ticket, Reply::Refused(&refusal), now);
        }
        let framed = match self.body {
            Body::Whole(framed) => framed,
            Body::Pieces(arriving) => match arriving.finish() {
                None => return run.reply(self.ticket, Reply::Right, now),
                Some(framed) => Bytes::from(framed),
            },
        };
        match grpc::whole(&framed, false, usize::MAX) {
            Ok(Some(message)) => run.reply(self.ticket, Reply::Body(message), now),
            Ok(None) => {
                let refusal = format!("a body of {} bytes is no whole message", framed.len());
                run.reply(self.ticket, Reply::Refused(&refusal), now);
            }
            Err(status) => run.reply(self.ticket, Reply::Refused(&status.text), now),
        }
    }
}

impl Body {
    fn take(&mut self, piece: Bytes, arriving: impl FnOnce() -> Arriving) {
        match self {
            Body::Pieces(arriving) => arriving.take(&piece),
            Body::Whole(none) if none.is_empty() => *none = piece,
            Body::Whole(first) => {
                let mut arriving = Box::new(arriving());
                arriving.take(first);
                arriving.take(&piece);
                *self = Body::Pieces(arriving);
            }
        }
    }
}

/// What a right reply begins with, as far as we know how it is written.
fn framing(run: &Run) -> [u8; PREFIX_BYTES] {
    prefix(run.reply_len() as u32)
}

/// Refuses a reply's head unless it is that of a gRPC reply that has not failed.
fn accept_head(status: StatusCode, headers: &HeaderMap) -> Result<(), String> {
    if status != StatusCode::OK {
        return Err(format!("HTTP status {}", status.as_u16()));
    }
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if !content_type.starts_with(b"application/grpc") {
        return Err(format!("content type {:?}", String::from_utf8_lossy(content_type)));
    }
    if let Some(encoding) = headers.get("grpc-encoding")
        && grpc::is_compression(encoding.as_bytes())
    {
        return Err(format!("compressed with {encoding:?}, which was not asked for"));
    }
    match headers.contains_key(STATUS) {
        true => accept_status(headers, ""),
        false => Ok(()),
    }
}

/// Refuses any status but 0.
fn accept_status(headers: &HeaderMap, missing: &str) -> Result<(), String> {
    let status = headers.get(STATUS).ok_or(missing)?;
    if status.as_bytes() == Code::Ok.text().as_bytes() {
        return Ok(());
    }
    let message = headers.get(MESSAGE).map_or(&b""[..], HeaderValue::as_bytes);
    let status = String::from_utf8_lossy(status.as_bytes());
    Err(format!("grpc-status {status}: {}", grpc::percent_decode(message)))
}

fn text(error: h2::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
