//! The rules of RFC 9113, each broken once, and the error code it asks for.

use crate::peer::*;

fn post(more: &[(&str, &str)]) -> Vec<u8> {
    headers(1, END_STREAM, &call_fields("/reflect", more))
}

fn get() -> Vec<u8> {
    let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x")];
    headers(1, END_STREAM, &fields)
}

#[test]
fn the_preface_comes_first_and_settings_next() {
    for wrong in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"] {
        let server = server_after(wrong);
        assert_ended(&server, PROTOCOL_ERROR);
        assert_eq!(frames(&server.sent)[0].kind, SETTINGS);
    }
    let server = server_after(&[PREFACE, &frame(PING, 0, 0, b"pingpong")].concat());
    assert_ended(&server, PROTOCOL_ERROR);
    let server = server_after(&[PREFACE, &frame(SETTINGS, ACK, 0, b"")].concat());
    assert_ended(&server, PROTOCOL_ERROR);
}

#[test]
fn settings_are_acknowledged_and_announced() {
    let server = server();
    let got = frames(&server.sent);
    assert_eq!((got[0].kind, got[0].flags), (SETTINGS, 0));
    let value = |id: u8| {
        got[0]
            .payload
            .chunks(6)
            .find(|pair| pair[1] == id)
            .map(|pair| u32::from_be_bytes(pair[2..].try_into().unwrap()))
    };
    assert_eq!(value(3), Some(1024));
    assert_eq!((value(4), value(5)), (Some((1 << 20) + 16_384), Some((1 << 20) + 16_384)));
    assert_eq!(value(6), Some(16_384));
    assert_eq!((got[1].kind, got[1].stream, got[1].word()), (WINDOW_UPDATE, 0, (4 << 20) - 65_535));
    assert_eq!((got[2].kind, got[2].flags, got[2].payload.len()), (SETTINGS, ACK, 0));
}

#[test]
fn bad_settings_end_the_connection() {
    assert_ends(&settings(&[(2, 2)]), PROTOCOL_ERROR);
    assert_ends(&settings(&[(4, 1 << 31)]), FLOW_CONTROL_ERROR);
    assert_ends(&settings(&[(5, 16_383)]), PROTOCOL_ERROR);
    assert_ends(&settings(&[(5, 1 << 24)]), PROTOCOL_ERROR);
    assert_ends(&frame(SETTINGS, ACK, 0, b"x"), FRAME_SIZE_ERROR);
    assert_ends(&frame(SETTINGS, 0, 0, &[0; 3]), FRAME_SIZE_ERROR);
    assert_ends(&frame(SETTINGS, 0, 1, &[0; 6]), PROTOCOL_ERROR);
}

#[test]
fn pings_are_answered() {
    let mut server = server();
    server.sent.clear();
    server.feed(&frame(PING, 0b1110, 0, b"pingpong"));
    assert_eq!(server.sent, frame(PING, ACK, 0, b"pingpong"));
    server.feed(&frame(PING, ACK, 0, b"whatever"));
    assert_eq!(server.sent.len(), 17, "an answer is not answered");
    assert_ends(&frame(PING, 0, 1, b"pingpong"), PROTOCOL_ERROR);
    assert_ends(&frame(PING, 0, 0, b"ping"), FRAME_SIZE_ERROR);
}

#[test]
fn the_connection_itself_is_no_stream() {
    assert_ends(&headers(0, END_STREAM, &call_fields("/reflect", &[])), PROTOCOL_ERROR);
    let content = frame(DATA, END_STREAM, 0, &message(b"whose?"));
    assert_ends(&content, PROTOCOL_ERROR);
    assert_ends(&[open(1, "/reflect"), content].concat(), PROTOCOL_ERROR);
    assert_ends(&frame(RST_STREAM, 0, 0, &[0; 4]), PROTOCOL_ERROR);
}

#[test]
fn unknown_frames_flags_settings_and_priorities_are_ignored() {
    let mut server = server();
    let mut reserved = frame(PING, 0, 0, b"reserved");
    reserved[5] |= 0x80;
    server.feed(&frame(0x77, 0xFF, 0, b"what"));
    server.feed(&frame(0x10, 0, 5, b""));
    server.feed(&frame(PRIORITY, 0, 7, &[0, 0, 0, 1, 16]));
    server.feed(&settings(&[(0xFF, 1), (9, 9)]));
    server.feed(&frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xFF, b'x']));
    server.feed(&reserved);
    assert_eq!(frames(&server.sent).last().unwrap().payload, b"reserved");
    server.feed(&frame(HEADERS, END_HEADERS | 0b1100_0010, 1, &block(&call_fields("/text", &[]))));
    server.feed(&frame(DATA, END_STREAM | 0b1111_0110, 1, &message(b"flags")));
    assert_eq!(reply(&server, 1).message(), b"FLAGS");
    assert_serves(&mut server);
}

