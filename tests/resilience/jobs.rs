//! A long message holds up no other: its work is done beside the worker.
//!
//! The codec of these tests waits at a gate, so nothing depends on the speed of a machine.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ndecho::array::ArrayView;
use ndecho::axis::{Codec, Driver, Encoding, Family, Protocol};
use ndecho::codec::npy::Npy;
use ndecho::codec::{ArrayCodec, Effort, Encoded, Result};
use ndecho::service::codecs::CodecSet;
use ndecho::wire::Limits;

use crate::grpc::{Grpc, exchange, framed, request};
use crate::rest::Rest;
use crate::server::{self, Running};

/// Longest wait of a test for an event.
const LATE: Duration = Duration::from_secs(60);

/// Shortest long message of these tests, of several frames and reads.
const LONG_BYTES: usize = 1 << 20;

/// Codec for `npy` that returns any message, once its gate is open.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    entered: usize,
    is_open: bool,
    panics: bool,
}

impl Gate {
    fn closed() -> &'static Gate {
        Box::leak(Box::default())
    }

    fn open(&self) {
        self.state.lock().expect("no panic with it").is_open = true;
        self.changed.notify_all();
    }

    fn panic_next(&self) {
        self.state.lock().expect("no panic with it").panics = true;
    }

    /// Waits until `count` messages have reached the gate.
    fn wait_for(&self, count: usize) {
        let state = self.state.lock().expect("no panic with it");
        let waits = |state: &mut GateState| state.entered < count;
        let (state, waited) =
            self.changed.wait_timeout_while(state, LATE, waits).expect("no panic with it");
        assert!(!waited.timed_out(), "{} of {count} messages came", state.entered);
    }

    fn entered(&self) -> usize {
        self.state.lock().expect("no panic with it").entered
    }

    fn pass(&self) {
        let mut state = self.state.lock().expect("no panic with it");
        state.entered += 1;
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(state, LATE, |state| !state.is_open);
        let (mut state, waited) = waited.expect("no panic with it");
        let panics = std::mem::take(&mut state.panics);
        drop(state);
        assert!(!panics, "planted by a test");
        assert!(!waited.timed_out(), "nobody has opened the gate");
    }
}

impl ArrayCodec for &'static Gate {
    fn id(&self) -> Codec {
        Codec::Npy
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        Npy.decode(body, scratch)
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        Npy.encode(array, out)
    }

    fn effort(&self, _body: &[u8]) -> Effort {
        Effort::Converts
    }

    fn echo<'a>(
        &self,
        body: &'a [u8],
        _scratch: &'a mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded<'a>> {
        self.pass();
        out.extend_from_slice(body);
        Ok(Encoded { head_len: body.len(), payload: &[] })
    }
}

const OWN: [Protocol; 3] = [Protocol::H1, Protocol::H2, Protocol::Raw];
const BORROWED: [Protocol; 3] = [Protocol::H2Crate, Protocol::HyperH2, Protocol::Hyper];

fn limits() -> Limits {
    Limits { job_bytes_min: LONG_BYTES, ..Limits::default() }
}

fn start(driver: Driver, protocol: Protocol, limits: Limits) -> Option<(Running, &'static Gate)> {
    let gate = Gate::closed();
    let codec: &'static &'static Gate = Box::leak(Box::new(gate));
    let codecs = CodecSet::own().with_implementation(codec);
    Some((server::start(driver, protocol, codecs, limits)?, gate))
}

