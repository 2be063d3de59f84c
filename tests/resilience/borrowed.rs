//! Bodies of borrowed stacks follow the memory budget of the process, on any driver.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use crate::grpc::framed;
use crate::http2::{
    ACK, DATA, END_STREAM, HEADERS, Peer, SETTINGS, WINDOW_UPDATE, call_head, frame,
};
use crate::memory::{DRIVERS, KIB, LONG, MIB, Server, count, post, send_until_full};
use crate::rest::Rest;

const STACKS: [&str; 3] = ["hyper", "h2-crate", "hyper-h2"];

/// Longest frame of DATA that every peer takes.
const FRAME: usize = 16 * KIB;

/// Client of one request with a body of `len` bytes, which comes in pieces.
enum Client {
    Rest { stream: TcpStream, rest: Vec<u8> },
    Grpc { peer: Peer, rest: Vec<u8>, window: Window },
}

/// Bytes that the server takes on the connection and on the stream.
struct Window {
    connection: usize,
    stream: usize,
}

/// Progress of an upload.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    /// All that was to be sent.
    All,
    /// The server takes no more.
    Stuck,
    /// The server has answered or closed the connection.
    Ended,
}

impl Client {
    /// Connects and sends the begin of the body.
    fn begin(server: &Server, stack: &str, len: usize) -> Client {
        if stack == "hyper" {
            let mut stream = TcpStream::connect(server.address()).expect("it listens");
            let head = post("/echo_reflect", len).into_bytes();
            stream.write_all(&[head, vec![7; KIB]].concat()).expect("room");
            return Client::Rest { stream, rest: vec![7; len - KIB] };
        }
        // Windows for the response that never close.
        let mut peer = Peer::connect(server.address(), &[(4, i32::MAX as u32)]);
        let message = framed(&vec![7; len]);
        let (begin, rest) = message.split_at(KIB);
        let grant = frame(WINDOW_UPDATE, 0, 0, &0x7FFF_0000_u32.to_be_bytes());
        peer.send(&[grant, call_head(1), frame(DATA, 0, 1, begin)].concat());
        let initial = 65_535 - begin.len();
        let window = Window { connection: initial, stream: initial };
        Client::Grpc { peer, rest: rest.to_vec(), window }
    }

    /// Sends the rest but the last `left` bytes, as long as the server takes them in time.
    fn send(&mut self, left: usize, patience: Duration) -> Sent {
        match self {
            Client::Rest { stream, rest } => {
                let most = rest.len() - left;
                stream.set_write_timeout(Some(patience)).expect("a positive timeout");
                let sent = send_until_full(stream, &rest[..most]);
                rest.drain(..sent);
                if sent == most { Sent::All } else { Sent::Stuck }
            }
            Client::Grpc { peer, rest, window } => {
                peer.0.set_read_timeout(Some(patience)).expect("a positive timeout");
                peer.0.set_write_timeout(Some(patience)).expect("a positive timeout");
                while rest.len() > left {
                    let room = window.connection.min(window.stream).min(FRAME);
                    if room == 0 {
                        match window.wait(peer) {
                            Sent::All => continue,
                            other => return other,
                        }
                    }
                    let piece = room.min(rest.len() - left);
                    let end = if piece == rest.len() { END_STREAM } else { 0 };
                    if peer.0.write_all(&frame(DATA, end, 1, &rest[..piece])).is_err() {
                        return Sent::Ended;
                    }
                    rest.drain(..piece);
                    window.connection -= piece;
                    window.stream -= piece;
                }
                Sent::All
            }
        }
    }

    /// Waits for the response, and returns true if it echoes a body of `len` bytes.
    fn answers(mut self, len: usize) -> bool {
        match &mut self {
            Client::Rest { stream, .. } => {
                stream.set_read_timeout(Some(LONG)).expect("a positive timeout");
                let mut reply = vec![0; len];
                stream.read_exact(&mut reply).is_ok() && reply.ends_with(&[7; KIB])
            }
            Client::Grpc { peer, .. } => {
                peer.0.set_read_timeout(Some(LONG)).expect("a positive timeout");
                let mut echoed = 0;
                while let Some(said) = peer.next() {
                    echoed += if said.kind == DATA { said.payload.len() } else { 0 };
                    if said.flags & END_STREAM != 0 && matches!(said.kind, DATA | HEADERS) {
                        break;
                    }
                }
                echoed == framed(&vec![7; len]).len()
            }
        }
    }
}