#[test]
fn frames_have_their_streams_and_sizes() {
    assert_ends(&frame(DATA, END_STREAM, 0, b"x"), PROTOCOL_ERROR);
    assert_ends(&headers(0, END_STREAM, &call_fields("/reflect", &[])), PROTOCOL_ERROR);
    assert_ends(&frame(PRIORITY, 0, 0, &[0; 5]), PROTOCOL_ERROR);
    assert_ends(&rst(0, CANCEL), PROTOCOL_ERROR);
    assert_ends(
        &[open(1, "/reflect"), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
        FRAME_SIZE_ERROR,
    );
    assert_ends(&frame(GOAWAY, 0, 1, &[0; 8]), PROTOCOL_ERROR);
    assert_ends(&frame(GOAWAY, 0, 0, &[0; 7]), FRAME_SIZE_ERROR);
    assert_ends(&frame(WINDOW_UPDATE, 0, 0, &[0; 3]), FRAME_SIZE_ERROR);
    assert_ends(&window_update(0, 0), PROTOCOL_ERROR);
    assert_ends(&frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x88]), PROTOCOL_ERROR);
    let large = [open(1, "/reflect"), frame(DATA, 0, 1, &vec![0; (1 << 20) + 16_385])].concat();
    assert_ends(&large, FRAME_SIZE_ERROR);
    assert_ends(&frame(HEADERS, END_HEADERS, 1, &vec![0; 1_100_000]), FRAME_SIZE_ERROR);
    assert_resets(
        &[open(1, "/reflect"), frame(PRIORITY, 0, 1, &[0x80, 0, 0, 1])].concat(),
        1,
        FRAME_SIZE_ERROR,
    );
    assert_ends(&frame(PRIORITY, 0, 9, &[0; 4]), FRAME_SIZE_ERROR);
}

#[test]
fn an_idle_stream_takes_headers_only() {
    assert_ends(&frame(DATA, END_STREAM, 1, b"x"), PROTOCOL_ERROR);
    assert_ends(&rst(1, CANCEL), PROTOCOL_ERROR);
    assert_ends(&window_update(1, 100), PROTOCOL_ERROR);
    assert_ends(&frame(CONTINUATION, END_HEADERS, 1, b""), PROTOCOL_ERROR);
}

#[test]
fn a_stream_its_sender_has_ended_takes_no_more() {
    let held = settings(&[(4, 0)]);
    assert_resets(
        &[&held[..], &get(), &frame(DATA, END_STREAM, 1, b"x")].concat(),
        1,
        STREAM_CLOSED,
    );
    assert_resets(&[&held[..], &get(), &get()].concat(), 1, STREAM_CLOSED);
    assert_resets(&[get(), frame(DATA, END_STREAM, 1, b"x")].concat(), 1, STREAM_CLOSED);
    assert_ends(&[get(), get()].concat(), STREAM_CLOSED);
    assert_ends(&[get(), frame(CONTINUATION, END_HEADERS, 1, b"")].concat(), PROTOCOL_ERROR);
    let after_reset = [open(1, "/reflect"), rst(1, CANCEL)].concat();
    assert_resets(
        &[&after_reset[..], &frame(DATA, END_STREAM, 1, b"x")].concat(),
        1,
        STREAM_CLOSED,
    );
    assert_ends(&[&after_reset[..], &get()].concat(), STREAM_CLOSED);
    let harmless = [get(), window_update(1, 1), window_update(1, 0), rst(1, NO_ERROR)].concat();
    let mut server = server_after(&[hello(), harmless].concat());
    assert_serves(&mut server);
}

#[test]
fn stream_numbers_are_odd_and_rise() {
    assert_ends(&headers(2, END_STREAM, &call_fields("/reflect", &[])), PROTOCOL_ERROR);
    let later = headers(5, END_STREAM, &call_fields("/reflect", &[]));
    let earlier = headers(3, END_STREAM, &call_fields("/reflect", &[]));
    assert_ends(&[later, earlier].concat(), PROTOCOL_ERROR);
}

