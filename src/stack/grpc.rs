//! Unary gRPC calls over a borrowed HTTP/2: the decision on a head, and the answer.
//!
//! `h2-crate` and `hyper-h2` share this file. It uses the types of `http` and of no stack.
//! [`GrpcEcho`] is cheap to clone.
//!
//! ```text
//! response  HEADERS 200, content-type │ DATA prefix+message │ HEADERS grpc-status 0, END_STREAM
//! failed    HEADERS 200, content-type, grpc-status, grpc-message, END_STREAM    (trailers-only)
//! plain     HEADERS 405 or 415, content-type text │ DATA one line, END_STREAM
//! ```
//! Source: `doc/PROTOCOL-HTTP2.md` of the gRPC project.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};

use crate::axis::Family;
use crate::codec::Encoding;
use crate::driver::WorkerHandle;
use crate::service::echo::EchoService;
use crate::service::health;
use crate::service::routes::{self, Target};
use crate::stack::echo::StackEcho;
use crate::stack::memory::{MemoryWait, NoMemory};
use crate::stack::message::Message;
use crate::wire::grpc::{self, Code, MessageReader, Status};
use crate::wire::handler::{NO_MEMORY, PLAIN_TEXT};
use crate::wire::{Pool, Refusal, Refused, Slice};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

#[derive(Clone, Debug)]
pub struct GrpcEcho {
    echo: StackEcho,
    heads: Rc<Heads>,
}

#[derive(Debug)]
struct Heads {
    plain: HeaderMap,
    by_encoding: [(Encoding, HeaderMap); Encoding::ALL.len()],
    trailers: HeaderMap,
}

#[derive(Clone, Copy, Debug)]
pub struct Call {
    target: Target,
    plain_content_type: bool,
    compression: grpc::Compression,
    /// Time that the peer will wait, counted from the head.
    pub timeout: Option<Duration>,
}

#[derive(Debug)]
pub enum Answer {
    Reply(Response<()>, Message, HeaderMap),
    /// Trailers-only: the head ends the stream.
    Failed(Code, Response<()>),
    /// Not gRPC: head and one line of text, which ends the stream.
    Plain(Response<()>, Message),
}

/// Answer of another thread; the drop of the future cancels its work.
pub type Later = Pin<Box<dyn Future<Output = Answer>>>;

#[derive(Debug)]
pub enum Failure {
    Status(Status),
    /// Not a gRPC call: an HTTP status, one line of text, and the allowed methods.
    Http(StatusCode, String, Option<&'static str>),
}

impl GrpcEcho {
    pub fn new(service: EchoService) -> GrpcEcho {
        let head = |content_type| {
            let mut fields = HeaderMap::with_capacity(1);
            fields.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            fields
        };
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(GRPC_STATUS, HeaderValue::from_static(Code::Ok.text()));
        let by_encoding =
            Encoding::ALL.map(|encoding| (encoding, head(encoding.grpc_content_type())));
        let heads = Heads { plain: head(grpc::CONTENT_TYPE), by_encoding, trailers };
        GrpcEcho { echo: StackEcho::new(service), heads: Rc::new(heads) }
    }

    pub fn service(&self) -> &EchoService {
        self.echo.service()
    }

    /// Returns the pool of the connection.
    pub fn pool(&self) -> &Pool {
        self.echo.pool()
    }

    /// Returns the echo of one connection.
    pub fn for_connection(&self, worker: &WorkerHandle) -> GrpcEcho {
        GrpcEcho { echo: self.echo.for_connection(worker), heads: Rc::clone(&self.heads) }
    }

    pub fn admit<T>(&self, request: &Request<T>) -> Result<Call, Failure> {
        let field = |name| request.headers().get(name).map(HeaderValue::as_bytes);
        let content_type = field(CONTENT_TYPE).unwrap_or_default();
        let (method, path) =
            (request.method().as_str().as_bytes(), request.uri().path().as_bytes());
        let target = routes::grpc(method, path, content_type)
            .map_err(|refused| refuse(refused, content_type))?;
        if !target.is_free() {
            self.echo.check_place().map_err(|refused| refuse(refused, content_type))?;
        }
        Ok(Call {
            target,
            plain_content_type: content_type.len() == grpc::CONTENT_TYPE.len(),
            compression: grpc::unsupported(field(GRPC_ENCODING).is_some_and(grpc::is_compression)),
            timeout: field(GRPC_TIMEOUT).and_then(grpc::parse_timeout),
        })
    }

    /// Answers `body` if it is the whole request; `None` when its message is not whole yet.
    pub fn try_whole(&self, call: Call, body: &Bytes) -> Option<Answer> {
        match grpc::whole(body, call.compression, self.service().limits().body_bytes_max) {
            Ok(Some(_)) => {
                let message = Slice::from(body.slice(grpc::PREFIX_BYTES..));
                Some(self.answer(call, message))
            }
            Ok(None) => None,
            Err(status) => Some(status.into()),
        }
    }

