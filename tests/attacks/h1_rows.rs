//! Attacks on HTTP/1.1.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use ndecho::axis::Coding;
use ndecho::coding::deflate;

use crate::peer::{connect, drain, reset, trickle};
use crate::rest::Rest;
use crate::server::{Running, Speaks};
use crate::table::{Row, Size};

const fn row(name: &'static str, attack: fn(&Running, Size) -> String) -> Row {
    Row::new(name, Speaks::Http1, attack)
}

pub(crate) const ROWS: &[Row] = &[
    row("slow head", slow_head).answered(&["408"]).counted(&["head_time"]),
    row("slow body", slow_body).answered(&["408"]).counted(&["message_time"]),
    row("slow chunk", slow_chunk).answered(&["408"]).counted(&["message_time"]),
    row("60 MiB announced, one byte sent", announced).answered(&["408"]).counted(&["message_time"]),
    row("body over the limit", over_the_limit).answered(&["413"]).counted(&["message"]),
    row("head over the limit", long_head).answered(&["431"]).counted(&["head"]),
    row("request smuggling", smuggling).answered(&["0 taken"]).counted(&["400"]),
    row("shapes, dtypes and nesting of bombs", bombs).answered(&["0 taken"]).counted(&["400"]),
    row("compressed body", compressed).answered(&["415"]).counted(&["415"]),
    row("320 MiB of zeros in each coding", inflating)
        .answered(&["413 from all"])
        .counted(&["message", "413"])
        .holding(450),
    row("pipeline that nobody reads", unread).answered(&["closed"]).counted(&["stall_time"]),
    row("descriptors run out", descriptors)
        .answered(&["served after: 200"])
        .counted(&["accept_failed"])
        .with_descriptors(60),
    row("resets in odd states", churn).answered(&["no descriptor lost"]),
    row("one JSON list of 190 MiB", long_json)
        .answered(&["200"])
        .holding(1600)
        .within(Duration::from_millis(50))
        .patient(),
];

/// Returns the statuses of the replies with the number of connections that got each.
fn statuses(said: &[Vec<u8>], asked: usize) -> String {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for said in said {
        let text = String::from_utf8_lossy(said);
        let status = text.split(' ').nth(1).unwrap_or("closed").to_owned();
        *counts.entry(status).or_default() += 1;
    }
    let open = asked - said.len();
    if open > 0 {
        counts.insert("open".to_owned(), open);
    }
    let counts = counts.iter().map(|(status, count)| format!("{status} on {count}"));
    counts.collect::<Vec<_>>().join(", ")
}

fn many(server: &Running, size: Size, head: &str) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = connect(server.address);
        stream.write_all(head.as_bytes()).expect("the server reads");
        stream
    };
    (0..size.scaled(200)).map(open).collect()
}

fn trickled(server: &Running, size: Size, head: &str) -> String {
    let streams = many(server, size, head);
    let asked = streams.len();
    statuses(&trickle(streams, b"1"), asked)
}

fn slow_head(server: &Running, size: Size) -> String {
    trickled(server, size, "POST /echo_reflect HTTP/1.1\r\nhost: ")
}

fn slow_body(server: &Running, size: Size) -> String {
    trickled(
        server,
        size,
        "POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n",
    )
}

fn slow_chunk(server: &Running, size: Size) -> String {
    let head =
        "POST /echo_reflect HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nFFF\r\n";
    trickled(server, size, head)
}

fn announced(server: &Running, size: Size) -> String {
    let head =
        format!("POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\nx", 60 << 20);
    let streams = many(server, size, &head);
    let asked = streams.len();
    statuses(&trickle(streams, b""), asked)
}

/// Sends a request and returns its status.
fn ask(server: &Running, request: &[u8]) -> String {
    let mut stream = connect(server.address);
    let _ = stream.write_all(request);
    stream.shutdown(std::net::Shutdown::Write).ok();
    let said = drain(&mut stream);
    let text = String::from_utf8_lossy(&said);
    text.split(' ').nth(1).unwrap_or("closed").to_owned()
}

fn over_the_limit(server: &Running, _: Size) -> String {
    ask(server, b"POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 999999999999\r\n\r\nx")
}

