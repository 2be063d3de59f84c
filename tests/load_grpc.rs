//! The load generator measures correct gRPC servers and names the fault of a wrong one.
//!
//! The servers use the h2 crate, which is independent of our HTTP/2. Frames that this crate never
//! sends are written by hand. Each server has one fault, which depends on the number of the call.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Response};
use ndecho::codec::Encoding;
use ndecho::load::{self, LoadError};
use ndecho::record::Measurement;
use ndecho::record::trial_spec::{ArraySpec, Knobs, Length, LoadSpec, RequestHeaders};
use ndecho::wire::grpc::{PREFIX_BYTES, parse_timeout};
use tokio::task::LocalSet;

#[path = "peers/ring.rs"]
mod ring;

/// Action of a server on a call, given its number and its framed message.
type Answer = fn(u32, Bytes) -> Reply;

struct Reply {
    status: u16,
    content_type: &'static str,
    encoding: Option<&'static str>,
    pieces: Vec<Bytes>,
    grpc_status: Option<&'static str>,
    reset: Option<Reason>,
}

fn echo(_: u32, body: Bytes) -> Reply {
    let content_type = "application/grpc+reflect";
    Reply {
        status: 200,
        content_type,
        encoding: None,
        pieces: vec![body],
        grpc_status: Some("0"),
        reset: None,
    }
}

/// Behaviour of a server.
#[derive(Clone, Copy)]
struct Server {
    answer: Answer,
    streams: u32,
    window: u32,
    /// Number of accepted calls before the GOAWAY.
    calls: u32,
}

const SERVER: Server = Server { answer: echo, streams: 1024, window: 1 << 20, calls: u32::MAX };

impl Server {
    fn start(self) -> SocketAddr {
        self.start_noting(|_| {})
    }

    /// Serves on a thread that ends with the test; `note` gets the head of each call.
    fn start_noting(self, note: impl Fn(HeaderMap) + Clone + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            LocalSet::new().block_on(&runtime.unwrap(), async {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    stream.set_nodelay(true).unwrap();
                    tokio::task::spawn_local(self.serve(stream, note.clone()));
                }
            });
        });
        address
    }

    async fn serve(self, stream: tokio::net::TcpStream, note: impl Fn(HeaderMap)) {
        let mut builder = Builder::new();
        builder.max_concurrent_streams(self.streams).initial_window_size(self.window);
        let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
        let mut number = 0;
        while let Some(Ok((request, respond))) = connection.accept().await {
            note(request.headers().clone());
            tokio::task::spawn_local(call(request.into_body(), respond, number, self.answer));
            number += 1;
            if number == self.calls {
                connection.graceful_shutdown();
            }
        }
    }
}

async fn call(mut body: RecvStream, mut respond: SendResponse<Bytes>, number: u32, answer: Answer) {
    let mut whole = Vec::new();
    while let Some(Ok(piece)) = body.data().await {
        let _ = body.flow_control().release_capacity(piece.len());
        whole.extend_from_slice(&piece);
    }
    let reply = answer(number, Bytes::from(whole));
    if let Some(reason) = reply.reset {
        return respond.send_reset(reason);
    }
    let mut head =
        Response::builder().status(reply.status).header("content-type", reply.content_type);
    if let Some(encoding) = reply.encoding {
        head = head.header("grpc-encoding", encoding);
    }
    let head = head.body(()).unwrap();
    let mut send = respond.send_response(head, false).unwrap();
    for piece in reply.pieces {
        let _ = send.send_data(piece, false);
    }
    let mut trailers = HeaderMap::new();
    if let Some(status) = reply.grpc_status {
        trailers.insert("grpc-status", HeaderValue::from_static(status));
        trailers.insert("grpc-message", HeaderValue::from_static("so%20there"));
    }
    let _ = send.send_trailers(trailers);
}

fn spec(address: SocketAddr, size: u64, in_flight: u32) -> LoadSpec {
    let url = format!("grpc://{address}").parse().unwrap();
    LoadSpec {
        array: ArraySpec::float64(size, 3),
        in_flight,
        warmup: Length::Requests(u64::from(in_flight)),
        window: Length::Requests(200),
        ..LoadSpec::new(url, Encoding::Reflect)
    }
}

fn loaded(server: Server, size: u64, in_flight: u32) -> Result<Measurement, LoadError> {
    load::run(&spec(server.start(), size, in_flight))
}

fn failure(answer: Answer) -> String {
    loaded(Server { answer, ..SERVER }, 8, 4).expect_err("a failure").to_string()
}

#[test]
fn an_echo_is_measured_at_every_size_and_depth() {
    if ring::is_missing() {
        return;
    }
    for (size, in_flight) in [(8, 1), (8, 1000), (2048, 64), (65_536, 8), (1 << 20, 3)] {
        let measured = loaded(SERVER, size, in_flight).unwrap();
        assert_eq!(measured.requests, 200);
        assert!(measured.bytes_in.min(measured.bytes_out) >= 200 * size, "{measured:?}");
        let told = measured.server_settings.unwrap();
        assert_eq!(told.max_concurrent_streams, Some(1024));
        assert_eq!((told.initial_window_size, told.max_frame_size), (Some(1 << 20), None));
        let ours = measured.client_settings.unwrap();
        assert_eq!(
            (ours.initial_window_size, ours.max_frame_size),
            (Some(64 << 20), Some(1 << 20))
        );
    }
}