#[test]
fn more_streams_than_allowed_are_refused() {
    let mut server = server_after(&[hello(), settings(&[(4, 0)])].concat());
    for at in 0..1025 {
        server.feed(&call(2 * at + 1, "/reflect", b"x"));
    }
    let refused: Vec<u32> = replies(&server.sent)
        .into_iter()
        .filter_map(|(stream, reply)| reply.reset.map(|code| (stream, code)))
        .map(|(stream, code)| {
            assert_eq!(code, REFUSED_STREAM);
            stream
        })
        .collect();
    assert_eq!(refused, [2049]);
    server.feed(&settings(&[(4, 100)]));
    assert_eq!(reply(&server, 2047).message(), b"x");
    assert_serves(&mut server);
}

#[test]
fn header_blocks_are_not_interrupted() {
    let fields = block(&call_fields("/reflect", &[]));
    let (front, back) = fields.split_at(20);
    let start = frame(HEADERS, END_STREAM, 1, front);
    let whole = [
        start.clone(),
        frame(CONTINUATION, 0, 1, &back[..5]),
        frame(CONTINUATION, END_HEADERS, 1, &back[5..]),
    ];
    let server = server_after(&[hello(), whole.concat()].concat());
    assert_eq!(reply(&server, 1).failure().0, "13", "no message");
    assert_ends(&[&start[..], &frame(PING, 0, 0, b"pingpong")].concat(), PROTOCOL_ERROR);
    assert_ends(&[&start[..], &frame(0xFF, 0, 1, b"unknown")].concat(), PROTOCOL_ERROR);
    assert_ends(&[&start[..], &frame(CONTINUATION, END_HEADERS, 3, back)].concat(), PROTOCOL_ERROR);
    assert_ends(&[&start[..], &frame(CONTINUATION, END_HEADERS, 0, back)].concat(), PROTOCOL_ERROR);
    assert_ends(
        &[&start[..], &headers(3, END_STREAM, &call_fields("/", &[]))].concat(),
        PROTOCOL_ERROR,
    );
    assert_ends(&[&start[..], &frame(DATA, END_STREAM, 1, b"x")].concat(), PROTOCOL_ERROR);
}

#[test]
fn padding_and_priority_are_taken_off() {
    let fields = block(&call_fields("/text", &[]));
    let mut payload = vec![3];
    payload.extend_from_slice(&[0, 0, 0, 9, 16]);
    payload.extend_from_slice(&fields);
    payload.extend_from_slice(&[0; 3]);
    let head = frame(HEADERS, END_HEADERS | PADDED | PRIORITY_FLAG, 1, &payload);
    let content = [&[4][..], &message(b"padded"), &[0; 4]].concat();
    let mut server = server();
    server.feed(&[head, frame(DATA, PADDED | END_STREAM, 1, &content)].concat());
    assert_eq!(reply(&server, 1).message(), b"PADDED");

    assert_ends(
        &[open(1, "/text"), frame(DATA, PADDED | END_STREAM, 1, b"\x06Test")].concat(),
        PROTOCOL_ERROR,
    );
    assert_ends(&[open(1, "/text"), frame(DATA, PADDED, 1, b"")].concat(), PROTOCOL_ERROR);
    let short = frame(HEADERS, END_HEADERS | PADDED, 1, &[250, 0x88]);
    assert_ends(&short, PROTOCOL_ERROR);
    assert_ends(&frame(HEADERS, END_HEADERS | PRIORITY_FLAG, 1, &[0; 4]), FRAME_SIZE_ERROR);
    let own = [&[0, 0, 0, 1, 16][..], &fields].concat();
    assert_resets(&frame(HEADERS, END_HEADERS | PRIORITY_FLAG, 1, &own), 1, PROTOCOL_ERROR);
    assert_resets(
        &[open(1, "/text"), frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 16])].concat(),
        1,
        PROTOCOL_ERROR,
    );
}

#[test]
fn malformed_requests_reset_their_stream_only() {
    let cases: [&[(&str, &str)]; 22] = [
        &[("Upper", "x")],
        &[("sp ace", "x")],
        &[("\u{1}", "x")],
        &[("de\u{7f}l", "x")],
        &[("inv\u{e1}lid", "x")],
        &[("a:b", "x")],
        &[("", "x")],
        &[("a", "x\ny")],
        &[("a", "x\ry")],
        &[("a", "x\0y")],
        &[("a", " x")],
        &[("a", "x\t")],
        &[("connection", "keep-alive")],
        &[("proxy-connection", "x")],
        &[("keep-alive", "1")],
        &[("transfer-encoding", "chunked")],
        &[("upgrade", "h2c")],
        &[("te", "gzip")],
        &[(":status", "200")],
        &[(":path", "/late")],
        &[("host", "elsewhere")],
        &[("content-length", "1"), ("content-length", "2")],
    ];
    for more in cases {
        assert_resets(&post(more), 1, PROTOCOL_ERROR);
    }
    for missing in 0..3 {
        let mut fields = call_fields("/reflect", &[]);
        fields.remove(missing);
        assert_resets(&headers(1, END_STREAM, &fields), 1, PROTOCOL_ERROR);
    }
    assert_resets(&headers(1, END_STREAM, &call_fields("", &[])), 1, PROTOCOL_ERROR);
}

