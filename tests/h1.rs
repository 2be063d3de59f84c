//! Promises of `h1`: it answers requests in order for any cuts between the bytes, gives every
//! refusal a status and a reason, and reads the end of a message in one way only. No input makes it
//! panic or answer without bound.

mod common;

use std::rc::Rc;
use std::time::{Duration, Instant};

use common::{Calling, Driven, Shapes};
use ndecho::wire::h1::{DateClock, H1, H1Client};
use ndecho::wire::{
    ChangingFields, Client, ErrorKind, Limits, Machine, Part, PooledBuf, WireError,
};
use proptest::prelude::*;

const BODY_MAX: usize = 3_000_000;

fn limits() -> Limits {
    Limits { body_bytes_max: BODY_MAX, ..Limits::default() }
}

fn server(lending: bool) -> Driven<H1<Shapes>> {
    let clock = DateClock::new(Instant::now(), Duration::from_secs(784_111_777));
    Driven::new(H1::new(Shapes, Rc::new(limits()), clock), lending)
}

fn answer_of(input: &[u8]) -> Driven<H1<Shapes>> {
    let mut driven = server(true);
    driven.feed(input);
    driven
}

/// Reply, read by a client that knows the request.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// Reads all replies in `sent`. If `bodiless`, the first one has no body.
fn replies(mut sent: &[u8], bodiless: bool) -> Vec<Seen> {
    let mut seen = Vec::new();
    while !sent.is_empty() {
        let end = sent.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8(sent[..end].to_vec()).unwrap();
        let status = head[9..12].parse().unwrap();
        let len = field(&head, "Content-Length").map_or(0, |len| len.parse().unwrap());
        let len = if bodiless && seen.is_empty() { 0 } else { len };
        let (body, rest) = sent[end + 4..].split_at(len);
        seen.push(Seen { status, head, body: body.to_vec() });
        sent = rest;
    }
    seen
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn statuses(driven: &Driven<H1<Shapes>>) -> Vec<u16> {
    replies(&driven.sent, false).iter().map(|seen| seen.status).collect()
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn chunked(path: &str, body: &[u8], size: usize) -> Vec<u8> {
    let mut input =
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            .into_bytes();
    for chunk in body.chunks(size) {
        input.extend_from_slice(format!("{:x};ext=\"1\"\r\n", chunk.len()).as_bytes());
        input.extend_from_slice(chunk);
        input.extend_from_slice(b"\r\n");
    }
    input.extend_from_slice(b"0\r\nTrailer: dropped\r\n\r\n");
    input
}

fn ramp(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

#[test]
fn a_reply_looks_like_this() {
    let driven = answer_of(&post("/wrap", b"hello"));
    let text = "HTTP/1.1 200 OK\r\nContent-Type: application/x-test\r\nContent-Length: 7\r\n\
                Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n<hello>";
    assert_eq!(String::from_utf8(driven.sent).unwrap(), text);
    let driven = answer_of(b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let text = "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n\
                Content-Length: 14\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                Connection: close\r\n\r\nno such route\n";
    assert_eq!(String::from_utf8(driven.sent).unwrap(), text);
}

#[test]
fn every_shape_of_reply_comes_back_whole_at_every_size() {
    for len in [0, 1, 4096, 16_383, 16_384, 65_536, 300_000] {
        let body = ramp(len);
        let paths = ["/reflect", "/wrap", "/text"];
        let wrapped = [b"<", &body[..], b">"].concat();
        let wanted = [body.clone(), wrapped, body.to_ascii_uppercase()];
        for (step, lending) in [(1 << 22, true), (65_536, false), (9973, true)] {
            for chunk in [0, 1 << 22, 100_000, 5003] {
                let one = |path| match chunk {
                    0 => post(path, &body),
                    size => chunked(path, &body, size),
                };
                let input: Vec<u8> = paths.into_iter().flat_map(one).collect();
                let mut driven = server(lending);
                input.chunks(step).for_each(|piece| driven.feed(piece));
                let bodies: Vec<_> =
                    replies(&driven.sent, false).into_iter().map(|r| r.body).collect();
                assert!(bodies == wanted, "{len} bytes, steps of {step}, chunks of {chunk}");
                assert!(!driven.closing());
            }
        }
    }
}

#[test]
fn a_dialogue_may_be_cut_anywhere() {
    let input = [
        post("/reflect", b"first"),
        b"\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        chunked("/text", b"chunked body", 5),
        post("/reflect", b"bad"),
        post("/nowhere", b"skipped"),
        chunked("/nowhere", b"skipped", 3),
        b"HEAD /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_vec(),
        post("/wrap", b"last"),
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\nnoise".to_vec(),
    ]
    .concat();
    let whole = answer_of(&input);
    let start = String::from_utf8_lossy(&whole.sent).into_owned();
    let codes: Vec<_> = start.split("HTTP/1.1 ").skip(1).map(|reply| &reply[..3]).collect();
    assert_eq!(codes, ["200", "200", "200", "400", "404", "404", "200", "200", "400"]);
    for cut in 0..=input.len() {
        let mut driven = server(true);
        driven.feed(&input[..cut]);
        driven.feed(&input[cut..]);
        assert!(driven.sent == whole.sent, "cut at {cut}");
        assert_eq!(driven.error, whole.error);
    }
    let mut driven = server(true);
    input.chunks(1).for_each(|byte| driven.feed(byte));
    assert!(driven.sent == whole.sent);
}

/// Heads that are not HTTP/1.1, with the status of each refusal.
const BROKEN_HEADS: &[(u16, &str)] = &[
    (400, "\x16\x03\x01"),
    (400, "\n"),
    (400, "\r\n\r\n\r\n\r\n\r\n"),
    (400, "GET /health HTTP/1.1\nHost: a\n\n"),
    (400, "GET /health\r\n\r\n"),
    (400, "GET  /health HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET /health  HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET /health HTTP/1.1 \r\nHost: a\r\n\r\n"),
    (400, "GET /he alth HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET /he\u{e4}lth HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET /health#top HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET health HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET http:///health HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET http://a`b/health HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET http://me@a/health HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "G(T /health HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET /health http/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET /health HTTP/1.10\r\nHost: a\r\n\r\n"),
    (400, "GET /health HTTP/1.1\r\n\r\n"),
    (400, "GET /health HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    (400, "GET /health HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n"),
    (400, "GET /health HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    (400, "GET /health HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"),
    (400, "GET /health HTTP/1.1\r\n Host: a\r\n\r\n"),
    (400, "GET /health HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n"),
    (400, "GET /health HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
    (400, "GET /health HTTP/1.1\r\nHost: a\r\nA\r\n\r\n"),
    (400, "GET /health HTTP/1.1\r\nHost: a\r\nA(: b\r\n\r\n"),
    (400, "GET /health HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n"),
    (400, "GET /health HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n"),
    (400, "GET /health HTTP/1.1\r\nHost: a\nA: b\r\n\r\n"),
    (400, "POST /reflect HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (505, "GET /health HTTP/2.0\r\nHost: a\r\n\r\n"),
    (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
];

/// Ambiguous framing of a body, as text after [`POST`].
const BROKEN_BODIES: &[(u16, &str)] = &[
    (400, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (400, "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
    (400, "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    (400, "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    (400, "Content-Length: 5, 5\r\n\r\n"),
    (400, "Content-Length: +5\r\n\r\n"),
    (400, "Content-Length: -5\r\n\r\n"),
    (400, "Content-Length: 0x5\r\n\r\n"),
    (400, "Content-Length: 5 5\r\n\r\n"),
    (400, "Content-Length: \r\n\r\n"),
    (400, "Content-Length: 18446744073709551616\r\n\r\n"),
    (400, "Transfer-Encoding: identity\r\n\r\n"),
    (400, "Transfer-Encoding: chunked, gzip\r\n\r\n"),
    (400, "Transfer-Encoding: chunked, chunked\r\n\r\n"),
    (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (400, "Transfer-Encoding: \"chunked\"\r\n\r\n"),
    (400, "Transfer-Encoding: \x0bchunked\r\n\r\n"),
    (400, "Transfer-Encoding: chunked;q=1\r\n\r\n"),
    (400, "Transfer-Encoding:\r\n\r\n"),
    (501, "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    (413, "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
    (413, "Transfer-Encoding: chunked\r\n\r\n2DC6C1\r\n"),
    (413, "Content-Length: 3000001\r\n\r\n"),
    (413, "Content-Length: 18446744073709551615\r\n\r\n"),
    (413, "Content-Length: 3000001\r\nExpect: 100-continue\r\n\r\n"),
];

/// Chunks whose framing is broken, as text after [`CHUNKED`].
const BROKEN_CHUNKS: &[&str] = &[
    "\r\n",
    ";x\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "-1\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "g\r\n",
    "5\nhello\r\n",
    "5 \r\nhello\r\n",
    " 5\r\nhello\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5;a\nb\r\nhello\r\n0\r\n\r\n",
    "5;a\rb\r\nhello\r\n",
    "00000000000000001\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "0\r\nT\0: 1\r\n\r\n",
    "0\r\n\n",
];

const POST: &str = "POST /reflect HTTP/1.1\r\nHost: a\r\n";
const CHUNKED: &str = "POST /reflect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Requests that are longer than the limits allow.
fn overlong() -> Vec<(u16, String)> {
    let long = "x".repeat(16 * 1024);
    let many = "A: b\r\n".repeat(128);
    vec![
        (400, format!("\x7f{long}")),
        (431, format!("GET /health HTTP/1.1\r\nHost: a\r\nA: {long}\n\r\n")),
        (414, format!("\r\nGET /{long}\n\r\n")),
        (414, format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
        (431, format!("GET /health HTTP/1.1\r\nHost: a\r\nA: {long}\r\n\r\n")),
        (431, format!("GET /health HTTP/1.1\r\nHost: a\r\n{many}\r\n")),
        (431, format!("{CHUNKED}5;{long}x\r\n")),
        (431, format!("{CHUNKED}0\r\n{long}x\r\n")),
    ]
}

#[test]
fn what_is_no_http_is_refused_with_its_reason_and_the_connection_closed() {
    let heads = BROKEN_HEADS.iter().map(|(status, head)| (*status, (*head).to_owned()));
    let bodies = BROKEN_BODIES.iter().map(|(status, rest)| (*status, format!("{POST}{rest}")));
    let chunks = BROKEN_CHUNKS.iter().map(|chunks| (400, format!("{CHUNKED}{chunks}")));
    let cases = heads.chain(bodies).chain(chunks).chain(overlong());
    for (status, input) in cases {
        let shown = &input[..input.len().min(90)];
        let bytes = input.as_bytes();
        let driven = answer_of(bytes);
        let seen = replies(&driven.sent, false);
        assert_eq!(seen.len(), 1, "{shown:?}");
        assert_eq!(seen[0].status, status, "{shown:?} {}", String::from_utf8_lossy(&driven.sent));
        assert_eq!(field(&seen[0].head, "Connection"), Some("close"), "{shown:?}");
        assert!(seen[0].body.len() > 10 && seen[0].body.ends_with(b"\n"), "{shown:?}");
        assert!(driven.machine.finished(), "{shown:?}");
        assert!(
            matches!(driven.error, Some(WireError { kind: ErrorKind::Violation, .. })),
            "{shown:?}"
        );
        for step in [1, 13, 1000] {
            let mut again = server(true);
            bytes.chunks(step).for_each(|piece| again.feed(piece));
            assert!(again.sent == driven.sent, "{shown:?} in steps of {step}");
        }
    }
}

#[test]
fn chunks_may_be_spelled_and_cut_in_any_way() {
    let cases = [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("0005\r\nhello\r\n00\r\n\r\n", "hello"),
        ("2;a=b\r\nhe\r\n3 ;x=\"y\"\r\nllo\r\n0;z\r\nT: 1\r\nU: 2\r\n\r\n", "hello"),
        ("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
    ];
    for (chunks, body) in cases {
        let input = format!("{CHUNKED}{chunks}");
        let (start, last) = input.as_bytes().split_at(input.len() - 1);
        for step in 1..=start.len() {
            let mut driven = server(true);
            start.chunks(step).for_each(|piece| driven.feed(piece));
            assert!(driven.sent.is_empty(), "{chunks:?} in steps of {step} is not whole");
            driven.feed(last);
            let seen = replies(&driven.sent, false);
            assert_eq!((seen.len(), seen[0].body.as_slice()), (1, body.as_bytes()), "{chunks:?}");
        }
    }
}

#[test]
fn what_is_unusual_but_legal_is_served() {
    let cases = [
        "\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /health?query=/x HTTP/1.1\r\nHost:\r\n\r\n",
        "GET http://host:1/health HTTP/1.1\r\nHost: other\r\n\r\n",
        "GET HTTPS://host/health?q HTTP/1.1\r\nhOST:a:80\r\n\r\n",
        "GET /health HTTP/1.7\r\nHost: [::1]:80 \t\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: a\r\nX:\r\nY: \u{e4}\t!\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
        "GET /health HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        "POST /text HTTP/1.1\r\nHost: a\r\nContent-Length: 000002\r\n\r\nok",
        "POST /text HTTP/1.1\r\nHost: a\r\ntransfer-encoding:Chunked \r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for input in cases {
        let driven = answer_of(input.as_bytes());
        assert_eq!(statuses(&driven), [200], "{input:?}");
        assert!(!driven.closing(), "{input:?}");
    }
}

#[test]
fn a_refused_request_leaves_the_connection_in_step() {
    let next = post("/reflect", b"next");
    let cases = [
        (404, post("/nowhere", b"GET / HTTP/1.1\r\n\r\n")),
        (404, post("/nowhere", &ramp(1 << 20))),
        (404, chunked("/nowhere", &ramp(100_000), 999)),
        (405, b"GET /reflect HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        (405, b"PUT /reflect HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".to_vec()),
        (411, b"POST /reflect HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        (415, {
            let head = "POST /reflect HTTP/1.1\r\nHost: a\r\nContent-Type: application/wrong\r\n";
            format!("{head}Content-Length: 3\r\n\r\nabc").into_bytes()
        }),
        (415, {
            let head = "POST /reflect HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n";
            format!("{head}Content-Length: 3\r\n\r\nabc").into_bytes()
        }),
        (417, b"GET /health HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n".to_vec()),
        (501, b"BREW /reflect HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".to_vec()),
        (501, b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        (400, post("/reflect", b"bad")),
        (500, post("/reflect", b"fail")),
    ];
    for (status, input) in cases {
        let driven = answer_of(&[&input[..], &next].concat());
        let seen = replies(&driven.sent, false);
        let shown = String::from_utf8_lossy(&input[..30]);
        assert_eq!(seen.iter().map(|r| r.status).collect::<Vec<_>>(), [status, 200], "{shown}");
        assert_eq!(seen[1].body, b"next", "{shown}");
        assert_eq!(field(&seen[0].head, "Allow"), (status == 405).then_some("POST"));
        assert!(!driven.closing(), "{shown}");
    }
}

#[test]
fn a_refused_request_with_a_long_body_closes_the_connection() {
    let announced =
        b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n".to_vec();
    let waiting =
        b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    for input in [announced, waiting.to_vec()] {
        let driven = answer_of(&input);
        let seen = replies(&driven.sent, false);
        assert_eq!((seen.len(), seen[0].status), (1, 404));
        assert_eq!(field(&seen[0].head, "Connection"), Some("close"));
        assert!(driven.machine.finished() && driven.error.is_none());
    }
    let endless = chunked("/nowhere", &ramp(1_200_000), 100_000);
    let driven = answer_of(&endless);
    assert_eq!(statuses(&driven), [404], "one reply for one request");
    assert!(driven.machine.finished() && driven.error.is_some());
}

#[test]
fn head_and_options_have_no_body() {
    let driven = answer_of(b"HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n");
    let seen = replies(&driven.sent, true);
    assert_eq!((seen.len(), seen[0].status), (1, 200));
    assert_eq!(field(&seen[0].head, "Content-Length"), Some("2"));
    let driven = answer_of(b"HEAD /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(replies(&driven.sent, true)[0].status, 404);
    assert!(driven.sent.ends_with(b"\r\n\r\n"));
    let driven = answer_of(b"OPTIONS /reflect HTTP/1.1\r\nHost: a\r\n\r\n");
    let seen = replies(&driven.sent, false);
    assert_eq!(field(&seen[0].head, "Allow"), Some("POST"));
    assert_eq!((seen[0].status, seen[0].body.len()), (200, 0));
}

#[test]
fn connections_live_as_the_version_and_the_client_say() {
    let cases = [
        ("GET /health HTTP/1.1\r\nHost: a\r\n\r\n", true, None),
        ("GET /health HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", false, Some("close")),
        ("GET /health HTTP/1.0\r\n\r\n", false, Some("close")),
        ("GET /health HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true, Some("keep-alive")),
        ("GET /health HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false, Some("close")),
    ];
    for (input, alive, connection) in cases {
        let late = post("/reflect", b"late");
        let driven = answer_of(&[input.as_bytes(), &late].concat());
        let seen = replies(&driven.sent, false);
        assert_eq!(field(&seen[0].head, "Connection"), connection, "{input:?}");
        assert_eq!(seen.len(), 1 + usize::from(alive), "{input:?}");
        assert_eq!(driven.machine.finished(), !alive, "{input:?}");
        assert_eq!(driven.error, None);
    }
}

#[test]
fn a_client_that_expects_100_gets_it_before_its_body_only() {
    let head =
        b"POST /reflect HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-Continue\r\n\r\n";
    let mut driven = answer_of(head);
    assert_eq!(driven.sent, b"HTTP/1.1 100 Continue\r\n\r\n");
    driven.feed(b"body");
    assert_eq!(statuses(&driven), [100, 200]);
    let together = answer_of(&[&head[..], b"body"].concat());
    assert_eq!(statuses(&together), [200]);
    let old = b"POST /reflect HTTP/1.0\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    assert!(answer_of(old).sent.is_empty());
}

#[test]
fn each_phase_has_its_own_patience() {
    let mut idle = server(true);
    idle.wait(Duration::from_secs(74));
    idle.feed(&post("/reflect", b"x"));
    idle.feed(b"\r\n");
    idle.wait(Duration::from_secs(74));
    assert!(!idle.closing());
    idle.wait(Duration::from_secs(2));
    assert!(idle.machine.finished() && idle.error.is_none());
    assert_eq!(statuses(&idle), [200], "an idle connection ends without a word");

    let mut trickling = server(true);
    for byte in b"GET /health" {
        trickling.feed(&[*byte]);
        trickling.wait(Duration::from_secs(1));
    }
    assert_eq!(statuses(&trickling), [408]);
    assert!(matches!(trickling.error, Some(WireError { kind: ErrorKind::Timeout, .. })));

    let input = post("/reflect", &ramp(200_000));
    let (first, rest) = input.split_at(input.len() - 200_000);
    let mut slow = answer_of(first);
    for piece in rest.chunks(40_000) {
        slow.wait(Duration::from_secs(29));
        slow.feed(piece);
    }
    assert_eq!(statuses(&slow), [200]);
    for lending in [true, false] {
        let mut trickling = server(lending);
        trickling.feed(first);
        for _ in 0..1000 {
            trickling.wait(Duration::from_secs(29));
            trickling.feed(b"x");
        }
        assert_eq!(statuses(&trickling), [408]);
    }
    for input in [post("/reflect", &ramp(50_000)), chunked("/reflect", &ramp(50_000), 50_000)] {
        let mut stalled = answer_of(&input[..20_000]);
        stalled.wait(Duration::from_secs(31));
        assert_eq!(statuses(&stalled), [408]);
        assert!(matches!(stalled.error, Some(WireError { kind: ErrorKind::Timeout, .. })));
    }
    let mut sending = server(true);
    sending.feed(&[&post("/reflect", b"x")[..], b"GET /hea"].concat());
    sending.wait_unsent(Duration::from_secs(1000));
    assert_eq!(statuses(&sending), [200], "the peer is busy with reading");
    sending.wait(Duration::from_secs(9));
    assert_eq!(statuses(&sending), [200]);
    sending.wait(Duration::from_secs(2));
    assert_eq!(statuses(&sending), [200, 408]);
    let mut skipping = answer_of(&post("/nowhere", b"0123")[..56]);
    skipping.wait(Duration::from_secs(31));
    assert_eq!(statuses(&skipping), [404], "one reply for one request");
}

#[test]
fn an_end_is_clean_between_requests_only() {
    let input = post("/reflect", &ramp(20_000));
    for cut in [0, 1, 30, 100, 19_000, input.len()] {
        let mut driven = answer_of(&input[..cut]);
        driven.end();
        let clean = cut == 0 || cut == input.len();
        assert_eq!(driven.error.is_none(), clean, "cut at {cut}");
        assert_eq!(statuses(&driven).contains(&400), !clean);
        assert!(driven.machine.finished());
    }
}

#[test]
fn draining_answers_what_had_been_sent_and_takes_no_other() {
    const GRACE: Duration = Duration::from_millis(100);
    let mut idle = answer_of(&post("/reflect", b"one"));
    idle.drain();
    assert!(!idle.machine.finished(), "a request may have been sent before the shutdown");
    idle.wait(GRACE);
    assert!(idle.machine.finished() && idle.error.is_none());
    let input = post("/reflect", b"last");
    let two = |cut: usize| [&input[cut..], &post("/reflect", b"late")[..]].concat();
    for cut in [0, 1, 20, input.len() - 1] {
        let mut open = answer_of(&input[..cut]);
        open.drain();
        open.feed(&two(cut));
        let seen = replies(&open.sent, false);
        assert_eq!(seen.iter().map(|reply| reply.status).collect::<Vec<_>>(), [200, 200]);
        assert!(!open.machine.finished(), "more may have been sent");
        open.wait(GRACE);
        assert!(open.machine.finished() && open.error.is_none());
    }
    for cut in [1, 20, input.len() - 1] {
        let mut open = answer_of(&input[..cut]);
        open.drain();
        open.wait(2 * GRACE);
        assert!(!open.machine.finished());
        open.feed(&two(cut));
        let seen = replies(&open.sent, false);
        assert_eq!(seen.len(), 2);
        assert_eq!(field(&seen[0].head, "Connection"), None);
        assert_eq!(field(&seen[1].head, "Connection"), Some("close"), "the last one that came");
        assert!(open.machine.finished() && open.error.is_none());
    }
    let mut following = answer_of(&input[..1]);
    following.drain();
    following.wait(2 * GRACE);
    following.machine.input_follows(true);
    following.feed(&input[1..]);
    assert!(!following.machine.finished(), "the socket has more");
    let refused = post("/nowhere", b"skipped");
    let (head, body) = refused.split_at(refused.len() - 7);
    let mut skipping = answer_of(head);
    skipping.drain();
    skipping.wait(2 * GRACE);
    skipping.feed(body);
    assert!(skipping.machine.finished());
}

#[test]
fn an_announced_length_costs_nothing() {
    let mut driven =
        answer_of(b"POST /reflect HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
    let loan = driven.machine.lend(&Default::default()).expect("a long body is lent");
    assert!(loan.buffer.capacity() <= 128 * 1024 && loan.want <= 128 * 1024);
}

#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<H1<Shapes>>() <= 512, "{}", size_of::<H1<Shapes>>());
}

fn client(lending: bool) -> Calling<H1Client> {
    Calling::new(H1Client::new("host:1", "/reflect", "application/x-test", &limits()), lending)
}

#[test]
fn client_and_server_understand_each_other() {
    for (len, lending) in [(0, true), (8, true), (2048, false), (65_536, true), (2_500_000, true)] {
        let (mut client, mut driven) = (client(lending), server(lending));
        let body = Rc::new(PooledBuf::from(ramp(len)));
        for id in 0..3 {
            let halves = [Part::Copy(&body[..len / 2]), Part::Share(&body, len / 2..len)];
            client.request(id, &halves);
            driven.feed(&std::mem::take(&mut client.sent));
            let sent = std::mem::take(&mut driven.sent);
            sent.chunks(10_007).for_each(|piece| client.feed(piece).unwrap());
        }
        for (at, (id, reply)) in client.replies.iter().enumerate() {
            assert_eq!(*id as usize, at);
            assert!(reply.as_ref() == Ok(&*body));
        }
        client.request(3, &[Part::Copy(b"bad")]);
        driven.feed(&client.sent);
        client.feed(&driven.sent).unwrap();
        let refused = Err("400 Bad Request: bad body".to_owned());
        assert_eq!(client.replies[3], (3, refused));
        assert_eq!(client.client.end(), Ok(()));
    }
}

#[test]
fn a_client_sends_a_trace_that_differs_in_each_request() {
    let fields = ChangingFields::new(1, Duration::ZERO, false);
    let client = H1Client::new("host:1", "/reflect", "application/x-test", &limits());
    let mut client = Calling::new(client.with_changing_fields(Some(fields)), true);
    let mut traces = Vec::new();
    for id in 0..10 {
        client.request(id, &[Part::Copy(b"body")]);
        let sent = std::mem::take(&mut client.sent);
        let head = String::from_utf8(sent.clone()).unwrap();
        let (_, value) = head.split_once("\r\ntraceparent: ").expect("one is there");
        traces.push(value.lines().next().unwrap().to_owned());
        let mut driven = server(true);
        driven.feed(&sent);
        client.feed(&driven.sent).unwrap();
        assert_eq!(client.replies.pop(), Some((id, Ok(b"body".to_vec()))));
    }
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len(), 10);
}

#[test]
fn a_client_reads_what_other_servers_write() {
    let cases: [(&str, Result<&[u8], &str>); 8] = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", Ok(b"hi")),
        ("HTTP/1.0 200\r\nContent-Length: 2\r\n\r\nhi", Ok(b"hi")),
        ("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", Ok(b"")),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            Ok(b"hi"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1;x\r\ni\r\n0\r\nT: u\r\n\r\n",
            Ok(b"hi"),
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", Err("204 No Content: ")),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nwhy\n", Err("404 Not Found: why")),
        ("HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", Err("503 Busy: ")),
    ];
    for (input, wanted) in cases {
        for step in 1..=input.len() {
            let mut client = client(true);
            client.request(7, &[Part::Copy(b"x")]);
            input.as_bytes().chunks(step).for_each(|piece| client.feed(piece).unwrap());
            let wanted = wanted.map(<[u8]>::to_vec).map_err(str::to_owned);
            assert_eq!(client.replies, [(7, wanted)], "{input:?} in steps of {step}");
        }
    }
}

#[test]
fn a_client_sends_nothing_after_a_reply_that_closes_the_connection() {
    let cases = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", true),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", true),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", false),
    ];
    for (input, is_last) in cases {
        let mut client = client(true);
        client.request(7, &[Part::Copy(b"x")]);
        assert!(!client.client.is_leaving());
        client.feed(input.as_bytes()).unwrap();
        assert_eq!(client.replies, [(7, Ok(b"hi".to_vec()))]);
        assert_eq!(client.client.is_leaving(), is_last, "{input:?}");
        assert_eq!(client.client.in_flight_max(), usize::from(!is_last), "{input:?}");
    }
}

#[test]
fn a_client_refuses_replies_that_it_cannot_delimit() {
    let cases = [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3000001\r\n\r\n",
        "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\nmore",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n",
    ];
    for input in cases {
        let mut client = client(true);
        client.request(7, &[Part::Copy(b"x")]);
        assert!(client.feed(input.as_bytes()).is_err(), "{input:?}");
    }
    let mut client = client(true);
    client.request(7, &[Part::Copy(b"x")]);
    assert!(client.client.end().is_err());
}

/// Generates requests and fragments of requests.
fn scrap() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "GET /health HTTP/1.1\r\n",
        "POST /reflect HTTP/1.1\r\n",
        "POST /nowhere HTTP/1.0\r\n",
        "Host: a\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 20000\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: keep-alive\r\n",
        "\r\n",
        "hello",
        "5\r\nhello\r\n",
        "4e20\r\n",
        "0\r\n\r\n",
        ": \r",
    ]);
    prop_oneof![
        4 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => (1usize..30_000).prop_map(|len| vec![b'x'; len]),
        2 => (0usize..40_000).prop_map(|len| post("/wrap", &ramp(len))),
        1 => (0usize..40_000, 1usize..20_000).prop_map(|(len, size)| chunked("/text", &ramp(len), size)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_cut_gives_the_same_output_and_nothing_panics(
        scraps in prop::collection::vec(scrap(), 1..12),
        steps in prop::collection::vec(prop_oneof![1usize..40, 40usize..30_000], 1..10),
        lending: bool,
    ) {
        let input = scraps.concat();
        let mut driven = server(lending);
        let (mut rest, mut steps) = (&input[..], steps.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(*steps.next().unwrap()));
            driven.feed(now);
            rest = later;
        }
        let whole = answer_of(&input);
        prop_assert!(driven.sent == whole.sent);
        prop_assert_eq!(driven.error, whole.error);
        prop_assert!(whole.sent.len() <= 20 * input.len() + 300);
    }

    #[test]
    fn a_client_survives_any_reply(
        noise in prop::collection::vec(any::<u8>(), 0..500),
        start in 0usize..60,
    ) {
        let good = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n5\r\n";
        let mut client = client(true);
        client.request(0, &[]);
        let _ = client.feed(&[&good[..start.min(good.len())], &noise].concat());
    }
}
