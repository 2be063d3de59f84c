//! However the input is cut, the output is the same; and whatever the input is, nothing panics or
//! grows.

use proptest::prelude::*;

use crate::peer::*;

/// A long dialogue in which every kind of frame and several ways to be wrong occur.
fn dialogue() -> Vec<u8> {
    let fields = block(&call_fields("/wrap", &[]));
    let (front, back) = fields.split_at(30);
    let wrapped = message(b"in pieces");
    let padded = [&[5][..], b"piec", &[0; 5]].concat();
    let mut input = hello();
    for part in [
        call(1, "/reflect", b"whole"),
        frame(PING, 0, 0, b"pingpong"),
        frame(HEADERS, 0, 3, front),
        frame(CONTINUATION, END_HEADERS, 3, back),
        open(5, "/text"),
        frame(DATA, 0, 3, &wrapped[..8]),
        frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 16]),
        frame(DATA, END_STREAM, 5, &message(b"between")),
        frame(DATA, PADDED, 3, &padded),
        frame(0x66, 9, 3, b"unknown"),
        frame(DATA, END_STREAM, 3, &wrapped[12..]),
        settings(&[(4, 100_000), (1, 0), (5, 20_000)]),
        headers(7, END_STREAM, &[(":method", "GET"), (":scheme", "http"), (":path", "/")]),
        headers(9, 0, &call_fields("/reflect", &[("Bad", "x")])),
        frame(DATA, END_STREAM, 9, &message(b"ignored")),
        call(11, "/reflect", b"bad"),
        open(13, "/reflect"),
        frame(DATA, 0, 13, &message(b"trailers")),
        headers(13, END_STREAM, &[("x-checksum", "1")]),
        window_update(0, 1000),
        call(15, "/text", &ramp(40_000)),
        window_update(0, 100_000),
        frame(SETTINGS, ACK, 0, b""),
        open(17, "/reflect"),
        rst(17, CANCEL),
    ] {
        input.extend_from_slice(&part);
    }
    input
}

fn output(chunks: &[&[u8]], lending: bool) -> Vec<u8> {
    let mut server = silent_server();
    server.lending = lending;
    chunks.iter().for_each(|chunk| server.feed(chunk));
    assert!(!server.closing(), "{:?}", server.error);
    server.sent
}

#[test]
fn the_dialogue_is_what_it_should_be() {
    let replies = replies(&output(&[&dialogue()], true));
    assert_eq!(replies[&1].message(), b"whole");
    assert_eq!(replies[&3].message(), b"<in pieces>");
    assert_eq!(replies[&5].message(), b"BETWEEN");
    assert_eq!(replies[&7].field(":status"), "405");
    assert_eq!(replies[&9].reset, Some(PROTOCOL_ERROR));
    assert_eq!(replies[&11].failure(), ("3", "bad body"));
    assert_eq!(replies[&13].message(), b"trailers");
    assert!(replies[&15].message() == ramp(40_000).to_ascii_uppercase());
    assert!(!replies.contains_key(&17));
}

#[test]
fn any_single_cut_gives_the_same_output() {
    let input = dialogue();
    let whole = output(&[&input], true);
    for cut in (0..2000).chain(2000..input.len()).filter(|at| *at < 2000 || at % 97 == 0) {
        let (front, back) = input.split_at(cut);
        let chunks: Vec<&[u8]> = [front, back].into_iter().filter(|c| !c.is_empty()).collect();
        assert!(output(&chunks, cut % 2 == 0) == whole, "cut at {cut}");
    }
}

#[test]
fn byte_by_byte_gives_the_same_output() {
    let input = dialogue();
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert!(output(&bytes, false) == output(&[&input], true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_cuts_give_the_same_output(
        steps in proptest::collection::vec(1usize..3000, 1..40),
        lending: bool,
    ) {
        let input = dialogue();
        let (mut chunks, mut rest, mut steps) = (Vec::new(), &input[..], steps.iter().cycle());
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(rest.len().min(*steps.next().unwrap()));
            chunks.push(chunk);
            rest = after;
        }
        prop_assert!(output(&chunks, lending) == output(&[&input], true));
    }

    #[test]
    fn noise_never_panics_nor_is_answered_without_bound(
        noise in proptest::collection::vec(any::<u8>(), 0..3000),
        step in 1usize..500,
    ) {
        let mut server = server();
        noise.chunks(step).for_each(|chunk| server.feed(chunk));
        prop_assert!(server.sent.len() < 100 * noise.len() + 1000);
    }

    #[test]
    fn frames_of_noise_never_panic(
        frames in proptest::collection::vec(
            (0u8..11, any::<u8>(), 0u32..12, proptest::collection::vec(any::<u8>(), 0..60)),
            0..60,
        ),
    ) {
        let mut server = server();
        for (kind, flags, stream, payload) in frames {
            server.feed(&frame(kind, flags, stream, &payload));
        }
        server.wait(std::time::Duration::from_secs(100));
    }

    #[test]
    fn a_spoilt_dialogue_never_panics(
        spoils in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..20),
        step in 1usize..2000,
    ) {
        let mut input = dialogue();
        for (at, byte) in spoils {
            let at = at.index(input.len());
            input[at] = byte;
        }
        let mut server = silent_server();
        input.chunks(step).for_each(|chunk| server.feed(chunk));
        server.end();
    }
}
