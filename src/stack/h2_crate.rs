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
//! answered early with NO_ERROR. While `tuning::UNSENT_BYTES_MAX` bytes wait for a peer that does
//! not read, no call is answered and no window is returned. So the window bounds a connection's
//! memory.
//!
//! ```text
//! accept ──whole──────────▶ answer ──▶ HEADERS DATA HEADERS (queued)
//!    └────in pieces──▶ Open ──whole──▶ answer      └─ deadline, or too long a pause ──▶ status 4
//! ```

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, Stream as _};
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::Request;

use crate::driver::{Service, Stream, WorkerHandle};
use crate::service::echo::EchoService;
use crate::stack::drain::drained;
use crate::stack::grpc::{self, Answer, Call, GrpcEcho, Later};
use crate::stack::input::{Heads, NotedStream};
use crate::stack::memory::{self, MemoryWait};
use crate::stack::message::{Queued, Responses};
use crate::stack::tuning;
use crate::stack::watch::{Late, State, Wait, Watch};
use crate::wire::Limit;
use crate::wire::grpc::{MessageReader, Status};

/// Turns before the worker's other connections get theirs.
const TURNS_MAX: usize = 16;

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
        builder.max_header_list_size(tuning::head_bytes_max(service.limits()));
        H2Crate { echo: GrpcEcho::new(service), builder }
    }
}

impl Service for H2Crate {
    fn serve<S: Stream>(
        &self,
        stream: S,
        worker: WorkerHandle,
    ) -> impl Future<Output = ()> + 'static {
        let echo = self.echo.for_connection(&worker);
        let heads = Rc::<Heads>::default();
        let handshake = self.builder.handshake(NotedStream::new(stream, &heads));
        async move {
            let late = worker.sleep_until(worker.now() + echo.service().limits().head_timeout);
            match select(handshake, pin!(late)).await {
                Either::Left((Ok(connection), _)) => {
                    Serving::new(connection, heads, echo, worker).await;
                }
                Either::Left((Err(_), _)) => {}
                Either::Right(_) => {
                    let counts = echo.service().limits().counts;
                    counts.hit(Limit::HeadTime);
                    counts.peer_faults.add(1);
                }
            }
        }
    }
}

type Sleep = Pin<Box<dyn Future<Output = ()>>>;

type Arrival = (Request<RecvStream>, SendResponse<Queued>);

struct Serving<S: Stream> {
    connection: Connection<NotedStream<S, Heads>, Queued>,
    echo: GrpcEcho,
    worker: WorkerHandle,
    drained: Option<Sleep>,
    arrived: VecDeque<Arrival>,
    calls: FuturesUnordered<Open>,
    responses: Rc<Responses>,
    /// Calls accepted so far.
    accepted: u64,
    heads: Rc<Heads>,
    watch: Watch,
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
                return self.poll_late(cx);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: Stream> Serving<S> {
    fn new(
        connection: Connection<NotedStream<S, Heads>, Queued>,
        heads: Rc<Heads>,
        echo: GrpcEcho,
        worker: WorkerHandle,
    ) -> Serving<S> {
        let responses = Rc::default();
        Serving {
            connection,
            drained: Some(Box::pin(drained(&worker, echo.service()))),
            watch: Watch::of_responses(&worker, echo.service(), &responses),
            echo,
            worker,
            arrived: VecDeque::new(),
            calls: FuturesUnordered::new(),
            responses,
            accepted: 0,
            heads,
        }
    }

    fn drain(&mut self, cx: &mut Context<'_>) {
        let Some(drained) = &mut self.drained else { return };
        if drained.as_mut().poll(cx).is_ready() {
            self.drained = None;
            self.watch.leave();
            self.connection.graceful_shutdown();
        }
    }

    fn state(&self) -> State {
        let (unsent, sent) = (self.responses.unsent(), self.responses.sent());
        self.heads.state(match () {
            () if unsent > 0 => (Wait::Room, sent),
            // Each call has a watch of its own.
            () if !self.calls.is_empty() => (Wait::Nothing, 0),
            () => (Wait::Request, self.accepted),
        })
    }

    /// Sends GOAWAY to an idle peer. Ready at the end of one that is late.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let state = self.state();
            match ready!(self.watch.poll_late(state, cx)) {
                Late::End => return Poll::Ready(()),
                Late::Idle => self.connection.graceful_shutdown(),
            }
            if self.accept(cx).is_ready() {
                return Poll::Ready(());
            }
        }
    }

    /// Reads and writes without blocking and collects arrived calls. Ready at the connection's end.
    fn accept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.arrived.push_back((request, respond));
                    self.accepted += 1;
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
                Ok(answer) => send(&self.echo, respond, &self.responses, answer),
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
        if !self.has_room() {
            self.responses.note_wait();
        }
        queued
    }

    fn open(&self, (call, reader): Begun, (request, respond): Arrival) -> Open {
        let end = call.timeout.and_then(|timeout| self.worker.now().checked_add(timeout));
        Open {
            watch: Watch::of_call(&self.worker, self.echo.service()),
            echo: self.echo.clone(),
            worker: self.worker.clone(),
            heads: Rc::clone(&self.heads),
            responses: Rc::clone(&self.responses),
            call,
            body: request.into_body(),
            respond,
            reader: Some(reader),
            memory: MemoryWait::default(),
            received: 0,
            waits: self.responses.waits(),
            deadline: end.map(|end| Box::pin(self.worker.sleep_until(end)) as Sleep),
            answering: None,
        }
    }

    fn has_room(&self) -> bool {
        self.responses.has_room()
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
    let taken = echo.check_memory().and_then(|()| take(echo, reader, body, &piece));
    let taken = taken.and_then(|()| take(echo, reader, body, &next));
    taken.err().map(Answer::from)
}