/// Returns the heads of 200 calls.
fn heads(headers: RequestHeaders) -> Vec<HeaderMap> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let address = SERVER.start_noting(move |head| sender.send(head).unwrap());
    let mut spec = spec(address, 8, 30);
    spec.warmup = Length::Requests(0);
    spec.knobs = Knobs { headers, ..Knobs::default() };
    load::run(&spec).unwrap();
    receiver.try_iter().collect()
}

#[test]
fn requests_have_a_trace_and_a_deadline_of_their_own() {
    if ring::is_missing() {
        return;
    }
    for headers in [Knobs::default().headers, RequestHeaders::Indexed] {
        let heads = heads(headers);
        assert_eq!(heads.len(), 200);
        let values = |name| -> HashSet<&str> {
            heads.iter().map(|head| head[name].to_str().unwrap()).collect()
        };
        assert_eq!(values("traceparent").len(), 200, "{headers:?}");
        let timeouts = values("grpc-timeout");
        assert!(timeouts.len() > 100, "{headers:?}");
        let limit = Duration::from_secs(60);
        assert!(timeouts.iter().all(|text| parse_timeout(text.as_bytes()).unwrap() >= limit));
        assert_eq!(values("content-type").len(), 1);
    }
    let heads = heads(RequestHeaders::Equal);
    assert_eq!(heads.len(), 200);
    assert!(heads.iter().all(|head| *head == heads[0] && !head.contains_key("traceparent")));
}

#[test]
fn more_requests_than_streams_wait_for_theirs() {
    if ring::is_missing() {
        return;
    }
    let server = Server { streams: 7, ..SERVER };
    assert_eq!(loaded(server, 8, 300).unwrap().requests, 200);
}

#[test]
fn a_server_that_grants_a_byte_at_a_time_is_waited_for() {
    if ring::is_missing() {
        return;
    }
    let server = Server { window: 1, ..SERVER };
    assert_eq!(loaded(server, 64, 4).unwrap().requests, 200);
}

#[test]
fn replies_keep_to_the_windows_and_frames_that_are_asked_for() {
    if ring::is_missing() {
        return;
    }
    let bytes_in = |knobs| {
        let mut spec = spec(SERVER.start(), 1 << 20, 2);
        spec.knobs = knobs;
        spec.window = Length::Requests(10);
        load::run(&spec).unwrap().bytes_in / 10
    };
    let few = bytes_in(Knobs::default());
    let many = bytes_in(Knobs { h2_frame_bytes_max: 1 << 14, ..Knobs::default() });
    assert!(many > few + 60 * 9 && many < few + 70 * 9, "{few} and {many} bytes");
    for h2_window_bytes in [1, 1000, 65_535] {
        assert!(bytes_in(Knobs { h2_window_bytes, ..Knobs::default() }) > 1 << 20);
    }
}

#[test]
fn a_body_in_pieces_is_put_together() {
    if ring::is_missing() {
        return;
    }
    let answer = |number, body: Bytes| {
        let pieces = body.chunks(700).map(Bytes::copy_from_slice).collect();
        Reply { pieces, ..echo(number, body) }
    };
    assert_eq!(loaded(Server { answer, ..SERVER }, 2048, 8).unwrap().requests, 200);
}

#[test]
fn wrong_bodies_are_caught() {
    if ring::is_missing() {
        return;
    }
    let flipped = failure(|number, body| {
        let mut wrong = body.to_vec();
        wrong[PREFIX_BYTES + 3] ^= u8::from(number == 40);
        Reply { pieces: vec![wrong.into()], ..echo(number, body) }
    });
    assert!(flipped.contains("request 40: wrong reply: byte 3 of the array"), "{flipped}");
    let cut = failure(|number, body| {
        let pieces = vec![body.slice(..body.len() - 1)];
        Reply { pieces, ..echo(number, body) }
    });
    assert!(cut.ends_with("the call ended inside its message: 12 of 13 bytes"), "{cut}");
    let longer = failure(|number, body| {
        let pieces = vec![body.clone(), Bytes::from_static(b"x")];
        Reply { pieces, ..echo(number, body) }
    });
    assert!(longer.contains("request 0: wrong reply: refused: "), "{longer}");
}

/// Marks a message as compressed.
fn flagged(body: &Bytes) -> Bytes {
    [&[1], &body[1..]].concat().into()
}

