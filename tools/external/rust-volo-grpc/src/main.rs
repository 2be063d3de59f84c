//! Server over volo-grpc: gRPC on hyper's HTTP/2 with pilota's protobuf, on one thread of tokio.
//!
//! volo-build writes paths of the form `/PACKAGE.Service/Method`, and the contract has no package.
//! So [`wire`] is written by hand, in the form of the generated code. The windows, the frame size
//! and the number of streams are those of ndecho's tuned rungs. There is no compression, because
//! the contract has none.

mod wire;

use std::net::{Ipv4Addr, SocketAddr};

use contract::array::check;
use contract::program::{Program, fail};
use volo::net::Address;
use volo_grpc::server::{Server, ServiceBuilder};

use wire::NdArray;

fn echo(array: NdArray) -> Result<NdArray, String> {
    // pilota reads a string without a look at its bytes.
    let dtype = str::from_utf8(array.dtype.as_bytes()).map_err(|_| "dtype is not UTF-8")?;
    match check(dtype, &array.shape, array.buffer.len()) {
        Ok(dtype) => Ok(NdArray { dtype: dtype.name.into(), ..array }),
        Err(refusal) => Err(refusal.to_string()),
    }
}

async fn serve(port: u16) {
    let service = ServiceBuilder::new(wire::Calculator).build();
    let server = Server::new()
        .add_service(service)
        .http2_init_stream_window_size(4_u32 << 20)
        .http2_init_connection_window_size(16_u32 << 20)
        .http2_max_frame_size(1 << 20)
        .http2_max_concurrent_streams(1024);
    let address = Address::from(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    // The program waits for signals itself.
    let ended = server.run_with_shutdown(address, std::future::pending()).await;
    fail(&format!("cannot serve on port {port}: {ended:?}"))
}

fn main() {
    let program = Program::start();
    let port = program.port;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| fail(&format!("cannot start: {error}")));
    std::thread::spawn(move || runtime.block_on(serve(port)));
    program.run()
}
