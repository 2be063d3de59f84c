//! Calls: what is answered, what is refused, and in which words.

use crate::common::Driven;
use crate::peer::*;

fn answered(input: &[u8]) -> Reply {
    let mut server = server();
    server.feed(input);
    let answer = reply(&server, 1);
    if !server.closing() {
        assert_serves(&mut server);
    }
    answer
}

fn with_fields(more: &[(&str, &str)], content: &[u8]) -> Reply {
    let head = headers(1, 0, &call_fields("/reflect", more));
    answered(&[head, frame(DATA, END_STREAM, 1, content)].concat())
}

#[test]
fn a_call_is_answered_in_three_frames() {
    let mut server = server();
    server.sent.clear();
    server.feed(&call(1, "/reflect", b"payload"));
    let got = frames(&server.sent);
    let shape: Vec<_> = got.iter().map(|f| (f.kind, f.flags, f.stream)).collect();
    let expected =
        [(HEADERS, END_HEADERS, 1), (DATA, 0, 1), (HEADERS, END_HEADERS | END_STREAM, 1)];
    assert_eq!(shape, expected);
    assert_eq!(got[1].payload, message(b"payload"));
    let answer = reply(&server, 1);
    assert_eq!(answer.field("content-type"), "application/x-test");
    assert_eq!(answer.field("grpc-accept-encoding"), "identity");
    server.feed(&call(3, "/reflect", b""));
    assert_eq!(reply(&server, 3).message(), b"");
    assert_eq!(reply(&server, 3).field("grpc-accept-encoding"), "", "said once");
}

#[test]
fn every_shape_of_reply_comes_back_whole_at_every_size() {
    for len in [0, 1, 4096, 16_000, 16_384, 100_000, 2_000_000] {
        let body = ramp(len);
        let wrapped = [b"<", &body[..], b">"].concat();
        let capitals = body.to_ascii_uppercase();
        let expected = [("/reflect", &body), ("/wrap", &wrapped), ("/text", &capitals)];
        for (step, lending) in [(1 << 30, true), (65_536, true), (65_536, false), (977, true)] {
            let mut server = server_after(
                &[hello(), settings(&[(4, 1 << 30)]), window_update(0, 1 << 30)].concat(),
            );
            server.lending = lending;
            for (at, (path, _)) in expected.iter().enumerate() {
                let stream = 2 * at as u32 + 1;
                let mut input = open(stream, path);
                let content = message(&body);
                let chunks: Vec<&[u8]> = content.chunks(1_000_000).collect();
                for (at, chunk) in chunks.iter().enumerate() {
                    let flags = if at + 1 == chunks.len() { END_STREAM } else { 0 };
                    input.extend_from_slice(&frame(DATA, flags, stream, chunk));
                }
                input.chunks(step).for_each(|chunk| server.feed(chunk));
            }
            for (at, (path, whole)) in expected.iter().enumerate() {
                let answer = reply(&server, 2 * at as u32 + 1);
                assert!(answer.message() == &whole[..], "{path}, {len} bytes in steps of {step}");
            }
        }
    }
}

#[test]
fn what_is_not_a_call_gets_a_text() {
    let get = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x")];
    let answer = answered(&headers(1, END_STREAM, &get));
    assert_eq!((answer.field(":status"), answer.field("allow")), ("405", "POST"));
    assert_eq!(answer.content.len().to_string(), answer.field("content-length"));
    assert!(answer.content.len() > 5 && answer.ended && answer.reset.is_none());

    let head = [(":method", "HEAD"), get[1], get[2], get[3]];
    let answer = answered(&headers(1, END_STREAM, &head));
    assert_eq!((answer.field(":status"), answer.content.len(), answer.ended), ("405", 0, true));

    let connect = [(":method", "CONNECT"), get[3]];
    assert_eq!(answered(&headers(1, END_STREAM, &connect)).field(":status"), "405");

    let json = [(":method", "POST"), get[1], get[2], ("content-type", "application/json")];
    let input = [headers(1, 0, &json), frame(DATA, END_STREAM, 1, b"{}")].concat();
    let answer = answered(&input);
    assert_eq!(answer.field(":status"), "415");
    assert!(String::from_utf8_lossy(&answer.content).contains("application/json"));
}

#[test]
fn a_text_waits_for_a_short_request_to_end_but_not_for_a_long_one() {
    let post = [(":method", "POST"), (":scheme", "http"), (":path", "/")];
    let mut server = server();
    server.feed(&headers(1, 0, &post));
    server.feed(&frame(DATA, 0, 1, &[7; 1000]));
    assert!(reply(&server, 1).head.is_empty());
    server.feed(&frame(DATA, END_STREAM, 1, b""));
    assert_eq!((reply(&server, 1).field(":status"), reply(&server, 1).reset), ("415", None));

    server.feed(&headers(3, 0, &post));
    server.feed(&frame(DATA, 0, 3, &[7; 65_537]));
    assert_eq!(
        (reply(&server, 3).field(":status"), reply(&server, 3).reset),
        ("415", Some(NO_ERROR))
    );
    server.feed(&frame(DATA, END_STREAM, 3, &[7; 1000]));
    assert_serves(&mut server);
}

#[test]
fn messages_that_are_none_part_or_two_are_internal() {
    let two = [message(b"one"), message(b"two")].concat();
    for content in [&b""[..], &[0, 0], &message(b"cut")[..7], &two] {
        let answer = with_fields(&[], content);
        assert_eq!(answer.failure().0, "13", "{content:?}");
        assert!(!answer.failure().1.is_empty());
    }
    let answer = answered(&headers(1, END_STREAM, &call_fields("/reflect", &[])));
    assert_eq!(answer.failure().0, "13");
    for content in [&b""[..], &[0, 0], &message(b"cut")[..7]] {
        let split =
            [open(1, "/reflect"), frame(DATA, 0, 1, content), frame(DATA, END_STREAM, 1, b"")];
        let answer = answered(&split.concat());
        assert_eq!((answer.failure().0, answer.reset), ("13", None));
    }
    let early = [open(1, "/reflect"), frame(DATA, 0, 1, &two)].concat();
    let answer = answered(&early);
    assert_eq!((answer.failure().0, answer.reset), ("13", Some(NO_ERROR)));
}

