//! Client half: one POST at a time on a connection that stays open.
//!
//! The client takes Content-Length or chunked bodies, and skips interim responses. A response that
//! only the end of the connection would end is an error; a status other than 200 is a refusal. No
//! request follows a response that closes the connection (RFC 9112 section 9.6).

use super::PROTOCOL;
use super::body::Body;
use super::fields::{Fault, Framing};
use super::parse::{HeadReader, ResponseHead, WholeHead};
use crate::axis::Coding;
use crate::wire::changing_fields::TRACEPARENT;
use crate::wire::json_head;
use crate::wire::{
    ChangingFields, Client, Context, Limits, Loan, Part, Pool, PooledBuf, ResponseEvent, Sink,
    WireError,
};

/// Room for the fields that differ in each request.
const AROUND_BYTES: usize = 128;

/// Finds the length of the JSON that a message begins with.
type FindHeadLen = fn(&[u8]) -> Option<usize>;

#[derive(Debug)]
pub struct H1Client {
    head: Vec<u8>,
    changing: Option<ChangingFields>,
    /// For a field that tells the length; `None` for messages without it.
    json_head_len: Option<FindHeadLen>,
    limits: Limits,
    /// Coding of the messages, both ways.
    coding: Coding,
    in_flight: Option<u32>,
    /// True after a response that closes the connection.
    is_last: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Head(HeadReader<ResponseHead>),
    Body(Kind, Body),
}

/// Kind of a response, known from its head.
#[derive(Debug)]
enum Kind {
    Message,
    /// Message in the coding of the client.
    Coded,
    /// Status line of a refusal.
    Refusal(String),
    /// Coding that was not asked for.
    Foreign,
}

fn broken(fault: Fault) -> WireError {
    WireError::violation(PROTOCOL, format!("response: {}", fault.what))
}

impl H1Client {
    pub fn new(host: &str, path: &str, content_type: &str, limits: &Limits) -> H1Client {
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\n");
        let stage = Stage::Head(HeadReader::default());
        H1Client {
            head: head.into_bytes(),
            changing: None,
            json_head_len: None,
            limits: limits.clone(),
            coding: Coding::Identity,
            in_flight: None,
            is_last: false,
            stage,
        }
    }

    /// Adds a `traceparent` that differs in each request.
    #[must_use]
    pub fn with_changing_fields(self, fields: Option<ChangingFields>) -> H1Client {
        H1Client { changing: fields, ..self }
    }

    /// Names `coding` in each request; the caller sends messages in it.
    #[must_use]
    pub fn with_coding(mut self, coding: Coding) -> H1Client {
        self.coding = coding;
        if coding != Coding::Identity {
            for field in ["Content-Encoding: ", "Accept-Encoding: "] {
                [field, coding.token(), "\r\n"]
                    .iter()
                    .for_each(|part| self.head.extend_from_slice(part.as_bytes()));
            }
        }
        self
    }

    /// Tells the length of the JSON that each message begins with. `len` gets the first part that
    /// is not empty, which contains the JSON.
    #[must_use]
    pub fn with_json_head(self, len: Option<FindHeadLen>) -> H1Client {
        H1Client { json_head_len: len, ..self }
    }

