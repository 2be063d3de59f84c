//! Server half of HTTP/1.1.
//!
//! The refusal of a request with sound framing (404, 405, 411, 415, a bad body) leaves the
//! connection in step: a short body is discarded. A fault of framing, a body over the limit or a
//! timeout is answered with its reason and `Connection: close`, and returned as an error.

use std::rc::Rc;
use std::time::{Duration, Instant};

use http::StatusCode;

use crate::axis::Coding;
use crate::wire::h1::PROTOCOL;
use crate::wire::h1::body::{Body, SkippedBody};
use crate::wire::h1::encode::{DateClock, HEAD_BYTES_HINT, ResponseHead};
use crate::wire::h1::fields::{Expect, Fault, Framing, bad};
use crate::wire::h1::parse::{HeadReader, Method, RequestHead, WholeHead};
use crate::wire::handler::NO_MEMORY;
use crate::wire::response::{self, Received};
use crate::wire::timeouts::{Phase, ReadTimeout};
use crate::wire::working::Working;
use crate::wire::{
    Context, Handler, Head, Limit, Limits, Loan, Machine, Pool, PooledBuf, Refusal, Refused,
    Response, Route, Routed, WireError,
};

mod exchange;
mod jobs;

use exchange::{Exchange, Rejection};

/// Longest body that is discarded; to close is cheaper than to read a longer one.
const SKIPPED_BYTES_MAX: u64 = 1024 * 1024;

/// Value for `OPTIONS *`.
const ALLOW_ANY: &str = "GET, HEAD, POST, OPTIONS";

#[derive(Debug)]
pub struct H1<H> {
    handler: H,
    limits: Rc<Limits>,
    clock: DateClock,
    stage: Stage,
    timeout: ReadTimeout,
    /// End of the time in which requests may arrive that were sent before a shutdown.
    drain_until: Option<Instant>,
    /// More requests have arrived behind the one that is answered, or may have.
    input_follows: bool,
    working: Option<Box<(Exchange, Working)>>,
    finished: bool,
}

#[derive(Debug)]
enum Stage {
    Head(HeadReader<RequestHead>),
    Body(Route, Exchange, Body),
    Skip(SkippedBody),
}

impl<H: Handler> H1<H> {
    pub fn new(handler: H, limits: Rc<Limits>, clock: DateClock) -> H1<H> {
        let stage = Stage::Head(HeadReader::default());
        let timeout = ReadTimeout::new();
        H1 {
            handler,
            limits,
            clock,
            stage,
            timeout,
            drain_until: None,
            input_follows: false,
            working: None,
            finished: false,
        }
    }

    /// Advances over the front of `input`; returns the rest.
    fn step<'a>(&mut self, input: &'a [u8], cx: &mut Context<'_>) -> Result<&'a [u8], WireError> {
        let stepped = match &mut self.stage {
            Stage::Head(reader) => match reader.read(input, &self.limits, cx.pool) {
                Ok(Some(whole)) => return self.start(whole, cx),
                Ok(None) => Ok(&[][..]),
                Err(fault) => Err(fault),
            },
            Stage::Body(_, _, body) => body.take(input, cx.pool),
            Stage::Skip(skip) => skip.take(input),
        };
        let rest = stepped.map_err(|fault| self.fail(fault, cx))?;
        self.end_stage(rest, cx);
        Ok(rest)
    }

    fn end_stage(&mut self, rest: &[u8], cx: &mut Context<'_>) {
        let complete = match &self.stage {
            Stage::Head(_) => false,
            Stage::Body(_, _, body) => body.is_whole(),
            Stage::Skip(skip) => skip.is_done(),
        };
        if !complete {
            return;
        }
        match std::mem::replace(&mut self.stage, Stage::Head(HeadReader::default())) {
            Stage::Body(route, exchange, body) => {
                self.answer_gathered(route, exchange, body.into_slice(), rest, cx);
            }
            _ => {
                self.timeout.restart();
                self.finished |= self.is_last(rest, cx.now);
            }
        }
    }

