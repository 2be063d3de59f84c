//! The load generator allocates no memory in steady state. Its connections run against our servers
//! without sockets, and both sides are counted. Its cost must be small and must not depend on an
//! allocator.

use std::cell::RefCell;
use std::io::IoSlice;
use std::rc::Rc;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use ndecho::axis::Family;
use ndecho::codec::Encoding;
use ndecho::load::client::{LoadClient, LoadConnection};
use ndecho::load::message::{Body, Message};
use ndecho::load::run::Run;
use ndecho::load::worker;
use ndecho::record::trial_spec::{ArraySpec, Length, LoadSpec};
use ndecho::service::codecs::CodecSet;
use ndecho::service::echo::EchoService;
use ndecho::service::handler::EchoHandler;
use ndecho::wire::h1::{DateClock, H1, H1Client};
use ndecho::wire::h2::{Allowance, H2, H2Client};
use ndecho::wire::raw::{Raw, RawClient};
use ndecho::wire::{Batch, ChangingFields, Context, Limits, Machine, Outbox, Pool};

/// Bytes that arrive at once.
const ARRIVAL: usize = 64 * 1024;

/// Most bytes that a request may allocate on both sides together, for the queue of the pieces of a
/// large message.
const ALLOCATED_MAX: u64 = 512;

/// Machine with everything that a driver lends it.
struct End {
    machine: Box<dyn Machine>,
    out: Outbox,
    batch: Batch,
    pool: Pool,
    now: Instant,
}

impl End {
    fn new(machine: impl Machine + 'static) -> End {
        let (out, batch, pool) = Default::default();
        End { machine: Box::new(machine), out, batch, pool, now: Instant::now() }
    }

    fn open(&mut self) {
        let mut cx = Context { out: &mut self.out, pool: &self.pool, now: self.now };
        self.machine.open(&mut cx).expect("it may speak first");
    }

    fn feed(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            let loan = self.machine.lend(&self.pool);
            let want = loan.as_ref().map_or(ARRIVAL, |loan| loan.want);
            let (arrived, later) = input.split_at(input.len().min(want));
            let mut cx = Context { out: &mut self.out, pool: &self.pool, now: self.now };
            let fed = match loan {
                Some(mut loan) => {
                    loan.buffer.extend_from_slice(arrived);
                    self.machine.repay(loan.buffer, &mut cx)
                }
                None => self.machine.receive(arrived, &mut cx),
            };
            fed.expect("the other end is right");
            input = later;
        }
    }

    /// Passes all pending output to `other`.
    fn send(&mut self, other: &mut End) {
        self.now += Duration::from_micros(1);
        self.out.take(&mut self.batch);
        while !self.batch.is_empty() {
            let mut slots = [IoSlice::new(&[]); 8];
            let filled = self.batch.slices(&mut slots);
            slots[..filled].iter().for_each(|slot| other.feed(slot));
            let sent = slots[..filled].iter().map(|slot| slot.len()).sum();
            self.batch.advance(sent);
        }
        let mut cx = Context { out: &mut self.out, pool: &self.pool, now: self.now };
        self.machine.flushed(&mut cx).expect("it has been sent");
    }
}

/// Loads `server` from `client` with `in_flight` requests of `size` bytes, then counts the
/// allocations per request.
fn settle<C: LoadClient + 'static>(
    name: &str,
    client: C,
    server: impl Machine + 'static,
    (size, in_flight): (u64, u32),
) {
    const ROUNDS: u64 = 8;
    let url = "raw://127.0.0.1:1".parse().unwrap();
    let spec = LoadSpec {
        array: ArraySpec::float64(size, 1),
        in_flight,
        warmup: Length::Requests(0),
        window: Length::Requests(u64::MAX / 2),
        ..LoadSpec::new(url, Encoding::Protobuf)
    };
    let body = Body::from(spec.encoding);
    let mut arrays = worker::arrays(&spec.array, body).unwrap();
    let message = Message::new(body, arrays.remove(0), 1).unwrap();
    let run = Rc::new(RefCell::new(Run::new(&spec, vec![message]).expect("a thread")));
    let mut client = End::new(LoadConnection::new(client, Rc::clone(&run), 0, in_flight));
    let mut server = End::new(server);
    client.open();
    server.open();
    let mut round = || {
        client.send(&mut server);
        server.send(&mut client);
        assert!(!run.borrow().over(), "{name} {size}: {:?}", run.borrow());
        run.borrow().traffic().bytes_in.get()
    };
    for _ in 0..4 {
        round();
    }
    let (before, mut after) = (round(), 0);
    let allocated = measure(|| (0..ROUNDS).for_each(|_| after = round()));
    assert!(after - before >= ROUNDS * u64::from(in_flight) * size, "{name} {size}: not all came");
    let bytes = allocated.bytes_total / (ROUNDS * u64::from(in_flight));
    assert!(bytes <= ALLOCATED_MAX, "{name} {size}: {bytes} bytes a request: {allocated:?}");
    if size <= 2048 {
        assert_eq!(allocated.count_total, 0, "{name} {size}: {allocated:?}");
    }
}

const LOADS: [(u64, u32); 4] = [(8, 1000), (2048, 100), (64 << 10, 16), (1 << 20, 2)];

fn handler(family: Family) -> EchoHandler {
    EchoHandler::new(
        family,
        EchoService::new(CodecSet::own(), Limits::default(), Default::default()),
    )
}

#[test]
fn raw_frames() {
    for load in LOADS {
        let client = RawClient::new(Encoding::Protobuf.id(), &Limits::default());
        let server = Raw::new(handler(Family::Raw), Limits::default().into());
        settle("raw", client, server, load);
    }
}

fn changing() -> Option<ChangingFields> {
    Some(ChangingFields::new(1, Duration::from_secs(60), false))
}

#[test]
fn http1() {
    for (size, _) in LOADS {
        let (path, kind) = (Encoding::Protobuf.path(), Encoding::Protobuf.content_type());
        let client = H1Client::new("localhost:1", path, kind, &Limits::default())
            .with_changing_fields(changing());
        let clock = DateClock::new(Instant::now(), Duration::from_secs(784_111_777));
        let server = H1::new(handler(Family::Rest), Limits::default().into(), clock);
        settle("h1", client, server, (size, 1));
    }
}

#[test]
fn grpc() {
    for load in LOADS {
        let (path, kind) = ("/Calculator/Echo", Encoding::Protobuf.grpc_content_type());
        let limits = Limits::default().into();
        let allowance = Allowance { window: 64 << 20, frame_bytes_max: 1 << 20 };
        let client = H2Client::new("localhost:1", path, kind, allowance, limits)
            .with_changing_fields(changing());
        let server = H2::new(handler(Family::Grpc), Limits::default().into());
        settle("h2", client, server, load);
    }
}