/// Runs a test on a server of every rung whose long messages are worked on beside the worker.
fn on_each(test: impl Fn(&Running, &'static Gate, Protocol)) {
    let own = Driver::ALL.into_iter().flat_map(|driver| OWN.map(|protocol| (driver, protocol)));
    let hosts = [Driver::Uring, Driver::Tokio].into_iter();
    let borrowed = hosts.flat_map(|driver| BORROWED.map(|protocol| (driver, protocol)));
    for (driver, protocol) in own.chain(borrowed) {
        println!("{driver}/{protocol}");
        let Some((server, gate)) = start(driver, protocol, limits()) else { continue };
        test(&server, gate, protocol);
        server.stop();
    }
}

fn long_message() -> Vec<u8> {
    (0..LONG_BYTES).map(|at| ((at * 31) ^ (at >> 8)) as u8).collect()
}

/// Connection that makes one call after the other.
enum Peer {
    Raw(TcpStream),
    Rest(Rest),
    Grpc(Grpc),
}

impl Peer {
    fn connect(address: SocketAddr, protocol: Protocol) -> Peer {
        match protocol.family() {
            Family::Rest => {
                let peer = Rest::connect(address);
                peer.0.set_read_timeout(Some(LATE)).expect("a positive timeout");
                Peer::Rest(peer)
            }
            Family::Grpc => Peer::Grpc(Grpc::connect(address)),
            Family::Raw => {
                let stream = TcpStream::connect(address).expect("the server listens");
                stream.set_read_timeout(Some(LATE)).expect("a positive timeout");
                Peer::Raw(stream)
            }
            Family::Zmtp => panic!("no server of ours speaks ZMTP"),
        }
    }

    /// Calls with a message in the form of `encoding`. Returns the reply, or what refused it.
    fn call(&mut self, encoding: Encoding, message: &[u8]) -> std::result::Result<Vec<u8>, String> {
        match self {
            Peer::Raw(stream) => {
                stream.write_all(&raw_frame(encoding, message)).expect("the server reads");
                let (codec, body) = raw_reply(stream);
                if codec == encoding.id() { Ok(body) } else { Err(codec.to_string()) }
            }
            Peer::Rest(peer) => {
                let reply = peer.post(encoding.path(), message);
                if reply.status == 200 { Ok(reply.body) } else { Err(reply.status.to_string()) }
            }
            Peer::Grpc(peer) => {
                let pieces: Vec<Vec<u8>> =
                    framed(message).chunks(60_000).map(<[u8]>::to_vec).collect();
                let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
                let reply = peer.call(request(encoding.grpc_content_type()), &pieces);
                let status = reply.field("grpc-status").to_owned();
                let body = reply.body.get(5..).map(<[u8]>::to_vec);
                body.filter(|_| status == "0").ok_or(status)
            }
        }
    }
}

fn raw_frame(encoding: Encoding, message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).expect("below 4 GiB");
    [&len.to_be_bytes()[..], &[encoding.id()], message].concat()
}

fn raw_reply(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 5];
    stream.read_exact(&mut head).expect("the head of a reply");
    let [a, b, c, d, codec] = head;
    let mut body = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
    stream.read_exact(&mut body).expect("the whole reply");
    (codec, body)
}

#[test]
fn a_long_message_holds_up_no_other() {
    on_each(|server, gate, protocol| {
        let address = server.address();
        let (mut peer, mut bystander) =
            (Peer::connect(address, protocol), Peer::connect(address, protocol));
        let message = long_message();
        std::thread::scope(|scope| {
            let called = scope.spawn(|| peer.call(Encoding::Npy, &message));
            gate.wait_for(1);
            for _ in 0..3 {
                assert_eq!(
                    bystander.call(Encoding::Reflect, b"small").as_deref(),
                    Ok(&b"small"[..])
                );
            }
            let reply = Peer::connect(address, protocol).call(Encoding::Reflect, b"new");
            assert_eq!(reply.as_deref(), Ok(&b"new"[..]));
            gate.open();
            let reply = called.join().expect("a reply");
            assert!(reply.as_ref() == Ok(&message), "{:?}", reply.map(|reply| reply.len()));
        });
        let reply = peer.call(Encoding::Npy, &message);
        assert!(reply.as_ref() == Ok(&message), "the connection goes on");
        assert_eq!(server.counts().jobs.get(), 2);
        assert_eq!(server.counts().requests.get(), 6);
    });
}

