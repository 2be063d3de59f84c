//! Message and service of `proto/ndecho.proto`, as volo-build would write them.

use futures_util::{StreamExt, future, stream};
use pilota::pb::encoding::{self, DecodeContext, WireType};
use pilota::pb::{DecodeError, EncodeLengthContext, Message};
use pilota::{Bytes, FastStr, LinkedBytes};
use volo::Service;
use volo_grpc::body::BoxBody;
use volo_grpc::codec::compression::CompressionEncoding;
use volo_grpc::codec::decode::Kind;
use volo_grpc::codec::encode::encode;
use volo_grpc::codegen::Frame;
use volo_grpc::context::ServerContext;
use volo_grpc::server::NamedService;
use volo_grpc::{
    BoxStream, Code, RecvEntryMessage, RecvStream, Request, Response, SendEntryMessage, Status,
};

const ECHO: &str = "/Calculator/Echo";

#[derive(Clone, Debug, Default, PartialEq)]
pub struct NdArray {
    pub buffer: Bytes,
    pub dtype: FastStr,
    pub shape: Vec<u64>,
}

impl Message for NdArray {
    fn encoded_len(&self, context: &mut EncodeLengthContext) -> usize {
        encoding::bytes::encoded_len(context, 1, &self.buffer)
            + encoding::faststr::encoded_len(context, 2, &self.dtype)
            + encoding::uint64::encoded_len_packed(context, 3, &self.shape)
    }

    fn encode_raw(&self, buffer: &mut LinkedBytes) {
        encoding::bytes::encode(1, &self.buffer, buffer);
        encoding::faststr::encode(2, &self.dtype, buffer);
        encoding::uint64::encode_packed(3, &self.shape, buffer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut Bytes,
        context: &mut DecodeContext,
        _is_root: bool,
    ) -> Result<(), DecodeError> {
        match tag {
            1 => encoding::bytes::merge(wire_type, &mut self.buffer, buffer, context),
            2 => encoding::faststr::merge(wire_type, &mut self.dtype, buffer, context),
            3 => encoding::uint64::merge_repeated(wire_type, &mut self.shape, buffer, context),
            _ => encoding::skip_field(wire_type, tag, buffer, context),
        }
    }
}

/// Messages of a request, before they are read.
pub struct EchoRecv(RecvStream<NdArray>);

impl RecvEntryMessage for EchoRecv {
    fn from_body(
        method: Option<&str>,
        body: BoxBody,
        kind: Kind,
        compression: Option<CompressionEncoding>,
    ) -> Result<Self, Status> {
        match method {
            Some(ECHO) => Ok(EchoRecv(RecvStream::new(body, kind, compression))),
            _ => Err(Status::new(Code::Unimplemented, "Method not found.")),
        }
    }
}

/// Messages of a response, before they are written.
pub struct EchoSend(BoxStream<'static, Result<NdArray, Status>>);

impl SendEntryMessage for EchoSend {
    fn into_body(
        self,
        compression: Option<CompressionEncoding>,
    ) -> BoxStream<'static, Result<Frame<Bytes>, Status>> {
        encode(self.0, compression)
    }
}

#[derive(Clone)]
pub struct Calculator;

impl NamedService for Calculator {
    const NAME: &'static str = "Calculator";
}

impl Service<ServerContext, Request<EchoRecv>> for Calculator {
    type Response = Response<EchoSend>;
    type Error = Status;

    async fn call(
        &self,
        _context: &mut ServerContext,
        request: Request<EchoRecv>,
    ) -> Result<Self::Response, Status> {
        let (_metadata, _extensions, EchoRecv(mut messages)) = request.into_parts();
        let message = messages.next().await.transpose()?;
        let missing = || Status::new(Code::Internal, "Missing request message.");
        let message = message.ok_or_else(missing)?;
        messages.trailers().await?;
        let reply = super::echo(message).map_err(Status::invalid_argument)?;
        Ok(Response::new(EchoSend(Box::pin(stream::once(future::ready(Ok(reply)))))))
    }
}
