//! `hyper-h2`: the gRPC framing of `h2-crate` over hyper's HTTP/2 server, a *service*.
//!
//! The default form keeps hyper's settings (windows of 1 MiB, frames of 16 KiB, 200 streams). The
//! best form has those of the tuned one and leaves out the `date` field.
//! hyper's executor, `Calls`, belongs to its connection, so no future crosses threads.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::future::{Either, poll_fn, select};
use futures_util::stream::{FuturesUnordered, Stream as _};
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::axis::Tuning;
use crate::driver::{Service, Stream, WorkerHandle};
use crate::service::echo::EchoService;
use crate::stack::grpc::{self, Answer, Call, GrpcEcho};
use crate::stack::message::Message;
use crate::stack::tuning;
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
        let (echo, call_worker) = (self.echo.clone(), worker.clone());
        let service = service_fn(move |request| {
            let (echo, worker) = (echo.clone(), call_worker.clone());
            async move {
                let answer = respond(&echo, &worker, request).await;
                Ok::<_, Infallible>(Response::<ReplyBody>::from(answer))
            }
        });
        let health = self.echo.service().clone();
        let builder = self.builder(calls.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        async move {
            let (mut connection, mut drained) = (pin!(connection), pin!(worker.drained()));
            let (mut running, mut draining) = (FuturesUnordered::new(), false);
            poll_fn(|cx| {
                if !draining && drained.as_mut().poll(cx).is_ready() {
                    draining = true;
                    health.drain();
                    connection.as_mut().graceful_shutdown();
                }
                // The peer is at fault, and hyper has answered it as far as possible.
                let over = connection.as_mut().poll(cx).map(drop);
                calls.run(&mut running, cx);
                over
            })
            .await;
        }
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

async fn respond(echo: &GrpcEcho, worker: &WorkerHandle, request: Request<Incoming>) -> Answer {
    let call = match echo.admit(&request) {
        Ok(call) => call,
        Err(failure) => return failure.into(),
    };
    let answer = pin!(collect(echo, call, request.into_body()));
    let Some(deadline) = call.timeout.and_then(|timeout| Instant::now().checked_add(timeout))
    else {
        return answer.await;
    };
    match select(answer, pin!(worker.sleep_until(deadline))).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => grpc::expired().into(),
    }
}

async fn collect(echo: &GrpcEcho, call: Call, mut body: Incoming) -> Answer {
    let mut reader = echo.reader(call);
    let mut first = true;
    while let Some(frame) = body.frame().await {
        let piece = match frame.map(Frame::into_data) {
            Ok(Ok(piece)) => piece,
            Ok(Err(_trailers)) => continue,
            Err(_) => return Status::new(Code::Cancelled, "the request was reset").into(),
        };
        if std::mem::take(&mut first)
            && body.is_end_stream()
            && let Some(answer) = echo.try_whole(call, &piece)
        {
            return answer;
        }
        if let Err(status) = reader.feed(&piece, echo.service().pool()) {
            return status.into();
        }
    }
    match reader.finish() {
        Ok(message) => echo.answer(call, message),
        Err(status) => status.into(),
    }
}

#[derive(Debug)]
struct ReplyBody {
    message: Option<Message>,
    trailers: Option<HeaderMap>,
}

impl From<Answer> for Response<ReplyBody> {
    fn from(answer: Answer) -> Response<ReplyBody> {
        let (head, message, trailers) = match answer {
            Answer::Reply(head, message, trailers) => (head, Some(message), Some(trailers)),
            Answer::Failed(head) => (head, None, None),
            Answer::Plain(head, text) => (head, Some(text), None),
        };
        head.map(|()| ReplyBody { message, trailers })
    }
}

impl HttpBody for ReplyBody {
    type Data = Message;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Message>, Infallible>>> {
        let data = self.message.take().map(Frame::data);
        let frame = data.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && self.trailers.is_none()
    }
}
