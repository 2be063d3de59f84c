//! Memory follows the bytes that have arrived and stays within its budget, on any driver.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use ndecho::axis::Encoding;
use ndecho::probe::memory::rss_peak_bytes;
use ndecho::record::ServerReport;
use nix::sys::signal::Signal;
use tempfile::NamedTempFile;

use crate::NDECHO;
use crate::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, Peer, WINDOW_UPDATE, call_head,
    frame,
};
use crate::program::Program;
use crate::rest::Rest;

pub(crate) const DRIVERS: [&str; 3] = ["tokio", "tokio-uring", "uring"];

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;

/// Far above the time that a loaded machine needs.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A server of one rung with a budget of 32 MiB, and more flags.
pub(crate) struct Server {
    program: Program,
    pub(crate) rung: String,
    /// Of this server only: tests in other threads have servers of the same rung.
    report: NamedTempFile,
    rss_bytes: u64,
}

impl Server {
    pub(crate) const BUDGET: usize = 32 * MIB;

    pub(crate) fn start(rung: String, flags: &[&str]) -> Option<Server> {
        let report = NamedTempFile::new().expect("a writable folder");
        let file = report.path().to_str().expect("a name in text");
        let common = ["serve", &rung, "--report", file, "--memory-budget", "32MiB"];
        let program = Program::start_on_ring(NDECHO, &[&common[..], flags].concat())?;
        let mut server = Server { program, rung, report, rss_bytes: 0 };
        drop(TcpStream::connect(server.address()).expect("it listens"));
        server.note_rss();
        Some(server)
    }

    /// Takes the memory until now as that of the server without peers.
    pub(crate) fn note_rss(&mut self) {
        self.rss_bytes = self.rss_peak();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.program.addresses()[0]
    }

    fn rss_peak(&self) -> u64 {
        rss_peak_bytes(self.program.child.id()).expect("it runs")
    }

    /// Checks that memory has grown by the budget at most, with room for what no account can see.
    pub(crate) fn assert_within_budget(&self) {
        let grown = self.rss_peak() - self.rss_bytes;
        assert!(grown <= 2 * Server::BUDGET as u64, "{}: {} MiB more", self.rung, grown >> 20);
    }

    pub(crate) fn stop(mut self) -> ServerReport {
        self.program.signal(Signal::SIGTERM);
        assert_eq!(self.program.ended(), 0, "{}", self.rung);
        let report = std::fs::read_to_string(&self.report).expect("it writes a report");
        serde_json::from_str(&report).expect("a report")
    }
}

pub(crate) fn count(report: &ServerReport, limit: &str) -> u64 {
    report.limits.get(limit).copied().unwrap_or(0)
}

/// Returns an array as protobuf, with `payload` bytes, and as many more in a field that no one
/// knows that the message is `len` bytes long.
fn padded(payload: usize, len: usize) -> Vec<u8> {
    let field = |tag: u8, bytes: &[u8]| [&[tag][..], &varint(bytes.len()), bytes].concat();
    let array =
        [field(0x0A, &vec![7; payload]), field(0x12, b"|u1"), field(0x1A, &varint(payload))];
    let array = array.concat();
    let padding = len - array.len() - 1 - varint(len).len();
    [array, field(0x7A, &vec![0; padding])].concat()
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

pub(crate) fn post(path: &str, len: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len}\r\n\r\n")
}

/// Returns the head of a body of `len` bytes that is echoed, for a protocol.
fn head(protocol: &str, len: usize) -> Vec<u8> {
    match protocol {
        "raw" => [&(len as u32).to_be_bytes()[..], &[Encoding::Reflect.id()]].concat(),
        _ => post("/echo_reflect", len).into_bytes(),
    }
}

/// Sends bytes until the server takes none for a while, or all are sent; returns their number.
pub(crate) fn send_until_full(stream: &mut TcpStream, mut bytes: &[u8]) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a positive timeout");
    let all = bytes.len();
    while !bytes.is_empty()
        && let Ok(count @ 1..) = stream.write(bytes)
    {
        bytes = &bytes[count..];
    }
    all - bytes.len()
}

