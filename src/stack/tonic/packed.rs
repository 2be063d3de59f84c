//! Calls with `PackedArray` in tonic, as generated code serves them: prost makes the message, and
//! the handler sends it back.

use std::future::ready;

use tonic::server::UnaryService;
use tonic::{Request, Response, Status};

use super::{Echo, status};
use crate::codec::protobuf_packed_prost::check_echo;
use crate::generated_packed::PackedArray;
use crate::wire::{Refusal, Refused};

impl UnaryService<PackedArray> for Echo {
    type Response = PackedArray;
    type Future = std::future::Ready<Result<Response<PackedArray>, Status>>;

    fn call(&mut self, request: Request<PackedArray>) -> Self::Future {
        let mut message = request.into_inner();
        self.counts.requests.add(1);
        self.delay.wait();
        let refused = |error: crate::codec::CodecError| {
            status(Refused::new(Refusal::BadRequest, error.to_string()), self.counts)
        };
        ready(check_echo(&mut message).map_err(refused).map(|()| Response::new(message)))
    }
}
