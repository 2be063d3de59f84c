//! A server in steady state needs no new memory: once its buffers have grown to the size of the
//! messages, a request causes no page fault and almost no allocation. Counted for own protocols
//! with own codecs, without sockets.

use std::time::Instant;

use allocation_counter::measure;
use ndecho::array::{DType, NdArray, Shape};
use ndecho::axis::Family;
use ndecho::codec::{self, Encoding};
use ndecho::service::codecs::CodecSet;
use ndecho::service::echo::EchoService;
use ndecho::service::handler::EchoHandler;
use ndecho::wire::h1::{DateClock, H1};
use ndecho::wire::h2::H2;
use ndecho::wire::raw::Raw;
use ndecho::wire::{Batch, Context, Limits, Machine, Outbox, Pool, json_head};
use nix::sys::resource::{UsageWho, getrusage};

/// Bytes that arrive at once: the size of a driver's receive buffer.
const ARRIVAL: usize = 64 * 1024;

/// Largest average allocation of a request: a fixed part, and a part per MiB of its message, since
/// HTTP/2 has a queue of frames.
const ALLOCATED_MAX: u64 = 512;
const ALLOCATED_PER_MIB_MAX: u64 = 256;

/// A machine with the buffers of a driver. Its output is dropped.
struct Served<M> {
    machine: M,
    out: Outbox,
    batch: Batch,
    pool: Pool,
    sent: usize,
}

impl<M: Machine> Served<M> {
    fn new(machine: M) -> Served<M> {
        let (out, batch, pool) = Default::default();
        Served { machine, out, batch, pool, sent: 0 }
    }

    fn feed(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            let loan = self.machine.lend(&self.pool);
            let (out, pool, now) = (&mut self.out, &self.pool, Instant::now());
            let want = loan.as_ref().map_or(ARRIVAL, |loan| loan.want);
            let (arrived, later) = input.split_at(input.len().min(want));
            let mut cx = Context { out, pool, now };
            let fed = match loan {
                Some(mut loan) => {
                    loan.buffer.extend_from_slice(arrived);
                    self.machine.repay(loan.buffer, &mut cx)
                }
                None => self.machine.receive(arrived, &mut cx),
            };
            fed.expect("a valid request");
            input = later;
            self.run_jobs();
            self.out.take(&mut self.batch);
            self.sent += self.batch.len();
            self.batch.advance(self.batch.len());
        }
    }

    /// Runs the jobs of long messages at once, on this thread.
    fn run_jobs(&mut self) {
        while let Some(job) = self.out.take_job() {
            job.run();
            let mut cx = Context { out: &mut self.out, pool: &self.pool, now: Instant::now() };
            self.machine.jobs_ended(&mut cx).expect("a valid request");
        }
    }
}

fn message(encoding: Encoding, bytes: u64) -> Vec<u8> {
    let array = NdArray::seeded(DType::F8, Shape::new(&[bytes / 8]).unwrap(), 1).unwrap();
    let Some(own) = CodecSet::own().get(encoding) else { return array.view().data().to_vec() };
    codec::message(own, &array.view()).unwrap()
}

fn service() -> EchoService {
    EchoService::new(CodecSet::own(), Limits::default(), Default::default())
}

fn raw(encoding: Encoding, body: &[u8]) -> Vec<u8> {
    let mut request = (body.len() as u32).to_be_bytes().to_vec();
    request.push(encoding.id());
    [&request, body].concat()
}

fn h1(encoding: Encoding, body: &[u8]) -> Vec<u8> {
    let (path, len) = (encoding.path(), body.len());
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}\r\n");
    let field = match codec::json_head_len(encoding).and_then(|len| len(body)) {
        Some(head_len) => format!("{}: {head_len}\r\n", json_head::FIELD),
        None => String::new(),
    };
    [head.as_bytes(), field.as_bytes(), b"\r\n", body].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    [&frame, payload].concat()
}

