//! `raw`: length-prefixed frames on a byte stream, the floor of the ladder.
//!
//! ```text
//!  0               4       5
//! +---------------+-------+---------------- ...
//! | length (u32 be)| codec |  length bytes of body
//! +---------------+-------+---------------- ...
//! ```
//! `codec` is [`crate::codec::Encoding::id`] of the body; 0xFF marks a line of error text in a
//! response. Frames are answered in order; the peer chooses the number in flight.
//!
//! A body that is not an array is answered with an error. So is a codec without a route or a length
//! over the limit, and the connection closes: frames carry no magic number, so the peer is probably
//! out of step.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::buffers::{PooledBuf, SizedBody};
use super::response::{self, Received};
use super::timeouts::{Phase, ReadTimeout};
use super::{
    Client, Context, Handler, Head, Limits, Loan, Machine, Part, Pool, Refusal, Refused, Response,
    ResponseEvent, Route, Routed, Sink, WireError,
};

pub const HEAD_BYTES: usize = 5;
pub const CODEC_ERROR: u8 = 0xFF;
const PROTOCOL: &str = "raw";
const AROUND_BYTES: usize = 128;

#[derive(Debug)]
pub struct Raw<H> {
    handler: H,
    limits: Rc<Limits>,
    stage: Stage<Route>,
    timeout: ReadTimeout,
    /// End of the time in which requests may arrive that were sent before a shutdown.
    drain_until: Option<Instant>,
    /// More frames have arrived behind the one that is answered, or may have.
    input_follows: bool,
    finished: bool,
}

#[derive(Debug)]
pub struct RawClient {
    codec_id: u8,
    body_bytes_max: usize,
    in_flight: VecDeque<u32>,
    stage: Stage<u8>,
}

/// Next part of a frame; `T` is the decision on its head.
#[derive(Debug)]
enum Stage<T> {
    Head(PartialHead),
    Body(T, SizedBody),
}

#[derive(Debug, Default)]
struct PartialHead {
    bytes: [u8; HEAD_BYTES],
    len: usize,
}

struct FrameHead {
    len: usize,
    codec: u8,
}

impl PartialHead {
    /// Returns the whole head and the rest of `input`, or keeps all of `input`.
    fn take<'a>(&mut self, input: &'a [u8]) -> Option<(FrameHead, &'a [u8])> {
        if self.len == 0
            && let Some((bytes, rest)) = input.split_first_chunk()
        {
            return Some((FrameHead::read(*bytes), rest));
        }
        let taken = input.len().min(HEAD_BYTES - self.len);
        self.bytes[self.len..][..taken].copy_from_slice(&input[..taken]);
        self.len += taken;
        if self.len < HEAD_BYTES {
            return None;
        }
        self.len = 0;
        Some((FrameHead::read(self.bytes), &input[taken..]))
    }
}

impl FrameHead {
    fn read([a, b, c, d, codec]: [u8; HEAD_BYTES]) -> FrameHead {
        FrameHead { len: u32::from_be_bytes([a, b, c, d]) as usize, codec }
    }
}

impl<T> Stage<T> {
    fn start() -> Stage<T> {
        Stage::Head(PartialHead::default())
    }

    fn is_start(&self) -> bool {
        matches!(self, Stage::Head(head) if head.len == 0)
    }

    fn lend(&mut self) -> Option<Loan> {
        match self {
            Stage::Head(_) => None,
            Stage::Body(_, body) => body.lend(),
        }
    }
}

fn frame_head(len: u32, codec: u8) -> [u8; HEAD_BYTES] {
    let [a, b, c, d] = len.to_be_bytes();
    [a, b, c, d, codec]
}

fn protocol_error(what: String) -> WireError {
    WireError::violation(PROTOCOL, what)
}

fn over_limit(len: usize, limit: usize) -> String {
    format!("frame of {len} bytes is over the limit of {limit}")
}

impl<H: Handler> Raw<H> {
    pub fn new(handler: H, limits: Rc<Limits>) -> Raw<H> {
        let timeout = ReadTimeout::new();
        let stage = Stage::start();
        Raw {
            handler,
            limits,
            stage,
            timeout,
            drain_until: None,
            input_follows: false,
            finished: false,
        }
    }

    /// Advances over the front of `input`; returns the rest.
    fn step<'a>(&mut self, input: &'a [u8], cx: &mut Context<'_>) -> Result<&'a [u8], WireError> {
        match &mut self.stage {
            Stage::Head(partial) => match partial.take(input) {
                Some((head, rest)) => self.begin(&head, rest, cx),
                None => Ok(&[]),
            },
            Stage::Body(_, body) => {
                let rest = &input[body.take(input)..];
                self.answer_if_whole(rest, cx);
                Ok(rest)
            }
        }
    }

