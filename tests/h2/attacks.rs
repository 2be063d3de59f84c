//! Attacks: each ends with the code it deserves, and costs no more memory than an honest
//! connection.

use std::time::Duration;

use ndecho::wire::{Limit, Limits, Machine as _, WorkerCounts};

use crate::peer::*;

/// Resets after which a connection ends at the latest: one more than its streams.
const RESETS: usize = 1026;

/// Largest head of a server with the default limits, and its factor for a block that is fatal.
const HEAD: usize = 16 * 1024;
const FATAL: usize = 4 * HEAD;

/// Feeds `piece` until the connection ends, and asserts that it does within `most` times with
/// `code`.
fn flood(server: &mut Server, most: usize, code: u32, mut piece: impl FnMut(u32) -> Vec<u8>) {
    for at in 0..most {
        server.feed(&piece(at as u32));
        if server.closing() {
            return assert_ended(server, code);
        }
    }
    panic!("{most} pieces were taken");
}

#[test]
fn rapid_reset() {
    flood(&mut server(), RESETS, ENHANCE_YOUR_CALM, |at| {
        [open(2 * at + 1, "/reflect"), rst(2 * at + 1, CANCEL)].concat()
    });
    flood(&mut server(), RESETS, ENHANCE_YOUR_CALM, |at| {
        let ended = headers(2 * at + 1, END_STREAM, &call_fields("/reflect", &[]));
        [ended, rst(2 * at + 1, CANCEL)].concat()
    });
}

#[test]
fn honest_cancellations_are_forgiven_with_time() {
    let mut server = server();
    for at in 0..1000 {
        server.feed(&[open(2 * at + 1, "/reflect"), rst(2 * at + 1, CANCEL)].concat());
        server.wait(Duration::from_millis(25));
    }
    assert_serves(&mut server);
}

#[test]
fn made_you_reset() {
    let held = settings(&[(4, 0)]);
    let ways: [fn(u32) -> Vec<u8>; 5] = [
        |id| window_update(id, 0),
        |id| [window_update(id, i32::MAX as u32), window_update(id, i32::MAX as u32)].concat(),
        |id| frame(DATA, END_STREAM, id, b"").repeat(2),
        |id| headers(id, 0, &call_fields("/reflect", &[])),
        |id| frame(PRIORITY, 0, id, &[0; 4]),
    ];
    for way in ways {
        let mut server = server_after(&[hello(), held.clone()].concat());
        flood(&mut server, 2 * RESETS, ENHANCE_YOUR_CALM, |at| {
            let id = 2 * at + 1;
            let begun = if at % 2 == 0 { open(id, "/reflect") } else { call(id, "/reflect", b"x") };
            [begun, way(id)].concat()
        });
    }
    flood(&mut server(), RESETS, ENHANCE_YOUR_CALM, |at| {
        headers(2 * at + 1, END_STREAM, &[("Malformed", "x")])
    });
}

#[test]
fn continuation_floods() {
    let fields = block(&call_fields("/reflect", &[]));
    let start = frame(HEADERS, 0, 1, &fields);
    for piece in [&b""[..], b"\x00\x01a\x01b", &[0x82; 10]] {
        let mut server = server();
        server.feed(&start);
        flood(&mut server, 9, ENHANCE_YOUR_CALM, |_| frame(CONTINUATION, 0, 1, piece));
    }
    let mut server = server();
    server.feed(&start);
    flood(&mut server, 8, ENHANCE_YOUR_CALM, |_| frame(CONTINUATION, 0, 1, &[0x82; 8200]));
    let large = [&start[..], &frame(CONTINUATION, 0, 1, &[0; FATAL])].concat();
    assert_ends(&large, ENHANCE_YOUR_CALM);
}

#[test]
fn hpack_bombs() {
    let mut bomb = vec![0x40, 1, b'x', 0x7F, 0xA1, 0x1E];
    bomb.resize(bomb.len() + 4000, b'y');
    let filled = bomb.clone();
    bomb.extend([0xBE; 10_000]);
    assert_ends(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb), ENHANCE_YOUR_CALM);

    // Over the limit but not by far: the stream is refused, and compression stays in step.
    let mut large = block(&call_fields("/reflect", &[]));
    large.extend_from_slice(&filled);
    large.extend([0xBE; 6]);
    let mut server = server();
    server.feed(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &large));
    assert_eq!(reply(&server, 1).field(":status"), "431");
    assert_serves(&mut server);

    let mut many = call_fields("/reflect", &[]);
    many.extend([("a", ""); 128]);
    server.feed(&headers(1_000_001, END_STREAM, &many));
    assert_eq!(reply(&server, 1_000_001).field(":status"), "431");

    let empty_names = [0x40, 0, 0].repeat(2100);
    assert_ends(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &empty_names), ENHANCE_YOUR_CALM);
}

