//! Flow control: what the server sends fits the client's windows and frames, and what it grants
//! suffices.

use crate::peer::*;

/// A server whose client allows `stream` bytes a stream and frames of `frame_max`.
fn server_with(stream: u32, frame_max: u32) -> Server {
    server_after(&[hello(), settings(&[(4, stream), (5, frame_max)])].concat())
}

fn data_lens(server: &Server, stream: u32) -> Vec<usize> {
    let of_stream = |f: &Frame| f.kind == DATA && f.stream == stream;
    frames(&server.sent).into_iter().filter(of_stream).map(|f| f.payload.len()).collect()
}

#[test]
fn a_window_of_one_byte_lets_one_byte_through() {
    for len in [0, 1, 50] {
        let body = ramp(len);
        let mut server = server_with(1, 16_384);
        server.feed(&call(1, "/wrap", &body));
        let whole = message(&[b"<", &body[..], b">"].concat());
        for at in 1..whole.len() {
            assert_eq!(data_lens(&server, 1).iter().sum::<usize>(), at);
            assert!(!reply(&server, 1).ended);
            server.feed(&window_update(1, 1));
        }
        assert_eq!(reply(&server, 1).message(), &whole[5..]);
        assert_eq!(data_lens(&server, 1), vec![1; whole.len()]);
        assert_serves(&mut server);
    }
}

#[test]
fn the_connections_window_of_one_byte_too() {
    let mut server = server_with(1 << 20, 16_384);
    server.feed(&call(1, "/reflect", &[1; 65_530]));
    assert_eq!(reply(&server, 1).message().len(), 65_530, "all of the connection's window");
    server.feed(&call(3, "/reflect", b"abc"));
    for at in 0..8 {
        assert_eq!(data_lens(&server, 3).len(), at);
        server.feed(&window_update(0, 1));
    }
    assert_eq!(reply(&server, 3).message(), b"abc");
}

#[test]
fn small_replies_use_the_connections_window_up() {
    let head_len = open(1, "/reflect").len();
    for split in [0, 300, head_len] {
        let mut server = server();
        for at in 0..100 {
            let call = call(2 * at + 1, "/reflect", &[7; 995]);
            let (front, back) = call.split_at(split);
            server.feed(front);
            server.feed(back);
        }
        let sent = |server: &Server| -> usize {
            (0..100).flat_map(|at| data_lens(server, 2 * at + 1)).sum()
        };
        assert_eq!(sent(&server), 65_535);
        server.feed(&window_update(0, 100_000));
        assert_eq!(sent(&server), 100_000);
        assert!((0..100).all(|at| reply(&server, 2 * at + 1).message() == [7; 995]));
    }
}

#[test]
fn a_changed_initial_window_may_be_negative() {
    let mut server = server_with(3, 16_384);
    server.feed(&call(1, "/reflect", b"x"));
    assert_eq!(data_lens(&server, 1), [3]);
    server.feed(&settings(&[(4, 2)]));
    server.feed(&window_update(1, 1));
    assert_eq!(data_lens(&server, 1), [3], "0 is not enough");
    server.feed(&window_update(1, 1));
    assert_eq!(data_lens(&server, 1), [3, 1]);
    server.feed(&settings(&[(4, 100), (4, 4)]));
    assert_eq!(data_lens(&server, 1), [3, 1, 2]);
    assert_eq!(reply(&server, 1).message(), b"x");
}

#[test]
fn a_plain_reply_keeps_to_the_window_as_well() {
    let mut server = server_with(0, 16_384);
    let get = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
    server.feed(&headers(1, END_STREAM, &get));
    assert_eq!((reply(&server, 1).field(":status"), reply(&server, 1).content.len()), ("405", 0));
    server.feed(&settings(&[(4, 1)]));
    assert_eq!(data_lens(&server, 1), [1]);
    server.feed(&window_update(1, 1000));
    assert!(reply(&server, 1).ended);
}

#[test]
fn frames_are_as_large_as_the_client_takes() {
    let body = ramp(2_500_000);
    for frame_max in [16_384, 100_000, 16_777_215] {
        let mut server = server_with(1 << 30, frame_max);
        server.feed(&window_update(0, 1 << 30));
        send_message(&mut server, 1, "/reflect", &body, 1_000_000);
        assert!(reply(&server, 1).message() == &body[..]);
        let lens = data_lens(&server, 1);
        assert!(lens.iter().all(|len| *len <= frame_max as usize));
        assert!(lens.len() <= body.len().div_ceil(frame_max as usize) + 3, "{frame_max}: {lens:?}");
    }
}

/// Sends a message in frames of `step`, as far as the server's windows allow; it must allow all of
/// it in time.
fn send_message(server: &mut Server, id: u32, path: &str, body: &[u8], step: usize) {
    server.feed(&open(id, path));
    let content = message(body);
    let mut sent = 0;
    for chunk in content.chunks(step) {
        sent += chunk.len();
        assert!(sent <= granted(server, id), "the stream's window is shut at {sent}");
        let flags = if sent == content.len() { END_STREAM } else { 0 };
        server.feed(&frame(DATA, flags, id, chunk));
    }
}

/// Returns the bytes that the server has granted to a stream, or to the connection.
fn granted(server: &Server, id: u32) -> usize {
    let updates =
        frames(&server.sent).into_iter().filter(|f| f.kind == WINDOW_UPDATE && f.stream == id);
    let initial = if id == 0 { 65_535 } else { (1 << 20) + 16_384 };
    initial + updates.map(|f| f.word() as usize).sum::<usize>()
}

