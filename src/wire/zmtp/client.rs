//! Client half: a REQ socket. One request is without a reply at a time, as the pattern demands.

use crate::wire::buffers::{PooledBuf, SizedBody};
use crate::wire::{Client, Context, Limits, Loan, Part, Pool, ResponseEvent, Sink, WireError};

use super::frame::{DELIMITER, Front};
use super::handshake::{self, GREETING_BYTES};
use super::{PROTOCOL, protocol_error};

/// Least number of frames of a reply with an array; one frame is the text of a refusal.
const PARTS_MIN: usize = 2;

/// Room for a command that we send.
const COMMAND_BYTES: usize = 64;

#[derive(Debug)]
pub struct ZmtpClient {
    stage: Stage,
    /// Request without a reply.
    in_flight: Option<u32>,
    /// Most bytes of a reply with its delimiter and the heads of its frames.
    bytes_max: usize,
}

#[derive(Debug)]
enum Stage {
    /// The first bytes of the peer's greeting.
    Greeting(Vec<u8>),
    /// Bytes of an incomplete READY.
    Ready(Vec<u8>),
    /// Bytes of an incomplete command, or of a message whose length is not known.
    Open(Vec<u8>),
    /// Message of known length.
    Body { parts: usize, body: SizedBody },
}

impl ZmtpClient {
    pub fn new(limits: &Limits) -> ZmtpClient {
        let stage = Stage::Greeting(Vec::new());
        ZmtpClient { stage, in_flight: None, bytes_max: limits.body_bytes_max }
    }

    /// Takes the bytes of one stage from the front of `input`; returns their number, or `None` if
    /// the stage needs more than all of them.
    fn step(
        &mut self,
        input: &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<Option<usize>, WireError> {
        match &self.stage {
            Stage::Greeting(_) => {
                handshake::check_greeting(&input[..input.len().min(GREETING_BYTES)])?;
                if input.len() < GREETING_BYTES {
                    return Ok(None);
                }
                cx.out.compose(COMMAND_BYTES, cx.pool, handshake::put_ready);
                self.stage = Stage::Ready(Vec::new());
                Ok(Some(GREETING_BYTES))
            }
            Stage::Ready(_) => match Front::read(input, self.bytes_max)? {
                Front::Command { body, len } => {
                    handshake::check_ready(body)?;
                    self.stage = Stage::Open(Vec::new());
                    Ok(Some(len))
                }
                Front::Open => Ok(None),
                Front::Message { .. } | Front::Announced { .. } => {
                    Err(protocol_error("a message came before READY".to_owned()))
                }
            },
            Stage::Open(_) | Stage::Body { .. } => self.traffic(input, cx, sink),
        }
    }

    fn traffic(
        &mut self,
        input: &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<Option<usize>, WireError> {
        match Front::read(input, self.bytes_max)? {
            Front::Command { body, len } => {
                cx.out.compose(COMMAND_BYTES, cx.pool, |out| handshake::answer(body, out))?;
                Ok(Some(len))
            }
            Front::Open => Ok(None),
            Front::Message { .. } | Front::Announced { .. } if self.in_flight.is_none() => {
                Err(protocol_error("a reply came without a request".to_owned()))
            }
            Front::Message { parts, len } => {
                self.deliver(parts, &input[..len], sink);
                Ok(Some(len))
            }
            Front::Announced { parts, len } => {
                let mut body = SizedBody::new(len);
                body.take(input, cx.pool);
                self.stage = Stage::Body { parts, body };
                Ok(Some(input.len()))
            }
        }
    }

    /// Delivers a reply with its delimiter.
    fn deliver(&mut self, parts: usize, reply: &[u8], sink: &mut dyn Sink) {
        let Some(id) = self.in_flight.take() else { return };
        let frames = &reply[DELIMITER.len()..];
        if parts >= PARTS_MIN {
            return sink.response(id, ResponseEvent::Whole(frames));
        }
        let text = match frames {
            [flags, rest @ ..] if *flags == 0 => rest.get(1..),
            frames => frames.get(9..),
        };
        let text = String::from_utf8_lossy(text.unwrap_or_default());
        sink.response(id, ResponseEvent::Failed(&text));
    }

    fn deliver_if_whole(&mut self, sink: &mut dyn Sink) {
        if matches!(&self.stage, Stage::Body { body, .. } if body.remaining() == 0)
            && let Stage::Body { parts, body } =
                std::mem::replace(&mut self.stage, Stage::Open(Vec::new()))
        {
            self.deliver(parts, body.into_slice().as_ref(), sink);
        }
    }

    /// Returns the bytes that wait for the rest of their stage.
    fn held(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.stage {
            Stage::Greeting(held) | Stage::Ready(held) | Stage::Open(held) => Some(held),
            Stage::Body { .. } => None,
        }
    }

    /// Takes all complete stages from the front of `input`. Returns the number of taken bytes.
    fn take_all(
        &mut self,
        input: &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<usize, WireError> {
        let mut at = 0;
        while at < input.len() {
            if let Stage::Body { body, .. } = &mut self.stage {
                at += body.take(&input[at..], cx.pool);
                self.deliver_if_whole(sink);
                continue;
            }
            match self.step(&input[at..], cx, sink)? {
                Some(taken) => at += taken,
                None => break,
            }
        }
        Ok(at)
    }
}

impl Client for ZmtpClient {
    fn open(&mut self, cx: &mut Context<'_>) {
        cx.out.copy(&handshake::greeting(), cx.pool);
    }

    fn in_flight_max(&self) -> usize {
        match self.stage {
            Stage::Greeting(_) | Stage::Ready(_) => 0,
            Stage::Open(_) | Stage::Body { .. } => 1,
        }
    }

    fn request(&mut self, id: u32, parts: &[Part<'_>], cx: &mut Context<'_>) {
        cx.out.copy(&DELIMITER, cx.pool);
        cx.out.parts(parts, cx.pool);
        self.in_flight = Some(id);
    }

    fn receive(
        &mut self,
        input: &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        let mut all = self.held().map(std::mem::take).unwrap_or_default();
        if all.is_empty() {
            let taken = self.take_all(input, cx, sink)?;
            all.extend_from_slice(&input[taken..]);
        } else {
            all.extend_from_slice(input);
            let taken = self.take_all(&all, cx, sink)?;
            all.drain(..taken);
        }
        if let Some(held) = self.held() {
            *held = all;
        }
        Ok(())
    }

    fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        match &mut self.stage {
            Stage::Body { body, .. } => body.lend(pool),
            _ => None,
        }
    }

    fn repay(
        &mut self,
        buffer: PooledBuf,
        _: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        if let Stage::Body { body, .. } = &mut self.stage {
            body.repay(buffer);
            self.deliver_if_whole(sink);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), WireError> {
        match self.stage {
            Stage::Greeting(_) | Stage::Ready(_) => Err(protocol_error(
                "the peer closed the connection during the handshake".to_owned(),
            )),
            _ if self.in_flight.is_some() => Err(WireError::truncated(PROTOCOL)),
            _ => Ok(()),
        }
    }
}