/// Makes a small request on a connection of its own.
fn ask_aside(server: &Server, protocol: &str) {
    let mut bystander = TcpStream::connect(server.address()).expect("it listens");
    bystander.set_read_timeout(Some(LONG)).expect("a positive timeout");
    bystander.write_all(&[head(protocol, 1), vec![b'x']].concat()).expect("room");
    bystander.read_exact(&mut [0; 6]).expect("a small request is answered");
}

#[test]
fn a_thousand_announced_messages_of_a_connection_cost_little() {
    const CONNECTIONS: u64 = 20;
    // A stream and its entry in the table of streams take some hundred bytes.
    const EACH_MAX: u64 = 1 << 20;
    for driver in DRIVERS {
        let rung = format!("{driver}/h2/reflect");
        let Some(program) = Program::start_on_ring(NDECHO, &["serve", &rung]) else { continue };
        drop(announce(program.addresses()[0], &[]));
        let before = rss_peak_bytes(program.child.id()).expect("it runs");
        let calls = announced_calls(100_000);
        let connect = |_| announce(program.addresses()[0], &calls);
        let peers: Vec<Peer> = (0..CONNECTIONS).map(connect).collect();
        let after = rss_peak_bytes(program.child.id()).expect("it runs");
        let each = (after - before) / CONNECTIONS;
        assert!(each <= EACH_MAX, "{rung}: {} KiB for a connection", each >> 10);
        drop(peers);
    }
}

/// Returns calls of which each announces a message of `len` bytes, and sends one byte.
fn announced_calls(len: u32) -> Vec<u8> {
    let announced = [&[0][..], &len.to_be_bytes(), b"x"].concat();
    let open = |stream| [call_head(stream), frame(DATA, 0, stream, &announced)].concat();
    (0..1024).flat_map(|at| open(2 * at + 1)).collect()
}

/// Sends `calls`, and waits until they have been read.
fn announce(address: SocketAddr, calls: &[u8]) -> Peer {
    let mut peer = Peer::connect(address, &[]);
    peer.send(&[calls, &frame(PING, 0, 0, b"pingpong")].concat());
    assert!(peer.until(PING, 0).is_some(), "it has read all of it");
    peer
}

#[test]
fn the_streams_of_many_connections_stay_within_the_budget() {
    // About 28 KiB of bytes each.
    const CONNECTIONS: usize = 200;
    for driver in DRIVERS {
        let Some(server) = Server::start(format!("{driver}/h2/reflect"), &[]) else { continue };
        let calls = announced_calls(10_000);
        let mut peers = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut peer = Peer::connect(server.address(), &[]);
            send_until_full(&mut peer.0, &calls);
            peers.push(peer);
        }
        let mut bystander = Peer::connect(server.address(), &[]);
        let message = frame(DATA, END_STREAM, 1, &[0, 0, 0, 0, 1, b'x']);
        bystander.send(&[call_head(1), message].concat());
        assert!(bystander.until(DATA, 1).is_some(), "{}: a small call", server.rung);
        server.assert_within_budget();
        drop(peers);
        let report = server.stop();
        let refused = count(&report, "memory");
        assert!(refused > 1000, "{driver}: {refused} calls were refused: {report:?}");
        assert!(report.held_bytes_peak <= 2 * Server::BUDGET as u64, "{driver}: {report:?}");
    }
}