#[test]
fn a_block_over_the_list_size_refuses_its_stream_whatever_its_coding() {
    // Eight times the letter `a`, of five bits each.
    let letters = [0x18, 0xC6, 0x31, 0x8C, 0x63];
    let huffman =
        |len| [&[0x00, 1, b'x', 0xFF][..], &length(len), &letters.repeat(len / 5)].concat();
    let plain = |len| [&[0x00, 1, b'x', 0x7F][..], &length(len), &vec![b'y'; len]].concat();
    for (field, is_refused) in [
        (plain(HEAD - 2000), false),
        (plain(HEAD), true),
        (plain(FATAL - 2000), true),
        (huffman(20_000), true),
    ] {
        for pieces in [1, 4] {
            let mut server = server();
            let block = [block(&call_fields("/reflect", &[])), field.clone()].concat();
            let mut frames = block.chunks(block.len().div_ceil(pieces)).enumerate();
            let (_, first) = frames.next().expect("one");
            let flags = if pieces == 1 { END_HEADERS } else { 0 };
            server.feed(&frame(HEADERS, flags, 1, first));
            for (at, piece) in frames {
                let flags = if at + 1 == pieces { END_HEADERS } else { 0 };
                server.feed(&frame(CONTINUATION, flags, 1, piece));
            }
            server.feed(&frame(DATA, END_STREAM, 1, &message(b"x")));
            let status = reply(&server, 1).field(":status").to_owned();
            assert_eq!(status, if is_refused { "431" } else { "200" }, "{} bytes", block.len());
            assert_serves(&mut server);
        }
    }
    assert_ends(
        &frame(HEADERS, END_HEADERS | END_STREAM, 1, &plain(FATAL - 10)),
        ENHANCE_YOUR_CALM,
    );
}

/// Returns the rest of an integer with a prefix of seven ones.
fn length(len: usize) -> Vec<u8> {
    let mut left = len - 0x7F;
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

#[test]
fn a_block_after_a_change_of_the_table_size_begins_with_an_update() {
    let blocks = |server: &Server| -> Vec<u8> {
        let heads = frames(&server.sent).into_iter().filter(|frame| frame.kind == HEADERS);
        heads.map(|frame| frame.payload[0]).collect()
    };
    let update = |value| settings(&[(1, value)]);
    let mut server = server_after(&[hello(), update(0)].concat());
    server.feed(&[call(1, "/reflect", b"x"), call(3, "/reflect", b"x")].concat());
    assert_eq!(blocks(&server), [0x20, 0x00, 0x88, 0x00]);
    let get =
        |id| headers(id, END_STREAM, &[(":method", "GET"), (":scheme", "http"), (":path", "/")]);
    for (id, request) in [
        (5, get(5)),
        (7, call(7, "/nowhere", b"x")),
        (9, call(9, "/reflect", b"bad")),
        (11, call(11, "/reflect", &[7; 40_000])),
        (13, headers(13, END_STREAM, &call_fields("/reflect", &[]))),
    ] {
        let before = blocks(&server).len();
        server.feed(&[update(100), update(50), request].concat());
        assert_eq!(blocks(&server)[before], 0x20, "stream {id}");
        assert!(blocks(&server)[before + 1..].iter().all(|first| *first != 0x20), "stream {id}");
    }
    // A change between the head and the trailers of a response.
    let mut server = server_after(&[hello(), settings(&[(4, 10)])].concat());
    server.feed(&call(1, "/reflect", &[7; 1000]));
    server.feed(&[settings(&[(1, 0), (1, 4096)]), window_update(1, 1000)].concat());
    assert_eq!(blocks(&server), [0x88, 0x20]);
    assert_eq!(reply(&server, 1).message(), [7; 1000]);
}

#[test]
fn endless_integers_and_strings() {
    let endless = [&[0x7F][..], &[0x80; 20]].concat();
    assert_ends(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &endless), COMPRESSION_ERROR);
    let long = [0x00, 0x7F, 0xFF, 0xFF, 0xFF, 0x7F, b'x'];
    assert_ends(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &long), COMPRESSION_ERROR);
    assert_ends(&frame(HEADERS, END_HEADERS, 1, &[0; FATAL + 262]), ENHANCE_YOUR_CALM);
    assert_ends(&frame(SETTINGS, 0, 0, &[0xFF; 16_386]), ENHANCE_YOUR_CALM);
}