    fn start<'a>(
        &mut self,
        whole: WholeHead<'a, RequestHead>,
        cx: &mut Context<'_>,
    ) -> Result<&'a [u8], WireError> {
        let WholeHead { head, bytes, rest } = whole;
        let framing = head.fields.framing();
        let mut exchange = Exchange::new(&head);
        let routed = self.route(&head, bytes.bytes());
        let route = match routed {
            Ok(route) => route,
            Err(rejection) => return self.reject(rejection, &head, exchange, rest, cx),
        };
        exchange.coding = route.codings.reply;
        exchange.json_head = self.handler.has_json_head(route).then_some(head.fields.json_head);
        if self.drain_until.is_some() {
            let after = match framing {
                Framing::Length(len) => rest.get(usize::try_from(len).unwrap_or(usize::MAX)..),
                Framing::None => Some(rest),
                Framing::Chunked => None,
            };
            exchange = after.map_or(exchange, |after| self.last(exchange, after, cx.now));
        }
        match framing {
            Framing::None => self.answer(route, exchange, Received::Borrowed(&[]), cx),
            Framing::Length(len) if len <= rest.len() as u64 => {
                let (body, rest) = rest.split_at(len as usize);
                if route.is_coded() {
                    self.answer_coded(route, exchange, body, rest, cx);
                    return Ok(rest);
                }
                self.answer(route, exchange, Received::Borrowed(body), cx);
                return Ok(rest);
            }
            _ if cx.pool.refuses_body() => {
                let rejection = Rejection::new(StatusCode::SERVICE_UNAVAILABLE, NO_MEMORY);
                return self.reject(rejection, &head, exchange, rest, cx);
            }
            _ => {
                if head.fields.expect == Expect::Continue && head.minor > 0 && rest.is_empty() {
                    cx.out.copy(b"HTTP/1.1 100 Continue\r\n\r\n", cx.pool);
                    self.timeout.sends();
                }
                let body = Body::new(framing, self.limits.body_bytes_max);
                self.stage = Stage::Body(route, exchange, body);
            }
        }
        Ok(rest)
    }

    fn route(&mut self, head: &RequestHead, bytes: &[u8]) -> Result<Route, Rejection> {
        let body_len = match head.fields.framing() {
            Framing::Length(len) => Some(len),
            _ => None,
        };
        if body_len.is_some_and(|len| len > self.limits.body_bytes_max as u64) {
            let limit = self.limits.body_bytes_max;
            let text = format!("the body is over the limit of {limit} bytes");
            return Err(Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        if head.method == Method::Unknown {
            return Err(Rejection::new(
                StatusCode::NOT_IMPLEMENTED,
                "the method is not implemented",
            ));
        }
        if head.fields.expect == Expect::Unknown {
            let text = "no expectation but 100-continue can be met";
            return Err(Rejection::new(StatusCode::EXPECTATION_FAILED, text));
        }
        if head.fields.has_unknown_coding {
            return Err(Rejection::unsupported_coding(self.handler.coding_tokens()));
        }
        if head.method == Method::Options && head.path.is_empty() {
            return Err(Rejection { allow: ALLOW_ANY, ..Rejection::new(StatusCode::OK, "") });
        }
        let is_head = head.method == Method::Head;
        let routed = self.handler.route(&Head {
            method: if is_head { b"GET" } else { &bytes[head.method_name.clone()] },
            path: &bytes[head.path.clone()],
            content_type: &bytes[head.fields.content_type.clone()],
            has_body: head.fields.framing() != Framing::None,
            body_len,
            codings: head.fields.codings(bytes),
        });
        match routed {
            Ok(Routed::Unary(route)) if route.codings.request == head.fields.coding => Ok(route),
            Ok(Routed::Unary(_)) => {
                Err(Rejection::unsupported_coding(self.handler.coding_tokens()))
            }
            Ok(Routed::Stream(_)) => Err(Rejection::new(
                StatusCode::NOT_IMPLEMENTED,
                "a stream of messages needs HTTP/2",
            )),
            Err(Refused { kind: Refusal::MethodNotAllowed(allow), .. })
                if head.method == Method::Options =>
            {
                Err(Rejection { allow, ..Rejection::new(StatusCode::OK, "") })
            }
            Err(refused) => Err(refused.into()),
        }
    }

    fn reject<'a>(
        &mut self,
        rejection: Rejection,
        head: &RequestHead,
        mut exchange: Exchange,
        rest: &'a [u8],
        cx: &mut Context<'_>,
    ) -> Result<&'a [u8], WireError> {
        // A client that waits for 100 may or may not send its body now: only closing is safe.
        let in_step =
            head.fields.expect == Expect::Nothing || head.fields.framing() == Framing::None;
        let skip = SkippedBody::new(head.fields.framing(), SKIPPED_BYTES_MAX).filter(|_| in_step);
        exchange.keep_alive &= skip.is_some() && rejection.status != StatusCode::PAYLOAD_TOO_LARGE;
        if skip.as_ref().is_some_and(SkippedBody::is_done) {
            exchange = self.last(exchange, rest, cx.now);
        }
        self.send_text(&rejection, exchange, cx);
        self.timeout.sends();
        if rejection.status == StatusCode::PAYLOAD_TOO_LARGE {
            self.finished = true;
            return Err(WireError::violation(PROTOCOL, rejection.text));
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
        exchange: Exchange,
        body: Received<'_>,
        cx: &mut Context<'_>,
    ) {
        let mut answer = cx.pool.take(body.bytes().len());
        let answered = self.handler.answer(route, body.bytes(), &mut answer);
        self.send(exchange, answered, answer, body, cx);
    }

    /// Sends a response, or its refusal.
    fn send(
        &mut self,
        exchange: Exchange,
        answered: Result<Response, Refused>,
        answer: PooledBuf,
        body: Received<'_>,
        cx: &mut Context<'_>,
    ) {
        match exchange.checked(answered, body.bytes().len()) {
            Ok(response) => {
                let head = ResponseHead {
                    status: StatusCode::OK,
                    content_type: response.content_type,
                    coding: exchange.coding,
                    len: response::message_len(&answer, &response),
                    json_head_len: exchange.json_head.map(|_| response.head_len),
                    allow: "",
                    accept_encoding: "",
                    connection: exchange.connection(),
                    date: self.clock.date(cx.now),
                };
                send(&head, exchange, answer, &response, body, cx);
                self.finished |= !exchange.keep_alive;
            }
            Err(refused) => self.send_text(&exchange.refuse(refused), exchange, cx),
        }
        self.timeout.restart();
        self.timeout.sends();
    }

    fn send_text(&mut self, rejection: &Rejection, exchange: Exchange, cx: &mut Context<'_>) {
        let counts = self.limits.counts;
        counts.refused(rejection.status);
        match rejection.status {
            StatusCode::PAYLOAD_TOO_LARGE => counts.hit(Limit::Message),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE | StatusCode::URI_TOO_LONG => {
                counts.hit(Limit::Head);
            }
            _ => {}
        }
        let empty = rejection.text.is_empty();
        let head = ResponseHead {
            status: rejection.status,
            content_type: if empty { "" } else { rejection.content_type },
            coding: Coding::Identity,
            len: rejection.text.len() + usize::from(!empty),
            json_head_len: None,
            allow: rejection.allow,
            accept_encoding: rejection.accept_encoding,
            connection: exchange.connection(),
            date: self.clock.date(cx.now),
        };
        cx.out.compose(HEAD_BYTES_HINT + rejection.text.len(), cx.pool, |out| {
            head.write(out);
            if !empty && !exchange.head_only {
                out.extend_from_slice(rejection.text.as_bytes());
                out.push(b'\n');
            }
        });
        self.finished |= !exchange.keep_alive;
    }

    /// Answers a fault of framing, which ends the connection.
    fn fail(&mut self, fault: Fault, cx: &mut Context<'_>) -> WireError {
        // A skipped request has its response already.
        if matches!(self.stage, Stage::Skip(_)) {
            self.finished = true;
        } else {
            self.send_text(&Rejection::new(fault.status, fault.what), Exchange::BROKEN, cx);
        }
        WireError::violation(PROTOCOL, fault.what)
    }

    /// Returns true if no further request will be answered, as the server shuts down.
    fn is_last(&self, rest: &[u8], now: Instant) -> bool {
        let is_over = self.drain_until.is_some_and(|until| until <= now);
        is_over && rest.is_empty() && !self.input_follows
    }

    /// Lets the response close the connection if the request, before `rest`, is the last one.
    fn last(&self, mut exchange: Exchange, rest: &[u8], now: Instant) -> Exchange {
        exchange.keep_alive &= !self.is_last(rest, now);
        exchange
    }

    fn is_idle(&self) -> bool {
        matches!(&self.stage, Stage::Head(reader) if reader.is_empty())
    }

    fn wait(&mut self, bytes: usize, now: Instant) {
        let phase = match &self.stage {
            Stage::Head(reader) if reader.is_empty() && self.drain_until.is_some() => {
                Phase::Draining
            }
            Stage::Head(reader) if reader.is_empty() => Phase::Idle,
            Stage::Head(_) => Phase::Head,
            Stage::Body(..) | Stage::Skip(_) => Phase::Body,
        };
        self.timeout.wait(phase, bytes, now, &self.limits);
    }
}