#[test]
fn heads_that_do_not_end_stay_within_the_budget() {
    const CONNECTIONS: usize = 100;
    let value = vec![b'a'; 900_000];
    let mut frame_head = frame(HEADERS, 0, 1, b"");
    frame_head[..3].copy_from_slice(&1_000_000_u32.to_be_bytes()[1..]);
    let begun = frame(HEADERS, 0, 1, &value[..450_000]);
    let rest = frame(CONTINUATION, 0, 1, &value[..450_000]);
    let heads = [
        ("h1", [b"GET / HTTP/1.1\r\na: ", &value[..]].concat()),
        ("h2", [&frame_head[..], &value].concat()),
        ("h2", [begun, rest].concat()),
    ];
    for driver in DRIVERS {
        for (protocol, head) in &heads {
            let rung = format!("{driver}/{protocol}/reflect");
            let Some(server) = Server::start(rung, &["--max-head", "1MiB"]) else { continue };
            let mut peers = Vec::new();
            for _ in 0..CONNECTIONS {
                let mut stream = match *protocol {
                    "h2" => Peer::connect(server.address(), &[]).0,
                    _ => TcpStream::connect(server.address()).expect("it listens"),
                };
                send_until_full(&mut stream, head);
                stream.set_nonblocking(true).expect("a TCP socket");
                peers.push(stream);
            }
            let is_closed = |mut peer: &TcpStream| {
                let end = std::iter::repeat_with(|| peer.read(&mut [0; 1000]));
                let mut end = end.skip_while(|read| matches!(read, Ok(1..)));
                let waits = |e: &std::io::Error| e.kind() == std::io::ErrorKind::WouldBlock;
                !end.next().expect("it repeats").is_err_and(|e| waits(&e))
            };
            let begun = Instant::now();
            while peers.iter().filter(|peer| is_closed(peer)).count() < CONNECTIONS / 2 {
                assert!(begun.elapsed() < LONG, "{driver}/{protocol}: heads are kept");
                std::thread::sleep(Duration::from_millis(20));
            }
            server.assert_within_budget();
            drop(peers);
            let report = server.stop();
            let dropped = count(&report, "memory_drop");
            assert!(dropped > 10, "{driver}/{protocol}: {dropped} were dropped: {report:?}");
        }
    }
}

#[test]
fn answers_that_wait_for_the_end_of_a_request_stay_within_the_budget() {
    const CONNECTIONS: usize = 200;
    // A content type that is no call's, in the table of the peer from the first request on.
    let begin = [&[0x83, 0x86, 0x84, 0x5F, 0x7F, 0x81, 0x03][..], &[0x7F; 512]].concat();
    let first = frame(HEADERS, END_HEADERS, 1, &begin);
    let others =
        (1..1000).map(|at| frame(HEADERS, END_HEADERS, 2 * at + 1, &[0x83, 0x86, 0x84, 0xBE]));
    let requests = [first, others.collect::<Vec<_>>().concat()].concat();
    for driver in DRIVERS {
        let Some(server) = Server::start(format!("{driver}/h2/reflect"), &[]) else { continue };
        let mut peers = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut peer = Peer::connect(server.address(), &[]);
            send_until_full(&mut peer.0, &requests);
            peers.push(peer);
        }
        let last = peers.last_mut().expect("many");
        assert!(last.until(HEADERS, 1999).is_some(), "{driver}: the last request is refused");
        server.assert_within_budget();
        drop(peers);
        let report = server.stop();
        let refused = count(&report, "memory");
        assert!(refused > 1000, "{driver}: {refused} were refused: {report:?}");
    }
}

#[test]
fn a_response_counts_with_the_request_that_it_holds() {
    // More than the sockets and the limit of unsent bytes take.
    const REQUESTS: usize = 300;
    const LEN: usize = 6 * MIB;
    // A small part of the message is copied, and a large one holds the message.
    for (protocol, payload) in [("h1", 64 * KIB), ("h1", MIB), ("raw", 64 * KIB), ("raw", MIB)] {
        let message = padded(payload, LEN);
        for driver in DRIVERS {
            let rung = format!("{driver}/{protocol}/protobuf");
            let Some(server) = Server::start(rung, &["--connection-memory", "24MiB"]) else {
                continue;
            };
            let mut peer = Rest::connect(server.address());
            let head = match protocol {
                "raw" => [&(LEN as u32).to_be_bytes()[..], &[Encoding::Protobuf.id()]].concat(),
                _ => post("/echo_protobuf", LEN).into_bytes(),
            };
            let request = [&head[..], &message].concat();
            for _ in 0..REQUESTS {
                if send_until_full(&mut peer.0, &request) < request.len() {
                    break;
                }
            }
            ask_aside(&server, protocol);
            server.assert_within_budget();
            drop(peer);
            server.stop();
        }
    }
}