#[test]
fn compression_is_not_spoken() {
    let flagged = [1, 0, 0, 0, 1, b'x'];
    assert_eq!(with_fields(&[], &flagged).failure().0, "13");
    let answer = with_fields(&[("grpc-encoding", "gzip")], &flagged);
    assert_eq!(answer.failure().0, "12");
    assert_eq!(answer.field("grpc-accept-encoding"), "identity");
    assert_eq!(with_fields(&[("grpc-encoding", "identity")], &message(b"x")).message(), b"x");
    assert_eq!(with_fields(&[("grpc-encoding", "gzip")], &message(b"x")).message(), b"x");
    assert_eq!(with_fields(&[], &[9, 0, 0, 0, 0]).failure().0, "13");
}

#[test]
fn a_message_over_the_limit_is_refused_before_it_comes() {
    let announced = [&[0][..], &(BODY_BYTES_MAX as u32 + 1).to_be_bytes()].concat();
    let mut server = server();
    server.feed(&[open(1, "/reflect"), frame(DATA, 0, 1, &announced)].concat());
    let answer = reply(&server, 1);
    let (status, text) = answer.failure();
    assert_eq!((status, answer.reset), ("8", Some(NO_ERROR)));
    assert!(text.contains(&BODY_BYTES_MAX.to_string()), "{text}");
    server.feed(&frame(DATA, 0, 1, &[0; 100_000]));
    assert_eq!(frames(&server.sent).iter().filter(|f| f.stream == 1).count(), 2);
    assert_serves(&mut server);
}

#[test]
fn the_handlers_refusals_become_statuses() {
    assert_eq!(answered(&call(1, "/nowhere", b"x")).failure(), ("12", "no such route"));
    assert_eq!(answered(&call(1, "/reflect", b"bad")).failure(), ("3", "bad body"));
    assert_eq!(answered(&call(1, "/text", b"fail")).failure(), ("13", "our fault"));
    let wrong = call_fields("/reflect", &[("content-type", "application/grpc")]);
    assert_eq!(answered(&headers(1, END_STREAM, &wrong)).failure().0, "13");

    let early = answered(&open(1, "/nowhere"));
    assert_eq!((early.failure().0, early.reset), ("12", Some(NO_ERROR)), "content still to come");
    let late =
        [open(1, "/text"), frame(DATA, 0, 1, &message(b"bad")), frame(DATA, END_STREAM, 1, b"")];
    assert_eq!(answered(&late.concat()).failure(), ("3", "bad body"));
}

#[test]
fn deadlines_are_kept() {
    assert_eq!(with_fields(&[("grpc-timeout", "0n")], &message(b"x")).failure().0, "4");
    assert_eq!(with_fields(&[("grpc-timeout", "5S")], &message(b"x")).message(), b"x");
    assert_eq!(with_fields(&[("grpc-timeout", "soon")], &message(b"x")).message(), b"x");

    let mut server = server();
    server.feed(&headers(1, 0, &call_fields("/reflect", &[("grpc-timeout", "50m")])));
    server.feed(&open(3, "/reflect"));
    server.wait(std::time::Duration::from_millis(40));
    assert!(reply(&server, 1).head.is_empty());
    server.wait(std::time::Duration::from_millis(20));
    let answer = reply(&server, 1);
    assert_eq!((answer.failure().0, answer.reset), ("4", Some(NO_ERROR)));
    server.feed(&frame(DATA, END_STREAM, 3, &message(b"later")));
    assert_eq!(reply(&server, 3).message(), b"later");
    assert_serves(&mut server);
}

#[test]
fn a_request_that_is_no_call_has_no_deadline() {
    let no_window = settings(&[(4, 0)]);
    let late = [("content-type", "text/plain"), ("grpc-timeout", "20m")];
    let head = [(":method", "POST"), (":scheme", "http"), (":path", "/reflect")];
    let head = headers(1, 0, &[&head[..], &late].concat());
    let mut server = server_after(&[hello(), no_window, head].concat());
    server.wait(std::time::Duration::from_secs(1));
    assert_eq!(reply(&server, 1).reset, None);
    server.feed(&[frame(DATA, END_STREAM, 1, b"text"), window_update(1, 1000)].concat());
    let answer = reply(&server, 1);
    assert_eq!((answer.field(":status"), answer.reset), ("415", None));
    assert!(answer.content.len() > 5 && answer.ended);
    assert_serves(&mut server);
}

#[test]
fn trailers_of_a_client_end_its_call() {
    let content = frame(DATA, 0, 1, &message(b"x"));
    let trailers = headers(1, END_STREAM, &[("x-checksum", "1")]);
    assert_eq!(answered(&[open(1, "/reflect"), content, trailers].concat()).message(), b"x");
}

#[test]
fn odd_bytes_in_a_message_are_percent_encoded() {
    let answer = answered(&call(1, "/nowhere\u{e4}%", b""));
    assert_eq!(answer.failure().0, "12");
    let head = headers(1, 0, &call_fields("/reflect", &[("grpc-timeout", "1S")]));
    let mut server: Server =
        Driven::new(ndecho::wire::h2::H2::new(crate::common::Shapes, limits()), false);
    server.feed(&[hello(), head].concat());
    assert!(!server.closing());
}