#[test]
fn pings_and_settings_that_want_answers_nobody_reads() {
    for piece in [frame(PING, 0, 0, b"pingpong"), settings(&[])] {
        let mut server = server();
        let flood: Vec<u8> = piece.repeat(1002);
        server.feed(&flood);
        assert_ended(&server, ENHANCE_YOUR_CALM);
    }
}

#[test]
fn empty_data() {
    let mut server = server();
    server.feed(&open(1, "/reflect"));
    flood(&mut server, 8200, ENHANCE_YOUR_CALM, |_| frame(DATA, 0, 1, b""));
    let mut server = crate::peer::server();
    server.feed(&open(1, "/reflect"));
    flood(&mut server, 30_000, ENHANCE_YOUR_CALM, |_| frame(DATA, PADDED, 1, &[199; 200]));
}

#[test]
fn a_long_message_in_one_byte_frames_is_honest_when_it_ends() {
    let mut server = server();
    for round in 0..10 {
        let id = 2 * round + 1;
        server.feed(&open(id, "/reflect"));
        let content = message(&ramp(1000));
        for byte in &content {
            server.feed(&frame(DATA, 0, id, &[*byte]));
        }
        server.feed(&frame(DATA, END_STREAM, id, b""));
        assert_eq!(reply(&server, id).message(), ramp(1000));
    }
}

#[test]
fn cheap_frames_stay_cheap() {
    let mut server = server();
    let before = server.sent.len();
    for at in 0..20_000u32 {
        server.feed(&frame(PRIORITY, 0, 2 * at + 1, &[0, 0, 0, 0, 16]));
        server.feed(&frame(0xEE, 0, at, b"unknown"));
        server.feed(&window_update(0, 1));
    }
    assert_eq!(server.sent.len(), before);
    assert_serves(&mut server);
}

#[test]
fn windows_that_overflow() {
    let most = i32::MAX as u32;
    assert_ends(&[window_update(0, most), window_update(0, most)].concat(), FLOW_CONTROL_ERROR);
    let stream = [open(1, "/reflect"), window_update(1, most), window_update(1, most)];
    assert_resets(&stream.concat(), 1, FLOW_CONTROL_ERROR);
    let lifted = [open(1, "/reflect"), window_update(1, most - 65_535), settings(&[(4, 65_536)])];
    assert_ends(&lifted.concat(), FLOW_CONTROL_ERROR);
}

#[test]
fn data_past_the_windows() {
    let chunk = vec![0; 1 << 20];
    let mut server = server();
    server.feed(
        &[open(1, "/reflect"), frame(DATA, 0, 1, &message(&vec![0; 2_900_000])[..1_000_000])]
            .concat(),
    );
    assert!(!server.closing());
    let post = [(":method", "POST"), (":scheme", "http"), (":path", "/")];
    let mut server = crate::peer::server();
    server.feed(&settings(&[(4, 0)]));
    for id in 0..4 {
        server.feed(&headers(2 * id + 1, 0, &post));
    }
    // Nothing is said for a window that is not used up by half, so more than all of it is an error.
    server.feed(&frame(DATA, 0, 1, &chunk[..60_000]));
    let second = frame(DATA, 0, 1, &chunk);
    server.feed(&second);
    assert_eq!(reply(&server, 1).reset, Some(FLOW_CONTROL_ERROR), "the stream's window is 1 MiB");
}

#[test]
fn an_announced_length_reserves_nothing_but_is_counted() {
    let mut server = server();
    let announced = message(&vec![0; BODY_BYTES_MAX])[..5].to_vec();
    for at in 0..4 {
        server
            .feed(&[open(2 * at + 1, "/reflect"), frame(DATA, 0, 2 * at + 1, &announced)].concat());
        assert!(reply(&server, 2 * at + 1).head.is_empty());
    }
    server.feed(&[open(9, "/reflect"), frame(DATA, 0, 9, &announced)].concat());
    assert_eq!((reply(&server, 9).failure().0, reply(&server, 9).reset), ("8", Some(NO_ERROR)));
    server.feed(&rst(1, CANCEL));
    server.feed(&[open(11, "/reflect"), frame(DATA, 0, 11, &announced)].concat());
    assert!(reply(&server, 11).head.is_empty(), "what was cancelled makes room");
}