fn send(
    head: &ResponseHead<'_>,
    exchange: Exchange,
    answer: PooledBuf,
    response: &Response,
    body: Received<'_>,
    cx: &mut Context<'_>,
) {
    if exchange.head_only {
        return cx.out.compose(HEAD_BYTES_HINT, cx.pool, |out| head.write(out));
    }
    response::send(cx, HEAD_BYTES_HINT, |out| head.write(out), answer, response, body);
}

impl<H: Handler> Machine for H1<H> {
    fn open(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.wait(0, cx.now);
        Ok(())
    }

    fn receive(&mut self, mut input: &[u8], cx: &mut Context<'_>) -> Result<(), WireError> {
        let bytes = input.len();
        while !input.is_empty() && !self.finished {
            if let Some((_, working)) = self.working.as_deref_mut() {
                working.hold(input, cx.pool);
                return Ok(());
            }
            input = self.step(input, cx)?;
        }
        self.wait(bytes, cx.now);
        Ok(())
    }

    fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        match &mut self.stage {
            Stage::Body(_, _, body) if !self.finished => body.lend(pool),
            _ => None,
        }
    }

    fn repay(&mut self, buffer: PooledBuf, cx: &mut Context<'_>) -> Result<(), WireError> {
        let Stage::Body(_, _, body) = &mut self.stage else { return Ok(()) };
        let gained = body.repay(buffer);
        if gained > 0 {
            self.end_stage(&[], cx);
            self.wait(gained, cx.now);
        }
        Ok(())
    }

    fn jobs_ended(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.resume(cx)
    }

    fn is_working(&self) -> bool {
        self.working.is_some()
    }

    fn flushed(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.timeout.flushed(cx.now, &self.limits);
        Ok(())
    }

    fn end(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        if let Some((_, working)) = self.working.as_deref_mut() {
            working.end();
            return Ok(());
        }
        if self.finished || self.is_idle() {
            self.finished = true;
            return Ok(());
        }
        self.fail(bad("the connection ended inside a request"), cx);
        Err(WireError::truncated(PROTOCOL))
    }

    fn drain(&mut self, cx: &mut Context<'_>) {
        self.drain_until = Some(cx.now + self.limits.drain_grace);
        self.handler.drain();
        if self.is_idle() {
            self.wait(0, cx.now);
        }
    }

    fn input_follows(&mut self, follows: bool) {
        self.input_follows = follows;
    }

    fn deadline(&self) -> Option<Instant> {
        if self.finished || self.is_working() { None } else { self.timeout.deadline() }
    }

    fn paused(&mut self, time: Duration) {
        self.timeout.pause(time);
    }

    fn expire(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        if self.finished || self.is_working() {
            return Ok(());
        }
        let Some(phase) = self.timeout.expire(cx.now, &self.limits) else { return Ok(()) };
        if let Some(limit) = phase.limit() {
            self.limits.counts.hit(limit);
        }
        let what = match phase {
            Phase::Idle | Phase::Draining => {
                self.finished = true;
                return Ok(());
            }
            Phase::Head => "timed out waiting for the rest of a request's head",
            Phase::Body => "timed out waiting for the rest of a request's body",
        };
        self.fail(Fault { status: StatusCode::REQUEST_TIMEOUT, what }, cx);
        Err(WireError::timeout(PROTOCOL, what))
    }

    fn is_gathering(&self) -> bool {
        matches!(self.stage, Stage::Body(..))
    }

    fn idle_since(&self) -> Option<Instant> {
        let is_busy = self.finished || self.is_working();
        if is_busy { None } else { self.timeout.idle_since(&self.limits) }
    }

    fn retire(&mut self, _: &mut Context<'_>) {
        self.finished = true;
    }

    fn finished(&self) -> bool {
        self.finished
    }
}
