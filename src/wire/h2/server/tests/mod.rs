//! The remembered head and one that is decoded anew are the same.

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

use super::head::RequestHead;
use super::heads::{KNOWN_FIELDS_MAX, RequestHeads};
use crate::wire::Route;
use crate::wire::h2::hpack::{
    Decoder, Field, HpackError, write_coded_literal, write_indexed_literal, write_literal,
};

const BYTES_MAX: usize = 8192;

/// Decodes blocks as [`RequestHeads`] does, and anew each time.
#[derive(Default)]
struct Pair {
    heads: RequestHeads,
    decoder: Decoder,
    plain: Decoder,
    /// Path, content type and length of the head that was routed last.
    routed: Option<String>,
}

impl Pair {
    /// Checks that both read `block` alike; returns true if the route was known.
    fn decode(&mut self, block: &[u8]) -> Result<bool, HpackError> {
        let mut head = RequestHead::default();
        let take = |field: &Field<'_>| head.take(field);
        let want = self.plain.decode(block, BYTES_MAX, take);
        let got = self.heads.decode(block, &mut self.decoder, BYTES_MAX);
        assert_eq!(got, want, "{}", block.escape_ascii());
        want?;
        assert_eq!(state(self.heads.latest()), state(&head), "{}", block.escape_ascii());
        assert_eq!(self.decoder.table_changes(), self.plain.table_changes());
        let is_routed = self.heads.route().is_some();
        let route = route_of(&head);
        if is_routed {
            assert_eq!(self.routed.as_ref(), Some(&route), "{}", block.escape_ascii());
        } else if head.fault().is_none() {
            self.heads.set_route(Route::plain(0));
            self.routed = Some(route);
        }
        Ok(is_routed)
    }
}

fn route_of(head: &RequestHead) -> String {
    let texts = [&head.path, &head.content_type].map(|text| text.escape_ascii().to_string());
    format!("{texts:?} {:?} {:?}", head.method(), head.content_length())
}

fn state(head: &RequestHead) -> String {
    let faults = (head.fault(), head.trailers_fault());
    let size = (head.bytes, head.fields);
    let more = (head.timeout, head.codings(), head.is_grpc());
    format!("{} {faults:?} {size:?} {more:?}", route_of(head))
}

fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut block = Vec::new();
    write_literal(0, name.as_bytes(), value.as_bytes(), &mut block);
    block
}

fn kept(name: &str, value: &str) -> Vec<u8> {
    let mut block = Vec::new();
    write_indexed_literal(0, name.as_bytes(), value.as_bytes(), &mut block);
    block
}

/// The fields of a call that enter the table: path 65, authority 64, te 63, content type 62.
fn first() -> Vec<u8> {
    let call = [
        kept(":path", "/a/b"),
        kept(":authority", "host:1"),
        kept("te", "trailers"),
        kept("content-type", "application/grpc"),
    ];
    [&[0x83, 0x86][..], &call.concat()].concat()
}

const AGAIN: [u8; 6] = [0x83, 0x86, 0xC1, 0xC0, 0xBF, 0xBE];

fn routed_after(blocks: &[&[u8]]) -> bool {
    let mut pair = Pair::default();
    pair.decode(&first()).unwrap();
    blocks.iter().map(|block| pair.decode(block).unwrap()).last().expect("a block")
}

#[test]
fn changing_fields_do_not_change_a_route() {
    assert!(routed_after(&[&AGAIN]));
    for at in [4, 5, 6] {
        let (front, back) = AGAIN.split_at(at);
        let with = |more: &[u8]| [front, more, back].concat();
        assert!(routed_after(&[&with(&literal("x", "1")), &with(&literal("grpc-timeout", "2S"))]));
    }
    // Each insertion moves the indexes of the others by one.
    let moved = |by: u8| [0x83, 0x86, 0xC1 + by, 0xC0 + by, 0xBF + by, 0xBE + by];
    let inserting = |by, value| [&moved(by)[..], &kept("x", value)].concat();
    assert!(routed_after(&[&inserting(0, "1"), &inserting(1, "2"), &inserting(2, "3")]));
}

