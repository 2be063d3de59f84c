//! One request through a server half, in process: parse, reflect, reply, and its output drained. No socket, no codec.
//!
//! Names are `wire/protocol/bytes`. `64 KiB` arrives as a ring would bring it: a first piece, then by loans.

use std::hint::black_box;
use std::io::IoSlice;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndecho::wire::h1::{DateClock, H1};
use ndecho::wire::h2::{Allowance, H2, H2Client};
use ndecho::wire::raw::Raw;
use ndecho::wire::{
    Batch, Client, Context, Handler, Head, Limits, Machine, Outbox, Part, Pool, Refusal, Reply,
    Route, Sink,
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

    /// Feeds `input` as a ring would bring it.
    fn feed(&mut self, input: &[u8]) {
        let mut cx = Context { out: &mut self.out, pool: &mut self.pool, now: self.now };
        let mut rest = input;
        while !rest.is_empty() {
            let loan = self.machine.lend(cx.pool);
            let most = loan.as_ref().map_or(RING_BYTES, |loan| loan.want);
            let (now, later) = rest.split_at(rest.len().min(most));
            let fed = match loan {
                Some(mut loan) => {
                    loan.buffer.extend_from_slice(now);
                    self.machine.repay(loan.buffer, &mut cx)
                }
                None => self.machine.receive(now, &mut cx),
            };
            fed.expect("the calls are sound");
            rest = later;
        }
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

/// Calls in flight on one HTTP/2 connection for each size, as the original benchmark has them.
const STREAMS: [u32; 3] = [1000, 1000, 64];

/// What a ring brings at once.
const RING_BYTES: usize = 64 * 1024;

/// A turn's calls of one client, whose stream numbers rise from turn to turn, and a grant for their replies.
struct Calls {
    input: Vec<u8>,
    /// Where stream numbers stand.
    numbers: Vec<usize>,
    next: u32,
}

impl Calls {
    /// The first turn of a client with `count` calls of `body`, and the same calls for later turns.
    fn new(count: u32, body: &[u8]) -> (Vec<u8>, Calls) {
        let limits = Rc::new(Limits::default());
        let mut client = H2Client::new(
            "127.0.0.1:50051",
            "/Calculator/Echo",
            GRPC,
            Allowance::default(),
            limits,
        );
        let (mut out, mut pool, now) = (Outbox::default(), Pool::default(), Instant::now());
        let mut cx = Context { out: &mut out, pool: &mut pool, now };
        client.open(&mut cx);
        client.request(0, &[Part::Copy(body)], &mut cx);
        // Windows and frames of 1 MiB.
        let settings = [0, 0, 12, 4, 0, 0, 0, 0, 0, 0, 4, 0, 16, 0, 0, 0, 5, 0, 16, 0, 0];
        let said = [&settings[..], &window_update(1 << 20)].concat();
        client.receive(&said, &mut cx, &mut Deaf).expect("the settings are sound");
        let hello = drained(&mut out, &mut pool);
        let (mut input, mut numbers) = (Vec::new(), Vec::new());
        let mut cx = Context { out: &mut out, pool: &mut pool, now };
        client.request(0, &[Part::Copy(body)], &mut cx);
        let call = drained(&mut out, &mut pool);
        let head_len = 9 + usize::from(call[2]);
        for _ in 0..count {
            numbers.extend([input.len() + 5, input.len() + head_len + 5]);
            input.extend_from_slice(&call);
        }
        input.extend_from_slice(&window_update(count * (body.len() as u32 + 5)));
        (hello, Calls { input, numbers, next: 3 })
    }

    fn turn(&mut self) -> &[u8] {
        for pair in self.numbers.chunks(2) {
            for &at in pair {
                self.input[at..at + 4].copy_from_slice(&self.next.to_be_bytes());
            }
            self.next += 2;
        }
        &self.input
    }
}

const GRPC: &str = "application/grpc";

struct Deaf;

impl Sink for Deaf {
    fn reply(&mut self, _: u32, _: Result<&[u8], &str>) {}
}

fn window_update(increment: u32) -> Vec<u8> {
    [&[0, 0, 4, 8, 0, 0, 0, 0, 0][..], &increment.to_be_bytes()].concat()
}

fn drained(out: &mut Outbox, pool: &mut Pool) -> Vec<u8> {
    let (mut batch, mut bytes) = (Batch::default(), Vec::new());
    out.take(&mut batch);
    while !batch.is_empty() {
        let mut slots = [IoSlice::new(&[]); 8];
        let filled = batch.slices(&mut slots);
        let before = bytes.len();
        slots[..filled].iter().for_each(|slot| bytes.extend_from_slice(slot));
        batch.advance(bytes.len() - before, pool);
    }
    bytes
}

/// A turn of many calls on one connection: `wire/h2/bytes`, calls as throughput.
fn h2(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire");
    for (size, count) in SIZES.into_iter().zip(STREAMS) {
        let body: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let (hello, mut calls) = Calls::new(count, &body);
        let mut wired = Wired::new(H2::new(Reflect, Rc::new(Limits::default())));
        wired.feed(&hello);
        wired.feed(calls.turn());
        let reply = drained(&mut wired.out, &mut wired.pool);
        let bodies = reply.windows(size).filter(|part| *part == body).count();
        assert!(size > 8 || bodies == 1 + count as usize, "{bodies} replies");
        group.throughput(Throughput::Elements(u64::from(count)));
        group.bench_function(BenchmarkId::new("h2", size), |b| {
            b.iter(|| {
                wired.feed(black_box(calls.turn()));
                wired.out.take(&mut wired.batch);
                let sent = wired.batch.len();
                wired.batch.advance(sent, &mut wired.pool);
                assert!(sent > size * count as usize);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, raw, h1, h2);
criterion_main!(benches);
