//! Server half of raw frames.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{
    CODEC_ERROR, FrameHead, HEAD_BYTES, PROTOCOL, Stage, frame_head, over_limit, protocol_error,
};
use crate::wire::buffers::{PooledBuf, SizedBody};
use crate::wire::handler::NO_MEMORY;
use crate::wire::response::{self, Received};
use crate::wire::timeouts::{Phase, ReadTimeout};
use crate::wire::working::{Resumed, Working};
use crate::wire::{
    Codings, Context, EndedJob, Handler, Head, Limit, Limits, Loan, Machine, Pool, Refusal,
    Refused, Response, Route, Routed, Slice, WireError,
};

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
    working: Option<Box<Working>>,
    finished: bool,
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
            working: None,
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
                let rest = &input[body.take(input, cx.pool)..];
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
        let route = self.route(head).map_err(|refused| self.refuse(refused, cx))?;
        if let Some((body, rest)) = rest.split_at_checked(head.len) {
            self.answer(route, Received::Borrowed(body), rest, cx);
            return Ok(rest);
        }
        if cx.pool.refuses_body() {
            return Err(self.refuse(Refused::new(Refusal::Unavailable, NO_MEMORY), cx));
        }
        let mut body = SizedBody::new(head.len);
        body.take(rest, cx.pool);
        self.stage = Stage::Body(route, body);
        Ok(&[])
    }

    fn route(&mut self, head: &FrameHead) -> Result<Route, Refused> {
        if head.len > self.limits.body_bytes_max {
            self.limits.counts.hit(Limit::Message);
            let text = over_limit(head.len, self.limits.body_bytes_max);
            return Err(Refused::new(Refusal::TooLarge, text));
        }
        let head = Head {
            codings: Codings::NONE,
            method: b"",
            path: b"",
            content_type: &[head.codec],
            has_body: true,
            body_len: Some(head.len as u64),
        };
        match self.handler.route(&head)? {
            Routed::Unary(route) => Ok(route),
            Routed::Stream(_) => {
                let text = "a frame carries no stream of messages";
                Err(Refused::new(Refusal::NoSuchRoute, text))
            }
        }
    }

    fn refuse(&mut self, refused: Refused, cx: &mut Context<'_>) -> WireError {
        self.limits.counts.refused(refused.kind.into());
        send_error(&refused.detail, cx);
        self.finished = true;
        protocol_error(refused.detail)
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
            Received::Owned(message) => match self.handler.long_work(route, message.as_ref()) {
                Some(work) => {
                    self.working = Some(Box::new(Working::start(work, message, cx)));
                    return;
                }
                None => self.answer_apart(route, message, cx),
            },
        }
        self.end_answer(rest, cx);
    }

    fn end_answer(&mut self, rest: &[u8], cx: &Context<'_>) {
        self.timeout.restart();
        self.timeout.sends();
        let is_last = self.drain_until.is_some_and(|until| until <= cx.now);
        self.finished |= is_last && rest.is_empty() && !self.input_follows;
    }

    fn answer_in_place(&mut self, route: Route, body: &[u8], cx: &mut Context<'_>) {
        let (handler, counts) = (&mut self.handler, self.limits.counts);
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
                    counts.refused(refused.kind.into());
                    out.truncate(start);
                    write_error(&refused.detail, out);
                }
            }
        });
    }

    fn answer_apart(&mut self, route: Route, message: Slice, cx: &mut Context<'_>) {
        let mut answer = cx.pool.take(message.len());
        let response = self.handler.answer(route, message.as_ref(), &mut answer);
        self.send(EndedJob { message, answer, response }, cx);
    }

    fn send(&mut self, EndedJob { message, answer, response }: EndedJob, cx: &mut Context<'_>) {
        let answered = response.and_then(|response| {
            let head = response_head(response::message_len(&answer, &response), &response)?;
            Ok((head, response))
        });
        match answered {
            Ok((head, response)) => {
                let write_head = |out: &mut Vec<u8>| out.extend_from_slice(&head);
                let body = Received::Owned(message);
                response::send(cx, HEAD_BYTES, write_head, answer, &response, body);
            }
            Err(refused) => {
                self.limits.counts.refused(refused.kind.into());
                send_error(&refused.detail, cx);
            }
        }
    }

    /// Answers the frame whose job has ended, and takes the input that has come meanwhile.
    fn resume(&mut self, resumed: Resumed, cx: &mut Context<'_>) -> Result<(), WireError> {
        let Resumed { ended, held, has_ended } = resumed;
        self.send(ended, cx);
        self.end_answer(&held, cx);
        self.receive(&held, cx)?;
        match &mut self.working {
            _ if !has_ended => Ok(()),
            Some(working) => {
                working.end();
                Ok(())
            }
            None => self.end(cx),
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
            if let Some(working) = &mut self.working {
                working.hold(input, cx.pool);
                return Ok(());
            }
            input = self.step(input, cx)?;
        }
        self.wait(bytes, cx.now);
        Ok(())
    }

    fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        if self.finished { None } else { self.stage.lend(pool) }
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

    fn jobs_ended(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let Some(resumed) = self.working.as_mut().and_then(|working| working.resume()) else {
            return Ok(());
        };
        self.working = None;
        self.resume(resumed, cx)
    }

    fn is_working(&self) -> bool {
        self.working.is_some()
    }

    fn flushed(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.timeout.flushed(cx.now, &self.limits);
        Ok(())
    }

    fn end(&mut self, _cx: &mut Context<'_>) -> Result<(), WireError> {
        if let Some(working) = &mut self.working {
            working.end();
            return Ok(());
        }
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
        self.finished = true;
        if let Some(limit) = phase.limit() {
            self.limits.counts.hit(limit);
        }
        let what = match phase {
            Phase::Idle | Phase::Draining => return Ok(()),
            Phase::Head => "waiting for the rest of a frame's head",
            Phase::Body => "waiting for the rest of a frame's body",
        };
        send_error(&format!("timed out {what}"), cx);
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
