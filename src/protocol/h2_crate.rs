//! `h2-crate`: hand-written gRPC framing over the h2 crate. *Service*: one future per connection, no task per call.
//!
//! A turn accepts everything that has arrived, answers whole requests on the spot, and only then lets h2 write, so
//! that replies leave together. A request that comes in several DATA frames becomes a future of its own ([`Open`]).
//! Windows and frames are raised ([`super::tuning`]); there is no other form of it.
//!
//! h2 itself keeps the duties of HTTP/2: it holds DATA back until the peer's windows have room, gives back connection
//! window when a stream's handles are dropped, and resets a stream with NO_ERROR that was answered early.
//! Replies are queued whole, which costs no memory beyond the request they borrow from.
//!
//! ```text
//! accept ──whole──────────▶ answer ──▶ HEADERS DATA HEADERS (queued)
//!    └────in pieces──▶ Open ──whole──▶ answer      └─ deadline ──▶ status 4
//! ```

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, Stream as _};
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::Request;

use crate::driver::{Lane, Service, Stream};
use crate::protocol::grpc_call::{self, Answer, Call, GrpcEcho};
use crate::protocol::message::{Body, Message};
use crate::protocol::tuning;
use crate::protocol::work::Work;
use crate::wire::grpc::{MessageAssembler, Status};

/// Turns that a connection may take before the worker's other connections get theirs.
const TURNS_MAX: usize = 16;

/// The stack, made once per worker.
#[derive(Debug)]
pub struct H2Crate(GrpcEcho);

impl H2Crate {
    /// The stack on `work`.
    pub fn new(work: Work) -> H2Crate {
        H2Crate(GrpcEcho::new(work))
    }
}

impl Service for H2Crate {
    fn serve<S: Stream>(&self, stream: S, lane: Lane) -> impl Future<Output = ()> + 'static {
        let echo = self.0.clone();
        async move {
            let limits = echo.work().limits();
            let late = lane.sleep_until(Instant::now() + limits.head_timeout);
            let handshake = builder(&echo).handshake(stream);
            let Either::Left((Ok(connection), _)) = select(handshake, pin!(late)).await else {
                return;
            };
            let drained = Box::pin(lane.drained());
            let (calls, arrived) = (FuturesUnordered::new(), Vec::new());
            Serving { connection, echo, lane, drained: Some(drained), arrived, calls }.await;
        }
    }
}

fn builder(echo: &GrpcEcho) -> Builder {
    let head_bytes_max = u32::try_from(echo.work().limits().head_bytes_max).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .initial_window_size(tuning::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(tuning::CONNECTION_WINDOW_BYTES)
        .max_frame_size(tuning::FRAME_BYTES_MAX)
        .max_concurrent_streams(tuning::STREAMS_MAX)
        .max_header_list_size(head_bytes_max);
    builder
}

type Arrival = (Request<RecvStream>, SendResponse<Message>);

/// One connection being served.
struct Serving<S: Stream> {
    connection: Connection<S, Message>,
    echo: GrpcEcho,
    lane: Lane,
    drained: Option<Pin<Box<dyn Future<Output = ()>>>>,
    arrived: Vec<Arrival>,
    calls: FuturesUnordered<Open>,
}

impl<S: Stream> Future for Serving<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.drain(cx);
        for _ in 0..TURNS_MAX {
            if self.accept(cx).is_ready() {
                return Poll::Ready(());
            }
            if !self.answer(cx) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: Stream> Serving<S> {
    /// Tells the peer to open no more calls, once.
    fn drain(&mut self, cx: &mut Context<'_>) {
        let Some(drained) = &mut self.drained else { return };
        if drained.as_mut().poll(cx).is_ready() {
            self.drained = None;
            self.connection.graceful_shutdown();
        }
    }

    /// Reads and writes all it can and collects the calls that have arrived; ready when the connection is over.
    fn accept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok(arrival))) => self.arrived.push(arrival),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Answers what is whole; true when something was queued that `accept` has to write.
    fn answer(&mut self, cx: &mut Context<'_>) -> bool {
        let mut queued = !self.arrived.is_empty();
        for (request, respond) in self.arrived.drain(..) {
            if let Some(open) = begin(&self.echo, &self.lane, request, respond, cx) {
                self.calls.push(open);
            }
        }
        while let Poll::Ready(Some(())) = Pin::new(&mut self.calls).poll_next(cx) {
            queued = true;
        }
        queued
    }
}