/// Server whose unread replies have stopped the requests, and the bytes that it took.
fn stopped_by_replies() -> (Server, usize) {
    let mut server = server_after(&[hello(), settings(&[(4, 0)])].concat());
    let mut sent = 0;
    for at in 0..40 {
        let id = 2 * at + 1;
        if sent + 1_000_005 > granted(&server) {
            break;
        }
        server.feed(
            &[open(id, "/reflect"), frame(DATA, END_STREAM, id, &message(&ramp(1_000_000)))]
                .concat(),
        );
        sent += 1_000_005;
    }
    assert!(!server.closing());
    assert!(sent >= 4 * BODY_BYTES_MAX - 1_000_000, "{sent}");
    assert!(sent <= 4 * BODY_BYTES_MAX + (8 << 20), "{sent}");
    (server, sent)
}

#[test]
fn replies_that_nobody_takes_stop_the_requests() {
    let (mut server, sent) = stopped_by_replies();
    server.feed(&settings(&[(4, 1 << 30)]));
    server.feed(&window_update(0, 1 << 30));
    assert!(granted(&server) > sent + (1 << 20));
    assert_serves(&mut server);
}

#[test]
fn replies_that_are_given_up_let_requests_in_again() {
    let (mut server, sent) = stopped_by_replies();
    assert!(granted(&server) < sent + 1_000_005);
    server.wait(Duration::from_secs(61));
    assert_eq!(reply(&server, 1).reset, Some(CANCEL));
    assert!(granted(&server) > sent + 1_000_005, "the client learns it without a word of its own");
}

/// Bytes that the server has allowed in all.
fn granted(server: &Server) -> usize {
    let updates =
        frames(&server.sent).into_iter().filter(|f| f.kind == WINDOW_UPDATE && f.stream == 0);
    65_535 + updates.map(|f| f.word() as usize).sum::<usize>()
}

#[test]
fn slow_peers_are_given_up() {
    let mut server = silent_server();
    server.feed(&PREFACE[..10]);
    trickle(&mut server, &PREFACE[10..14]);
    assert!(server.closing(), "a preface by the byte");

    for cut in [&frame(PING, 0, 0, b"pingpong")[..], &open(1, "/reflect")] {
        let mut server = crate::peer::server();
        server.feed(&cut[..6]);
        trickle(&mut server, &cut[6..10]);
        assert!(server.closing(), "a frame by the byte");
        assert_eq!(goodbye(&server).unwrap().0, NO_ERROR);
    }

    let mut server = crate::peer::server();
    server.feed(&frame(HEADERS, 0, 1, b""));
    server.wait(Duration::from_secs(11));
    assert!(server.closing(), "a header block that does not go on");

    let mut server = crate::peer::server();
    let slow = message(&[7; 100_000]);
    server.feed(&[open(1, "/reflect"), frame(DATA, 0, 1, &slow[..40_000])].concat());
    server.wait(Duration::from_secs(29));
    server.feed(&frame(DATA, 0, 1, &slow[40_000..80_000]));
    server.wait(Duration::from_secs(29));
    assert!(reply(&server, 1).head.is_empty(), "it goes on");
    server.wait(Duration::from_secs(2));
    assert_eq!((reply(&server, 1).failure().0, reply(&server, 1).reset), ("4", Some(NO_ERROR)));
    assert_serves(&mut server);

    let mut server =
        server_after(&[hello(), settings(&[(4, 0)]), call(1, "/reflect", b"x")].concat());
    server.wait(Duration::from_secs(59));
    assert_eq!(reply(&server, 1).reset, None);
    server.wait(Duration::from_secs(2));
    assert_eq!(reply(&server, 1).reset, Some(CANCEL), "a window that never opens");
    assert_serves(&mut server);

    let mut server = crate::peer::server();
    server.wait(Duration::from_secs(74));
    assert!(!server.closing());
    server.wait(Duration::from_secs(2));
    assert!(server.closing() && server.error.is_none(), "idle is no fault");
}

#[test]
fn a_late_refusal_that_waits_for_a_window_is_given_up() {
    let mut server = server_after(&[hello(), settings(&[(4, 0)])].concat());
    let mut foreign = call_fields("/reflect", &[]);
    foreign[5] = ("content-type", "text/plain");
    server.feed(&headers(1, 0, &foreign));
    server.wait(Duration::from_secs(31));
    assert_eq!(reply(&server, 1).reset, None, "the message has not come, so the refusal is sent");
    server.wait(Duration::from_secs(61));
    assert_eq!(reply(&server, 1).reset, Some(CANCEL), "and nobody takes it");
    (0..2).for_each(|_| server.wait(Duration::from_secs(76)));
    assert!(server.closing(), "the connection is idle");
}

