//! Requests through a server half, in process: parse, reflect, reply, and its output drained;
//! replies through the client half of HTTP/2. No socket, no codec.
//!
//! Names are `wire/protocol/bytes`. `64 KiB` arrives as a ring would bring it: a first piece, then
//! by loans.

use std::hint::black_box;
use std::io::IoSlice;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use ndecho::wire::h1::{DateClock, H1};
use ndecho::wire::h2::{Allowance, H2, H2Client};
use ndecho::wire::raw::Raw;
use ndecho::wire::{
    Batch, ChangingFields, Client, Context, Handler, Head, Limits, Loan, Machine, Outbox, Part,
    Pool, PooledBuf, Refused, Response, ResponseEvent, Route, Routed, Sink, WireError,
};

const BASELINE: &str = "\
wire: requests through our protocols in memory. Compare with wire/raw, frames with a length, which
is the least that a protocol does. Lines \"change\" compare with the run before: improved (faster),
regressed (slower) or no change (same).";

/// Body sizes of the original benchmark.
const SIZES: [usize; 3] = [8, 2048, 65_536];

/// Bytes that a driver receives at once before it takes a loan.
const FIRST_BYTES: usize = 16 * 1024;

struct Reflect;

impl Handler for Reflect {
    fn route(&mut self, _: &Head<'_>) -> Result<Routed, Refused> {
        Ok(Routed::Unary(Route::plain(0)))
    }