    fn begin<'a>(
        &mut self,
        head: &FrameHead,
        rest: &'a [u8],
        cx: &mut Context<'_>,
    ) -> Result<&'a [u8], WireError> {
        let route = self.route(head).map_err(|text| self.refuse(text, cx))?;
        if let Some((body, rest)) = rest.split_at_checked(head.len) {
            self.answer(route, Received::Borrowed(body), rest, cx);
            return Ok(rest);
        }
        let mut body = SizedBody::new(head.len, cx.pool);
        body.take(rest);
        self.stage = Stage::Body(route, body);
        Ok(&[])
    }

    fn route(&mut self, head: &FrameHead) -> Result<Route, String> {
        if head.len > self.limits.body_bytes_max {
            return Err(over_limit(head.len, self.limits.body_bytes_max));
        }
        let head = Head {
            method: b"",
            path: b"",
            content_type: &[head.codec],
            has_body: true,
            body_len: Some(head.len as u64),
        };
        match self.handler.route(&head) {
            Ok(Routed::Unary(route)) => Ok(route),
            Ok(Routed::Stream(_)) => Err("a frame carries no stream of messages".to_owned()),
            Err(refused) => Err(refused.detail),
        }
    }

    fn refuse(&mut self, text: String, cx: &mut Context<'_>) -> WireError {
        send_error(&text, cx);
        self.finished = true;
        protocol_error(text)
    }

    fn answer_if_whole(&mut self, rest: &[u8], cx: &mut Context<'_>) {
        if matches!(&self.stage, Stage::Body(_, body) if body.remaining() == 0)
            && let Stage::Body(route, body) = std::mem::replace(&mut self.stage, Stage::start())
        {
            self.answer(route, Received::Owned(body.into_slice()), rest, cx);
        }
    }

    /// Answers a frame, behind which `rest` lies. The last one that arrived before a shutdown ends
    /// the connection.
    fn answer(&mut self, route: Route, body: Received<'_>, rest: &[u8], cx: &mut Context<'_>) {
        match body {
            Received::Borrowed(body) => self.answer_in_place(route, body, cx),
            Received::Owned(_) => self.answer_apart(route, body, cx),
        }
        self.timeout.restart();
        self.timeout.sends();
        let is_last = self.drain_until.is_some_and(|until| until <= cx.now);
        self.finished |= is_last && rest.is_empty() && !self.input_follows;
    }

    fn answer_in_place(&mut self, route: Route, body: &[u8], cx: &mut Context<'_>) {
        let handler = &mut self.handler;
        cx.out.compose(body.len() + AROUND_BYTES, cx.pool, |out| {
            let start = out.len();
            out.extend_from_slice(&[0; HEAD_BYTES]);
            let answered = handler.answer(route, body, out).and_then(|response| {
                let index = start + HEAD_BYTES + response.head_len;
                response::insert(&body[response.payload.clone()], index, out);
                response_head(out.len() - start - HEAD_BYTES, &response)
            });
            match answered {
                Ok(head) => out[start..start + HEAD_BYTES].copy_from_slice(&head),
                Err(refused) => {
                    out.truncate(start);
                    write_error(&refused.detail, out);
                }
            }
        });
    }

    fn answer_apart(&mut self, route: Route, body: Received<'_>, cx: &mut Context<'_>) {
        let mut answer = cx.pool.take(body.bytes().len());
        let answered = self.handler.answer(route, body.bytes(), &mut answer);
        let answered = answered.and_then(|response| {
            let head = response_head(response::message_len(&answer, &response), &response)?;
            Ok((head, response))
        });
        match answered {
            Ok((head, response)) => {
                let write_head = |out: &mut Vec<u8>| out.extend_from_slice(&head);
                response::send(cx, HEAD_BYTES, write_head, answer, &response, body);
            }
            Err(refused) => send_error(&refused.detail, cx),
        }
    }

    fn wait(&mut self, bytes: usize, now: Instant) {
        let phase = match &self.stage {
            Stage::Head(head) if head.len == 0 && self.drain_until.is_some() => Phase::Draining,
            Stage::Head(head) if head.len == 0 => Phase::Idle,
            Stage::Head(_) => Phase::Head,
            Stage::Body(..) => Phase::Body,
        };
        self.timeout.wait(phase, bytes, now, &self.limits);
    }
}

fn response_head(len: usize, response: &Response) -> Result<[u8; HEAD_BYTES], Refused> {
    let codec = response.content_type.as_bytes().first().copied().unwrap_or_default();
    match u32::try_from(len) {
        Ok(len) => Ok(frame_head(len, codec)),
        Err(_) => {
            let text = format!("response of {len} bytes does not fit into a frame");
            Err(Refused::new(Refusal::Internal, text))
        }
    }
}

fn send_error(text: &str, cx: &mut Context<'_>) {
    cx.out.compose(HEAD_BYTES + text.len(), cx.pool, |out| write_error(text, out));
}

fn write_error(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&frame_head(text.len() as u32, CODEC_ERROR));
    out.extend_from_slice(text.as_bytes());
}

impl<H: Handler> Machine for Raw<H> {
    fn open(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.wait(0, cx.now);
        Ok(())
    }

    fn receive(&mut self, mut input: &[u8], cx: &mut Context<'_>) -> Result<(), WireError> {
        let bytes = input.len();
        while !input.is_empty() && !self.finished {
            input = self.step(input, cx)?;
        }
        self.wait(bytes, cx.now);
        Ok(())
    }

