//! Tests of the lanes: each one runs, and a broken reply is found.

use std::collections::BTreeSet;

use crate::axis::{Codec, Family, Protocol};

use super::replies::Replies;
use super::{Spec, Subject, counted, specs};

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
        let mut lane = spec.prepare().unwrap_or_else(|error| panic!("{spec}: {error}"));
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
    let calls = |subject, bytes| Spec { subject, bytes }.counted_calls();
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
