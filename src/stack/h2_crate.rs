//! `h2-crate`: hand-written gRPC framing over the h2 crate, a *service* without a task per call. A
//! turn accepts every request that has arrived and answers the whole ones at once. Only then does
//! it let h2 write, so that responses leave together. A request in several DATA frames becomes a
//! future of its own (`Open`).
//!
//! The default form has h2's own windows of 64 KiB and frames of 16 KiB. Its guard against small
//! DATA frames then allows some 140 of them in a row, so the form also limits the streams to 100.
//!
//! h2 keeps the duties of HTTP/2: it holds DATA back until the peer's windows have room, returns
//! connection window when the handles of a stream are dropped, and resets a stream that was
//! answered early with NO_ERROR. While `UNSENT_BYTES_MAX` bytes wait for a peer that does not read,
//! no call is answered and no window is returned. So the window bounds a connection's memory.
//!
//! ```text
//! accept ──whole──────────▶ answer ──▶ HEADERS DATA HEADERS (queued)
//!    └────in pieces──▶ Open ──whole──▶ answer      └─ deadline, or too long a pause ──▶ status 4
//! ```

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, Stream as _};
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::Request;

use crate::driver::{Service, Stream, WorkerHandle};
use crate::service::echo::EchoService;
use crate::stack::grpc::{self, Answer, Call, GrpcEcho};
use crate::stack::message::Queued;
use crate::stack::tuning;
use crate::wire::grpc::{MessageReader, Status};
use crate::wire::progress::Progress;

/// Turns before the worker's other connections get theirs.
const TURNS_MAX: usize = 16;

/// Unsent bytes at which no further call is answered; the peer may send as many.
const UNSENT_BYTES_MAX: usize = tuning::CONNECTION_WINDOW_BYTES as usize;

/// SETTINGS_MAX_CONCURRENT_STREAMS of the default form, the least that RFC 9113 recommends.
const STREAMS_DEFAULT: u32 = 100;

#[derive(Debug)]
pub struct H2Crate {
    echo: GrpcEcho,
    builder: Builder,
}

impl H2Crate {
    pub fn new(service: EchoService) -> H2Crate {
        let mut builder = Builder::new();
        builder.max_concurrent_streams(STREAMS_DEFAULT);
        H2Crate::with(builder, service)
    }

    pub fn tuned(service: EchoService) -> H2Crate {
        let mut builder = Builder::new();
        builder
            .initial_window_size(tuning::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(tuning::CONNECTION_WINDOW_BYTES)
            .max_frame_size(tuning::FRAME_BYTES_MAX)
            .max_concurrent_streams(tuning::STREAMS_MAX);
        H2Crate::with(builder, service)
    }

    fn with(mut builder: Builder, service: EchoService) -> H2Crate {
        let head_bytes_max = u32::try_from(service.limits().head_bytes_max).unwrap_or(u32::MAX);
        builder.max_header_list_size(head_bytes_max);
        H2Crate { echo: GrpcEcho::new(service), builder }
    }
}

impl Service for H2Crate {
    fn serve<S: Stream>(
        &self,
        stream: S,
        worker: WorkerHandle,
    ) -> impl Future<Output = ()> + 'static {
        let echo = self.echo.clone();
        let handshake = self.builder.handshake(stream);
        async move {
            let late = worker.sleep_until(Instant::now() + echo.service().limits().head_timeout);
            if let Either::Left((Ok(connection), _)) = select(handshake, pin!(late)).await {
                Serving::new(connection, echo, worker).await;
            }
        }
    }
}

type Sleep = Pin<Box<dyn Future<Output = ()>>>;

type Arrival = (Request<RecvStream>, SendResponse<Queued>);

struct Serving<S: Stream> {
    connection: Connection<S, Queued>,
    echo: GrpcEcho,
    worker: WorkerHandle,
    drained: Option<Sleep>,
    arrived: VecDeque<Arrival>,
    calls: FuturesUnordered<Open>,
    unsent: Rc<Cell<usize>>,
    idle: Sleep,
    active: Instant,
    /// True once an idle peer has been sent GOAWAY.
    dismissed: bool,
}

