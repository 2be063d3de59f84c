use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::codec::Encoding;
use crate::load::client::{LoadClient, LoadConnection};
use crate::load::message::{Body, Message};
use crate::load::run::Run;
use crate::load::worker;
use crate::record::trial_spec::{ArraySpec, Length, LoadSpec, Target};
use crate::wire::{Client, Context, Machine, Outbox, Part, Pool, ResponseEvent, Sink, WireError};

/// Client half for messages of an id, a length and bytes. The id [`AWAY`] ends the connection.
#[derive(Debug, Default)]
struct Framed {
    kept: Vec<u8>,
    unanswered: Vec<u32>,
    is_leaving: bool,
}

const AWAY: u32 = u32::MAX;

impl LoadClient for Framed {}

impl Client for Framed {
    fn in_flight_max(&self) -> usize {
        if self.is_leaving { 0 } else { usize::MAX }
    }

    fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    fn request(&mut self, id: u32, parts: &[Part<'_>], cx: &mut Context<'_>) {
        self.unanswered.push(id);
        let len: usize = parts.iter().map(Part::len).sum();
        cx.out.copy(&id.to_be_bytes(), cx.pool);
        cx.out.copy(&(len as u32).to_be_bytes(), cx.pool);
        cx.out.parts(parts, cx.pool);
    }

    fn receive(
        &mut self,
        input: &[u8],
        _: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        self.kept.extend_from_slice(input);
        while let Some((id, body, used)) = frame(&self.kept) {
            if id == AWAY {
                self.is_leaving = true;
                let unanswered = self.unanswered.drain(..);
                unanswered.for_each(|id| sink.response(id, ResponseEvent::Unprocessed));
            } else {
                self.unanswered.retain(|other| *other != id);
                sink.response(id, ResponseEvent::Whole(body));
            }
            self.kept.drain(..used);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), WireError> {
        Ok(())
    }
}

fn frame(bytes: &[u8]) -> Option<(u32, &[u8], usize)> {
    let id = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
    let len = u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?) as usize;
    Some((id, bytes.get(8..8 + len)?, 8 + len))
}

/// A connection and a peer that answers what it is told to, without any I/O.
struct Bench {
    connection: LoadConnection<Framed>,
    out: Outbox,
    pool: Pool,
    now: Instant,
    requests: VecDeque<Vec<u8>>,
}

fn spec(size: u64, in_flight: u32, window: Length) -> LoadSpec {
    let url = "raw://127.0.0.1:1".parse().expect("a URL");
    let spec = LoadSpec::new(url, Encoding::Reflect);
    LoadSpec {
        targets: vec![Target { pid: Some(std::process::id()), ..spec.target().clone() }],
        array: ArraySpec::float64(size, 3),
        in_flight,
        warmup: Length::Requests(0),
        window,
        ..spec
    }
}

impl Bench {
    fn new(spec: &LoadSpec) -> Bench {
        let body = Body::from(spec.encoding);
        let mut arrays = worker::arrays(&spec.array, body).unwrap();
        let message = Message::new(body, arrays.remove(0), 17).unwrap();
        let run = Rc::new(RefCell::new(Run::new(spec, vec![message]).expect("a thread")));
        Bench::joining(run, 0, spec.in_flight)
    }

    fn joining(run: Rc<RefCell<Run>>, index: usize, in_flight: u32) -> Bench {
        let mut bench = Bench {
            connection: LoadConnection::new(Framed::default(), run, index, in_flight),
            out: Outbox::default(),
            pool: Pool::default(),
            now: Instant::now(),
            requests: VecDeque::new(),
        };
        bench.step(|connection, cx| connection.open(cx));
        bench
    }

    fn run(&self) -> Rc<RefCell<Run>> {
        Rc::clone(&self.connection.run)
    }

