//! Server over ntex-grpc: gRPC on ntex's HTTP/2 and io_uring, one worker.
//!
//! The `#[server]` macro turns an error of a method into a reply with status OK. A refusal needs
//! a status, so the service is written by hand, in the form of the macro's code. The windows and
//! the frame size are those of ndecho's tuned rungs. The pages have 64 KiB, and backpressure
//! begins at 4 MiB: with the defaults of 16 and 32 KiB, replies to 1000 calls at once stayed in
//! the server for ten seconds in an earlier measurement of this project.

use std::convert::Infallible;

use contract::array::check;
use contract::program::{Program, fail};
use ntex::SharedCfg;
use ntex::io::IoConfig;
use ntex::server::Server;
use ntex::util::{BytePageSize, BytePages, ByteString, Bytes};
use ntex_grpc::encoding::{DecodeError, decode_key, skip_field};
use ntex_grpc::server::{GrpcServer, NamedService, ServerError, ServerRequest, ServerResponse};
use ntex_grpc::types::DefaultValue;
use ntex_grpc::{
    Ctx, GrpcStatus, Message, NativeType, Service, ServiceFactory, encode_grpc_message,
};
use ntex_h2::ServiceConfig;

/// Largest message. An array of 64 MiB fits.
const MESSAGE_BYTES_MAX: usize = 192 << 20;

#[derive(Clone, Debug, Default, PartialEq)]
struct NdArray {
    buffer: Bytes,
    dtype: ByteString,
    shape: Vec<u64>,
}

impl Message for NdArray {
    fn read(source: &mut Bytes) -> Result<NdArray, DecodeError> {
        let mut array = NdArray::default();
        while !source.is_empty() {
            let (tag, wire_type) = decode_key(source)?;
            match tag {
                1 => NativeType::deserialize(&mut array.buffer, tag, wire_type, source)?,
                2 => NativeType::deserialize(&mut array.dtype, tag, wire_type, source)?,
                3 => NativeType::deserialize(&mut array.shape, tag, wire_type, source)?,
                _ => skip_field(wire_type, tag, source)?,
            }
        }
        Ok(array)
    }

    fn write(&self, out: &mut BytePages) {
        NativeType::serialize(&self.buffer, 1, DefaultValue::Default, out);
        NativeType::serialize(&self.dtype, 2, DefaultValue::Default, out);
        NativeType::serialize(&self.shape, 3, DefaultValue::Default, out);
    }

    fn encoded_len(&self) -> usize {
        NativeType::serialized_len(&self.buffer, 1, DefaultValue::Default)
            + NativeType::serialized_len(&self.dtype, 2, DefaultValue::Default)
            + NativeType::serialized_len(&self.shape, 3, DefaultValue::Default)
    }
}

#[derive(Clone)]
struct Calculator;

impl NamedService for Calculator {
    const NAME: &'static str = "Calculator";
}

impl ServiceFactory<(), ServerRequest> for Calculator {
    type Res = ServerResponse;
    type Error = ServerError;
    type Service = Calculator;
    type InitError = Infallible;

    async fn create(&self, _: &()) -> Result<Calculator, Infallible> {
        Ok(Calculator)
    }
}

impl<S> Service<S, ServerRequest> for Calculator {
    type Res = ServerResponse;
    type Error = ServerError;

    async fn call(
        &self,
        mut request: ServerRequest,
        _: Ctx<'_, Self, S>,
    ) -> Result<ServerResponse, ServerError> {
        if request.name != "Echo" {
            return Err(error(GrpcStatus::Unimplemented, "no such method"));
        }
        let array = NdArray::read(&mut request.payload)?;
        match check(&array.dtype, &array.shape, array.buffer.len()) {
            Ok(dtype) => {
                let dtype = ByteString::from_static(dtype.name);
                let mut reply = BytePages::default();
                NdArray { dtype, ..array }.write(&mut reply);
                Ok(ServerResponse::new(reply))
            }
            Err(refusal) => Err(error(GrpcStatus::InvalidArgument, &refusal.to_string())),
        }
    }
}

fn error(status: GrpcStatus, reason: &str) -> ServerError {
    ServerError::new(status, encode_grpc_message(reason), None)
}

#[ntex::main]
async fn serve(port: u16) -> std::io::Result<()> {
    let config = SharedCfg::new("echo")
        .add(
            IoConfig::new()
                .set_read_size(BytePageSize::Size64, BytePageSize::Size64)
                .set_write_size(BytePageSize::Size64)
                .set_read_backpressure(4 << 20)
                .set_write_backpressure(4 << 20),
        )
        .add(
            ServiceConfig::new()
                .set_initial_window_size(4 << 20)
                .set_initial_connection_window_size(16 << 20)
                .set_max_frame_size(1 << 20)
                .set_max_concurrent_streams(1024),
        );
    // The program waits for signals itself.
    Server::builder()
        .workers(1)
        .disable_signals()
        .bind("echo", ("127.0.0.1", port), config, async |_| {
            GrpcServer::new(Calculator)
                .max_message_size(MESSAGE_BYTES_MAX)
                .max_send_message_size(MESSAGE_BYTES_MAX)
        })?
        .run()
        .await
}

fn main() {
    let program = Program::start();
    let port = program.port;
    std::thread::spawn(move || {
        let ended = serve(port);
        fail(&format!("cannot serve on port {port}: {ended:?}"))
    });
    program.run()
}
