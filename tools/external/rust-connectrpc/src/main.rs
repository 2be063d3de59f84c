//! Server over connectrpc: gRPC on hyper's HTTP/2 with buffa's protobuf, on one thread of tokio.
//!
//! The handler reads a view of the request and returns a view, so the data are not copied between
//! the two messages. The service is the generated dispatcher without a table of methods. The
//! windows and the number of streams are those of ndecho's tuned rungs. connectrpc has no setting
//! for the frame size. There is no compression, because the contract has none.

#[expect(
    clippy::match_single_binding,
    dead_code,
    unused_imports,
    reason = "generated for every kind of service"
)]
mod wire {
    connectrpc::include_generated!("contract.rs");
}

use connectrpc::{
    ConnectError, ConnectRpcService, Encodable, Limits, MaybeBorrowed, RequestContext, Response,
    Server, ServiceRequest, ServiceResult,
};
use contract::array::check;
use contract::program::{Program, fail};

use wire::{Calculator, CalculatorServer, NDArray};

/// Largest message. An array of 64 MiB fits.
const MESSAGE_BYTES_MAX: usize = 192 << 20;

struct Echo;

impl Calculator for Echo {
    async fn echo<'a>(
        &'a self,
        _context: RequestContext,
        request: ServiceRequest<'_, NDArray>,
    ) -> ServiceResult<impl Encodable<NDArray> + Send + use<'a>> {
        let refuse = |refusal| ConnectError::invalid_argument(format!("{refusal}"));
        let dtype = check(request.dtype, &request.shape, request.buffer.len()).map_err(refuse)?;
        if request.dtype == dtype.name {
            return Response::ok(MaybeBorrowed::Borrowed(request.to_owned_view()));
        }
        let array = NDArray { dtype: dtype.name.into(), ..request.to_owned_message() };
        Response::ok(MaybeBorrowed::Owned(array))
    }
}

async fn serve(port: u16) {
    let limits = Limits::default()
        .with_max_request_body_size(MESSAGE_BYTES_MAX)
        .with_max_message_size(MESSAGE_BYTES_MAX);
    let service = ConnectRpcService::new(CalculatorServer::new(Echo)).with_limits(limits);
    let server = match Server::bind(("127.0.0.1", port)).await {
        Ok(server) => server,
        Err(error) => fail(&format!("cannot listen on port {port}: {error}")),
    };
    let ended = server
        .with_http2_initial_stream_window_size(4_u32 << 20)
        .with_http2_initial_connection_window_size(16_u32 << 20)
        .with_max_concurrent_streams(1024)
        .serve_with_service(service)
        .await;
    // The program waits for signals itself.
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
