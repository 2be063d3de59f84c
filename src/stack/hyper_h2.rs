//! `hyper-h2`: the gRPC framing of `h2-crate` over hyper's HTTP/2 server, a *service*.
//!
//! The default form keeps hyper's settings (windows of 1 MiB, frames of 16 KiB, 200 streams). The
//! best form has those of the tuned one and leaves out the `date` field.
//! hyper's executor, `Calls`, belongs to its connection, so no future crosses threads. As in
//! `h2-crate`, no call goes on while `tuning::UNSENT_BYTES_MAX` bytes wait for a peer that does not
//! read.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use futures_util::future::poll_fn;
use futures_util::stream::{FuturesUnordered, Stream as _};
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::axis::Tuning;
use crate::driver::{Service, Stream, WorkerHandle};
use crate::service::echo::EchoService;
use crate::stack::drain::drained;
use crate::stack::grpc::{self, Answer, Call, GrpcEcho};
use crate::stack::input::{Heads, NotedStream};
use crate::stack::memory::{self, MemoryWait};
use crate::stack::message::{Queued, Responses};
use crate::stack::tuning;
use crate::stack::watch::{Late, State, Wait, Watch};
use crate::wire::grpc::{Code, Status};

#[derive(Debug)]
pub struct HyperH2 {
    echo: GrpcEcho,
    tuning: Tuning,
}

impl HyperH2 {
    pub fn new(service: EchoService, tuning: Tuning) -> HyperH2 {
        HyperH2 { echo: GrpcEcho::new(service), tuning }
    }

    fn builder(&self, calls: Calls) -> Builder<Calls> {
        let mut builder = Builder::new(calls);
        if self.tuning != Tuning::Default {
            tuning::raise(&mut builder);
        }
        builder.auto_date_header(self.tuning != Tuning::Best);
        builder.max_header_list_size(tuning::head_bytes_max(self.echo.service().limits()));
        builder
    }
}

impl Service for HyperH2 {
    fn serve<S: Stream>(
        &self,
        stream: S,
        worker: WorkerHandle,
    ) -> impl Future<Output = ()> + 'static {
        let calls = Calls::default();
        let drained = drained(&worker, self.echo.service());
        let activity = Rc::<Activity>::default();
        let mut watch = Watch::of_responses(&worker, self.echo.service(), &activity.responses);
        let stream = TokioIo::new(NotedStream::new(stream, &activity.heads));
        let (echo, of_calls) = (self.echo.for_connection(&worker), Rc::clone(&activity));
        let service = service_fn(move |request: Request<Incoming>| {
            let (echo, worker, activity) = (echo.clone(), worker.clone(), Rc::clone(&of_calls));
            // The future of a call holds no request head: it is allocated for each call.
            let admitted = echo.admit(&request).map(|call| (call, request.into_body()));
            async move {
                let open = activity.begin();
                let answer = match admitted {
                    Ok((call, body)) => respond(&echo, &worker, &activity, call, body).await,
                    Err(failure) => failure.into(),
                };
                echo.count(&answer);
                drop(open);
                Ok::<_, Infallible>(activity.response(answer))
            }
        });
        let connection = self.builder(calls.clone()).serve_connection(stream, service);
        async move {
            let (mut connection, mut drained) = (pin!(connection), pin!(drained));
            let (mut running, mut draining) = (FuturesUnordered::new(), false);
            poll_fn(|cx| {
                if !draining && drained.as_mut().poll(cx).is_ready() {
                    draining = true;
                    watch.leave();
                    connection.as_mut().graceful_shutdown();
                }
                loop {
                    // The peer is at fault, and hyper has answered it as far as possible.
                    let is_over = connection.as_mut().poll(cx).is_ready();
                    calls.run(&mut running, cx);
                    while activity.wake() {
                        calls.run(&mut running, cx);
                    }
                    if is_over {
                        return Poll::Ready(());
                    }
                    match ready!(watch.poll_late(activity.state(), cx)) {
                        Late::Idle => connection.as_mut().graceful_shutdown(),
                        Late::End => return Poll::Ready(()),
                    }
                }
            })
            .await;
        }
    }
}

/// Progress of a connection, which its watch looks at.
#[derive(Debug, Default)]
struct Activity {
    heads: Rc<Heads>,
    responses: Rc<Responses>,
    open: Cell<usize>,
    accepted: Cell<u64>,
    /// Calls that wait until responses before them are sent.
    waiting: RefCell<Vec<Waker>>,
}

/// Input of one call, which the watch over it looks at.
struct Input {
    wait: Cell<Wait>,
    received: Cell<u64>,
    /// True while the message waits for memory, and is not read.
    is_paused: Cell<bool>,
}

/// Call that waits for its answer.
struct OpenCall<'a>(&'a Activity);

impl Activity {
    fn begin(&self) -> OpenCall<'_> {
        self.open.set(self.open.get() + 1);
        self.accepted.set(self.accepted.get() + 1);
        OpenCall(self)
    }

    fn has_room(&self, cx: &mut Context<'_>) -> bool {
        let has_room = self.responses.has_room();
        if !has_room {
            self.wait(cx.waker());
        }
        has_room
    }

    #[cold]
    fn wait(&self, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    /// Wakes the calls that wait for room if there is some. Returns true if there were any.
    fn wake(&self) -> bool {
        if self.waiting.borrow().is_empty() || !self.responses.has_room() {
            return false;
        }
        self.waiting.take().into_iter().for_each(Waker::wake);
        true
    }

    fn state(&self) -> State {
        let (unsent, sent) = (self.responses.unsent(), self.responses.sent());
        self.heads.state(match () {
            () if unsent > 0 => (Wait::Room, sent),
            // Each call has a watch of its own.
            () if self.open.get() > 0 => (Wait::Nothing, 0),
            () => (Wait::Request, self.accepted.get()),
        })
    }

    fn response(&self, answer: Answer) -> Response<ReplyBody> {
        let (head, message, trailers) = match answer {
            Answer::Reply(head, message, trailers) => (head, Some(message), Some(trailers)),
            Answer::Failed(_, head) => (head, None, None),
            Answer::Plain(head, text) => (head, Some(text), None),
        };
        let message = message.map(|message| Queued::new(message, &self.responses));
        head.map(|()| ReplyBody { message, trailers })
    }
}