    fn lend(&mut self, _pool: &Pool) -> Option<Loan> {
        if self.finished { None } else { self.stage.lend() }
    }

    fn repay(&mut self, buffer: PooledBuf, cx: &mut Context<'_>) -> Result<(), WireError> {
        let Stage::Body(_, body) = &mut self.stage else { return Ok(()) };
        let gained = body.repay(buffer);
        self.answer_if_whole(&[], cx);
        if gained > 0 {
            self.wait(gained, cx.now);
        }
        Ok(())
    }

    fn flushed(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.timeout.flushed(cx.now, &self.limits);
        Ok(())
    }

    fn end(&mut self, _cx: &mut Context<'_>) -> Result<(), WireError> {
        let whole = self.finished || self.stage.is_start();
        self.finished = true;
        if whole { Ok(()) } else { Err(WireError::truncated(PROTOCOL)) }
    }

    fn drain(&mut self, cx: &mut Context<'_>) {
        self.drain_until = Some(cx.now + self.limits.drain_grace);
        self.handler.drain();
        if self.stage.is_start() {
            self.wait(0, cx.now);
        }
    }

    fn input_follows(&mut self, follows: bool) {
        self.input_follows = follows;
    }

    fn deadline(&self) -> Option<Instant> {
        if self.finished { None } else { self.timeout.deadline() }
    }

    fn paused(&mut self, time: Duration) {
        self.timeout.pause(time);
    }

    fn expire(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        if self.finished {
            return Ok(());
        }
        let Some(phase) = self.timeout.expire(cx.now, &self.limits) else { return Ok(()) };
        self.finished = true;
        let what = match phase {
            Phase::Idle | Phase::Draining => return Ok(()),
            Phase::Head => "waiting for the rest of a frame's head",
            Phase::Body => "waiting for the rest of a frame's body",
        };
        send_error(&format!("timed out {what}"), cx);
        Err(WireError::timeout(PROTOCOL, what))
    }

    fn finished(&self) -> bool {
        self.finished
    }
}

impl RawClient {
    pub fn new(codec_id: u8, limits: &Limits) -> RawClient {
        let body_bytes_max = limits.body_bytes_max;
        RawClient { codec_id, body_bytes_max, in_flight: VecDeque::new(), stage: Stage::start() }
    }

    fn begin<'a>(
        &mut self,
        head: &FrameHead,
        rest: &'a [u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<&'a [u8], WireError> {
        if self.in_flight.is_empty() {
            return Err(protocol_error("a response came without a request".to_owned()));
        }
        if head.len > self.body_bytes_max {
            return Err(protocol_error(over_limit(head.len, self.body_bytes_max)));
        }
        if let Some((body, rest)) = rest.split_at_checked(head.len) {
            self.deliver(head.codec, body, sink);
            return Ok(rest);
        }
        let mut body = SizedBody::new(head.len, cx.pool);
        body.take(rest);
        self.stage = Stage::Body(head.codec, body);
        Ok(&[])
    }

    fn deliver(&mut self, codec: u8, body: &[u8], sink: &mut dyn Sink) {
        let Some(id) = self.in_flight.pop_front() else { return };
        match codec {
            CODEC_ERROR => sink.response(id, ResponseEvent::Failed(&String::from_utf8_lossy(body))),
            _ => sink.response(id, ResponseEvent::Whole(body)),
        }
    }

    fn deliver_if_whole(&mut self, sink: &mut dyn Sink) {
        if matches!(&self.stage, Stage::Body(_, body) if body.remaining() == 0)
            && let Stage::Body(codec, body) = std::mem::replace(&mut self.stage, Stage::start())
        {
            self.deliver(codec, body.into_slice().as_ref(), sink);
        }
    }
}

impl Client for RawClient {
    fn in_flight_max(&self) -> usize {
        usize::MAX
    }

    fn request(&mut self, id: u32, parts: &[Part<'_>], cx: &mut Context<'_>) {
        let len: usize = parts.iter().map(Part::len).sum();
        let len = u32::try_from(len).expect("the load generator keeps messages below 4 GiB");
        cx.out.copy(&frame_head(len, self.codec_id), cx.pool);
        cx.out.parts(parts, cx.pool);
        self.in_flight.push_back(id);
    }

    fn receive(
        &mut self,
        mut input: &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        while !input.is_empty() {
            input = match &mut self.stage {
                Stage::Head(partial) => match partial.take(input) {
                    Some((head, rest)) => self.begin(&head, rest, cx, sink)?,
                    None => &[],
                },
                Stage::Body(_, body) => {
                    let taken = body.take(input);
                    self.deliver_if_whole(sink);
                    &input[taken..]
                }
            };
        }
        Ok(())
    }

    fn lend(&mut self, _pool: &Pool) -> Option<Loan> {
        self.stage.lend()
    }

    fn repay(
        &mut self,
        buffer: PooledBuf,
        _: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        if let Stage::Body(_, body) = &mut self.stage {
            body.repay(buffer);
            self.deliver_if_whole(sink);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), WireError> {
        if self.in_flight.is_empty() {
            return Ok(());
        }
        Err(WireError::truncated(PROTOCOL))
    }
}
