//! One worker's echo, as the stacks call it: whole message in, reply or refusal out.
//!
//! [`Work`] is cheap to clone, one per connection; the codecs' scratch behind it is the worker's and is used by one
//! call at a time. It keeps capacity between calls, never content: what messages go on needing up to
//! [`SCRATCH_BYTES_MAX`], and [`SCRATCH_BYTES_KEPT`] without being asked.
//! [`EchoHandler`] is the same for own protocols.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::axis::{Encoding, Family};
use crate::service::echo::{self, CodecSet, Echoed};
use crate::service::routes::{self, Target};
use crate::stack::message::{Body, Message};
use crate::wire::{
    Handler, Head, Limits, Refusal, Refused, Response, Route, Routed, SharedPool, grpc,
};

/// Scratch capacity that stays between messages, needed or not.
pub const SCRATCH_BYTES_KEPT: usize = 4 * 1024 * 1024;

/// Most scratch capacity that stays while messages need it: arrays of 16 MiB as text find theirs again instead of
/// taking 4096 page faults each.
pub const SCRATCH_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Scratch beyond [`SCRATCH_BYTES_KEPT`] goes after so many messages that needed less than a quarter of it.
const SPARED_MAX: u32 = 32;

/// Payloads below this are copied behind their head: one piece to send is cheaper than three.
const COPY_BYTES_MAX: usize = 1024;

/// Replies below this share one allocation; a longer one takes its buffer with it.
const BLOCK_BYTES: usize = 16 * 1024;

/// The echo with its codecs and limits.
#[derive(Clone, Debug)]
pub struct Work(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    codecs: CodecSet,
    limits: Limits,
    scratch: RefCell<Scratch>,
    pool: SharedPool,
}

#[derive(Debug, Default)]
struct Scratch {
    decode: Vec<u8>,
    /// Messages in a row that left most of `decode` unused.
    spared: u32,
    out: Vec<u8>,
    block: BytesMut,
}

impl Work {
    /// One worker's echo; `pool` is the worker's, so that its driver trims what the stacks give back.
    pub fn new(codecs: CodecSet, limits: Limits, pool: SharedPool) -> Work {
        let scratch = RefCell::default();
        Work(Rc::new(Shared { codecs, limits, scratch, pool }))
    }

    /// Which codec serves which encoding.
    pub fn codecs(&self) -> &CodecSet {
        &self.0.codecs
    }

    /// Limits of every connection.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Where bodies that come in pieces are put together.
    pub fn pool(&self) -> &SharedPool {
        &self.0.pool
    }

    /// Echoes the body of a REST request; says in which encoding the reply is.
    pub fn rest(&self, encoding: Encoding, body: &Body) -> Result<(Encoding, Message), Refused> {
        self.reply(encoding, body, 0)
    }

    /// Echoes a gRPC message; the reply has its prefix.
    pub fn grpc(&self, encoding: Encoding, message: &Body) -> Result<Message, Refused> {
        self.reply(encoding, message, grpc::PREFIX_BYTES).map(|(_, message)| message)
    }

    fn reply(
        &self,
        encoding: Encoding,
        body: &Body,
        prefix_len: usize,
    ) -> Result<(Encoding, Message), Refused> {
        let mut scratch = self.0.scratch.borrow_mut();
        let Scratch { decode, spared, out, block } = &mut *scratch;
        decode.clear();
        out.clear();
        out.resize(prefix_len, 0);
        let echoed = echo::echo(&self.0.codecs, encoding, body, decode, out).map_err(refused)?;
        let Echoed { encoding, head_len, payload } = echoed;
        if prefix_len == grpc::PREFIX_BYTES {
            let len = out.len() - prefix_len + payload.len();
            out[..prefix_len].copy_from_slice(&grpc::prefix(message_len(len)?));
        }
        let message = cut(out, block, prefix_len + head_len, body, payload);
        trim(decode, spared);
        trim(out, &mut 0);
        Ok((encoding, message))
    }
}

/// `out` cut at `head_len` with `body[payload]` between, in as few pieces as is cheap.
fn cut(
    out: &mut Vec<u8>,
    block: &mut BytesMut,
    head_len: usize,
    body: &Body,
    payload: Range<usize>,
) -> Message {
    if out.len() + payload.len() < COPY_BYTES_MAX {
        reserve(block, out.len() + payload.len());
        block.extend_from_slice(&out[..head_len]);
        block.extend_from_slice(&body[payload]);
        block.extend_from_slice(&out[head_len..]);
        return Message::from(block.split().freeze());
    }
    let mut head = if out.len() < BLOCK_BYTES {
        reserve(block, out.len());
        block.extend_from_slice(out);
        block.split().freeze()
    } else {
        Bytes::from(std::mem::take(out))
    };
    let tail = head.split_off(head_len);
    Message::new(head, body, payload, tail)
}