#[test]
fn a_call_counts_until_its_response_is_sent() {
    const CALLS: u32 = 40;
    const LEN: usize = 3 * MIB;
    for driver in DRIVERS {
        let rung = format!("{driver}/h2/reflect");
        let Some(server) = Server::start(rung, &["--connection-memory", "16MiB"]) else { continue };
        // The windows for responses are shut.
        let mut peer = Peer::connect(server.address(), &[(4, 0)]);
        let message = [&[0][..], &(LEN as u32).to_be_bytes(), &vec![7; LEN]].concat();
        let (mut window, mut answered, mut refused) = (65_535, 0, 0);
        peer.0.set_read_timeout(Some(Duration::from_secs(2))).expect("a positive timeout");
        for stream in (0..CALLS).map(|call| 2 * call + 1) {
            // The server may take no more, which ends the test as well.
            while window < message.len()
                && let Some(grant) = peer.until(WINDOW_UPDATE, 0)
            {
                let grant = grant.payload.try_into().expect("four bytes");
                window += u32::from_be_bytes(grant) as usize;
            }
            if window < message.len() {
                break;
            }
            window -= message.len();
            peer.send(&call_head(stream));
            for piece in message.chunks(16_384) {
                peer.send(&frame(DATA, 0, stream, piece));
            }
            peer.send(&frame(DATA, END_STREAM, stream, b""));
            loop {
                let said = peer.next().expect("an answer to each call");
                if said.kind == WINDOW_UPDATE && said.stream == 0 {
                    let grant = said.payload.try_into().expect("four bytes");
                    window += u32::from_be_bytes(grant) as usize;
                } else if said.kind == HEADERS {
                    let text = said.payload.escape_ascii().to_string();
                    refused += u32::from(text.contains("short of memory"));
                    answered += u32::from(!text.contains("short of memory"));
                    break;
                }
            }
        }
        assert!((4..12).contains(&answered), "{driver}: {answered} answered, {refused} refused");
        server.assert_within_budget();
        drop(peer);
        server.stop();
    }
}

#[test]
fn bodies_that_do_not_end_stay_within_the_budget_and_hold_up_no_small_request() {
    const CONNECTIONS: usize = 40;
    const LEN: usize = 4 * MIB;
    for protocol in ["h1", "raw"] {
        for driver in DRIVERS {
            let rung = format!("{driver}/{protocol}/reflect");
            let Some(server) = Server::start(rung.clone(), &[]) else { continue };
            let cut = [head(protocol, LEN), vec![7; LEN - 1]].concat();
            let connect = |_| {
                let (address, cut) = (server.address(), cut.clone());
                std::thread::spawn(move || {
                    let mut stream = TcpStream::connect(address).expect("it listens");
                    (send_until_full(&mut stream, &cut), stream)
                })
            };
            let peers: Vec<_> = (0..CONNECTIONS).map(connect).collect();
            let sent: Vec<_> = peers.into_iter().map(|peer| peer.join().expect("sent")).collect();
            ask_aside(&server, protocol);
            server.assert_within_budget();
            drop(sent);
            let report = server.stop();
            let (refused, waits) = (count(&report, "memory"), count(&report, "memory_wait"));
            assert!(refused + waits > 0, "{rung}: {report:?}");
        }
    }
}

