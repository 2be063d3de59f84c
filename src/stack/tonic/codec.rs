//! Codec of tonic that hands a message over undecoded, so that tonic carries every encoding.

use std::future::ready;

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::UnaryService;
use tonic::{Request, Response, Status};

use super::status;
use crate::axis::Encoding;
use crate::service::codecs::CodecSet;
use crate::service::echo::{Echoed, echo_once};
use crate::wire::WorkerCounts;

#[derive(Clone, Copy, Debug)]
pub(super) struct EchoCodec {
    pub(super) codecs: CodecSet,
    pub(super) counts: &'static WorkerCounts,
    pub(super) encoding: Encoding,
}

#[derive(Debug)]
pub(super) struct Reply {
    echoed: Echoed,
    out: Vec<u8>,
    body: Bytes,
}

impl UnaryService<Bytes> for EchoCodec {
    type Response = Reply;
    type Future = std::future::Ready<Result<Response<Reply>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let body = request.into_inner();
        let counts = self.counts;
        let reply = echo_once(&self.codecs, counts, self.encoding, &body)
            .map(|(echoed, out)| Response::new(Reply { echoed, out, body }));
        ready(reply.map_err(|refused| status(refused, counts)))
    }
}

impl Codec for EchoCodec {
    type Encode = Reply;
    type Decode = Bytes;
    type Encoder = EchoCodec;
    type Decoder = EchoCodec;

    fn encoder(&mut self) -> EchoCodec {
        *self
    }

    fn decoder(&mut self) -> EchoCodec {
        *self
    }
}

impl Encoder for EchoCodec {
    type Item = Reply;
    type Error = Status;

    fn encode(&mut self, reply: Reply, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let Reply { echoed, out, body } = reply;
        let (head, tail) = out.split_at(echoed.head_len);
        into.reserve(out.len() + echoed.payload.len());
        into.put_slice(head);
        into.put_slice(&body[echoed.payload]);
        into.put_slice(tail);
        Ok(())
    }
}

impl Decoder for EchoCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
