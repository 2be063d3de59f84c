//! Server over pajamax: gRPC without an asynchronous runtime, one thread for each connection.
//!
//! pajamax-build generates the code of an earlier version of pajamax, so `PajamaxService` is
//! implemented by hand, in the form of the generated code.

use std::net::SocketAddrV4;
use std::os::fd::BorrowedFd;
use std::process::exit;
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{SockaddrIn, getsockname, getsockopt, sockopt};
use nix::unistd::Pid;
use pajamax::error::Error;
use pajamax::status::{Code, Status};
use pajamax::{Config, PajamaxService, Response};
use prost::Message;

/// Limit of NumPy.
const RANK_MAX: usize = 64;

/// Descriptors among which the listener is: it is one of the first of this process.
const DESCRIPTORS: std::ops::Range<i32> = 3..64;

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
    let flags: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = flags.iter().position(|flag| flag == name)?;
        Some(flags.get(at + 1)?.parse().unwrap_or_else(|_| fail(&format!("{name}: no number"))))
    };
    let port = number("--port").unwrap_or(0);
    if let Some(cpu) = number("--cpu") {
        pin(cpu.into());
    }
    let mut config = Config::new();
    if flags.iter().any(|flag| flag == "--tuned") {
        // The size of a frame is also that of the read buffer.
        config = config.max_frame_size(1 << 20).max_flush_requests(1000);
    }
    let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    ends.thread_block().unwrap_or_else(|error| fail(&format!("cannot block signals: {error}")));
    thread::spawn(move || {
        let Err(error) = config.add_service(Echo).serve(("127.0.0.1", port)) else { return };
        fail(&format!("cannot serve on port {port}: {error}"));
    });
    println!("ready {}", listener());
    ends.wait().unwrap_or_else(|error| fail(&format!("cannot wait for a signal: {error}")));
}

/// Waits until this process listens. pajamax opens the listener and does not tell its port.
fn listener() -> SocketAddrV4 {
    loop {
        for number in DESCRIPTORS {
            // SAFETY: the descriptor is only asked for its type, and the listener is never closed.
            let socket = unsafe { BorrowedFd::borrow_raw(number) };
            if getsockopt(&socket, sockopt::AcceptConn) == Ok(true) {
                let address: SockaddrIn = getsockname(number).expect("it is a listener");
                return address.into();
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    let pinned = set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    pinned.unwrap_or_else(|error| fail(&format!("core {cpu} is not available: {error}")));
}

fn fail(reason: &str) -> ! {
    eprintln!("{reason}");
    exit(1)
}