/// Room for `len` bytes, taken a block at a time so that most replies allocate nothing.
fn reserve(block: &mut BytesMut, len: usize) {
    if block.capacity() - block.len() < len {
        block.reserve(BLOCK_BYTES);
    }
}

/// Frees `buffer` if it is too large to keep. `spared` counts for how long it has been larger than needed.
fn trim(buffer: &mut Vec<u8>, spared: &mut u32) {
    let room = buffer.capacity();
    let idle = room > SCRATCH_BYTES_KEPT && buffer.len() < room / 4;
    *spared = if idle { *spared + 1 } else { 0 };
    if *spared >= SPARED_MAX || room > SCRATCH_BYTES_MAX {
        *buffer = Vec::new();
        *spared = 0;
    }
}

/// Echoes one message with buffers made for the call, as a handler does that may run on any thread. Returns what was
/// written beside the payload: `out[..head_len]` goes before it, the rest behind.
pub fn echo_once(
    codecs: &CodecSet,
    encoding: Encoding,
    body: &[u8],
) -> Result<(Echoed, Vec<u8>), Refused> {
    let mut out = Vec::new();
    let echoed = echo::echo(codecs, encoding, body, &mut Vec::new(), &mut out).map_err(refused)?;
    Ok((echoed, out))
}

fn message_len(len: usize) -> Result<u32, Refused> {
    u32::try_from(len).map_err(|_| {
        Refused::new(Refusal::TooLarge, format!("reply of {len} bytes does not fit gRPC's prefix"))
    })
}

fn refused(error: crate::codec::CodecError) -> Refused {
    Refused::new(Refusal::BadRequest, error.to_string())
}

/// The echo behind an own protocol.
#[derive(Clone, Debug)]
pub struct EchoHandler {
    family: Family,
    work: Work,
}

/// The route of [`Target::Health`]; echoes have their encoding's id.
const HEALTH: Route = Route(u32::MAX);

impl EchoHandler {
    /// A handler on `work` for protocols of `family`.
    pub fn new(family: Family, work: Work) -> EchoHandler {
        EchoHandler { family, work }
    }
}

impl Handler for EchoHandler {
    fn route(&mut self, head: &Head<'_>) -> Result<Routed, Refused> {
        Ok(Routed::Unary(match routes::target(self.family, head)? {
            Target::Health => HEALTH,
            Target::Echo(encoding) => Route(u32::from(encoding.id())),
        }))
    }

    fn answer(
        &mut self,
        route: Route,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Response, Refused> {
        if route == HEALTH {
            let (said, content_type) = match self.family {
                Family::Grpc => {
                    (routes::grpc_health(body)?, Encoding::Protobuf.grpc_content_type())
                }
                Family::Raw | Family::Rest => (routes::HEALTH_BODY.as_bytes(), routes::TEXT),
            };
            out.extend_from_slice(said);
            return Ok(Response { content_type, head_len: said.len(), payload: 0..0 });
        }
        let id = u8::try_from(route.0).ok();
        let encoding = id.and_then(Encoding::from_id).expect("route() made this route");
        let shared = &*self.work.0;
        let Scratch { decode, spared, .. } = &mut *shared.scratch.borrow_mut();
        let start = out.len();
        decode.clear();
        let echoed = echo::echo(&shared.codecs, encoding, body, decode, out);
        trim(decode, spared);
        let Echoed { encoding, head_len, payload } = echoed.map_err(|error| {
            out.truncate(start);
            refused(error)
        })?;
        let content_type = match self.family {
            Family::Grpc => encoding.grpc_content_type(),
            Family::Rest => encoding.content_type(),
            Family::Raw => routes::raw_content_type(encoding),
        };
        Ok(Response { content_type, head_len, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_stays_while_it_is_needed_and_goes_when_it_is_not() {
        let mut spared = 0;
        let mut buffer = Vec::with_capacity(SCRATCH_BYTES_MAX);
        for _ in 0..2 * SPARED_MAX {
            buffer.resize(SCRATCH_BYTES_MAX / 4, 0);
            trim(&mut buffer, &mut spared);
            assert_eq!(buffer.capacity(), SCRATCH_BYTES_MAX);
        }
        for _ in 1..SPARED_MAX {
            buffer.clear();
            trim(&mut buffer, &mut spared);
            assert_eq!(buffer.capacity(), SCRATCH_BYTES_MAX);
        }
        trim(&mut buffer, &mut spared);
        assert_eq!(buffer.capacity(), 0);
        let mut small = Vec::with_capacity(SCRATCH_BYTES_KEPT);
        (0..2 * SPARED_MAX).for_each(|_| trim(&mut small, &mut spared));
        assert_eq!(small.capacity(), SCRATCH_BYTES_KEPT);
        let mut large = vec![0; SCRATCH_BYTES_MAX + 1];
        trim(&mut large, &mut spared);
        assert_eq!(large.capacity(), 0);
    }
}