impl<S: Stream> Future for Serving<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.drain(cx);
        if self.idle(cx).is_ready() {
            return Poll::Ready(());
        }
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
    fn new(connection: Connection<S, Queued>, echo: GrpcEcho, worker: WorkerHandle) -> Serving<S> {
        let active = Instant::now();
        Serving {
            connection,
            drained: Some(Box::pin(worker.drained())),
            idle: Box::pin(worker.sleep_until(active + echo.service().limits().idle_timeout)),
            echo,
            worker,
            arrived: VecDeque::new(),
            calls: FuturesUnordered::new(),
            unsent: Rc::default(),
            active,
            dismissed: false,
        }
    }

    fn drain(&mut self, cx: &mut Context<'_>) {
        let Some(drained) = &mut self.drained else { return };
        if drained.as_mut().poll(cx).is_ready() {
            self.drained = None;
            self.echo.service().drain();
            self.connection.graceful_shutdown();
        }
    }

    /// Sends GOAWAY to an idle peer. Ready if it stays for the same time again.
    fn idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (now, patience) = (Instant::now(), self.echo.service().limits().idle_timeout);
        let mut active = std::mem::replace(&mut self.active, now);
        while self.idle.as_mut().poll(cx).is_ready() {
            if active + patience <= now {
                if std::mem::replace(&mut self.dismissed, true) {
                    return Poll::Ready(());
                }
                self.connection.graceful_shutdown();
                active = now;
            }
            self.active = active;
            self.idle = Box::pin(self.worker.sleep_until(active + patience));
        }
        Poll::Pending
    }

    /// Reads and writes without blocking and collects arrived calls. Ready at the connection's end.
    fn accept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.arrived.push_back((request, respond));
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Answers the whole requests. Returns true if it queued bytes for `accept` to write.
    fn answer(&mut self, cx: &mut Context<'_>) -> bool {
        let mut queued = false;
        while self.has_room()
            && let Some((request, respond)) = self.arrived.front_mut()
        {
            queued = true;
            // In place: a request and its handles are about 400 bytes.
            let begun = begin(&self.echo, request, cx);
            match begun {
                Ok(answer) => send(respond, &self.unsent, answer),
                Err(begun) => {
                    let arrival = self.arrived.pop_front().expect("it was looked at");
                    self.calls.push(self.open(begun, arrival));
                    continue;
                }
            }
            self.arrived.pop_front();
        }
        while self.has_room()
            && let Poll::Ready(Some(())) = Pin::new(&mut self.calls).poll_next(cx)
        {
            queued = true;
        }
        queued
    }

    fn open(&self, (call, reader): Begun, (request, respond): Arrival) -> Open {
        let now = Instant::now();
        let progress = Progress::start(self.echo.service().limits().body_pace(), now);
        let deadline = call.timeout.and_then(|timeout| now.checked_add(timeout));
        Open {
            echo: self.echo.clone(),
            worker: self.worker.clone(),
            unsent: Rc::clone(&self.unsent),
            call,
            body: request.into_body(),
            respond,
            reader: Some(reader),
            progress,
            deadline,
            alarm: Box::pin(std::future::ready(())),
        }
    }

    fn has_room(&self) -> bool {
        self.unsent.get() < UNSENT_BYTES_MAX
    }
}

type Begun = (Call, MessageReader);

fn begin(
    echo: &GrpcEcho,
    request: &mut Request<RecvStream>,
    cx: &mut Context<'_>,
) -> Result<Answer, Begun> {
    let call = match echo.admit(request) {
        Ok(call) => call,
        Err(failure) => return Ok(failure.into()),
    };
    let mut reader = echo.reader(call);
    at_once(echo, call, &mut reader, request.body_mut(), cx).ok_or((call, reader))
}