#[test]
fn a_window_has_its_own_time_though_a_body_has_a_longer_one() {
    let window_timeout = Duration::from_secs(2);
    let mut server = server_within(Limits { window_timeout, ..Limits::clone(&limits()) });
    server.feed(&[hello(), settings(&[(4, 0)]), call(1, "/reflect", b"some text")].concat());
    server.wait(Duration::from_secs(1));
    assert_eq!(reply(&server, 1).reset, None);
    server.wait(Duration::from_secs(2));
    assert_eq!(reply(&server, 1).reset, Some(CANCEL));
}

#[test]
fn a_trickle_is_given_up() {
    for lending in [true, false] {
        let mut server = crate::peer::server();
        server.lending = lending;
        let large = message(&[7; 1_000_000]);
        let cut = frame(DATA, 0, 1, &large);
        server.feed(&[&open(1, "/reflect")[..], &cut[..20_000]].concat());
        for byte in &cut[20_000..21_000] {
            server.wait(Duration::from_secs(29));
            server.feed(&[*byte]);
        }
        assert_eq!(reply(&server, 1).failure().0, "4", "a byte in time, but too few");
    }
    let mut server = server_after(
        &[hello(), settings(&[(4, 0)]), call(1, "/reflect", &[7; 1_000_000])].concat(),
    );
    for _ in 0..1000 {
        server.wait(Duration::from_secs(59));
        server.feed(&window_update(1, 1));
    }
    assert_eq!(reply(&server, 1).reset, Some(CANCEL), "a window that opens by the byte");
    assert_serves(&mut server);
}

#[test]
fn a_large_message_that_stalls_is_given_up() {
    let mut server = crate::peer::server();
    let cut = frame(DATA, 0, 1, &message(&[7; 1_000_000]));
    server.feed(&[&open(1, "/reflect")[..], &cut[..100_000]].concat());
    for _ in 0..3 {
        server.wait(Duration::from_secs(29));
        // A driver takes its loan back at a deadline, and gives it back as it was.
        server.repay_nothing();
    }
    assert_eq!(reply(&server, 1).failure().0, "4");
}

#[test]
fn each_frame_has_its_own_time() {
    let mut server = crate::peer::server();
    let ping = frame(PING, 0, 0, b"pingpong");
    server.feed(&ping[..1]);
    for _ in 0..100 {
        server.wait(Duration::from_secs(9));
        server.feed(&[&ping[1..], &ping[..1]].concat());
    }
    assert!(!server.closing());
    server.wait(Duration::from_secs(11));
    assert!(server.closing(), "the last one is late");

    let mut server = crate::peer::server();
    server.feed(&frame(HEADERS, 0, 1, b""));
    for _ in 0..4 {
        server.wait(Duration::from_secs(3));
        server.feed(&frame(CONTINUATION, 0, 1, b""));
    }
    assert!(server.closing(), "a header block has one time for all its frames");
}

#[test]
fn a_time_without_reading_or_with_output_does_not_count() {
    let mut server = crate::peer::server();
    let cut = frame(DATA, 0, 1, &message(&[7; 60_000]));
    server.feed(&[&open(1, "/reflect")[..], &cut[..30_000]].concat());
    server.wait(Duration::from_secs(20));
    server.now += Duration::from_secs(1000);
    server.machine.paused(Duration::from_secs(1000));
    server.wait(Duration::from_secs(9));
    server.feed(&cut[30_000..]);
    server.feed(&frame(DATA, END_STREAM, 1, b""));
    assert_eq!(reply(&server, 1).message(), [7; 60_000]);
    server.wait_unsent(Duration::from_secs(1000));
    assert!(!server.closing(), "the peer is busy with reading");
    server.wait(Duration::from_secs(74));
    assert!(!server.closing());
    server.wait(Duration::from_secs(2));
    assert!(server.closing());
}

#[test]
fn all_streams_may_be_late_at_once() {
    let mut server = crate::peer::server();
    server.feed(&(0..1024).flat_map(|at| open(2 * at + 1, "/reflect")).collect::<Vec<u8>>());
    server.wait(Duration::from_secs(31));
    assert_eq!(reply(&server, 2047).failure().0, "4");
    assert_serves(&mut server);
}

