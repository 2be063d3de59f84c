//! Echo as borrowed stacks call it: a whole message in, head, payload and tail of the response out.
//!
//! [`StackEcho`] is cheap to clone; the buffers behind it are the worker's.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::axis::{Encoding, Family};
use crate::driver::WorkerHandle;
use crate::service::echo::{self, EchoService, Echoed};
use crate::service::handler::LongWork;
use crate::service::routes;
use crate::wire::{EndedJob, Pool, Refused, Response, Slice, grpc};

use super::message::Message;

/// Shorter payloads are copied behind their head: one piece to send is cheaper than three.
pub(super) const COPY_BYTES_MAX: usize = 1024;

/// Shorter responses share one allocation; a longer one takes its buffer with it.
const BLOCK_BYTES: usize = 16 * 1024;

#[derive(Clone, Debug)]
pub struct StackEcho {
    service: EchoService,
    /// True if only health is served, since no place for the connection is free.
    is_restricted: bool,
    /// Buffers of the worker, with the account of the connection.
    pool: Pool,
    buffers: Rc<RefCell<Buffers>>,
}

/// Response of a REST request.
#[derive(Debug)]
pub struct RestReply {
    pub content_type: &'static str,
    pub message: Message,
    /// Bytes of the message before the payload.
    pub head_len: usize,
    /// Bytes of the request that are sent back.
    pub payload_len: usize,
}

#[derive(Debug, Default)]
struct Buffers {
    out: Vec<u8>,
    block: BytesMut,
}

impl StackEcho {
    pub fn new(service: EchoService) -> StackEcho {
        let pool = service.pool().clone();
        StackEcho { service, is_restricted: false, pool, buffers: Rc::default() }
    }

    /// Returns the echo of one connection.
    pub fn for_connection(&self, worker: &WorkerHandle) -> StackEcho {
        let pool = self.service.pool().for_connection();
        StackEcho { is_restricted: worker.is_restricted(), pool, ..self.clone() }
    }

    /// Refuses an echo if the connection may only ask for health.
    pub fn check_place(&self) -> Result<(), Refused> {
        if self.is_restricted { Err(routes::place_refused()) } else { Ok(()) }
    }

    pub fn service(&self) -> &EchoService {
        &self.service
    }

    /// Returns the pool of the connection.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Answers a REST request, on another thread if that takes long.
    pub async fn rest(
        &self,
        worker: &WorkerHandle,
        encoding: Encoding,
        body: Slice,
    ) -> Result<RestReply, Refused> {
        let Some(work) = self.long_work(Family::Rest, encoding, &body) else {
            return self.rest_now(encoding, body);
        };
        let pool = &self.pool;
        let answer = pool.take(body.len());
        let EndedJob { message, answer, response } =
            worker.run(Box::new(work), body, answer, pool).await;
        let Response { content_type, head_len, payload } = response?;
        let payload_len = payload.len();
        let message = whole(answer.into_vec(), head_len, message.narrow(payload));
        Ok(RestReply { content_type, message, head_len, payload_len })
    }

    fn rest_now(&self, encoding: Encoding, mut body: Slice) -> Result<RestReply, Refused> {
        let Buffers { out, block } = &mut *self.buffers.borrow_mut();
        out.clear();
        let Echoed { encoding, head_len, payload } =
            self.service.echo_shared(encoding, &mut body, out)?;
        let payload_len = payload.len();
        let message = cut(out, block, head_len, body, payload);
        echo::trim(out, &mut 0);
        Ok(RestReply { content_type: encoding.content_type(), message, head_len, payload_len })
    }

    /// Returns the work on a message if it takes long.
    pub fn long_work(
        &self,
        family: Family,
        encoding: Encoding,
        message: &Slice,
    ) -> Option<LongWork> {
        let echo = self.service.long(encoding, message.as_ref())?;
        Some(LongWork { family, echo })
    }

    /// Does the work of a gRPC call on another thread.
    pub async fn grpc_long(
        &self,
        worker: &WorkerHandle,
        work: LongWork,
        message: Slice,
    ) -> Result<Message, grpc::Status> {
        let pool = &self.pool;
        let mut answer = pool.take(message.len());
        answer.extend_from_slice(&[0; grpc::PREFIX_BYTES]);
        let EndedJob { message, mut answer, response } =
            worker.run(Box::new(work), message, answer, pool).await;
        let Response { head_len, payload, .. } = response?;
        let prefix = grpc::prefix_of(answer.len() - grpc::PREFIX_BYTES + payload.len())?;
        answer[..grpc::PREFIX_BYTES].copy_from_slice(&prefix);
        let head_len = grpc::PREFIX_BYTES + head_len;
        Ok(whole(answer.into_vec(), head_len, message.narrow(payload)))
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

/// Cuts the answer of a long message at `head_len`, with the payload between.
fn whole(answer: Vec<u8>, head_len: usize, payload: Slice) -> Message {
    let mut head = Bytes::from(answer);
    let tail = head.split_off(head_len);
    Message::new(head, payload, tail)
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