/// Builds a call on `stream`, after a WINDOW_UPDATE for the connection.
fn h2(encoding: Encoding, body: &[u8], stream: u32) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", encoding.grpc_path()),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", encoding.grpc_content_type()),
    ] {
        head.extend_from_slice(&[0, name.len() as u8]);
        head.extend_from_slice(name.as_bytes());
        head.push(value.len() as u8);
        head.extend_from_slice(value.as_bytes());
    }
    let message = [&[0][..], &(body.len() as u32).to_be_bytes(), body].concat();
    let mut request = frame(8, 0, 0, &(2 * body.len() as u32 + 1000).to_be_bytes());
    request.extend(frame(1, 4, stream, &head));
    let count = message.len().div_ceil(1 << 20);
    for (at, chunk) in message.chunks(1 << 20).enumerate() {
        request.extend(frame(0, u8::from(at + 1 == count), stream, chunk));
    }
    request
}

/// Feeds warm-up requests, then asserts that further requests cost no memory.
fn assert_steady<M: Machine>(
    name: &str,
    machine: M,
    reply_min: usize,
    request: impl Fn(u32) -> Vec<u8>,
) {
    const WARMUP: u32 = 3;
    const COUNTED: u32 = 4;
    let mut served = Served::new(machine);
    let requests: Vec<Vec<u8>> = (0..WARMUP + COUNTED).map(request).collect();
    let (warmup, counted) = requests.split_at(WARMUP as usize);
    warmup.iter().for_each(|request| served.feed(request));
    let before = served.sent;
    let faults = || getrusage(UsageWho::RUSAGE_THREAD).expect("it is Linux").minor_page_faults();
    let faults_before = faults();
    let allocated = measure(|| counted.iter().for_each(|request| served.feed(request)));
    let faults = faults() - faults_before;
    let bytes = allocated.bytes_total / u64::from(COUNTED);
    assert!(served.sent - before >= COUNTED as usize * reply_min, "{name}: a reply is missing");
    let bytes_max = ALLOCATED_MAX + (reply_min as u64 >> 20) * ALLOCATED_PER_MIB_MAX;
    assert!(bytes <= bytes_max, "{name}: {bytes} bytes a request: {allocated:?}");
    // The counter itself may touch a page or two.
    assert!(faults < i64::from(COUNTED), "{name}: {faults} page faults in {COUNTED} requests");
}

/// Sizes that use different buffers: coalesced, an own buffer, larger than a loan.
const SIZES: [u64; 4] = [8, 64 << 10, 1 << 20, 8 << 20];

fn cases() -> impl Iterator<Item = (Encoding, u64)> {
    let all = Encoding::ALL.into_iter().flat_map(|encoding| SIZES.map(|size| (encoding, size)));
    // Numbers are slow to read and write in a debug build, and the buffers are those of the other
    // text codec.
    all.filter(|&(encoding, size)| encoding != Encoding::Json || size <= 64 << 10)
}

#[test]
fn raw_frames() {
    for (encoding, size) in cases() {
        let body = message(encoding, size);
        let handler = EchoHandler::new(Family::Raw, service());
        let machine = Raw::new(handler, Limits::default().into());
        assert_steady(&format!("raw {encoding:?} {size}"), machine, body.len(), |_| {
            raw(encoding, &body)
        });
    }
}

#[test]
fn http1() {
    for (encoding, size) in cases() {
        let body = message(encoding, size);
        let handler = EchoHandler::new(Family::Rest, service());
        let clock = DateClock::new(Instant::now(), std::time::Duration::from_secs(784_111_777));
        let machine = H1::new(handler, Limits::default().into(), clock);
        assert_steady(&format!("h1 {encoding:?} {size}"), machine, body.len(), |_| {
            h1(encoding, &body)
        });
    }
}

#[test]
fn http2() {
    for (encoding, size) in cases() {
        let body = message(encoding, size);
        let handler = EchoHandler::new(Family::Grpc, service());
        let machine = H2::new(handler, Limits::default().into());
        let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        // Windows without end and frames of 16 MiB, as a client of large arrays asks for. With the
        // default frames of 16 KiB the queue of frames to send is made anew for each reply: 4 KB
        // for one of 1 MiB.
        let settings = frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff, 0, 5, 0, 0xff, 0xff, 0xff]);
        assert_steady(&format!("h2 {encoding:?} {size}"), machine, body.len(), |at| {
            let call = h2(encoding, &body, 2 * at + 1);
            if at == 0 { [&hello[..], &settings, &call].concat() } else { call }
        });
    }
}