    fn step(
        &mut self,
        act: impl FnOnce(&mut LoadConnection<Framed>, &mut Context<'_>) -> Result<(), WireError>,
    ) {
        self.now += Duration::from_micros(10);
        let mut cx = Context { out: &mut self.out, pool: &self.pool, now: self.now };
        act(&mut self.connection, &mut cx).unwrap();
        let mut sent = self.out.take_bytes();
        while let Some((_, _, used)) = frame(&sent) {
            self.requests.push_back(sent.drain(..used).collect());
        }
        assert!(sent.is_empty(), "requests are whole");
    }

    fn reply(&mut self, bytes: &[u8]) {
        self.step(|connection, cx| connection.receive(bytes, cx));
    }

    fn failure(self) -> String {
        let run = self.run();
        drop(self);
        let failure = run.borrow_mut().finish(Default::default()).expect_err("a failure");
        failure.to_string()
    }
}

#[test]
fn an_echo_is_measured() {
    let mut bench = Bench::new(&spec(65_536, 4, Length::Requests(10)));
    assert_eq!(bench.requests.len(), 4);
    while let Some(request) = bench.requests.pop_front() {
        let (start, end) = request.split_at(1000);
        bench.reply(start);
        bench.reply(end);
    }
    assert!(bench.connection.finished());
    let run = bench.run();
    drop(bench);
    let measured = run.borrow_mut().finish(Default::default()).unwrap();
    assert_eq!(measured.requests, 10);
    assert_eq!((measured.bytes_out, measured.bytes_in), (10 * 65_544, 10 * 65_544));
    assert!(measured.wall_ns >= 180_000 && measured.latency_ns.p50 >= 10_000);
    assert!(measured.server_cpu.is_some() && measured.server_rss_peak_bytes.is_some());
}

#[test]
fn replies_may_overtake_each_other() {
    let mut bench = Bench::new(&spec(8, 3, Length::Requests(9)));
    while let Some(request) = bench.requests.pop_back() {
        bench.reply(&request);
    }
    assert!(bench.connection.finished());
}

#[test]
fn swapped_replies_are_caught() {
    let mut bench = Bench::new(&spec(8, 2, Length::Requests(9)));
    let mut first = bench.requests.pop_front().unwrap();
    let second = bench.requests.pop_front().unwrap();
    first[8..].copy_from_slice(&second[8..]);
    bench.reply(&first);
    let failure = bench.failure();
    assert!(failure.starts_with("request 0: wrong reply: byte 0"), "{failure}");
    assert!(failure.ends_with("it carries the nonce of request 1"), "{failure}");
}

#[test]
fn a_second_reply_to_one_request_is_caught() {
    let mut bench = Bench::new(&spec(8, 1, Length::Requests(1)));
    let reply = bench.requests.pop_front().unwrap();
    bench.reply(&[reply.as_slice(), &reply].concat());
    assert_eq!(bench.failure(), "a reply to id 0, which belongs to no request");
}

#[test]
fn an_early_end_is_a_failure_and_a_late_one_is_not() {
    let mut bench = Bench::new(&spec(8, 2, Length::Requests(2)));
    bench.step(|connection, cx| connection.end(cx));
    assert!(bench.connection.finished());
    assert_eq!(bench.failure(), "the server closed a connection, 2 requests were without a reply");

    let mut bench = Bench::new(&spec(8, 1, Length::Requests(1)));
    let reply = bench.requests.pop_front().unwrap();
    bench.reply(&reply);
    bench.step(|connection, cx| connection.end(cx));
    let run = bench.run();
    drop(bench);
    assert!(run.borrow_mut().finish(Default::default()).is_ok());
}

#[test]
fn a_dropped_connection_ends_the_run() {
    let bench = Bench::new(&spec(8, 2, Length::Requests(2)));
    assert!(bench.failure().starts_with("the server closed a connection"));
}

const GOODBYE: [u8; 8] = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];

#[test]
fn a_request_that_was_not_processed_is_sent_again_and_counted_once() {
    let mut first = Bench::new(&spec(8, 2, Length::Requests(3)));
    let answered = first.requests.pop_front().unwrap();
    first.reply(&answered);
    let unprocessed = [first.requests[0].clone(), first.requests[1].clone()];
    first.reply(&GOODBYE);
    assert!(first.connection.finished());
    let run = first.run();
    drop(first);
    assert_eq!(run.borrow_mut().take_ended(), [0]);

    let mut second = Bench::joining(Rc::clone(&run), 0, 2);
    let bodies = |requests: &[Vec<u8>]| -> Vec<_> {
        requests.iter().map(|request| request[8..].to_vec()).collect()
    };
    assert_eq!(bodies(second.requests.make_contiguous()), bodies(&unprocessed));
    while let Some(request) = second.requests.pop_front() {
        second.reply(&request);
    }
    drop(second);
    let measured = run.borrow_mut().finish(Default::default()).unwrap();
    assert_eq!((measured.requests, measured.reconnects), (3, 1));
}

#[test]
fn an_idle_connection_may_end_and_a_last_one_needs_no_successor() {
    let mut idle = Bench::new(&LoadSpec { rate_hz: Some(1.0), ..spec(8, 1, Length::Requests(2)) });
    let reply = idle.requests.pop_front().unwrap();
    idle.reply(&reply);
    idle.step(|connection, cx| connection.end(cx));
    assert_eq!(idle.run().borrow_mut().take_ended(), [0]);

    let mut last = Bench::new(&spec(8, 1, Length::Requests(1)));
    let reply = last.requests.pop_front().unwrap();
    last.reply(&[&reply[..], &GOODBYE].concat());
    assert!(last.run().borrow_mut().take_ended().is_empty());
}

#[test]
fn a_connection_that_leaves_before_its_first_reply_is_a_failure() {
    let mut bench = Bench::new(&spec(8, 2, Length::Requests(3)));
    bench.reply(&GOODBYE);
    bench.step(|connection, cx| connection.end(cx));
    assert!(bench.failure().starts_with("the server closed a connection"));
}
