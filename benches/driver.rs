//! Frames of `raw` through each driver over a loopback socket: the cost of moving bytes, without a
//! codec.
//!
//! Names are `case/driver/bytes`. `ping-pong` has one frame in flight. `pipelined` writes as many
//! frames at once as fit a window. The client is a blocking socket in the thread of the bench. If
//! there are two cores, client and worker are pinned to one each. The result is wall time and
//! includes the client: it compares drivers and is not the cost of a server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use ndecho::codec::Encoding;
use ndecho::driver::tokio::{Tokio, TokioUring};
use ndecho::driver::uring::Uring;
use ndecho::driver::{Driver, Options, StopSignal, Stopper, stop_signal};
use ndecho::sys::address::Address;
use ndecho::sys::listener::Listener;
use ndecho::sys::{affinity, socket};
use ndecho::wire::raw::Raw;
use ndecho::wire::{Handler, Head, Limits, Pool, Refused, Response, Route, Routed};

const BASELINE: &str = "\
driver: frames over a loopback socket, wall time with the client in it. Compare uring and
tokio-uring with tokio (epoll) of the same case and size. Lines \"change\" compare with the run
before: improved (faster), regressed (slower) or no change (same).";

/// Body sizes: one number, the largest of the original benchmark, and one of which two do not fit
/// into the cache of a core.
const SIZES: [usize; 3] = [8, 65_536, 1 << 20];

/// Bytes that a pipelined client keeps in flight.
const WINDOW_BYTES: usize = 512 * 1024;

/// Most frames that a pipelined client keeps in flight.
const WINDOW_FRAMES: usize = 1000;

struct Reflect;

impl Handler for Reflect {
    fn route(&mut self, _: &Head<'_>) -> Result<Routed, Refused> {
        Ok(Routed::Unary(Route::plain(0)))
    }

    fn answer(&mut self, _: Route, body: &[u8], _: &mut Vec<u8>) -> Result<Response, Refused> {
        Ok(Response { content_type: "\0", head_len: 0, payload: 0..body.len() })
    }
}

/// Worker on its own thread, and a connection to it.
struct Served {
    stream: TcpStream,
    stopper: Stopper,
    worker: JoinHandle<()>,
}

impl Served {
    fn by<D: Driver>(core: usize) -> Served {
        let listener = Listener::bind(&Address::FREE_PORT).expect("port 0");
        let address = listener.address().expect("bound");
        let (stopper, stopped) = stop_signal().expect("a socket pair");
        let worker = std::thread::spawn(move || {
            affinity::pin(core).expect("an allowed core");
            serve::<D>(listener, stopped);
        });
        let stream = socket::connect(&address, Duration::from_secs(5)).expect("listening");
        Served { stream: stream.into(), stopper, worker }
    }

    /// Writes `frames` and reads the same number of bytes.
    fn exchange(&mut self, frames: &[u8], replies: &mut [u8]) {
        self.stream.write_all(frames).expect("the worker reads");
        self.stream.read_exact(replies).expect("the worker answers");
    }

    fn stop(self) {
        drop((self.stream, self.stopper));
        self.worker.join().expect("the worker does not panic");
    }
}

fn serve<D: Driver>(listener: Listener, stopped: StopSignal) {
    let endpoint = D::machine(listener, || Raw::new(Reflect, Rc::new(Limits::default())));
    let driver = D::new(Options::default(), Pool::default()).expect("the driver starts");
    driver.run(vec![endpoint], stopped).expect("the driver runs");
}

fn frame(body_len: usize) -> Vec<u8> {
    let mut frame = (body_len as u32).to_be_bytes().to_vec();
    frame.push(Encoding::Reflect.id());
    frame.extend((0..body_len).map(|at| (at % 251) as u8));
    frame
}

fn frames_in_window(body_len: usize) -> usize {
    (WINDOW_BYTES / body_len).clamp(1, WINDOW_FRAMES)
}

fn bench_driver<D: Driver>(c: &mut Criterion, name: &str, core: usize) {
    for (case, window) in
        [("ping-pong", (|_| 1) as fn(usize) -> usize), ("pipelined", frames_in_window)]
    {
        let mut group = c.benchmark_group(case);
        for size in SIZES {
            let count = window(size);
            let frames = frame(size).repeat(count);
            let mut replies = vec![0; frames.len()];
            let mut served = Served::by::<D>(core);
            served.exchange(&frames, &mut replies);
            assert!(replies == frames, "{case}/{name}/{size}: frames came back changed");
            group.throughput(Throughput::Bytes((count * size) as u64));
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| served.exchange(&frames, &mut replies));
            });
            served.stop();
        }
        group.finish();
    }
}

fn drivers(c: &mut Criterion) {
    let cores = affinity::cores();
    let (server, client) = (cores[0], cores[cores.len() - 1]);
    affinity::pin(client).expect("an allowed core");
    bench_driver::<Uring>(c, "uring", server);
    bench_driver::<Tokio>(c, "tokio", server);
    bench_driver::<TokioUring>(c, "tokio-uring", server);
}

criterion_group!(benches, drivers);

fn main() {
    println!("{BASELINE}\n");
    benches();
    Criterion::default().configure_from_args().final_summary();
}