fn at_once(
    echo: &GrpcEcho,
    call: Call,
    reader: &mut MessageReader,
    body: &mut RecvStream,
    cx: &mut Context<'_>,
) -> Option<Answer> {
    let Poll::Ready(Some(Ok(piece))) = body.poll_data(cx) else { return None };
    // Many clients end a call by an extra empty frame.
    let next = if body.is_end_stream() { Poll::Pending } else { body.poll_data(cx) };
    let next = if let Poll::Ready(Some(Ok(next))) = next { next } else { Bytes::new() };
    if next.is_empty()
        && body.is_end_stream()
        && let Some(answer) = echo.try_whole(call, &piece)
    {
        return Some(answer);
    }
    let taken = take(echo, reader, body, &piece).and_then(|()| take(echo, reader, body, &next));
    taken.err().map(Answer::from)
}

fn take(
    echo: &GrpcEcho,
    reader: &mut MessageReader,
    body: &mut RecvStream,
    piece: &Bytes,
) -> Result<(), Status> {
    reader.feed(piece, echo.service().pool())?;
    // An error means that the stream is gone; the next read reports that.
    let _ = body.flow_control().release_capacity(piece.len());
    Ok(())
}

/// Queues an answer. An error means that the peer has reset the stream or left.
fn send(respond: &mut SendResponse<Queued>, unsent: &Rc<Cell<usize>>, answer: Answer) {
    let _ = match answer {
        Answer::Reply(head, message, trailers) => {
            respond.send_response(head, false).and_then(|mut stream| {
                stream.send_data(Queued::new(message, unsent), false)?;
                stream.send_trailers(trailers)
            })
        }
        Answer::Failed(head) => respond.send_response(head, true).map(drop),
        Answer::Plain(head, text) => respond
            .send_response(head, false)
            .and_then(|mut stream| stream.send_data(Queued::new(text, unsent), true)),
    };
}

struct Open {
    echo: GrpcEcho,
    worker: WorkerHandle,
    unsent: Rc<Cell<usize>>,
    call: Call,
    body: RecvStream,
    respond: SendResponse<Queued>,
    reader: Option<MessageReader>,
    progress: Progress,
    deadline: Option<Instant>,
    alarm: Sleep,
}

impl Future for Open {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let answer =
            if self.late(cx) { Some(grpc::expired().into()) } else { ready!(self.collect(cx)) };
        if let Some(answer) = answer {
            let Open { respond, unsent, .. } = &mut *self;
            send(respond, unsent, answer);
        }
        Poll::Ready(())
    }
}

impl Open {
    /// Returns true after the peer's deadline or the timeout between pieces.
    fn late(&mut self, cx: &mut Context<'_>) -> bool {
        while self.alarm.as_mut().poll(cx).is_ready() {
            let due = self.due();
            if due <= Instant::now() {
                return true;
            }
            self.alarm = Box::pin(self.worker.sleep_until(due));
        }
        false
    }

    fn due(&self) -> Instant {
        let due = self.progress.due();
        self.deadline.map_or(due, |deadline| deadline.min(due))
    }

    /// Collects pieces until there is an answer; `None` when the peer has reset the call.
    fn collect(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        let Open { echo, call, body, reader, progress, .. } = self;
        let pace = echo.service().limits().body_pace();
        loop {
            let pieces = reader.as_mut().expect("not polled after the message is whole");
            match ready!(body.poll_data(cx)) {
                Some(Ok(piece)) => {
                    progress.moved(piece.len(), pace, Instant::now());
                    if let Err(status) = take(echo, pieces, body, &piece) {
                        return Poll::Ready(Some(status.into()));
                    }
                }
                Some(Err(_)) => return Poll::Ready(None),
                None => break,
            }
        }
        let message = reader.take().expect("still there").finish();
        Poll::Ready(Some(match message {
            Ok(message) => echo.answer(*call, message),
            Err(status) => status.into(),
        }))
    }
}