#[test]
fn a_panic_of_long_work_costs_one_request_and_is_counted() {
    on_each(|server, gate, protocol| {
        let mut peer = Peer::connect(server.address(), protocol);
        gate.open();
        gate.panic_next();
        let expected = match protocol.family() {
            Family::Rest => "500",
            Family::Grpc => "13",
            Family::Raw => "255",
            Family::Zmtp => panic!("no server of ours speaks ZMTP"),
        };
        let refused = peer.call(Encoding::Npy, &long_message());
        assert_eq!(refused.map(|reply| reply.len()), Err(expected.to_owned()));
        assert!(peer.call(Encoding::Npy, &long_message()).is_ok());
        assert_eq!(server.counts().panics(), 1);
    });
}

#[test]
fn the_least_length_of_a_long_message_is_kept() {
    on_each(|server, gate, protocol| {
        gate.open();
        let mut peer = Peer::connect(server.address(), protocol);
        let message = long_message();
        assert!(peer.call(Encoding::Npy, &message[1..]).is_ok());
        assert_eq!(server.counts().jobs.get(), 0);
        assert!(peer.call(Encoding::Reflect, &message).is_ok());
        assert_eq!(server.counts().jobs.get(), 0, "it is no work at any length");
        assert!(peer.call(Encoding::Npy, &message).is_ok());
        assert_eq!(server.counts().jobs.get(), 1);
    });
}

#[test]
fn a_stop_waits_for_long_work_and_answers_it() {
    let own = Driver::ALL.into_iter().flat_map(|driver| OWN.map(|protocol| (driver, protocol)));
    let hosts = [Driver::Uring, Driver::Tokio].into_iter();
    let borrowed = hosts.flat_map(|driver| BORROWED.map(|protocol| (driver, protocol)));
    for (driver, protocol) in own.chain(borrowed) {
        println!("{driver}/{protocol}");
        let Some((server, gate)) = start(driver, protocol, limits()) else { continue };
        let mut peer = Peer::connect(server.address(), protocol);
        let (address, message) = (server.address(), long_message());
        let report = std::thread::scope(|scope| {
            let called = scope.spawn(|| peer.call(Encoding::Npy, &message));
            gate.wait_for(1);
            let stopped = scope.spawn(|| server.stop());
            while TcpStream::connect(address).is_ok() {
                std::thread::yield_now();
            }
            gate.open();
            assert!(called.join().expect("a reply").as_ref() == Ok(&message));
            stopped.join().expect("it ends well")
        });
        assert_eq!(report.requests, 1);
        assert!(!report.alarms.contains_key("drain_aborted"), "{:?}", report.alarms);
    }
}

#[test]
fn requests_behind_a_long_one_are_answered_in_order_also_after_a_half_close() {
    for driver in Driver::ALL {
        for protocol in [Protocol::H1, Protocol::Raw] {
            println!("{driver}/{protocol}");
            let Some((server, gate)) = start(driver, protocol, limits()) else { continue };
            let (message, small) = (long_message(), b"small");
            let mut stream = TcpStream::connect(server.address()).expect("it listens");
            stream.set_read_timeout(Some(LATE)).expect("a positive timeout");
            let post = |encoding: Encoding, body: &[u8]| {
                let (path, len) = (encoding.path(), body.len());
                let head =
                    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len}\r\n\r\n");
                [head.as_bytes(), body].concat()
            };
            let form = if protocol == Protocol::H1 { post } else { raw_frame };
            let requests = [(Encoding::Npy, &message[..]), (Encoding::Reflect, small)];
            let requests = [requests[0], requests[1], requests[0], requests[1]];
            let mut writer = stream.try_clone().expect("a socket");
            let all: Vec<u8> =
                requests.iter().flat_map(|(encoding, body)| form(*encoding, body)).collect();
            let writing = std::thread::spawn(move || {
                writer.write_all(&all).expect("the server reads");
                writer.shutdown(Shutdown::Write).expect("an open socket");
            });
            gate.wait_for(1);
            gate.open();
            for (_, body) in requests {
                let got = match protocol {
                    Protocol::H1 => {
                        let mut peer = Rest(stream);
                        let reply = peer.reply();
                        stream = peer.0;
                        reply.body
                    }
                    _ => raw_reply(&mut stream).1,
                };
                assert!(got == body, "{} bytes", got.len());
            }
            assert_eq!(stream.read(&mut [0]).expect("no reset"), 0, "the end follows");
            writing.join().expect("all was written");
            assert_eq!(server.stop().peer_faults, 0);
        }
    }
}