fn long_head(server: &Running, _: Size) -> String {
    let field = "x".repeat(1 << 20);
    ask(server, format!("POST /echo_reflect HTTP/1.1\r\nhost: a\r\nx: {field}\r\n\r\n").as_bytes())
}

/// WorkerCounts the requests that were taken.
fn taken(server: &Running, requests: &[Vec<u8>]) -> String {
    let answers: Vec<String> = requests.iter().map(|request| ask(server, request)).collect();
    let taken = answers.iter().filter(|answer| answer.starts_with('2')).count();
    format!("{taken} taken of {}", requests.len())
}

fn smuggling(server: &Running, _: Size) -> String {
    const FIELDS: [&str; 24] = [
        "content-length: 1\r\ntransfer-encoding: chunked",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked, gzip",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: \x0bchunked",
        "transfer-encoding: xchunked",
        "transfer-encoding : chunked",
        "content-length: 1\r\ncontent-length: 2",
        "content-length: 1, 2",
        "content-length: +1",
        "content-length: -1",
        "content-length: 0x1",
        "content-length: 1 1",
        "content-length: 99999999999999999999",
        "content-length : 1",
        "content-length:\r\n 1",
        "x: a\r\n b\r\ncontent-length: 1",
        "x: a\rb\r\ncontent-length: 1",
        "x: a\0b\r\ncontent-length: 1",
        "x\r\ncontent-length: 1",
        ": a\r\ncontent-length: 1",
        "host: b\r\ncontent-length: 1",
    ];
    let head = "POST /echo_reflect HTTP/1.1\r\nhost: a\r\n";
    let mut requests: Vec<Vec<u8>> =
        FIELDS.iter().map(|fields| format!("{head}{fields}\r\n\r\nx").into_bytes()).collect();
    requests.push(b"POST /echo_reflect HTTP/1.1\r\ncontent-length: 1\r\n\r\nx".to_vec());
    for ends in ["\n", "\r\n\n"] {
        requests.push(format!("{head}content-length: 1{ends}\nx").into_bytes());
    }
    let old =
        "POST /echo_reflect HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    requests.push(old.into());
    for chunks in [
        "1;a\nb\r\nx\r\n0\r\n\r\n",
        "1\nx\r\n0\r\n\r\n",
        "+1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "1\r\nxx0\r\n\r\n",
        "-1\r\n",
    ] {
        requests.push(format!("{head}transfer-encoding: chunked\r\n\r\n{chunks}").into_bytes());
    }
    requests.push(
        [head.as_bytes(), b"transfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nx"].concat(),
    );
    taken(server, &requests)
}