#[test]
fn literals_of_the_same_bytes_are_known() {
    let block = [&[0x83, 0x86][..], &literal(":path", "/c"), &literal("te", "trailers")].concat();
    assert!(routed_after(&[&block, &block]));
    let other = [&[0x83, 0x86][..], &literal(":path", "/d"), &literal("te", "trailers")].concat();
    assert!(!routed_after(&[&block, &other]));
}

#[test]
fn a_field_that_means_something_ends_the_repetition() {
    for more in [
        literal(":path", "/late"),
        literal("content-type", "application/grpc+npy"),
        literal("content-length", "5"),
        literal("grpc-encoding", "gzip"),
        literal("host", "other"),
        literal("te", "gzip"),
        literal("connection", "close"),
        literal("x", " unsound"),
        vec![0xBE],
    ] {
        let block = [&AGAIN[..], &more].concat();
        assert!(!routed_after(&[&block]));
        assert!(!routed_after(&[&AGAIN, &block]));
        assert!(!routed_after(&[&block, &AGAIN[..5]]));
    }
    assert!(!routed_after(&[&[&literal("x", "1"), &AGAIN[..]].concat()]));
    assert!(!routed_after(&[&[&AGAIN[..3], &literal("x", "1"), &AGAIN[3..]].concat()]));
    assert!(!routed_after(&[&AGAIN[..5]]) && !routed_after(&[&[]]));
    let refused = [&AGAIN[..], &literal("te", "gzip")].concat();
    assert!(!routed_after(&[&refused, &literal("x", "1")]) && !routed_after(&[&refused, &[]]));
    let twice = literal("content-type", "application/grpc+npy");
    assert!(!routed_after(&[&[&AGAIN[..], &twice].concat(), &AGAIN]));
}

#[test]
fn an_index_stands_for_another_entry_after_an_insertion_or_an_eviction() {
    let inserted = kept("content-type", "application/grpc+npy");
    assert!(!routed_after(&[&inserted, &[0x83, 0x86, 0xC2, 0xC1, 0xC0, 0xBE]]));
    let mut pair = Pair::default();
    pair.decode(&first()).unwrap();
    // A field larger than the table empties it.
    let large = kept("x", &"y".repeat(5000));
    pair.decode(&[&AGAIN[..], &large].concat()).unwrap();
    assert_eq!(pair.decode(&AGAIN), Err(HpackError::Index(65)));
    let mut pair = Pair::default();
    pair.decode(&first()).unwrap();
    assert_eq!(pair.decode(&[&[0x20], &AGAIN[..]].concat()), Err(HpackError::Index(65)));
    let mut pair = Pair::default();
    pair.decode(&first()).unwrap();
    let late = [&AGAIN[..], &[0x20]].concat();
    assert_eq!(pair.decode(&late), Err(HpackError::TableSize));
}

