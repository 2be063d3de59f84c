//! One request through a server half, in process: parse, reflect, reply, and its output drained. No socket, no codec.
//!
//! Names are `wire/protocol/bytes`. `64 KiB` arrives as a ring would bring it: a first piece, then by loans.

use std::hint::black_box;
use std::io::IoSlice;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndecho::wire::h1::{DateClock, H1};
use ndecho::wire::raw::Raw;
use ndecho::wire::{
    Batch, Context, Handler, Head, Limits, Machine, Outbox, Pool, Refusal, Reply, Route,
};

/// Body sizes of the original benchmark.
const SIZES: [usize; 3] = [8, 2048, 65_536];

/// What a driver receives at once before it takes a loan.
const FIRST_BYTES: usize = 16 * 1024;

struct Reflect;

impl Handler for Reflect {
    fn route(&mut self, _: &Head<'_>) -> Result<Route, (Refusal, String)> {
        Ok(Route(0))
    }

    fn answer(
        &mut self,
        _: Route,
        body: &[u8],
        _: &mut Vec<u8>,
    ) -> Result<Reply, (Refusal, String)> {
        let content_type = "application/octet-stream";
        Ok(Reply { content_type, codec_id: 0, head_len: 0, payload: 0..body.len() })
    }
}

/// A connection without a socket.
struct Wired<M> {
    machine: M,
    out: Outbox,
    pool: Pool,
    batch: Batch,
    now: Instant,
}

impl<M: Machine> Wired<M> {
    fn new(machine: M) -> Wired<M> {
        let (out, pool, batch) = Default::default();
        Wired { machine, out, pool, batch, now: Instant::now() }
    }

    /// Serves one request; returns how long the reply was and its last byte.
    fn turn(&mut self, input: &[u8]) -> (usize, u8) {
        let mut cx = Context { out: &mut self.out, pool: &mut self.pool, now: self.now };
        let (first, mut rest) = input.split_at(input.len().min(FIRST_BYTES));
        self.machine.receive(first, &mut cx).expect("the request is sound");
        while !rest.is_empty() {
            let mut loan = self.machine.lend(cx.pool).expect("a long body is lent");
            let (now, later) = rest.split_at(rest.len().min(loan.want));
            loan.buffer.extend_from_slice(now);
            self.machine.repay(loan.buffer, &mut cx).expect("the request is sound");
            rest = later;
        }
        self.out.take(&mut self.batch);
        let sent = self.batch.len();
        let mut slots = [IoSlice::new(&[]); 8];
        let filled = self.batch.slices(&mut slots);
        let last = slots[..filled].last().and_then(|slot| slot.last()).copied();
        self.batch.advance(sent, &mut self.pool);
        (sent, last.expect("there is a reply"))
    }
}

fn bench<M: Machine>(
    c: &mut Criterion,
    protocol: &str,
    machine: impl Fn() -> M,
    request: impl Fn(&[u8]) -> Vec<u8>,
) {
    let mut group = c.benchmark_group("wire");
    for size in SIZES {
        let body: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let input = request(&body);
        let mut wired = Wired::new(machine());
        let (sent, last) = wired.turn(&input);
        assert!(sent > size && Some(&last) == body.last(), "the reply ends with the body");
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new(protocol, size), |b| {
            b.iter(|| wired.turn(black_box(&input)));
        });
    }
    group.finish();
}

fn raw(c: &mut Criterion) {
    let machine = || Raw::new(Reflect, Rc::new(Limits::default()));
    bench(c, "raw", machine, |body| [&(body.len() as u32).to_be_bytes()[..], &[0], body].concat());
}

fn h1(c: &mut Criterion) {
    let clock = DateClock::new(Instant::now(), Duration::from_secs(784_111_777));
    let machine = || H1::new(Reflect, Rc::new(Limits::default()), clock.clone());
    // What aiohttp sends.
    bench(c, "h1", machine, |body| {
        let head = format!(
            "POST /echo_msgpack HTTP/1.1\r\nHost: 127.0.0.1:50055\r\n\
             Content-Type: application/msgpack\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n\
             User-Agent: Python/3.11 aiohttp/3.9.1\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    });
}

criterion_group!(benches, raw, h1);
criterion_main!(benches);