    fn begin<'a>(
        &mut self,
        whole: WholeHead<'a, ResponseHead>,
        sink: &mut dyn Sink,
    ) -> Result<&'a [u8], WireError> {
        let WholeHead { head, bytes, rest } = whole;
        if (100..200).contains(&head.status) && head.status != 101 {
            return Ok(rest);
        }
        self.is_last = !head.keep_alive();
        let framing = head.framing().ok_or_else(|| self.refused("has no length"))?;
        let limit = self.limits.body_bytes_max;
        if matches!(framing, Framing::Length(len) if len > limit as u64) {
            return Err(self.refused(&format!("is over the limit of {limit} bytes")));
        }
        let kind = match head.fields.coding {
            _ if head.status != 200 => {
                let reason = String::from_utf8_lossy(&bytes.bytes()[head.reason.clone()]);
                Kind::Refusal(format!("{}{reason}", head.status))
            }
            _ if head.fields.has_unknown_coding => Kind::Foreign,
            Coding::Identity => Kind::Message,
            coding if coding == self.coding => Kind::Coded,
            _ => Kind::Foreign,
        };
        match framing {
            Framing::Length(len) if len <= rest.len() as u64 => {
                let (body, rest) = rest.split_at(len as usize);
                self.deliver(kind, body, sink);
                Ok(rest)
            }
            _ => {
                self.stage = Stage::Body(kind, Body::new(framing, limit));
                Ok(rest)
            }
        }
    }

    fn refused(&self, what: &str) -> WireError {
        WireError::violation(PROTOCOL, format!("the body of a response {what}"))
    }

    fn deliver(&mut self, kind: Kind, body: &[u8], sink: &mut dyn Sink) {
        let Some(id) = self.in_flight.take() else { return };
        match kind {
            Kind::Message => sink.response(id, ResponseEvent::Whole(body)),
            Kind::Coded => sink.response(id, ResponseEvent::Coded(body)),
            Kind::Foreign => {
                let text = "the response has a content coding that was not accepted";
                sink.response(id, ResponseEvent::Failed(text));
            }
            Kind::Refusal(status) => {
                let reason = String::from_utf8_lossy(body);
                let text = format!("{status}: {}", reason.trim_end());
                sink.response(id, ResponseEvent::Failed(&text));
            }
        }
    }

    fn deliver_if_whole(&mut self, sink: &mut dyn Sink) {
        if !matches!(&self.stage, Stage::Body(_, body) if body.is_whole()) {
            return;
        }
        let head = Stage::Head(HeadReader::default());
        if let Stage::Body(kind, body) = std::mem::replace(&mut self.stage, head) {
            self.deliver(kind, body.into_slice().as_ref(), sink);
        }
    }
}

impl Client for H1Client {
    fn in_flight_max(&self) -> usize {
        usize::from(!self.is_last)
    }

    fn is_leaving(&self) -> bool {
        self.is_last
    }

    fn request(&mut self, id: u32, parts: &[Part<'_>], cx: &mut Context<'_>) {
        debug_assert!(self.in_flight.is_none());
        let len: usize = parts.iter().map(Part::len).sum();
        let first = parts.iter().find(|part| !part.is_empty());
        let json_head_len = self.json_head_len.zip(first).and_then(|(len, part)| len(part.bytes()));
        let (head, changing) = (&self.head, &mut self.changing);
        cx.out.compose(head.len() + AROUND_BYTES, cx.pool, |out| {
            out.extend_from_slice(head);
            if let Some(fields) = changing {
                out.extend_from_slice(TRACEPARENT);
                out.extend_from_slice(b": ");
                out.extend_from_slice(&fields.next_traceparent());
                out.extend_from_slice(b"\r\n");
            }
            if let Some(len) = json_head_len {
                out.extend_from_slice(json_head::FIELD.as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"Content-Length: ");
            out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
            out.extend_from_slice(b"\r\n\r\n");
        });
        cx.out.parts(parts, cx.pool);
        self.in_flight = Some(id);
    }

    fn receive(
        &mut self,
        mut input: &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        while !input.is_empty() {
            if self.in_flight.is_none() {
                let text = "a response came without a request";
                return Err(WireError::violation(PROTOCOL, text));
            }
            input = match &mut self.stage {
                Stage::Head(reader) => {
                    match reader.read(input, &self.limits, cx.pool).map_err(broken)? {
                        Some(whole) => self.begin(whole, sink)?,
                        None => &[],
                    }
                }
                Stage::Body(_, body) => body.take(input, cx.pool).map_err(broken)?,
            };
            self.deliver_if_whole(sink);
        }
        Ok(())
    }

    fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        match &mut self.stage {
            Stage::Head(_) => None,
            Stage::Body(_, body) => body.lend(pool),
        }
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
        match self.in_flight {
            None => Ok(()),
            Some(_) => Err(WireError::truncated(PROTOCOL)),
        }
    }
}