    fn answer(&mut self, _: Route, body: &[u8], _: &mut Vec<u8>) -> Result<Response, Refused> {
        let content_type = GRPC;
        Ok(Response { content_type, head_len: 0, payload: 0..body.len() })
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
        let mut cx = Context { out: &mut self.out, pool: &self.pool, now: self.now };
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

    fn with(&mut self, act: impl FnOnce(&mut M, &mut Context<'_>) -> Result<(), WireError>) {
        let mut cx = Context { out: &mut self.out, pool: &self.pool, now: self.now };
        act(&mut self.machine, &mut cx).expect("the peer is sound");
    }

    /// Forgets what waits to be sent; returns how much that was.
    fn sent(&mut self) -> usize {
        self.out.take(&mut self.batch);
        let sent = self.batch.len();
        self.batch.advance(sent);
        sent
    }

    /// Serves one request; returns how long the reply was and its last byte.
    fn turn(&mut self, input: &[u8]) -> (usize, u8) {
        let mut cx = Context { out: &mut self.out, pool: &self.pool, now: self.now };
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
        self.batch.advance(sent);
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

/// Bytes that a ring brings at once.
const RING_BYTES: usize = 64 * 1024;

/// The input of one turn, whose stream numbers rise from turn to turn.
struct Turns {
    input: Vec<u8>,
    /// Offsets of the stream numbers.
    numbers: Vec<usize>,
    /// Streams of a turn.
    count: u32,
}

impl Turns {
    /// Repeats the calls or replies in `first`, of `count` streams, all of them for later turns.
    /// Each turn grants what the other side spends on `bytes` of messages.
    fn new(first: &[u8], count: u32, bytes: usize) -> Turns {
        let (mut input, mut numbers, mut rest) = (Vec::new(), Vec::new(), first);
        while let Some(&[a, b, c, kind, ..]) = rest.first_chunk::<9>() {
            let (frame, later) = rest.split_at(9 + u32::from_be_bytes([0, a, b, c]) as usize);
            if matches!(kind, DATA | HEADERS) {
                numbers.push(input.len() + 5);
                input.extend_from_slice(frame);
            }
            rest = later;
        }
        input.extend_from_slice(&window_update(bytes as u32 + 5 * count));
        Turns { input, numbers, count }
    }

    fn turn(&mut self) -> &[u8] {
        for &at in &self.numbers {
            let number = &mut self.input[at..at + 4];
            let next = u32::from_be_bytes(number.try_into().expect("four bytes")) + 2 * self.count;
            number.copy_from_slice(&next.to_be_bytes());
        }
        &self.input
    }
}

/// A client that has `count` calls of one body in flight, and asks again once all have their
/// replies.
struct Caller {
    client: H2Client,
    body: Rc<PooledBuf>,
    count: u32,
    replies: Count,
}

/// Counts replies that are as long as they should be.
struct Count {
    len: usize,
    count: u32,
}

impl Sink for Count {
    fn response(&mut self, _: u32, event: ResponseEvent<'_>) {
        let whole = matches!(event, ResponseEvent::Whole(message) if message.len() == self.len);
        self.count += u32::from(whole);
    }
}

impl Caller {
    fn new(count: u32, size: usize, changing: Option<ChangingFields>) -> Caller {
        let body: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let body = Rc::new(body.into());
        let (limits, allowance) = (Rc::new(Limits::default()), Allowance::default());
        let client = H2Client::new("127.0.0.1:50051", PATH, GRPC, allowance, limits)
            .with_changing_fields(changing);
        Caller { client, body, count, replies: Count { len: size, count: 0 } }
    }

    fn ask(&mut self, cx: &mut Context<'_>) {
        for id in 0..self.count {
            self.client.request(id, &[Part::Share(&self.body, 0..self.body.len())], cx);
        }
    }
}

impl Machine for Caller {
    fn open(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.client.open(cx);
        // Windows of 16 MiB and frames of 1 MiB.
        let settings = [0, 0, 12, 4, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 5, 0, 16, 0, 0];
        let said = [&settings[..], &window_update(1 << 30)].concat();
        self.client.receive(&said, cx, &mut self.replies)?;
        self.ask(cx);
        Ok(())
    }

    fn receive(&mut self, input: &[u8], cx: &mut Context<'_>) -> Result<(), WireError> {
        self.client.receive(input, cx, &mut self.replies)
    }

    fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        self.client.lend(pool)
    }

    fn repay(&mut self, buffer: PooledBuf, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.client.repay(buffer, cx, &mut self.replies)
    }

    /// All replies have been taken: asks again.
    fn flushed(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        assert_eq!(std::mem::take(&mut self.replies.count), self.count);
        self.client.flushed();
        self.ask(cx);
        Ok(())
    }

    fn end(&mut self, _: &mut Context<'_>) -> Result<(), WireError> {
        self.client.end()
    }

    fn drain(&mut self, _: &mut Context<'_>) {}

    fn finished(&self) -> bool {
        false
    }
}

const DATA: u8 = 0;

const HEADERS: u8 = 1;

const PATH: &str = "/Calculator/Echo";

const GRPC: &str = "application/grpc";

fn window_update(increment: u32) -> Vec<u8> {
    [&[0, 0, 4, 8, 0, 0, 0, 0, 0][..], &increment.to_be_bytes()].concat()
}

/// A turn of many calls on one connection, calls as throughput: `wire/h2/bytes` is the server half,
/// which answers them, `wire/h2-client/bytes` the client half, which takes the replies and asks
/// again. `equal` in the name stands for heads that are all the same; others have a trace and a
/// timeout that change.
fn h2(c: &mut Criterion) {
    h2_with(c, ["h2", "h2-client"], Some(ChangingFields::new(1, Duration::from_secs(60), false)));
    h2_with(c, ["h2-equal", "h2-client-equal"], None);
}

fn h2_with(c: &mut Criterion, names: [&str; 2], changing: Option<ChangingFields>) {
    let mut group = c.benchmark_group("wire");
    for (size, count) in SIZES.into_iter().zip(STREAMS) {
        let mut server = Wired::new(H2::new(Reflect, Rc::new(Limits::default())));
        let mut client = Wired::new(Caller::new(count, size, changing.clone()));
        let carry = |input: &[u8], server: &mut Wired<H2<Reflect>>| {
            server.feed(input);
            server.out.take_bytes()
        };
        client.with(|machine, cx| machine.open(cx));
        let hello = client.out.take_bytes();
        client.feed(&carry(&hello, &mut server));
        client.with(|machine, cx| machine.flushed(cx));
        let calls = client.out.take_bytes();
        let replies = carry(&calls, &mut server);
        client.feed(&replies);
        let bytes = size * count as usize;
        let mut calls = Turns::new(&calls, count, bytes);
        let mut replies = Turns::new(&replies, count, bytes);
        group.throughput(Throughput::Elements(u64::from(count)));
        group.bench_function(BenchmarkId::new(names[0], size), |b| {
            b.iter(|| {
                server.feed(black_box(calls.turn()));
                assert!(server.sent() > bytes);
            });
        });
        group.bench_function(BenchmarkId::new(names[1], size), |b| {
            b.iter(|| {
                client.with(|machine, cx| machine.flushed(cx));
                assert!(client.sent() > bytes);
                client.feed(black_box(replies.turn()));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, raw, h1, h2);

fn main() {
    println!("{BASELINE}\n");
    benches();
    Criterion::default().configure_from_args().final_summary();
}