impl Window {
    /// Waits for more room.
    fn wait(&mut self, peer: &mut Peer) -> Sent {
        const INITIAL_WINDOW_SIZE: u8 = 4;
        let Some(said) = peer.next() else { return Sent::Stuck };
        match (said.kind, said.stream) {
            (WINDOW_UPDATE, stream) => {
                let grant = u32::from_be_bytes(said.payload.try_into().expect("four bytes"));
                let window = if stream == 0 { &mut self.connection } else { &mut self.stream };
                *window += grant as usize;
            }
            (SETTINGS, _) => {
                for setting in said.payload.chunks(6) {
                    if let [0, INITIAL_WINDOW_SIZE, size @ ..] = setting {
                        let size = u32::from_be_bytes(size.try_into().expect("four bytes"));
                        self.stream += size as usize - 65_535;
                    }
                }
                // A server takes more than the first window only then.
                if said.flags & ACK == 0 {
                    peer.send(&frame(SETTINGS, ACK, 0, b""));
                }
            }
            (HEADERS, _) => return Sent::Ended,
            _ => {}
        }
        Sent::All
    }
}

/// Tests a server of each stack on each driver that runs here.
fn each_server(flags: &[&str], test: impl Fn(Server, &str, &str)) {
    for stack in STACKS {
        for driver in DRIVERS {
            if let Some(mut server) = Server::start(format!("{driver}/{stack}/reflect"), flags) {
                // Pages of code that the first request touches are no memory of a peer.
                let mut first = Client::begin(&server, stack, 2 * KIB);
                assert!(first.send(0, LONG) == Sent::All && first.answers(2 * KIB));
                server.note_rss();
                test(server, driver, stack);
            }
        }
    }
}

#[test]
fn bodies_of_a_borrowed_stack_count_for_their_connections() {
    const BODY: usize = 3 * MIB;
    for driver in DRIVERS {
        let flags = ["--connection-memory", "4MiB", "--max-message", "4MiB"];
        let server = Server::start(format!("{driver}/hyper/reflect"), &flags);
        let Some(server) = server else { continue };
        let mut peers: Vec<Rest> = (0..4).map(|_| Rest::connect(server.address())).collect();
        for peer in &mut peers {
            peer.send(post("/echo_reflect", BODY).as_bytes());
            peer.send(&vec![7; BODY - 1]);
        }
        for peer in &mut peers {
            peer.send(b"8");
            let reply = peer.reply();
            assert_eq!((reply.status, reply.body.len()), (200, BODY), "{driver}");
        }
        drop(peers);
        let report = server.stop();
        assert_eq!(count(&report, "connection_memory"), 0, "{driver}");
        // Beside its body, a connection holds at most what a turn receives and what it sends.
        let most = 4 * (BODY + 2 * MIB + 2 * MIB);
        assert!(report.held_bytes_peak <= most as u64, "{driver}: {}", report.held_bytes_peak);
    }
}

#[test]
fn bodies_that_begin_while_memory_is_free_and_grow_stay_within_the_budget() {
    const CONNECTIONS: usize = 20;
    const LEN: usize = 8 * MIB;
    each_server(&[], |server, _, stack| {
        let begin = |_| Client::begin(&server, stack, LEN);
        let mut clients: Vec<Client> = (0..CONNECTIONS).map(begin).collect();
        let patience = Duration::from_millis(500);
        std::thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(move || client.send(1, patience));
            }
        });
        server.assert_within_budget();
        drop(clients);
        let (rung, report) = (server.rung.clone(), server.stop());
        let (waits, drops) = (count(&report, "memory_wait"), count(&report, "memory_drop"));
        assert!(waits + drops > 0, "{rung}: {report:?}");
        assert!(report.held_bytes_peak <= 2 * Server::BUDGET as u64, "{rung}: {report:?}");
    });
}

#[test]
fn honest_bodies_of_a_borrowed_stack_wait_for_memory_and_are_all_answered() {
    const CONNECTIONS: usize = 26;
    const LEN: usize = 2 * MIB;
    each_server(&["--body-timeout", "20s"], |server, driver, stack| {
        let all_begun = Arc::new(Barrier::new(CONNECTIONS));
        let answered = std::thread::scope(|scope| {
            let ask = |_| {
                let (server, all_begun) = (&server, Arc::clone(&all_begun));
                scope.spawn(move || {
                    let mut client = Client::begin(server, stack, LEN);
                    all_begun.wait();
                    client.send(0, LONG) == Sent::All && client.answers(LEN)
                })
            };
            let asking: Vec<_> = (0..CONNECTIONS).map(ask).collect();
            asking.into_iter().map(|asked| asked.join().expect("it ends")).filter(|it| *it).count()
        });
        server.assert_within_budget();
        let (rung, report) = (server.rung.clone(), server.stop());
        // There a connection holds up to 2 MiB of input beside its body.
        let has_room = (driver, stack) != ("uring", "hyper");
        let least = if has_room { CONNECTIONS } else { CONNECTIONS / 2 };
        assert!(answered >= least, "{rung}: {answered} are answered, {report:?}");
        let dropped = count(&report, "memory_drop");
        assert!(!has_room || dropped == 0, "{rung}: {report:?}");
    });
}