#[test]
fn refusals_say_what_the_server_said() {
    if ring::is_missing() {
        return;
    }
    let http = failure(|number, body| Reply { status: 500, ..echo(number, body) });
    assert!(http.ends_with("wrong reply: refused: HTTP status 500"), "{http}");
    let kind = failure(|number, body| Reply { content_type: "text/html", ..echo(number, body) });
    assert!(
        kind.ends_with("refused: content type \"text/html\" is not application/grpc"),
        "{kind}"
    );
    let unnamed = failure(|number, body| {
        let pieces = vec![flagged(&body)];
        Reply { pieces, ..echo(number, body) }
    });
    assert!(unnamed.contains("grpc-encoding names no compression"), "{unnamed}");
    let gzip = failure(|number, body| {
        let (pieces, encoding) = (vec![flagged(&body)], Some("gzip"));
        Reply { pieces, encoding, ..echo(number, body) }
    });
    assert!(gzip.contains("the message is compressed in a way that is not supported"), "{gzip}");
    let status = failure(|number, body| Reply { grpc_status: Some("13"), ..echo(number, body) });
    assert!(status.ends_with("grpc-status 13: so there"), "{status}");
    let missing = failure(|number, body| Reply { grpc_status: None, ..echo(number, body) });
    assert!(missing.ends_with("the response has no grpc-status"), "{missing}");
    for (reason, name) in
        [(Reason::REFUSED_STREAM, "REFUSED_STREAM"), (Reason::INTERNAL_ERROR, "INTERNAL_ERROR")]
    {
        let answer: Answer = match reason {
            Reason::REFUSED_STREAM => |number, body| {
                let reset = (number == 30).then_some(Reason::REFUSED_STREAM);
                Reply { reset, ..echo(number, body) }
            },
            _ => |number, body| {
                let reset = (number == 30).then_some(Reason::INTERNAL_ERROR);
                Reply { reset, ..echo(number, body) }
            },
        };
        let reset = failure(answer);
        assert!(reset.contains("request 30: "), "{reset}");
        assert!(reset.ends_with(&format!("reset by the peer: {name}")), "{reset}");
    }
}

#[test]
fn a_server_that_goes_away_gets_the_next_calls_on_a_new_connection() {
    if ring::is_missing() {
        return;
    }
    let calls = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&calls);
    let server = Server { calls: 20, ..SERVER };
    let address = server.start_noting(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let spec = LoadSpec { warmup: Length::Requests(0), ..spec(address, 8, 4) };
    let measured = load::run(&spec).expect("it goes away without an error");
    assert_eq!((measured.requests, calls.load(Ordering::Relaxed)), (200, 200));
    // The server accepts what is in flight when it decides to go, so it may take more than 20.
    assert!((2..=9).contains(&measured.reconnects), "{}", measured.reconnects);
}

#[test]
fn a_closed_connection_is_a_failure() {
    if ring::is_missing() {
        return;
    }
    let panicked = failure(|number, body| {
        assert!(number < 20, "the test server gives up here");
        echo(number, body)
    });
    assert!(panicked.contains("closed a connection") || panicked.contains("reset"), "{panicked}");
}

/// Runs a load against a server that answers the first bytes of a connection with `script` and
/// nothing else. Returns the error.
fn scripted(script: &'static [u8], timeout: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let talk = |mut stream: TcpStream| -> std::io::Result<()> {
            let mut bytes = [0; 1024];
            let mut taken = stream.read(&mut bytes)?;
            stream.write_all(script)?;
            while taken > 0 {
                taken = stream.read(&mut bytes)?;
            }
            Ok(())
        };
        listener.incoming().for_each(|stream| drop(talk(stream.unwrap())));
    });
    let mut spec = spec(address, 8, 4);
    spec.timeout = timeout;
    load::run(&spec).expect_err("that is no server").to_string()
}

#[test]
fn what_is_no_server_fails_the_run_with_a_reason() {
    if ring::is_missing() {
        return;
    }
    const LATE: Duration = Duration::from_millis(300);
    let late = |text: &str| {
        assert!(text.starts_with("timed out after 300ms: 0 replies counted, "), "{text}");
    };
    late(&scripted(b"", LATE));
    // SETTINGS and nothing else; SETTINGS that allow no stream window; SETTINGS that allow no
    // stream.
    late(&scripted(b"\0\0\0\x04\0\0\0\0\0", LATE));
    late(&scripted(b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0", LATE));
    late(&scripted(b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\0", LATE));
    let soon = |script| scripted(script, Duration::from_secs(60));
    let http1 = soon(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(http1, "h2: the first frame must be SETTINGS");
    let busy = soon(b"\0\0\0\x04\0\0\0\0\0\0\0\x0c\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0bbusy");
    assert!(busy.ends_with("the peer goes away: ENHANCE_YOUR_CALM busy"), "{busy}");
    // A server that goes away before it has answered anything: its next connection would end too.
    let gone = soon(b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(gone, "h2: the peer goes away: NO_ERROR");
    // A reply on a stream that the client never opened.
    let unasked = soon(b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x04\0\0\0\x63\x88");
    assert_eq!(unasked, "h2: HEADERS on a stream that was not opened");
}