#[test]
fn other_calls_of_a_connection_go_on_and_a_reset_removes_a_job_that_waits() {
    for driver in Driver::ALL {
        for protocol in [Protocol::H2, Protocol::H2Crate, Protocol::HyperH2] {
            if driver == Driver::TokioUring && protocol != Protocol::H2 {
                continue;
            }
            println!("{driver}/{protocol}");
            let Some((server, gate)) = start(driver, protocol, limits()) else { continue };
            let Grpc { runtime, requests } = Grpc::connect(server.address());
            let call = |encoding: Encoding, message: &[u8]| {
                let pieces = framed(message);
                let pieces = pieces.chunks(60_000).map(Bytes::copy_from_slice).collect();
                exchange(requests.clone(), request(encoding.grpc_content_type()), pieces, true)
            };
            let message = long_message();
            runtime.block_on(async {
                let first = runtime.spawn(call(Encoding::Npy, &message));
                let wait = tokio::task::spawn_blocking(|| gate.wait_for(1));
                wait.await.expect("it came");
                let second = runtime.spawn(call(Encoding::Npy, &message));
                while server.counts().jobs.get() < 2 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                second.abort();
                let small = call(Encoding::Reflect, b"small").await.expect("no reset");
                assert_eq!(small.body, framed(b"small"));
                let third = runtime.spawn(call(Encoding::Npy, &message));
                while server.counts().jobs.get() < 3 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                gate.open();
                for reply in [first, third] {
                    let reply = reply.await.expect("no panic").expect("no reset");
                    assert!(reply.body == framed(&message));
                }
            });
            assert_eq!(gate.entered(), 2, "the second job was cancelled while it waited");
            drop((requests, runtime));
            server.stop();
        }
    }
}

#[test]
fn the_time_of_long_work_is_no_idle_time_and_no_time_of_the_body() {
    // Long enough for a busy machine to send the message.
    let short = Duration::from_millis(500);
    for driver in Driver::ALL {
        for protocol in OWN {
            println!("{driver}/{protocol}");
            let limits = Limits {
                idle_timeout: short,
                body_gap_timeout: short,
                head_timeout: short,
                window_timeout: LATE,
                ..limits()
            };
            let Some((server, gate)) = start(driver, protocol, limits) else { continue };
            // The making of the message takes long on a busy machine, and would be idle time.
            let message = long_message();
            let mut peer = Peer::connect(server.address(), protocol);
            std::thread::scope(|scope| {
                let called = scope.spawn(|| peer.call(Encoding::Npy, &message));
                gate.wait_for(1);
                // The deadlines must pass.
                std::thread::sleep(2 * short);
                gate.open();
                assert!(called.join().expect("a reply").as_ref() == Ok(&message));
            });
            assert_eq!(server.stop().peer_faults, 0);
        }
    }
}

#[test]
fn the_deadline_of_a_call_holds_while_its_work_waits() {
    for (driver, protocol) in [
        (Driver::Uring, Protocol::H2),
        (Driver::Tokio, Protocol::H2),
        (Driver::Uring, Protocol::H2Crate),
        (Driver::Tokio, Protocol::HyperH2),
    ] {
        println!("{driver}/{protocol}");
        let Some((server, gate)) = start(driver, protocol, limits()) else { continue };
        let mut peer = Grpc::connect(server.address());
        let mut call = request(Encoding::Npy.grpc_content_type());
        call.headers_mut().insert("grpc-timeout", "1500m".parse().expect("a value"));
        let message = framed(&long_message());
        let pieces: Vec<&[u8]> = message.chunks(60_000).collect();
        assert_eq!(peer.call(call, &pieces).field("grpc-status"), "4");
        assert_eq!(gate.entered(), 1);
        gate.open();
        drop(peer);
        server.stop();
    }
}