#[test]
fn honest_bodies_wait_for_memory_and_are_all_answered() {
    const CONNECTIONS: usize = 26;
    const LEN: usize = 2 * MIB;
    for protocol in ["h1", "raw"] {
        for driver in DRIVERS {
            let rung = format!("{driver}/{protocol}/reflect");
            let flags = ["--body-timeout", "3s", "--connection-memory", "8MiB"];
            let Some(server) = Server::start(rung.clone(), &flags) else { continue };
            let all_begun = Arc::new(Barrier::new(CONNECTIONS));
            let connect = |_| {
                let (address, all_begun) = (server.address(), Arc::clone(&all_begun));
                let request = [head(protocol, LEN), vec![7; LEN]].concat();
                std::thread::spawn(move || {
                    let mut stream = TcpStream::connect(address).expect("it listens");
                    let begun = send_until_full(&mut stream, &request[..KIB]);
                    all_begun.wait();
                    stream.set_write_timeout(Some(LONG)).expect("a positive timeout");
                    stream.set_read_timeout(Some(LONG)).expect("a positive timeout");
                    stream.write_all(&request[begun..]).expect("it reads on");
                    let mut reply = vec![0; LEN];
                    stream.read_exact(&mut reply).map(|()| reply)
                })
            };
            let sending: Vec<_> = (0..CONNECTIONS).map(connect).collect();
            let replies = sending.into_iter().map(|peer| peer.join().expect("it sends all"));
            let is_whole = |reply: &std::io::Result<Vec<u8>>| {
                reply.as_ref().is_ok_and(|reply| reply.ends_with(&[7; KIB]))
            };
            let answered = replies.filter(is_whole).count();
            server.assert_within_budget();
            let report = server.stop();
            assert_eq!(answered, CONNECTIONS, "{rung}: {report:?}");
            assert_eq!(count(&report, "memory_drop"), 0, "{rung}: {report:?}");
        }
    }
}

#[test]
fn bodies_of_which_none_can_end_do_not_block_each_other_for_ever() {
    const CONNECTIONS: usize = 6;
    const LEN: usize = 15 * MIB;
    for driver in DRIVERS {
        let rung = format!("{driver}/h1/reflect");
        let Some(server) = Server::start(rung.clone(), &[]) else { continue };
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(server.address()).expect("it listens");
            stream.set_read_timeout(Some(LONG)).expect("a positive timeout");
            stream.write_all(&[head("h1", LEN), vec![7; 1]].concat()).expect("room");
            streams.push(stream);
        }
        let begun = Instant::now();
        let send = |mut stream: TcpStream| {
            std::thread::spawn(move || {
                let mut reply = vec![0; LEN];
                let sent = stream.write_all(&vec![7; LEN - 1]);
                sent.and_then(|()| stream.read_exact(&mut reply)).is_ok()
            })
        };
        let sending: Vec<_> = streams.into_iter().map(send).collect();
        let ended: Vec<bool> =
            sending.into_iter().map(|peer| peer.join().expect("it ends")).collect();
        assert!(begun.elapsed() < LONG, "{rung}: somebody waited for ever");
        assert!(ended.contains(&true), "{rung}: at least one is answered");
        server.assert_within_budget();
        let report = server.stop();
        // On a slow machine the bodies may come one after the other, and then all of them fit.
        let cut = count(&report, "memory_drop") + count(&report, "memory");
        let lost = ended.iter().filter(|answered| !**answered).count();
        assert_eq!(cut > 0, lost > 0, "{rung}: {lost} of {CONNECTIONS} unanswered, {report:?}");
    }
}

#[test]
fn silent_bodies_give_their_memory_back_in_time() {
    const LEN: usize = 4 * MIB;
    for driver in DRIVERS {
        let rung = format!("{driver}/h1/reflect");
        let Some(server) = Server::start(rung.clone(), &["--body-timeout", "1s"]) else { continue };
        let mut silent = Vec::new();
        for _ in 0..8 {
            let mut stream = TcpStream::connect(server.address()).expect("it listens");
            send_until_full(&mut stream, &[head("h1", LEN), vec![7; LEN - KIB]].concat());
            silent.push(stream);
        }
        for mut stream in silent {
            stream.set_read_timeout(Some(LONG)).expect("a positive timeout");
            // A refusal, a timeout or a reset: the connection has an end.
            let mut said = Vec::new();
            let end = stream.read_to_end(&mut said);
            let waits = end.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
            assert!(!waits, "{rung}: it is held for ever");
        }
        let mut honest = Rest::connect(server.address());
        assert_eq!(honest.post("/echo_reflect", &vec![7; LEN]).status, 200, "{rung}");
        server.stop();
    }
}