#[test]
fn a_front_of_equal_bytes_keeps_the_rules_of_a_whole_block() {
    let with = |more: &[u8]| [&AGAIN[..], more].concat();
    let traced = with(&literal("traceparent", "00-1"));
    let pair = || {
        let mut pair = Pair::default();
        pair.decode(&first()).unwrap();
        for _ in 0..3 {
            assert!(pair.decode(&traced).unwrap());
        }
        pair
    };
    assert_eq!(pair().decode(&with(&[0x20])), Err(HpackError::TableSize));
    assert_eq!(pair().decode(&with(&[0x40])), Err(HpackError::Truncated));
    assert_eq!(pair().decode(&traced[..traced.len() - 1]), Err(HpackError::Truncated));
    let large = literal("traceparent", &"0".repeat(100)).repeat(100);
    assert_eq!(pair().decode(&with(&large)), Err(HpackError::TooLarge(BYTES_MAX)));
    for value in ["00-2", "", " 00-1", "0\n1", &"0".repeat(126), &"0".repeat(127)] {
        pair().decode(&with(&literal("traceparent", value))).unwrap();
    }
    assert!(!pair().decode(&with(&literal(":path", "/late"))).unwrap());
    assert!(pair().decode(&with(&literal("grpc-timeout", "2S"))).unwrap());
    // A front that was once followed by known fields is not a whole block.
    for at in 1..=6 {
        let (front, back) = AGAIN.split_at(at);
        let traced = [front, &literal("traceparent", "00-1"), back].concat();
        let mut pair = Pair::default();
        pair.decode(&first()).unwrap();
        for _ in 0..3 {
            pair.decode(&traced).unwrap();
        }
        assert_eq!(pair.decode(front), Ok(at == 6));
        pair.decode(&AGAIN).unwrap();
    }
    // An insertion moves the indexes, so the same bytes stand for other fields.
    let mut moved = pair();
    moved.decode(&with(&kept("x", "1"))).unwrap();
    assert!(!moved.decode(&traced).unwrap());
}

#[test]
fn many_and_long_fields_are_not_remembered() {
    let long = [&[0x83, 0x86][..], &literal(":path", &"/x".repeat(400))].concat();
    assert!(!routed_after(&[&long, &long]));
    let many = [&AGAIN[..], &literal("te", "trailers").repeat(KNOWN_FIELDS_MAX)].concat();
    assert!(!routed_after(&[&many, &many]));
    assert!(routed_after(&[&many, &AGAIN, &AGAIN]));
}

#[test]
fn any_blocks_read_as_a_plain_decoder_reads_them() {
    let mut random = Pcg64::seed_from_u64(7);
    let mut routed = 0;
    for _ in 0..3000 {
        let mut pair = Pair::default();
        let mut latest = first();
        pair.decode(&latest).unwrap();
        for _ in 0..20 {
            latest = random_block(&mut random, &latest);
            match pair.decode(&latest) {
                Ok(known) => routed += u32::from(known),
                Err(_) => break,
            }
        }
    }
    assert!(routed > 1000, "the route was known {routed} times");
}

/// Makes a new block, or one that differs little from `latest`.
fn random_block(random: &mut Pcg64, latest: &[u8]) -> Vec<u8> {
    let mut block = match random.random_range(0..4) {
        0 => AGAIN.to_vec(),
        1 => [&AGAIN[..2], &random_field(random)].concat(),
        2 => first(),
        _ => latest.to_vec(),
    };
    if random.random_bool(0.02) {
        block.insert(0, [0x20, 0x3F][random.random_range(0..2)]);
    }
    for _ in 0..[0, 0, 0, 1, 2][random.random_range(0..5)] {
        block.extend(random_field(random));
    }
    block
}

fn random_field(random: &mut Pcg64) -> Vec<u8> {
    const NAMES: [&str; 10] = [
        ":path",
        ":authority",
        "x",
        "te",
        "content-type",
        "host",
        "content-length",
        "grpc-timeout",
        "grpc-encoding",
        "traceparent",
    ];
    const VALUES: [&str; 7] = ["/a", "host:1", "trailers", "application/grpc", "5", "2S", "gzip"];
    let name = NAMES[random.random_range(0..NAMES.len())].as_bytes();
    let value = VALUES[random.random_range(0..VALUES.len())].as_bytes();
    let index = if random.random_bool(0.5) { 0 } else { random.random_range(1..66) };
    let mut field = Vec::new();
    match random.random_range(0..4) {
        0 => write_literal(index, name, value, &mut field),
        1 => write_indexed_literal(index, name, value, &mut field),
        2 => write_coded_literal(index, name, value, &mut field),
        _ => field.push(0x80 | random.random_range(1..66)),
    }
    field
}