fn take(
    echo: &GrpcEcho,
    reader: &mut MessageReader,
    body: &mut RecvStream,
    piece: &Bytes,
) -> Result<(), Status> {
    reader.feed(piece, echo.pool())?;
    // An error means that the stream is gone; the next read reports that.
    let _ = body.flow_control().release_capacity(piece.len());
    Ok(())
}

/// Queues an answer. An error means that the peer has reset the stream or left.
fn send(
    echo: &GrpcEcho,
    respond: &mut SendResponse<Queued>,
    responses: &Rc<Responses>,
    answer: Answer,
) {
    echo.count(&answer);
    let _ = match answer {
        Answer::Reply(head, message, trailers) => {
            respond.send_response(head, false).and_then(|mut stream| {
                stream.send_data(Queued::new(message, responses), false)?;
                stream.send_trailers(trailers)
            })
        }
        Answer::Failed(_, head) => respond.send_response(head, true).map(drop),
        Answer::Plain(head, text) => respond
            .send_response(head, false)
            .and_then(|mut stream| stream.send_data(Queued::new(text, responses), true)),
    };
}

struct Open {
    echo: GrpcEcho,
    worker: WorkerHandle,
    heads: Rc<Heads>,
    responses: Rc<Responses>,
    call: Call,
    body: RecvStream,
    respond: SendResponse<Queued>,
    reader: Option<MessageReader>,
    memory: MemoryWait,
    received: u64,
    /// Times that calls had waited for room before the last look.
    waits: u64,
    watch: Watch,
    /// End of the time that the peer waits.
    deadline: Option<Sleep>,
    /// Answer that another thread works on, after the message is whole.
    answering: Option<Later>,
}

impl Future for Open {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let is_over = self.deadline.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready());
        let answer = if is_over {
            Some(grpc::expired().into())
        } else if let Poll::Ready(answer) = self.collect(cx) {
            answer
        } else {
            ready!(self.poll_late(cx));
            Some(grpc::expired().into())
        };
        if let Some(answer) = answer {
            let Open { echo, respond, responses, .. } = &mut *self;
            send(echo, respond, responses, answer);
        }
        Poll::Ready(())
    }
}

impl Open {
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Late> {
        let waits = self.responses.waits();
        // A call that waits for room reads nothing.
        let has_waited = std::mem::replace(&mut self.waits, waits) != waits;
        let is_paused = has_waited || !self.memory.is_over();
        let (moved, is_blocked) = (self.received, is_paused || self.heads.is_blocked());
        let wait = if self.answering.is_some() { Wait::Nothing } else { Wait::Body };
        self.watch.poll_late(State { head: None, wait, moved, is_blocked }, cx)
    }

    /// Collects pieces until there is an answer; `None` when the peer has reset the call.
    fn collect(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        if self.answering.is_some() {
            return self.await_answer(cx);
        }
        let Open { echo, worker, call, body, reader, memory, received, .. } = self;
        loop {
            if let Err(status) = ready!(echo.poll_turn(memory, worker, cx)) {
                return Poll::Ready(Some(status.into()));
            }
            let pieces = reader.as_mut().expect("not polled after the message is whole");
            match ready!(body.poll_data(cx)) {
                Some(Ok(piece)) => {
                    *received += piece.len() as u64;
                    memory::received(piece.len(), echo.pool(), worker);
                    if let Err(status) = take(echo, pieces, body, &piece) {
                        return Poll::Ready(Some(status.into()));
                    }
                }
                Some(Err(_)) => return Poll::Ready(None),
                None => break,
            }
        }
        memory::ended(echo.pool());
        let message = match reader.take().expect("still there").finish() {
            Ok(message) => message,
            Err(status) => return Poll::Ready(Some(status.into())),
        };
        match echo.begin(&self.worker, *call, message) {
            Ok(answer) => Poll::Ready(Some(answer)),
            Err(later) => {
                self.answering = Some(later);
                self.await_answer(cx)
            }
        }
    }

    /// Waits for the thread that works on the answer; `None` when the peer has reset the call.
    fn await_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        let Some(answer) = &mut self.answering else { return Poll::Ready(None) };
        if self.respond.poll_reset(cx).is_ready() {
            return Poll::Ready(None);
        }
        answer.as_mut().poll(cx).map(Some)
    }
}
