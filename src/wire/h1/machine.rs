//! Server half.
//!
//! A refusal of a request whose framing is sound (404, 405, 411, 415, a bad body) leaves the connection in step: the
//! body is swallowed if it is short. A fault of framing, a body over the limit or a timeout is answered with its
//! reason and `Connection: close`, and reported as an error, after which nothing more is fed.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Instant;

use super::PROTOCOL;
use super::encode::{Connection, DateClock, HEAD_BYTES_HINT, ReplyHead, Status, TEXT};
use super::fields::{Expect, Fault, Framing};
use super::message::{Message, Skip};
use super::parse::{HeadReader, Method, RequestHead, Whole};
use crate::wire::reply::{self, Source};
use crate::wire::timeouts::{Phase, ReadTimeout};
use crate::wire::{
    Context, Handler, Head, Limits, Loan, Machine, Pool, Refusal, Refused, Response, Route, Routed,
    WireError,
};

/// Longest body of a refused request that is swallowed; with a longer one it is cheaper to close.
const SKIPPED_BYTES_MAX: u64 = 1024 * 1024;

/// What `OPTIONS *` allows: all that some path allows.
const ALLOW_ANY: &str = "GET, HEAD, POST, OPTIONS";

/// Server half.
#[derive(Debug)]
pub struct H1<H> {
    handler: H,
    limits: Rc<Limits>,
    clock: DateClock,
    stage: Stage,
    timeout: ReadTimeout,
    draining: bool,
    finished: bool,
}

#[derive(Debug)]
enum Stage {
    Head(HeadReader<RequestHead>),
    Body(Route, Exchange, Message),
    Skip(Skip),
}

/// What a request's head says about its reply.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    head_only: bool,
    /// HTTP/1.0, where going on must be said.
    old: bool,
    keep_alive: bool,
}

/// Why a request is not answered by the handler, or how a part of HTTP that is not its business is.
struct Turned {
    status: Status,
    allow: &'static str,
    text: Cow<'static, str>,
}

impl Turned {
    fn new(status: Status, text: impl Into<Cow<'static, str>>) -> Turned {
        Turned { status, allow: "", text: text.into() }
    }
}

impl From<Refused> for Turned {
    fn from(Refused { kind, detail }: Refused) -> Turned {
        let allow = if let Refusal::MethodNotAllowed(allow) = kind { allow } else { "" };
        Turned { status: kind.into(), allow, text: detail.into() }
    }
}

impl Exchange {
    /// Of a request too broken to say.
    const BROKEN: Exchange = Exchange { head_only: false, old: false, keep_alive: false };

    fn new(head: &RequestHead) -> Exchange {
        Exchange {
            head_only: head.method == Method::Head,
            old: head.minor == 0,
            keep_alive: head.keep_alive(),
        }
    }

    fn connection(self) -> Connection {
        match self {
            Exchange { keep_alive: false, .. } => Connection::Close,
            Exchange { old: true, .. } => Connection::KeepAlive,
            _ => Connection::Implied,
        }
    }
}

impl<H: Handler> H1<H> {
    /// A connection whose requests `handler` answers, dated by `clock`.
    pub fn new(handler: H, limits: Rc<Limits>, clock: DateClock) -> H1<H> {
        let stage = Stage::Head(HeadReader::default());
        let timeout = ReadTimeout::new();
        H1 { handler, limits, clock, stage, timeout, draining: false, finished: false }
    }

    /// One step over the front of `input`; returns what is left of it.
    fn step<'a>(&mut self, input: &'a [u8], cx: &mut Context<'_>) -> Result<&'a [u8], WireError> {
        let stepped = match &mut self.stage {
            Stage::Head(reader) => match reader.read(input, &self.limits, cx.pool) {
                Ok(Some(whole)) => return self.begin(whole, cx),
                Ok(None) => Ok(&[][..]),
                Err(fault) => Err(fault),
            },
            Stage::Body(_, _, message) => message.take(input),
            Stage::Skip(skip) => skip.take(input),
        };
        let rest = stepped.map_err(|fault| self.fail(fault, cx))?;
        self.go_on(cx);
        Ok(rest)
    }

    /// Leaves a stage that is through: answers a whole body, ends a skip.
    fn go_on(&mut self, cx: &mut Context<'_>) {
        let through = match &self.stage {
            Stage::Head(_) => false,
            Stage::Body(_, _, message) => message.is_whole(),
            Stage::Skip(skip) => skip.is_done(),
        };
        if !through {
            return;
        }
        match std::mem::replace(&mut self.stage, Stage::Head(HeadReader::default())) {
            Stage::Body(route, exchange, message) => {
                self.answer(route, exchange, Source::Buffer(message.into_gathered()), cx);
            }
            _ => {
                self.timeout.restart();
                self.finished |= self.draining;
            }
        }
    }