#[test]
fn malformed_trailers_reset_their_stream() {
    let started = [open(1, "/reflect"), frame(DATA, 0, 1, &message(b"x"))].concat();
    let open_ended = headers(1, 0, &[("x-test", "ok")]);
    assert_resets(&[&started[..], &open_ended].concat(), 1, PROTOCOL_ERROR);
    let pseudo = headers(1, END_STREAM, &[(":method", "POST")]);
    assert_resets(&[&started[..], &pseudo].concat(), 1, PROTOCOL_ERROR);
}

#[test]
fn content_length_holds() {
    let fields = call_fields("/reflect", &[("content-length", "8")]);
    let head = headers(1, 0, &fields);
    let good = [&head[..], &frame(DATA, END_STREAM, 1, &message(b"abc"))].concat();
    assert_eq!(reply(&server_after(&[hello(), good].concat()), 1).message(), b"abc");
    assert_resets(&[&head[..], &frame(DATA, END_STREAM, 1, b"four")].concat(), 1, PROTOCOL_ERROR);
    let pieces = [&head[..], &frame(DATA, 0, 1, b"\0\0"), &frame(DATA, END_STREAM, 1, b"\0")];
    assert_resets(&pieces.concat(), 1, PROTOCOL_ERROR);
    assert_resets(
        &[&head[..], &frame(DATA, 0, 1, &message(b"too long"))].concat(),
        1,
        PROTOCOL_ERROR,
    );
    assert_resets(&headers(1, END_STREAM, &fields), 1, PROTOCOL_ERROR);
}

#[test]
fn broken_compression_ends_the_connection() {
    assert_ends(&frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x40"), COMPRESSION_ERROR);
    assert_ends(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xC6]), COMPRESSION_ERROR);
    assert_ends(
        &frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x3F, 0xE2, 0x1F]),
        COMPRESSION_ERROR,
    );
}

#[test]
fn a_refused_block_still_counts_for_compression() {
    let mut block = vec![0x40, 3];
    block.extend_from_slice(b"x-a\x05value");
    block.extend_from_slice(&crate::peer::block(&[("Upper", "x")]));
    let mut server = server();
    server.feed(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    assert_eq!(reply(&server, 1).reset, Some(PROTOCOL_ERROR));
    let mut second = crate::peer::block(&call_fields("/text", &[]));
    second.push(0xBE);
    server.feed(&frame(HEADERS, END_HEADERS, 3, &second));
    server.feed(&frame(DATA, END_STREAM, 3, &message(b"in step")));
    assert_eq!(reply(&server, 3).message(), b"IN STEP");
}

#[test]
fn an_equal_block_means_what_the_table_says_now() {
    let field = |index: u8, text: &str| [&[index, text.len() as u8], text.as_bytes()].concat();
    let insert = |path: &str| [vec![0x83, 0x86], field(0x44, path)].concat();
    let rest = [&[0x0F, 0x10][..], &field(0, "application/grpc+npy")[1..]].concat();
    let call = |stream, front: &[u8]| {
        let head = frame(HEADERS, END_HEADERS, stream, &[front, &rest].concat());
        [head, frame(DATA, END_STREAM, stream, &message(b"x"))].concat()
    };
    // Index 62 is the path that was inserted last, whatever block it came in.
    let newest = [0x83, 0x86, 0xBE];
    let mut server = server();
    for id in [1, 3] {
        server.feed(&call(id, &insert("/wrap")));
    }
    for id in [5, 7] {
        server.feed(&call(id, &newest));
        assert_eq!(reply(&server, id).message(), b"<x>");
    }
    server.feed(&call(9, &[0x83, 0x86, 0xBF]));
    assert_eq!(reply(&server, 9).message(), b"<x>", "a block that inserts does so each time");
    server.feed(&call(21, &insert("/reflect")));
    for id in [23, 25] {
        server.feed(&call(id, &newest));
        assert_eq!(reply(&server, id).message(), b"x");
    }
    // Emptied by a size update: the same bytes mean nothing any more.
    server.feed(&frame(HEADERS, END_HEADERS, 27, &[&[0x20][..], &insert("/wrap"), &rest].concat()));
    server.feed(&call(29, &newest));
    assert_ended(&server, COMPRESSION_ERROR);
}