fn bombs(server: &Running, size: Size) -> String {
    let deep = "[".repeat(size.scaled(1_000_000));
    let texts = [
        r#"{"buffer": "", "dtype": "<f8", "shape": [4294967296, 4294967296]}"#.to_owned(),
        r#"{"buffer": "AAAAAAAAAAA=", "dtype": "<f8", "shape": [2305843009213693953]}"#.to_owned(),
        r#"{"buffer": "", "dtype": "|O", "shape": [0]}"#.to_owned(),
        r#"{"buffer": "", "dtype": "|V99999999999", "shape": [1]}"#.to_owned(),
        format!(r#"{{"data": {deep}"#),
        format!(r#"{{"data": [{}"#, "9".repeat(size.scaled(1_000_000))),
        r#"{"data": ["\ud800"], "dtype": "<f8"}"#.to_owned(),
    ];
    let post = |path: &str, body: &[u8]| {
        let len = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    let mut requests: Vec<Vec<u8>> =
        texts.iter().map(|text| post("/echo_json", text.as_bytes())).collect();
    requests.push(post("/echo_msgpack", &[0xC6, 0xFF, 0xFF, 0xFF, 0xFF]));
    requests.push(post("/echo_msgpack", &vec![0x91; size.scaled(1_000_000)]));
    requests.push(post("/echo_msgpack", &[0xDF, 0xFF, 0xFF, 0xFF, 0xFF]));
    requests.push(post("/echo_protobuf", &vec![0x0B; size.scaled(1_000_000)]));
    requests.push(post("/echo_protobuf", &[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]));
    taken(server, &requests)
}

fn compressed(server: &Running, _: Size) -> String {
    let head = "POST /echo_json HTTP/1.1\r\nhost: a\r\ncontent-encoding: br\r\n";
    ask(server, format!("{head}content-length: 3\r\n\r\n\x1f8b").as_bytes())
}

/// Sends bodies of some KiB, each of which would inflate beyond the limit.
fn inflating(server: &Running, _: Size) -> String {
    const PIECE_BYTES: usize = 8 << 20;
    let mut statuses = BTreeSet::new();
    for coding in [Coding::Gzip, Coding::Zstd, Coding::Lz4] {
        let mut piece = Vec::new();
        deflate(coding, 1, &[&vec![0; PIECE_BYTES]], &mut piece);
        let body = piece.repeat(40);
        let head = format!(
            "POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-encoding: {}\r\n\
             content-length: {}\r\n\r\n",
            coding.token(),
            body.len()
        );
        statuses.insert(ask(server, &[head.as_bytes(), &body].concat()));
    }
    let statuses: Vec<String> = statuses.into_iter().collect();
    format!("{} from all", statuses.join(" and "))
}

/// Sends a long pipeline and reads none of the replies.
fn unread(server: &Running, size: Size) -> String {
    let body = vec![7; 60_000];
    let head =
        format!("POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
    let request = [head.as_bytes(), &body].concat();
    let mut stream = connect(server.address);
    // The buffers of two sockets take some MiB before the server has to wait.
    let sent = (0..size.scaled(2000).max(400)).take_while(|_| stream.write_all(&request).is_ok());
    let sent = sent.count();
    std::thread::sleep(Duration::from_secs(4));
    // What the sockets held may still be read; then the connection ends.
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a positive timeout");
    drain(&mut stream);
    let is_closed = (0..10).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        stream.write_all(b"x").is_err()
    });
    format!("{} after {sent} requests", if is_closed { "closed" } else { "open" })
}

fn descriptors(server: &Running, _: Size) -> String {
    let open: Vec<TcpStream> = (0..200).map(|_| connect(server.address)).collect();
    std::thread::sleep(Duration::from_millis(500));
    drop(open);
    let mut late = Rest::connect(server.address);
    let status = late.post("/echo_reflect", b"x").status;
    format!("served after: {status}")
}

fn churn(server: &Running, size: Size) -> String {
    let folder = format!("/proc/{}/fd", server.program.child.id());
    let count = || std::fs::read_dir(&folder).map_or(0, Iterator::count);
    let before = count();
    let whole = b"POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 40\r\n\r\n0123456789";
    for at in 0..size.scaled(5000) {
        let mut stream = connect(server.address);
        let _ = stream.write_all(&whole[..at % whole.len()]);
        reset(stream);
    }
    let mut late = Rest::connect(server.address);
    assert_eq!(late.post("/echo_reflect", b"x").status, 200);
    drop(late);
    let is_back = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        count() <= before
    });
    if is_back { "no descriptor lost".to_owned() } else { format!("{} more", count() - before) }
}

/// Returns a list of numbers as text. A debug build takes seconds for each MiB of it.
pub(crate) fn json(size: Size) -> Vec<u8> {
    const NUMBER: &[u8] = b"1.5e-7,";
    let bytes = if size == Size::Full { 190 << 20 } else { 1 << 20 };
    [&b"{\"data\": ["[..], &NUMBER.repeat(bytes / NUMBER.len()), b"1], \"dtype\": \"<f8\"}"]
        .concat()
}

fn long_json(server: &Running, size: Size) -> String {
    let mut peer = Rest::connect(server.address);
    let body = json(size);
    let mut sender = peer.0.try_clone().expect("a socket");
    let head =
        format!("POST /echo_json HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
    let sending = std::thread::spawn(move || {
        // The server may answer before it has read all.
        let _ = sender.write_all(&[head.as_bytes(), &body].concat());
    });
    let status = peer.try_reply().map_or_else(|error| error.to_string(), |r| r.status.to_string());
    sending.join().expect("nothing in it panics");
    status
}