    /// Decides on a request by its head; answers it at once when all of its body is there.
    fn begin<'a>(
        &mut self,
        whole: Whole<'a, RequestHead>,
        cx: &mut Context<'_>,
    ) -> Result<&'a [u8], WireError> {
        let Whole { head, bytes, rest } = whole;
        let framing = head.framing();
        let exchange = Exchange::new(&head);
        let routed = self.route(&head, bytes.bytes());
        bytes.retire(cx);
        let route = match routed {
            Ok(route) => route,
            Err(turned) => return self.turn(turned, &head, exchange, rest, cx),
        };
        match framing {
            Framing::None => self.answer(route, exchange, Source::Slice(&[]), cx),
            Framing::Length(len) if len <= rest.len() as u64 => {
                let (body, rest) = rest.split_at(len as usize);
                self.answer(route, exchange, Source::Slice(body), cx);
                return Ok(rest);
            }
            _ => {
                if head.fields.expect == Expect::Continue && head.minor > 0 && rest.is_empty() {
                    cx.out.copy(b"HTTP/1.1 100 Continue\r\n\r\n", cx.pool);
                }
                let message = Message::new(framing, self.limits.body_bytes_max, cx.pool);
                self.stage = Stage::Body(route, exchange, message);
            }
        }
        Ok(rest)
    }

    fn route(&mut self, head: &RequestHead, bytes: &[u8]) -> Result<Route, Turned> {
        let body_len = match head.framing() {
            Framing::Length(len) => Some(len),
            _ => None,
        };
        if body_len.is_some_and(|len| len > self.limits.body_bytes_max as u64) {
            let limit = self.limits.body_bytes_max;
            let text = format!("the body is over the limit of {limit} bytes");
            return Err(Turned::new(Status::TooLarge, text));
        }
        if head.method == Method::Unknown {
            return Err(Turned::new(Status::NotImplemented, "the method is not implemented"));
        }
        if head.fields.expect == Expect::Unknown {
            let text = "no expectation but 100-continue can be met";
            return Err(Turned::new(Status::ExpectationFailed, text));
        }
        if head.fields.coded {
            let text = "no content coding is spoken here, send the body as it is";
            return Err(Turned::new(Status::UnsupportedMediaType, text));
        }
        if head.method == Method::Options && head.path.is_empty() {
            return Err(Turned { status: Status::Ok, allow: ALLOW_ANY, text: "".into() });
        }
        let is_head = head.method == Method::Head;
        let routed = self.handler.route(&Head {
            method: if is_head { b"GET" } else { &bytes[head.method_name.clone()] },
            path: &bytes[head.path.clone()],
            content_type: &bytes[head.fields.content_type.clone()],
            has_body: head.framing() != Framing::None,
            body_len,
        });
        match routed {
            Ok(Routed::Unary(route)) => Ok(route),
            Ok(Routed::Stream(_)) => {
                Err(Turned::new(Status::NotImplemented, "a stream of messages needs HTTP/2"))
            }
            Err(Refused { kind: Refusal::MethodNotAllowed(allow), .. })
                if head.method == Method::Options =>
            {
                Err(Turned { status: Status::Ok, allow, text: "".into() })
            }
            Err(refused) => Err(refused.into()),
        }
    }

    /// Answers a request without its handler and gets its body out of the way.
    fn turn<'a>(
        &mut self,
        turned: Turned,
        head: &RequestHead,
        mut exchange: Exchange,
        rest: &'a [u8],
        cx: &mut Context<'_>,
    ) -> Result<&'a [u8], WireError> {
        // A client that waits for 100 may send its body after this reply or leave it out: only closing is safe.
        let in_step = head.fields.expect == Expect::Nothing || head.framing() == Framing::None;
        let skip = Skip::new(head.framing(), SKIPPED_BYTES_MAX).filter(|_| in_step);
        exchange.keep_alive &= skip.is_some() && turned.status != Status::TooLarge;
        self.reply(&turned, exchange, cx);
        if turned.status == Status::TooLarge {
            self.finished = true;
            return Err(WireError::violation(PROTOCOL, turned.text));
        }
        match skip {
            Some(skip) if !self.finished && !skip.is_done() => self.stage = Stage::Skip(skip),
            _ => self.timeout.restart(),
        }
        Ok(rest)
    }

    fn answer(
        &mut self,
        route: Route,
        mut exchange: Exchange,
        body: Source<'_>,
        cx: &mut Context<'_>,
    ) {
        let mut answer = cx.pool.take(body.bytes().len());
        match self.handler.answer(route, body.bytes(), &mut answer) {
            Ok(reply) => {
                exchange.keep_alive &= !self.draining;
                let head = ReplyHead {
                    status: Status::Ok,
                    content_type: reply.content_type,
                    len: reply::message_len(&answer, &reply),
                    allow: "",
                    connection: exchange.connection(),
                    date: self.clock.date(cx.now),
                };
                send(&head, exchange, answer, &reply, body, cx);
                self.finished |= !exchange.keep_alive;
            }
            Err(refused) => {
                cx.pool.give(answer);
                body.retire(cx);
                self.reply(&refused.into(), exchange, cx);
            }
        }
        self.timeout.restart();
    }

    /// Sends a reply that is one line of text, or nothing.
    fn reply(&mut self, turned: &Turned, mut exchange: Exchange, cx: &mut Context<'_>) {
        exchange.keep_alive &= !self.draining;
        let empty = turned.text.is_empty();
        let head = ReplyHead {
            status: turned.status,
            content_type: if empty { "" } else { TEXT },
            len: turned.text.len() + usize::from(!empty),
            allow: turned.allow,
            connection: exchange.connection(),
            date: self.clock.date(cx.now),
        };
        cx.out.compose(HEAD_BYTES_HINT + turned.text.len(), cx.pool, |out| {
            head.write(out);
            if !empty && !exchange.head_only {
                out.extend_from_slice(turned.text.as_bytes());
                out.push(b'\n');
            }
        });
        self.finished |= !exchange.keep_alive;
    }

    /// Answers a fault of framing, after which nothing can be trusted.
    fn fail(&mut self, fault: Fault, cx: &mut Context<'_>) -> WireError {
        // A skipped request has its reply already: a second one would be taken for the next request's.
        if matches!(self.stage, Stage::Skip(_)) {
            self.finished = true;
        } else {
            self.reply(&Turned::new(fault.status, fault.what), Exchange::BROKEN, cx);
        }
        WireError::violation(PROTOCOL, fault.what)
    }

    fn is_idle(&self) -> bool {
        matches!(&self.stage, Stage::Head(reader) if reader.is_empty())
    }

    fn wait(&mut self, now: Instant) {
        let phase = match &self.stage {
            Stage::Head(reader) if reader.is_empty() => Phase::Idle,
            Stage::Head(_) => Phase::Head,
            Stage::Body(..) | Stage::Skip(_) => Phase::Body,
        };
        self.timeout.wait(phase, now, &self.limits);
    }
}