    pub fn reader(&self, call: Call) -> MessageReader {
        MessageReader::new(self.service().limits().body_bytes_max, call.compression)
    }

    /// Checks that there is memory for a message in pieces.
    pub fn check_memory(&self) -> Result<(), Status> {
        if self.pool().refuses_body() {
            return Err(Status::new(Code::ResourceExhausted, NO_MEMORY));
        }
        Ok(())
    }

    /// Ready once the next piece of a message may be read, or with the status that refuses it.
    pub(super) fn poll_turn(
        &self,
        wait: &mut MemoryWait,
        worker: &WorkerHandle,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Status>> {
        let turn = wait.poll_turn(self.pool(), self.service().limits(), worker, cx);
        turn.map_err(|NoMemory| Status::new(Code::ResourceExhausted, NO_MEMORY))
    }

    /// Answers a whole message; one that takes long is answered later, by another thread.
    pub fn begin(
        &self,
        worker: &WorkerHandle,
        call: Call,
        message: Slice,
    ) -> Result<Answer, Later> {
        let work = match call.target {
            Target::Echo(encoding) => self.echo.long_work(Family::Grpc, encoding, &message),
            Target::Health | Target::Inference(_) => None,
        };
        let Some(work) = work else { return Ok(self.answer(call, message)) };
        let (this, worker) = (self.clone(), worker.clone());
        Err(Box::pin(async move {
            let answered = this.echo.grpc_long(&worker, work, message).await;
            this.reply(call, answered)
        }))
    }

    fn answer(&self, call: Call, message: Slice) -> Answer {
        let response = match call.target {
            Target::Echo(encoding) => self.echo.grpc(encoding, message),
            Target::Health => self.fixed(|is_ready| health::grpc(message.as_ref(), is_ready)),
            Target::Inference(question) => {
                self.fixed(|is_ready| question.grpc(message.as_ref(), is_ready))
            }
        };
        self.reply(call, response)
    }

    /// Answers with a message that depends on nothing but the request and the server's state.
    fn fixed(
        &self,
        answer: impl FnOnce(bool) -> Result<&'static [u8], Refused>,
    ) -> Result<Message, Status> {
        self.service().limits().counts.requests.add(1);
        let body = answer(!self.service().is_draining())?;
        let prefix = grpc::prefix(body.len() as u32);
        Ok(Message::from(Bytes::from([&prefix[..], body].concat())))
    }

    fn reply(&self, call: Call, response: Result<Message, Status>) -> Answer {
        match response {
            Ok(message) => Answer::Reply(self.head(call), message, self.heads.trailers.clone()),
            Err(status) => status.into(),
        }
    }

    /// Counts an answer that refuses its call.
    pub fn count(&self, answer: &Answer) {
        let counts = self.service().limits().counts;
        match answer {
            Answer::Reply(..) => {}
            Answer::Failed(code, _) => counts.refused_call(*code),
            Answer::Plain(head, _) => counts.refused(head.status()),
        }
    }

    fn head(&self, call: Call) -> Response<()> {
        let mut by_encoding = self.heads.by_encoding.iter();
        let fields = match call.target {
            Target::Echo(called) if !call.plain_content_type => {
                by_encoding.find(|(encoding, _)| *encoding == called)
            }
            Target::Echo(_) | Target::Health | Target::Inference(_) => None,
        };
        let fields = fields.map_or(&self.heads.plain, |(_, fields)| fields);
        let mut head = Response::new(());
        *head.headers_mut() = fields.clone();
        head
    }
}

pub fn expired() -> Status {
    Status::new(Code::DeadlineExceeded, "the deadline passed before the message was whole")
}

fn refuse(refused: Refused, content_type: &[u8]) -> Failure {
    match refused.kind {
        Refusal::MethodNotAllowed(allowed) => {
            Failure::Http(StatusCode::METHOD_NOT_ALLOWED, refused.detail, Some(allowed))
        }
        Refusal::UnsupportedMediaType if grpc::subtype(content_type).is_none() => {
            Failure::Http(StatusCode::UNSUPPORTED_MEDIA_TYPE, refused.detail, None)
        }
        _ => Failure::Status(refused.into()),
    }
}

impl From<Status> for Answer {
    fn from(status: Status) -> Answer {
        let mut head = Response::new(());
        let fields = head.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
        fields.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        fields.insert(GRPC_STATUS, HeaderValue::from_static(status.code.text()));
        let text = grpc::percent_encode(&status.text);
        let text = HeaderValue::from_str(&text).expect("percent-encoding leaves printable ASCII");
        fields.insert(GRPC_MESSAGE, text);
        Answer::Failed(status.code, head)
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Answer {
        let (status, text, allowed) = match failure {
            Failure::Status(status) => return status.into(),
            Failure::Http(status, text, allowed) => (status, text, allowed),
        };
        let mut head = Response::new(());
        *head.status_mut() = status;
        head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PLAIN_TEXT));
        if let Some(allowed) = allowed {
            head.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        }
        Answer::Plain(head, Message::from(Bytes::from(text + "\n")))
    }
}