#[test]
fn a_large_message_is_never_held_up_and_costs_few_updates() {
    let mut server = server_with(1 << 30, 16_384);
    server.feed(&window_update(0, 1 << 30));
    let before = granted(&server, 0);
    let mut sent = 0;
    for at in 0..20 {
        let body = ramp(BODY_BYTES_MAX);
        send_message(&mut server, 2 * at + 1, "/reflect", &body, 500_000);
        sent += body.len();
        assert!(reply(&server, 2 * at + 1).message() == &body[..]);
    }
    assert!(granted(&server, 0) + (4 << 20) > before + sent);
    let updates = frames(&server.sent).iter().filter(|f| f.kind == WINDOW_UPDATE).count();
    assert!(updates <= 1 + 20 + 20 + 2, "{updates} updates for 20 messages");
}

#[test]
fn a_message_of_a_mebibyte_needs_no_update_of_its_stream() {
    let mut server = server_with(1 << 30, 16_384);
    server.feed(&window_update(0, 1 << 30));
    send_message(&mut server, 1, "/reflect", &ramp(1 << 20), 16_384);
    assert!(reply(&server, 1).ended);
    assert!(frames(&server.sent).iter().all(|f| f.kind != WINDOW_UPDATE || f.stream == 0));
}

#[test]
fn padding_is_given_back() {
    let mut server = server();
    server.feed(&open(1, "/reflect"));
    let body = ramp(40_000);
    let content = message(&body);
    let (mut sent, mut padded) = (0, 0);
    for piece in content.chunks(100) {
        sent += piece.len();
        let payload = [&[255][..], piece, &[0; 255]].concat();
        padded += payload.len();
        let flags = if sent == content.len() { END_STREAM | PADDED } else { PADDED };
        server.feed(&frame(DATA, flags, 1, &payload));
    }
    assert!(reply(&server, 1).message() == &body[..]);
    assert!(padded > 140_000);
    for at in 0..40u32 {
        let id = 2 * at + 3;
        server.feed(&open(id, "/reflect"));
        for _ in 0..1000 {
            server.feed(&frame(DATA, PADDED, id, &[&[255][..], &[0; 255]].concat()));
        }
        server.feed(&frame(DATA, END_STREAM, id, &message(b"x")));
        assert_eq!(reply(&server, id).message(), b"x");
    }
    assert_serves(&mut server);
}

#[test]
fn there_is_always_room_for_padding() {
    let mut server = server_with(1 << 30, 16_384);
    server.feed(&window_update(0, 1 << 30));
    for (id, len) in [(1, 1_000_000), (3, 1 << 20), (5, 2_000_000), (7, BODY_BYTES_MAX)] {
        server.feed(&open(id, "/reflect"));
        let content = message(&ramp(len));
        let (front, last) = content.split_at(content.len() - 1);
        let (prefix, rest) = front.split_at(5);
        server.feed(&frame(DATA, 0, id, prefix));
        for chunk in rest.chunks(500_000) {
            server.feed(&frame(DATA, 0, id, chunk));
        }
        let padded = [&[255][..], last, &[0; 255]].concat();
        assert!(front.len() + padded.len() <= granted(&server, id), "{len} bytes");
        server.feed(&frame(DATA, END_STREAM | PADDED, id, &padded));
        assert!(reply(&server, id).message() == ramp(len));
    }
}

#[test]
fn waiting_streams_take_turns() {
    let mut server = server_with(1 << 30, 16_384);
    let body = ramp(2_500_000);
    for id in [1, 3, 5] {
        send_message(&mut server, id, "/reflect", &body, 500_000);
    }
    server.feed(&call(7, "/reflect", b"small"));
    server.feed(&window_update(0, 4_500_000));
    let early = reply(&server, 7);
    assert_eq!(early.message(), b"small", "a small reply does not wait for three large ones");
    let lens = [1, 3, 5].map(|id| data_lens(&server, id).iter().sum::<usize>());
    assert!(lens.iter().all(|len| *len > 1_000_000), "{lens:?}");
    server.feed(&window_update(0, 100_000_000));
    for id in [1, 3, 5] {
        assert!(reply(&server, id).message() == &body[..]);
    }
}

#[test]
fn replies_that_share_a_small_window_end_one_by_one() {
    let mut server = server_with(1 << 30, 16_384);
    let body = ramp(60_000);
    let ids: Vec<u32> = (0..10).map(|at| 2 * at + 1).collect();
    for &id in &ids {
        send_message(&mut server, id, "/reflect", &body, 60_000);
    }
    let ended = |server: &Server| ids.iter().filter(|id| reply(server, **id).ended).count();
    let first = ended(&server);
    for round in 1..=9 - first {
        (0..6).for_each(|_| server.feed(&window_update(0, 10_001)));
        assert_eq!(ended(&server), first + round);
    }
}

#[test]
fn a_stream_reset_while_it_waits_is_forgotten() {
    let mut server = server_with(0, 16_384);
    for at in 0..100 {
        server.feed(&call(2 * at + 1, "/reflect", b"x"));
        server.feed(&rst(2 * at + 1, CANCEL));
    }
    server.feed(&settings(&[(4, 1 << 20)]));
    assert!((0..100).all(|at| data_lens(&server, 2 * at + 1).is_empty()));
    assert_serves(&mut server);
}
