//! Promises of `raw`: it answers frames in order for any cuts between the bytes and gives every
//! refusal a reason. No input makes it panic or answer without bound.

mod common;

use std::rc::Rc;
use std::time::Duration;

use common::{Calling, Driven, Shapes};
use ndecho::wire::raw::{CODEC_ERROR, Raw, RawClient};
use ndecho::wire::{ErrorKind, Limits, Machine, Part, PooledBuf, WireError};
use proptest::prelude::*;

fn limits() -> Limits {
    Limits { body_bytes_max: 300_000, ..Limits::default() }
}

fn server(lending: bool) -> Driven<Raw<Shapes>> {
    Driven::new(Raw::new(Shapes, Rc::new(limits())), lending)
}

fn frame(codec: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.push(codec);
    frame.extend_from_slice(body);
    frame
}

fn ramp(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

fn answer_of(input: &[u8]) -> Driven<Raw<Shapes>> {
    let mut driven = server(true);
    driven.feed(input);
    driven
}

#[test]
fn every_shape_of_reply_comes_back_whole_at_every_size() {
    for len in [0, 1, 7, 4096, 16_383, 16_384, 16_385, 100_000, 300_000] {
        let body = ramp(len);
        let wrapped = [b"<", &body[..], b">"].concat();
        let input = [frame(0, &body), frame(1, &body), frame(2, &body)].concat();
        let capitals = body.to_ascii_uppercase();
        let output = [frame(0, &body), frame(1, &wrapped), frame(2, &capitals)].concat();
        for (step, lending) in [(1 << 20, true), (65_536, true), (65_536, false), (977, true)] {
            let mut driven = server(lending);
            input.chunks(step).for_each(|chunk| driven.feed(chunk));
            assert!(driven.sent == output, "{len} bytes in steps of {step}");
            assert!(!driven.closing());
        }
    }
}

#[test]
fn a_frame_may_be_cut_anywhere() {
    let input = [frame(0, b"first"), frame(1, b""), frame(2, b"third"), frame(0, b"bad")].concat();
    let whole = answer_of(&input).sent;
    assert_eq!(whole, {
        let error = frame(CODEC_ERROR, b"bad body");
        [frame(0, b"first"), frame(1, b"<>"), frame(2, b"THIRD"), error].concat()
    });
    for cut in 0..=input.len() {
        let mut driven = server(true);
        driven.feed(&input[..cut]);
        driven.feed(&input[cut..]);
        assert_eq!(driven.sent, whole, "cut at {cut}");
    }
    let mut driven = server(true);
    input.chunks(1).for_each(|byte| driven.feed(byte));
    assert_eq!(driven.sent, whole);
}

#[test]
fn a_long_body_is_lent_its_own_buffer() {
    let mut driven = server(true);
    let body = ramp(200_000);
    driven.feed(&frame(0, &body)[..100]);
    let loan = driven.machine.lend(&Default::default()).expect("a long body is lent");
    assert!(loan.buffer.ends_with(&body[..95]), "what has come is in front of the room");
    assert!(loan.buffer.capacity() <= 128 * 1024, "memory follows what has arrived");
}

#[test]
fn a_refused_frame_is_explained_and_ends_the_connection() {
    let mut too_long = 300_001u32.to_be_bytes().to_vec();
    too_long.push(0);
    let cases = [
        (frame(9, b"x"), "no such route".to_owned()),
        (too_long, "frame of 300001 bytes is over the limit of 300000".to_owned()),
    ];
    for (input, text) in cases {
        let driven = answer_of(&[frame(0, b"good"), input, frame(0, b"late")].concat());
        assert_eq!(driven.sent, [frame(0, b"good"), frame(CODEC_ERROR, text.as_bytes())].concat());
        assert_eq!(driven.error, Some(WireError::violation("raw", text)));
        assert!(driven.machine.finished());
    }
}

#[test]
fn an_end_is_clean_between_frames_only() {
    let input = frame(0, &ramp(20_000));
    for cut in [0, 1, 4, 5, 6, 19_000, input.len()] {
        let mut driven = answer_of(&input[..cut]);
        driven.end();
        let clean = cut == 0 || cut == input.len();
        let error = (!clean).then_some(WireError::truncated("raw"));
        assert_eq!(driven.error, error, "cut at {cut}");
        assert!(driven.machine.finished());
    }
}

#[test]
fn draining_answers_what_had_been_sent_and_takes_no_other() {
    const GRACE: Duration = Duration::from_millis(100);
    let mut idle = answer_of(&frame(0, b"one"));
    idle.drain();
    assert!(!idle.machine.finished(), "a frame may have been sent before the shutdown");
    idle.wait(GRACE);
    assert!(idle.machine.finished() && idle.error.is_none());
    let input = [frame(0, b"last"), frame(0, b"late")].concat();
    for wait in [Duration::ZERO, 2 * GRACE] {
        let mut open = answer_of(&input[..7]);
        open.drain();
        open.wait(wait);
        assert!(!open.machine.finished());
        open.feed(&input[7..]);
        assert_eq!(open.sent, input);
        assert_eq!(open.machine.finished(), !wait.is_zero());
        open.wait(GRACE);
        assert!(open.machine.finished() && open.error.is_none());
    }
}

#[test]
fn each_phase_has_its_own_patience() {
    let mut idle = server(true);
    idle.wait(Duration::from_secs(74));
    assert!(!idle.closing());
    idle.wait(Duration::from_secs(2));
    assert!(idle.machine.finished() && idle.error.is_none() && idle.sent.is_empty());

    let mut trickling = server(true);
    for byte in &frame(0, b"")[..3] {
        trickling.feed(&[*byte]);
        trickling.wait(Duration::from_secs(4));
    }
    assert!(matches!(trickling.error, Some(WireError { kind: ErrorKind::Timeout, .. })));

    let input = frame(0, &ramp(200_000));
    let mut slow = answer_of(&input[..10]);
    for piece in input[10..].chunks(40_000) {
        slow.wait(Duration::from_secs(29));
        slow.feed(piece);
    }
    assert!(slow.sent == input);
    let mut trickling = answer_of(&input[..10]);
    for _ in 0..1000 {
        trickling.wait(Duration::from_secs(29));
        trickling.feed(b"x");
    }
    assert!(matches!(trickling.error, Some(WireError { kind: ErrorKind::Timeout, .. })));
    let mut sending = server(true);
    sending.feed(&[&frame(0, b"x")[..], b"\0"].concat());
    sending.wait_unsent(Duration::from_secs(1000));
    assert!(!sending.closing(), "the peer is busy with reading");
    sending.wait(Duration::from_secs(11));
    assert!(matches!(sending.error, Some(WireError { kind: ErrorKind::Timeout, .. })));
    let mut stalled = answer_of(&frame(0, &ramp(50_000))[..10_000]);
    stalled.wait(Duration::from_secs(31));
    assert!(matches!(stalled.error, Some(WireError { kind: ErrorKind::Timeout, .. })));
}

#[test]
fn client_and_server_understand_each_other() {
    for (len, lending) in [(0, true), (8, true), (2048, false), (65_536, true), (300_000, true)] {
        let body = Rc::new(PooledBuf::from(ramp(len)));
        let mut client = Calling::new(RawClient::new(0, &limits()), lending);
        for id in 0..3 {
            client.request(id, &[Part::Copy(&[]), Part::Share(&body, 0..len)]);
        }
        client.request(3, &[Part::Copy(b"b"), Part::Copy(b"ad")]);
        let mut driven = server(lending);
        driven.feed(&std::mem::take(&mut client.sent));
        driven.sent.chunks(10_007).for_each(|chunk| client.feed(chunk).unwrap());
        let ids: Vec<u32> = client.replies.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [0, 1, 2, 3]);
        for (_, reply) in &client.replies[..3] {
            assert!(reply.as_ref() == Ok(&*body));
        }
        assert_eq!(client.replies[3].1, Err("bad body".to_owned()));
        assert_eq!(ndecho::wire::Client::end(&mut client.client), Ok(()));
    }
}

#[test]
fn a_client_refuses_what_it_did_not_ask_for() {
    let mut client = Calling::new(RawClient::new(0, &limits()), true);
    assert!(client.feed(&frame(0, b"unasked")).is_err());
    client.request(1, &[Part::Copy(b"x")]);
    assert!(ndecho::wire::Client::end(&mut client.client).is_err());
    assert!(client.feed(&[0xFF; 5]).is_err(), "a reply over the limit");
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_output(
        frames in prop::collection::vec((0u8..4, 0usize..40_000), 1..5),
        steps in prop::collection::vec(1usize..30_000, 1..10),
        lending: bool,
    ) {
        let input: Vec<u8> = frames.iter().flat_map(|(codec, len)| frame(*codec, &ramp(*len))).collect();
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
    }

    #[test]
    fn noise_never_panics_and_is_answered_within_bounds(
        noise in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let driven = answer_of(&noise);
        prop_assert!(driven.sent.len() <= 20 * noise.len() + 100);
        let mut client = Calling::new(RawClient::new(0, &limits()), true);
        client.request(0, &[]);
        let _ = client.feed(&noise);
    }
}
