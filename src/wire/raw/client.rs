//! Client half of raw frames.

use std::collections::VecDeque;

use super::{CODEC_ERROR, FrameHead, PROTOCOL, Stage, frame_head, over_limit, protocol_error};
use crate::wire::buffers::{PooledBuf, SizedBody};
use crate::wire::{Client, Context, Limits, Loan, Part, Pool, ResponseEvent, Sink, WireError};

#[derive(Debug)]
pub struct RawClient {
    codec_id: u8,
    body_bytes_max: usize,
    in_flight: VecDeque<u32>,
    stage: Stage<u8>,
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
        let mut body = SizedBody::new(head.len);
        body.take(rest, cx.pool);
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
                    let taken = body.take(input, cx.pool);
                    self.deliver_if_whole(sink);
                    &input[taken..]
                }
            };
        }
        Ok(())
    }

    fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        self.stage.lend(pool)
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