impl Input {
    fn new() -> Input {
        Input { wait: Cell::new(Wait::Body), received: Cell::new(0), is_paused: Cell::new(false) }
    }
}

impl Drop for OpenCall<'_> {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

/// Executor for hyper whose futures are polled with their connection.
#[derive(Clone, Default)]
struct Calls(Rc<RefCell<Vec<Running>>>);

type Running = Pin<Box<dyn Future<Output = ()>>>;

impl<F: Future + 'static> Executor<F> for Calls {
    fn execute(&self, future: F) {
        self.0.borrow_mut().push(Box::pin(async move {
            future.await;
        }));
    }
}

impl Calls {
    fn run(&self, running: &mut FuturesUnordered<Running>, cx: &mut Context<'_>) {
        loop {
            running.extend(self.0.borrow_mut().drain(..));
            match Pin::new(&mut *running).poll_next(cx) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) | Poll::Pending if self.0.borrow().is_empty() => return,
                Poll::Ready(None) | Poll::Pending => {}
            }
        }
    }
}

async fn respond(
    echo: &GrpcEcho,
    worker: &WorkerHandle,
    activity: &Activity,
    call: Call,
    body: Incoming,
) -> Answer {
    let input = Input::new();
    let mut answer = pin!(collect(echo, worker, call, body, &input));
    let begun = poll_fn(|cx| {
        let has_room = activity.has_room(cx);
        Poll::Ready(if has_room { answer.as_mut().poll(cx) } else { Poll::Pending })
    });
    if let Poll::Ready(answer) = begun.await {
        return answer;
    }
    // Most calls do not come here, as their message has arrived, so their futures stay small.
    Box::pin(watched(echo, worker, activity, call, answer, &input)).await
}

/// Waits for the answer of a call as long as its peer gets on and its deadline has not passed.
async fn watched(
    echo: &GrpcEcho,
    worker: &WorkerHandle,
    activity: &Activity,
    call: Call,
    mut answer: Pin<&mut impl Future<Output = Answer>>,
    input: &Input,
) -> Answer {
    let mut watch = Watch::of_call(worker, echo.service());
    let end = call.timeout.and_then(|timeout| worker.now().checked_add(timeout));
    let mut deadline = end.map(|end| Box::pin(worker.sleep_until(end)));
    poll_fn(|cx| {
        let has_room = activity.has_room(cx);
        if has_room && let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        let is_over = deadline.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready());
        // Without room nothing is read.
        let is_paused = !has_room || input.is_paused.get();
        let is_blocked = is_paused || activity.heads.is_blocked();
        let (wait, moved) = (input.wait.get(), input.received.get());
        let state = State { head: None, wait, moved, is_blocked };
        if is_over || watch.poll_late(state, cx).is_ready() {
            return Poll::Ready(grpc::expired().into());
        }
        Poll::Pending
    })
    .await
}

async fn collect(
    echo: &GrpcEcho,
    worker: &WorkerHandle,
    call: Call,
    mut body: Incoming,
    input: &Input,
) -> Answer {
    let mut reader = echo.reader(call);
    let (mut first, mut memory) = (true, MemoryWait::default());
    loop {
        // Memory may become short between two pieces.
        let frame = poll_fn(|cx| {
            if !first {
                let turn = echo.poll_turn(&mut memory, worker, cx);
                input.is_paused.set(!memory.is_over());
                ready!(turn)?;
            }
            Pin::new(&mut body).poll_frame(cx).map(Ok)
        });
        let frame = match frame.await {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(status) => return Status::into(status),
        };
        let piece = match frame.map(Frame::into_data) {
            Ok(Ok(piece)) => piece,
            Ok(Err(_trailers)) => continue,
            Err(_) => return Status::new(Code::Cancelled, "the request was reset").into(),
        };
        input.received.set(input.received.get() + piece.len() as u64);
        memory::received(piece.len(), echo.pool(), worker);
        let is_first = std::mem::take(&mut first);
        if is_first
            && body.is_end_stream()
            && let Some(answer) = echo.try_whole(call, &piece)
        {
            return answer;
        }
        let admitted = if is_first { echo.check_memory() } else { Ok(()) };
        let fed = admitted.and_then(|()| reader.feed(&piece, echo.pool()));
        if let Err(status) = fed {
            return status.into();
        }
    }
    input.wait.set(Wait::Nothing);
    memory::ended(echo.pool());
    let message = match reader.finish() {
        Ok(message) => message,
        Err(status) => return status.into(),
    };
    let later = match echo.begin(worker, call, message) {
        Ok(answer) => return answer,
        Err(later) => later,
    };
    later.await
}

#[derive(Debug)]
struct ReplyBody {
    message: Option<Queued>,
    trailers: Option<HeaderMap>,
}

impl HttpBody for ReplyBody {
    type Data = Queued;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Queued>, Infallible>>> {
        let data = self.message.take().map(Frame::data);
        let frame = data.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && self.trailers.is_none()
    }
}
