use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::task::LocalSet;

use super::*;
use crate::array::DType;
use crate::load::message::Message;
use crate::load::plan::{Body, Extent, Options, Source, Target};
use crate::load::worker;
use crate::record::Measurement;

/// What the server under test makes of a request: its number and its framed message go in.
type Answer = fn(u32, Bytes) -> Reply;

struct Reply {
    status: u16,
    content_type: &'static str,
    pieces: Vec<Bytes>,
    grpc_status: Option<&'static str>,
}

fn echo(_: u32, body: Bytes) -> Reply {
    let content_type = "application/grpc+reflect";
    Reply { status: 200, content_type, pieces: vec![body], grpc_status: Some("0") }
}

async fn serve(stream: DuplexStream, streams: u32, answer: Answer) {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(streams);
    let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
    let mut number = 0;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        tokio::task::spawn_local(async move {
            let mut body = request.into_body();
            let mut whole = Vec::new();
            while let Some(Ok(piece)) = body.data().await {
                let _ = body.flow_control().release_capacity(piece.len());
                whole.extend_from_slice(&piece);
            }
            let reply = answer(number, Bytes::from(whole));
            let head = http::Response::builder()
                .status(reply.status)
                .header("content-type", reply.content_type)
                .body(())
                .unwrap();
            let mut send = respond.send_response(head, false).unwrap();
            for piece in reply.pieces {
                let _ = send.send_data(piece, false);
            }
            let mut trailers = HeaderMap::new();
            if let Some(status) = reply.grpc_status {
                trailers.insert(STATUS, HeaderValue::from_static(status));
                trailers.insert(MESSAGE, HeaderValue::from_static("so%20there"));
            }
            let _ = send.send_trailers(trailers);
        });
        number += 1;
    }
}

/// Loads an in-process server over an in-memory stream.
fn load(size: u64, in_flight: u32, streams: u32, answer: Answer) -> Result<Measurement, LoadError> {
    let options = Options {
        target: Target::parse("grpc://127.0.0.1:1").unwrap(),
        body: Body::Reflect,
        source: Source::of_size(size, DType::F8, 3).unwrap(),
        connections: 1,
        in_flight,
        warmup: Extent::Requests(u64::from(in_flight)),
        window: Extent::Requests(200),
        timeout: Duration::from_secs(1),
        cpu: None,
        server_pid: None,
    };
    let array = worker::array(&options.source).unwrap();
    let message = Message::new(options.body, array, 17).unwrap();
    let run = Rc::new(RefCell::new(Run::new(&options, message)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (ours, theirs) = tokio::io::duplex(256 * 1024);
        tokio::task::spawn_local(serve(theirs, streams, answer));
        let loading = drive(ours, "127.0.0.1:1".to_owned(), Rc::clone(&run), in_flight);
        tokio::time::timeout(Duration::from_secs(60), loading).await.expect("no hang");
    });
    run.borrow_mut().finish(Default::default())
}

fn failure(answer: Answer) -> String {
    load(8, 4, 100, answer).expect_err("a failure").to_string()
}

#[test]
fn an_echo_is_measured_at_every_size_and_depth() {
    for (size, in_flight) in [(8, 1), (8, 1000), (2048, 64), (65_536, 8), (1 << 20, 3)] {
        let measured = load(size, in_flight, 1024, echo).unwrap();
        assert_eq!(measured.requests, 200);
        assert!(measured.bytes_in.min(measured.bytes_out) >= 200 * size, "{measured:?}");
        assert!(measured.latency_ns.p50 > 0);
        assert_eq!(measured.server_settings.unwrap().max_concurrent_streams, Some(1024));
    }
}

#[test]
fn more_requests_than_streams_wait_for_theirs() {
    assert_eq!(load(8, 300, 7, echo).unwrap().requests, 200);
}

#[test]
fn a_body_in_pieces_is_put_together() {
    let measured = load(2048, 8, 100, |number, body| {
        let pieces = body.chunks(700).map(Bytes::copy_from_slice).collect();
        Reply { pieces, ..echo(number, body) }
    });
    assert_eq!(measured.unwrap().requests, 200);
}

#[test]
fn wrong_bodies_are_caught() {
    let flipped = failure(|number, body| {
        let mut wrong = body.to_vec();
        wrong[PREFIX_BYTES + 3] ^= u8::from(number == 40);
        Reply { pieces: vec![wrong.into()], ..echo(number, body) }
    });
    assert!(flipped.contains("request 40: wrong reply: byte 3 of the array"), "{flipped}");

    let cut = failure(|number, body| Reply {
        pieces: vec![body.slice(..body.len() - 1)],
        ..echo(number, body)
    });
    assert!(cut.ends_with("a body of 12 bytes is no whole message"), "{cut}");

    let longer = failure(|number, body| Reply {
        pieces: vec![body.clone(), Bytes::from_static(b"x")],
        ..echo(number, body)
    });
    assert!(longer.contains("request 0: wrong reply: refused: "), "{longer}");
}

#[test]
fn refusals_say_what_the_server_said() {
    let http = failure(|number, body| Reply { status: 500, ..echo(number, body) });
    assert!(http.ends_with("wrong reply: refused: HTTP status 500"), "{http}");
    let kind = failure(|number, body| Reply { content_type: "text/html", ..echo(number, body) });
    assert!(kind.ends_with("content type \"text/html\""), "{kind}");
    let status = failure(|number, body| Reply { grpc_status: Some("13"), ..echo(number, body) });
    assert!(status.ends_with("grpc-status 13: so there"), "{status}");
    let missing = failure(|number, body| Reply { grpc_status: None, ..echo(number, body) });
    assert!(missing.ends_with("no grpc-status in the trailers"), "{missing}");
}

#[test]
fn a_closed_connection_is_a_failure() {
    let panicked = failure(|number, body| {
        assert!(number < 20, "the test server gives up here");
        echo(number, body)
    });
    assert!(!panicked.is_empty());
}