fn trickle(server: &mut Server, bytes: &[u8]) {
    for byte in bytes {
        server.wait(Duration::from_secs(3));
        server.feed(&[*byte]);
    }
}

#[test]
fn every_limit_that_is_hit_is_counted() {
    let announced = |bytes: usize| message(&vec![0; bytes])[..5].to_vec();
    let opened = |id, bytes| [open(id, "/reflect"), frame(DATA, 0, id, &announced(bytes))].concat();
    let mut many = call_fields("/reflect", &[]);
    many.extend([("a", ""); 128]);
    let reset = |at: u32| [open(2 * at + 1, "/reflect"), rst(2 * at + 1, CANCEL)].concat();
    let cases = [
        (Limit::Head, headers(1, END_STREAM, &many)),
        (
            Limit::HeaderBlock,
            [frame(HEADERS, 0, 1, b""), frame(CONTINUATION, 0, 1, b"").repeat(9)].concat(),
        ),
        (Limit::HeaderBlock, frame(HEADERS, END_HEADERS, 1, &[0; FATAL + 262])),
        (Limit::Message, opened(1, BODY_BYTES_MAX + 1)),
        (Limit::Messages, (0..5).flat_map(|at| opened(2 * at + 1, BODY_BYTES_MAX)).collect()),
        (Limit::Streams, (0..1025).flat_map(|at| open(2 * at + 1, "/reflect")).collect()),
        (Limit::Resets, (0..1025).flat_map(reset).collect()),
        (Limit::ControlFrames, frame(PING, 0, 0, b"pingpong").repeat(1001)),
        (
            Limit::WindowChanges,
            [(0..1000).flat_map(|at| open(2 * at + 1, "/reflect")).collect(), window_moves(300)]
                .concat(),
        ),
        (Limit::SmallData, [open(1, "/reflect"), frame(DATA, 0, 1, b"").repeat(8193)].concat()),
    ];
    for (limit, bytes) in cases {
        let (mut server, counts) = counting_server();
        server.feed(&bytes);
        assert_eq!(hits(counts), [(limit, 1)], "{limit:?}");
    }
    let held = [settings(&[(4, 0)]), call(1, "/reflect", b"x")].concat();
    for (limit, bytes, seconds) in [
        (Limit::HeadTime, frame(HEADERS, 0, 1, b""), 11),
        (Limit::MessageTime, open(1, "/reflect"), 31),
        (Limit::WindowTime, held, 61),
        (Limit::IdleTime, Vec::new(), 76),
    ] {
        let (mut server, counts) = counting_server();
        server.feed(&bytes);
        server.wait(Duration::from_secs(seconds));
        assert_eq!(hits(counts), [(limit, 1)], "{limit:?}");
    }
}

/// Returns SETTINGS that change the initial window `count` times.
fn window_moves(count: u32) -> Vec<u8> {
    (0..count).flat_map(|at| settings(&[(4, 60_000 + at % 2)])).collect()
}

#[test]
fn settings_that_move_the_windows_of_many_streams_again_and_again() {
    let mut server = server();
    (0..1000).for_each(|at| server.feed(&open(2 * at + 1, "/reflect")));
    server.feed(&window_moves(100));
    assert!(!server.closing(), "a client that estimates the bandwidth is served");
    flood(&mut server, 200, ENHANCE_YOUR_CALM, |at| settings(&[(4, 50_000 + at % 2)]));
}

#[test]
fn settings_that_move_windows_cost_the_places_of_streams_that_have_ended() {
    let mut server = server();
    (0..1000).for_each(|at| server.feed(&open(2 * at + 1, "/reflect")));
    (1..1000).for_each(|at| server.feed(&rst(2 * at + 1, CANCEL)));
    server.flushed();
    flood(&mut server, 300, ENHANCE_YOUR_CALM, |at| settings(&[(4, 50_000 + at % 2)]));
}

#[test]
fn settings_of_a_connection_without_streams_may_move_the_window_often() {
    let mut server = server();
    for _ in 0..10 {
        server.feed(&window_moves(900));
        server.flushed();
    }
    assert_serves(&mut server);
}

#[test]
fn answers_that_are_read_late_are_forgiven() {
    let mut server = server();
    for _ in 0..10 {
        server.feed(&frame(PING, 0, 0, b"pingpong").repeat(400));
        server.batch_sent();
    }
    assert!(!server.closing());
    assert_serves(&mut server);
}

fn hits(counts: &WorkerCounts) -> Vec<(Limit, u64)> {
    counts.limits().filter(|(_, count)| *count > 0).collect()
}
