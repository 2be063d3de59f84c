//! Server over pajamax: gRPC without an asynchronous runtime, one thread for each connection.
//!
//! pajamax-build generates the code of an earlier version of pajamax, so `PajamaxService` is
//! implemented by hand, in the form of the generated code.

use std::thread;

use contract::program::{Program, fail};
use pajamax::error::Error;
use pajamax::status::{Code, Status};
use pajamax::{Config, PajamaxService, Response};
use prost::Message;

/// Limit of NumPy.
const RANK_MAX: usize = 64;

#[derive(Clone, PartialEq, Message)]
struct NdArray {
    #[prost(bytes = "vec", tag = "1")]
    buffer: Vec<u8>,
    #[prost(string, tag = "2")]
    dtype: String,
    #[prost(uint64, repeated, tag = "3")]
    shape: Vec<u64>,
}

struct Echo;

impl PajamaxService for Echo {
    fn route(&self, path: &[u8]) -> Option<usize> {
        (path == b"/Calculator/Echo").then_some(0)
    }

    fn handle(&self, _method: usize, message: &[u8], stream_id: u32) -> Result<(), Error> {
        pajamax::local_build_response(stream_id, echo(message))
    }

    fn is_dispatch_mode(&self) -> bool {
        false
    }
}

fn echo(message: &[u8]) -> Response<NdArray> {
    let refused = |message| Status { code: Code::InvalidArgument, message };
    let array = NdArray::decode(message).map_err(|error| refused(error.to_string()))?;
    let NdArray { buffer, dtype, shape } = &array;
    if array_bytes(dtype, shape) == Some(buffer.len() as u64) {
        return Ok(array);
    }
    let got = buffer.len();
    Err(refused(format!("dtype {dtype:?} and shape {shape:?} do not fit a buffer of {got} bytes")))
}

/// Returns `None` for a dtype or a shape that the contract refuses.
fn array_bytes(dtype: &str, shape: &[u64]) -> Option<u64> {
    let (order, kind) = dtype.split_at_checked(1)?;
    let item_bytes: u64 = match kind {
        "b1" | "i1" | "u1" => 1,
        "i2" | "u2" | "f2" => 2,
        "i4" | "u4" | "f4" => 4,
        "i8" | "u8" | "f8" | "c8" => 8,
        "c16" => 16,
        _ => return None,
    };
    let is_known = "<>=".contains(order) || (order == "|" && item_bytes == 1);
    let mut not_zero = shape.iter().filter(|dim| **dim != 0);
    let bytes = not_zero.try_fold(item_bytes, |bytes, dim| bytes.checked_mul(*dim))?;
    let is_sound = is_known && shape.len() <= RANK_MAX && bytes < 1 << 63;
    let is_empty = shape.contains(&0);
    is_sound.then_some(if is_empty { 0 } else { bytes })
}

fn main() {
    let program = Program::start();
    let mut config = Config::new();
    if std::env::args().any(|flag| flag == "--tuned") {
        // The size of a frame is also that of the read buffer.
        config = config.max_frame_size(1 << 20).max_flush_requests(1000);
    }
    let port = program.port;
    thread::spawn(move || {
        let Err(error) = config.add_service(Echo).serve(("127.0.0.1", port)) else { return };
        fail(&format!("cannot serve on port {port}: {error}"));
    });
    program.run()
}