/// Sends a reply of the handler, or its head alone.
fn send(
    head: &ReplyHead<'_>,
    exchange: Exchange,
    answer: Vec<u8>,
    reply: &Response,
    body: Source<'_>,
    cx: &mut Context<'_>,
) {
    if exchange.head_only {
        cx.out.compose(HEAD_BYTES_HINT, cx.pool, |out| head.write(out));
        cx.pool.give(answer);
        return body.retire(cx);
    }
    reply::send(cx, HEAD_BYTES_HINT, |out| head.write(out), answer, reply, body);
}

impl<H: Handler> Machine for H1<H> {
    fn open(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.wait(cx.now);
        Ok(())
    }

    fn receive(&mut self, mut input: &[u8], cx: &mut Context<'_>) -> Result<(), WireError> {
        while !input.is_empty() && !self.finished {
            input = self.step(input, cx)?;
        }
        self.wait(cx.now);
        Ok(())
    }

    fn lend(&mut self, _pool: &mut Pool) -> Option<Loan> {
        match &mut self.stage {
            Stage::Body(_, _, message) if !self.finished => message.lend(),
            _ => None,
        }
    }

    fn repay(&mut self, buffer: Vec<u8>, cx: &mut Context<'_>) -> Result<(), WireError> {
        let Stage::Body(_, _, message) = &mut self.stage else {
            cx.pool.give(buffer);
            return Ok(());
        };
        if message.repay(buffer) > 0 {
            self.go_on(cx);
            self.wait(cx.now);
        }
        Ok(())
    }

    fn end(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        if self.finished || self.is_idle() {
            self.finished = true;
            return Ok(());
        }
        self.fail(super::fields::bad("the connection ended inside a request"), cx);
        Err(WireError::truncated(PROTOCOL))
    }

    fn drain(&mut self, _cx: &mut Context<'_>) {
        self.draining = true;
        self.finished |= self.is_idle();
    }

    fn deadline(&self) -> Option<Instant> {
        if self.finished { None } else { self.timeout.deadline() }
    }

    fn expire(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let Some(phase) = self.timeout.expired(cx.now).filter(|_| !self.finished) else {
            return Ok(());
        };
        let what = match phase {
            Phase::Idle => {
                self.finished = true;
                return Ok(());
            }
            Phase::Head => "timed out waiting for the rest of a request's head",
            Phase::Body => "timed out waiting for the rest of a request's body",
        };
        self.fail(Fault { status: Status::Timeout, what }, cx);
        Err(WireError::timeout(PROTOCOL, what))
    }

    fn finished(&self) -> bool {
        self.finished
    }
}
