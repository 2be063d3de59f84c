//! Tests of the lanes: each one runs, and a broken reply is found.

use std::collections::BTreeSet;

use crate::axis::{Codec, Family, Protocol, Rung, Tuning};
use crate::probe::injected_delay::InjectedDelay;
use crate::service::planted;

use super::replies::Replies;
use super::{DEFAULT_WINDOW_BYTES, Numbers, Spec, Subject, codec_of, counted, specs};

#[test]
fn every_lane_runs_and_has_a_name_of_its_own() {
    let specs = specs();
    let names: BTreeSet<String> = specs.iter().map(Spec::to_string).collect();
    assert_eq!(names.len(), specs.len());
    for protocol in Protocol::ALL {
        let is_its =
            |spec: &&Spec| matches!(spec.subject, Subject::Protocol(it, _) if it == protocol);
        assert!(specs.iter().any(|spec| is_its(&spec)), "{protocol} has no lane");
    }
    for spec in specs {
        let mut lane = spec
            .prepare(InjectedDelay::default())
            .unwrap_or_else(|error| panic!("{spec}: {error}"));
        counted(&mut lane).unwrap_or_else(|error| panic!("{spec}: {error}"));
    }
}

#[test]
fn lanes_have_readable_names() {
    let names: Vec<String> = specs().iter().map(Spec::to_string).collect();
    for name in ["h2/protobuf/8", "tonic:best/protobuf:prost_bytes/64K", "codec/json/i8/decode"] {
        assert!(names.iter().any(|it| it == name), "{name}: {names:?}");
    }
    // The windows of the documented form do not hold the message.
    assert!(!names.contains(&"tonic/protobuf:prost/64K".to_owned()));
    let calls = |subject, bytes| Spec::usual(subject, bytes).counted_calls();
    assert_eq!(calls(Subject::Protocol(Protocol::H2, Codec::Protobuf), 8), 1000);
    assert_eq!(calls(Subject::Protocol(Protocol::H1, Codec::Npy), 65_536), 96);
}

#[test]
fn replies_are_counted_however_they_are_cut() {
    let raw = [0, 0, 0, 2, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 9];
    let rest = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let head = [0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88];
    let data = [0, 0, 2, 0, 0, 0, 0, 0, 1, 5, 6];
    let trailers = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88];
    let grpc = [&settings[..], &head, &data, &trailers].concat();
    for (family, bytes, count, messages) in
        [(Family::Raw, &raw[..], 3, 3), (Family::Rest, rest, 2, 3), (Family::Grpc, &grpc, 1, 2)]
    {
        for length in 1..=bytes.len() {
            let mut replies = Replies::new(family);
            for piece in bytes.chunks(length) {
                replies.feed(piece).unwrap();
            }
            let found = (replies.count, replies.take());
            assert_eq!(found, (count, messages), "{family:?} in pieces of {length}");
            assert_eq!(replies.has_settings, family == Family::Grpc);
        }
    }
}

#[test]
fn a_refusal_is_no_reply() {
    let refusals = [
        (Family::Raw, vec![0, 0, 0, 1, 0xFF, b'x']),
        (Family::Rest, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
        (Family::Rest, b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
        (Family::Grpc, vec![0, 0, 4, 3, 0, 0, 0, 0, 1]),
        (Family::Grpc, vec![0, 0, 8, 7, 0, 0, 0, 0, 0]),
    ];
    for (family, bytes) in refusals {
        let refused = Replies::new(family).feed(&bytes);
        assert!(refused.is_err(), "{family:?} {bytes:?}");
    }
}

#[test]
fn lanes_of_a_run_fit_into_the_windows_of_each_stack() {
    let of = |protocol: Protocol, bytes: u64| {
        let array = Numbers::Doubles.array(bytes).unwrap();
        let codec = codec_of(protocol);
        Spec::of_run(protocol, codec, &array.view(), 1000).map(|spec| (spec, array))
    };
    for bytes in [8, 2 << 10, 40 << 10, 64 << 10, 1 << 20] {
        for protocol in Protocol::ALL {
            let is_held = bytes >= DEFAULT_WINDOW_BYTES
                && protocol.family() == Family::Grpc
                && protocol.spec().tuning == Tuning::Default
                && !protocol.spec().crates.is_empty();
            match of(protocol, bytes) {
                Err(error) => {
                    assert!(is_held, "{protocol} {bytes}: {error}");
                    assert!(error.to_string().contains("hold back a message"), "{error}");
                }
                Ok((spec, array)) => {
                    assert!(!is_held && spec.counted_calls() >= 2, "{protocol} {bytes}");
                    let mut lane = spec.prepare_with(&array.view(), InjectedDelay::default());
                    let counted = lane.as_mut().map(counted);
                    assert!(matches!(counted, Ok(Ok(()))), "{protocol} {bytes}");
                }
            }
        }
    }
    let depth = |protocol, bytes| of(protocol, bytes).ok().map(|(spec, _)| spec.in_flight());
    assert_eq!(depth(Protocol::TonicTuned, 8), depth(Protocol::Raw, 8));
    assert_eq!(depth(Protocol::H2, 1 << 20), Some(1));
    assert_eq!(depth(Protocol::Axum, 8), Some(1), "a connection of HTTP/1.1 has one");
}

#[test]
fn a_planted_cost_is_spent_for_every_call_of_a_lane() {
    let array = Numbers::Doubles.array(8).unwrap();
    for name in ["uring/h2/protobuf", "uring/h1/npy", "tokio/tonic:tuned/protobuf:prost"] {
        let rung: Rung = name.parse().unwrap();
        for layer in planted::layers(rung) {
            let delay = InjectedDelay::of_steps(1, layer);
            let (protocol, codec) = (rung.protocol(), rung.codec());
            let spec = Spec::of_run(protocol, codec, &array.view(), 20).unwrap();
            let mut lane = spec.prepare_with(&array.view(), delay).unwrap();
            let before = delay.sum().unwrap().messages;
            counted(&mut lane).unwrap();
            let spent = delay.sum().unwrap().messages - before;
            assert_eq!(spent, u64::from(spec.counted_calls()), "{name} {layer}");
        }
    }
}

#[test]
fn a_lane_without_a_codec_carries_the_array_as_it_is() {
    let array = Numbers::Doubles.array(64).unwrap();
    let spec = Spec::of_run(Protocol::Raw, Codec::Reflect, &array.view(), 10).unwrap();
    let mut lane = spec.prepare_with(&array.view(), InjectedDelay::default()).unwrap();
    counted(&mut lane).unwrap();
}