/// Answers a call that needs no waiting, or returns what is left to wait for.
fn begin(
    echo: &GrpcEcho,
    lane: &Lane,
    request: Request<RecvStream>,
    mut respond: SendResponse<Message>,
    cx: &mut Context<'_>,
) -> Option<Open> {
    let (head, mut body) = request.into_parts();
    let call = match echo.admit(&head) {
        Ok(call) => call,
        Err(failure) => {
            send(&mut respond, failure.into());
            return None;
        }
    };
    let mut assembler = echo.assembler(call);
    if let Some(answer) = at_once(echo, call, &mut assembler, &mut body, cx) {
        send(&mut respond, answer);
        return None;
    }
    let deadline = call.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let deadline = deadline.map(|at| -> Deadline { Box::pin(lane.sleep_until(at)) });
    Some(Open { echo: echo.clone(), call, body, respond, assembler: Some(assembler), deadline })
}

/// The answer when the whole request is there already, in one piece; else what there is goes to `assembler`.
fn at_once(
    echo: &GrpcEcho,
    call: Call,
    assembler: &mut MessageAssembler,
    body: &mut RecvStream,
    cx: &mut Context<'_>,
) -> Option<Answer> {
    let Poll::Ready(Some(Ok(piece))) = body.poll_data(cx) else { return None };
    // Many clients end their call by an empty frame of its own.
    let next = match body.is_end_stream() {
        true => Poll::Pending,
        false => body.poll_data(cx),
    };
    let next = if let Poll::Ready(Some(Ok(next))) = next { next } else { Bytes::new() };
    if next.is_empty()
        && body.is_end_stream()
        && let Some(answer) = echo.try_whole(call, &piece)
    {
        return Some(answer);
    }
    let taken =
        take(echo, assembler, body, &piece).and_then(|()| take(echo, assembler, body, &next));
    taken.err().map(Answer::from)
}

/// Keeps a piece of a message and gives its window back.
fn take(
    echo: &GrpcEcho,
    assembler: &mut MessageAssembler,
    body: &mut RecvStream,
    piece: &Bytes,
) -> Result<(), Status> {
    let mut pool = echo.work().pool().borrow_mut();
    assembler.feed(piece, &mut pool)?;
    // An error means that the stream is gone, which the next read reports.
    let _ = body.flow_control().release_capacity(piece.len());
    Ok(())
}

/// Queues an answer. An error means that the peer has reset the stream or left: nobody is there to be told.
fn send(respond: &mut SendResponse<Message>, answer: Answer) {
    let _ = match answer {
        Answer::Reply(head, message, trailers) => {
            respond.send_response(head, false).and_then(|mut stream| {
                stream.send_data(message, false)?;
                stream.send_trailers(trailers)
            })
        }
        Answer::Failed(head) => respond.send_response(head, true).map(drop),
        Answer::Plain(head, text) => {
            respond.send_response(head, false).and_then(|mut stream| stream.send_data(text, true))
        }
    };
}

type Deadline = Pin<Box<dyn Future<Output = ()>>>;

/// A call whose message comes in pieces.
struct Open {
    echo: GrpcEcho,
    call: Call,
    body: RecvStream,
    respond: SendResponse<Message>,
    /// Taken when the message is whole.
    assembler: Option<MessageAssembler>,
    deadline: Option<Deadline>,
}

impl Future for Open {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let answer = ready!(self.collect(cx));
        if let Some(answer) = answer {
            send(&mut self.respond, answer);
        }
        Poll::Ready(())
    }
}

impl Open {
    /// The answer once there is one; `None` when the peer has reset the call.
    fn collect(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        let Open { echo, call, body, assembler, deadline, .. } = self;
        let expired =
            deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
        if expired {
            return Poll::Ready(Some(grpc_call::expired().into()));
        }
        loop {
            let pieces = assembler.as_mut().expect("polled no more once the message is whole");
            match ready!(body.poll_data(cx)) {
                Some(Ok(piece)) => {
                    if let Err(status) = take(echo, pieces, body, &piece) {
                        return Poll::Ready(Some(status.into()));
                    }
                }
                Some(Err(_)) => return Poll::Ready(None),
                None => break,
            }
        }
        let message = assembler.take().expect("still there").finish();
        Poll::Ready(Some(match message {
            Ok(buffer) => echo.answer(*call, &Body::collected(buffer, echo.work().pool())),
            Err(status) => status.into(),
        }))
    }
}
