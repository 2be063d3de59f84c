//! Echo as borrowed stacks call it: a whole message in, head, payload and tail of the response out.
//!
//! [`StackEcho`] is cheap to clone; the buffers behind it are the worker's.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::axis::Encoding;
use crate::service::echo::{self, EchoService, Echoed};
use crate::wire::{Refused, Slice, grpc};

use super::message::Message;

/// Shorter payloads are copied behind their head: one piece to send is cheaper than three.
pub(super) const COPY_BYTES_MAX: usize = 1024;

/// Shorter responses share one allocation; a longer one takes its buffer with it.
const BLOCK_BYTES: usize = 16 * 1024;

#[derive(Clone, Debug)]
pub struct StackEcho {
    service: EchoService,
    buffers: Rc<RefCell<Buffers>>,
}

#[derive(Debug, Default)]
struct Buffers {
    out: Vec<u8>,
    block: BytesMut,
}

impl StackEcho {
    pub fn new(service: EchoService) -> StackEcho {
        StackEcho { service, buffers: Rc::default() }
    }

    pub fn service(&self) -> &EchoService {
        &self.service
    }

    pub fn rest(
        &self,
        encoding: Encoding,
        mut body: Slice,
    ) -> Result<(Encoding, Message), Refused> {
        let Buffers { out, block } = &mut *self.buffers.borrow_mut();
        out.clear();
        let Echoed { encoding, head_len, payload } =
            self.service.echo_shared(encoding, &mut body, out)?;
        let message = cut(out, block, head_len, body, payload);
        echo::trim(out, &mut 0);
        Ok((encoding, message))
    }

    pub fn grpc(&self, encoding: Encoding, mut message: Slice) -> Result<Message, grpc::Status> {
        let Buffers { out, block } = &mut *self.buffers.borrow_mut();
        out.clear();
        out.resize(grpc::PREFIX_BYTES, 0);
        let Echoed { head_len, payload, .. } =
            self.service.echo_shared(encoding, &mut message, out)?;
        let prefix = grpc::prefix_of(out.len() - grpc::PREFIX_BYTES + payload.len())?;
        out[..grpc::PREFIX_BYTES].copy_from_slice(&prefix);
        let message = cut(out, block, grpc::PREFIX_BYTES + head_len, message, payload);
        echo::trim(out, &mut 0);
        Ok(message)
    }
}

/// Cuts `out` at `head_len`, with `body[payload]` between, into few pieces.
fn cut(
    out: &mut Vec<u8>,
    block: &mut BytesMut,
    head_len: usize,
    body: Slice,
    payload: Range<usize>,
) -> Message {
    if out.len() + payload.len() < COPY_BYTES_MAX {
        reserve(block, out.len() + payload.len());
        block.extend_from_slice(&out[..head_len]);
        block.extend_from_slice(&body.as_ref()[payload]);
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
    Message::new(head, body.narrow(payload), tail)
}

/// Makes room for `len` bytes, a block at a time, so that most responses allocate nothing.
fn reserve(block: &mut BytesMut, len: usize) {
    if block.capacity() - block.len() < len {
        block.reserve(BLOCK_BYTES);
    }
}
