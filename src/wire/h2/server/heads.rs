//! Latest request head, of which a repeated field is not decoded again.
//!
//! The fields of a call that mean something to a server are mostly those of the last one: indexes
//! of the same table entries, or literals of the same bytes. They are remembered in order, each
//! with the state of the head after it. Other fields may stand between them and change at will.
//!
//! ```text
//!            :method  :scheme  :path  :authority      te  content-type
//! remembered    3        6      #70      #71         #72      #73       numbers of table entries
//! new block    0x83     0x86    0xc3     0xc2  trace 0xc2    0xc1       decoded: the trace
//! ```
//! A field that is not the remembered one ends the repetition: the head goes back to the state
//! before it, and what follows is decoded and remembered. The route of the head
//! ([`crate::wire::Handler::route`]) holds while all fields are repeated.

use super::head::{Marks, RequestHead};
use crate::wire::Route;
use crate::wire::h2::hpack::{Decoder, EntryId, Field, FieldSink, HpackError, Name, Origin};

const KNOWN_FIELDS_MAX: usize = 16;
const LITERAL_BYTES_MAX: usize = 512;

#[derive(Debug, Default)]
pub(super) struct RequestHeads {
    latest: RequestHead,
    known: Vec<Known>,
    /// Known literals, one after the other.
    literals: Vec<u8>,
    /// Number of known fields in the block so far.
    passed: usize,
    stage: Stage,
    route: Option<Route>,
}

/// Field that the latest block had, and the state of the head after it.
#[derive(Debug)]
struct Known {
    /// `None` for a literal.
    entry: Option<EntryId>,
    literals_end: usize,
    bytes: usize,
    marks: Marks,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// All fields so far were known or without a meaning.
    #[default]
    Repeating,
    /// The fields since the first new one become known.
    Learning,
    /// The block has a field that cannot be remembered.
    Unknown,
}

impl RequestHeads {
    #[inline]
    pub(super) fn decode(
        &mut self,
        block: &[u8],
        decoder: &mut Decoder,
        bytes_max: usize,
    ) -> Result<(), HpackError> {
        self.latest.begin();
        self.passed = 0;
        self.stage = Stage::Repeating;
        decoder.decode(block, bytes_max, &mut *self)?;
        match self.stage {
            Stage::Repeating if self.passed == self.known.len() => {
                self.latest.restore(self.marks());
            }
            Stage::Repeating => self.diverge(),
            Stage::Learning => {}
            Stage::Unknown => self.forget(),
        }
        Ok(())
    }

    pub(super) fn latest(&self) -> &RequestHead {
        &self.latest
    }

    pub(super) fn route(&self) -> Option<Route> {
        self.route
    }

    /// Notes the route of the latest head.
    pub(super) fn set_route(&mut self, route: Route) {
        if self.stage != Stage::Unknown {
            self.route = Some(route);
        }
    }

    /// Returns the state after the known fields that have passed.
    fn marks(&self) -> Marks {
        self.passed.checked_sub(1).map_or_else(Marks::default, |last| self.known[last].marks)
    }

    /// Ends the repetition: drops the known fields that have not passed.
    #[inline(never)]
    fn diverge(&mut self) {
        self.stage = Stage::Learning;
        self.latest.restore(self.marks());
        if self.latest.fields > self.passed {
            self.latest.note_regular();
        }
        self.known.truncate(self.passed);
        self.literals.truncate(self.known.last().map_or(0, |known| known.literals_end));
        self.route = None;
    }

    fn forget(&mut self) {
        self.known.clear();
        self.literals.clear();
    }

    /// Remembers the field that the head has just taken, or gives up.
    fn learn(&mut self, bytes: usize, origin: Origin<'_>) {
        let (entry, literal) = match origin {
            Origin::Entry(entry) => (Some(entry), &[][..]),
            Origin::Literal(literal) => (None, literal),
            Origin::NamedByIndex => {
                self.stage = Stage::Unknown;
                return;
            }
        };
        let literals_end = self.literals.len() + literal.len();
        if self.known.len() == KNOWN_FIELDS_MAX
            || literals_end > LITERAL_BYTES_MAX
            || self.latest.is_blamed()
        {
            self.stage = Stage::Unknown;
            return;
        }
        self.literals.extend_from_slice(literal);
        self.known.push(Known { entry, literals_end, bytes, marks: self.latest.marks() });
        self.passed += 1;
    }

    #[inline]
    fn pass(&mut self, bytes: usize) {
        self.passed += 1;
        self.latest.count(bytes);
    }

    /// Returns true if the next known field is a pseudo-field, which no other field may precede.
    fn is_inside_pseudo_fields(&self) -> bool {
        self.known.get(self.passed).is_some_and(|known| known.marks.is_before_regular())
    }
}

impl FieldSink for &mut RequestHeads {
    #[inline]
    fn known_entry(&mut self, entry: EntryId) -> Option<usize> {
        let known = self.known.get(self.passed).filter(|known| known.entry == Some(entry))?;
        let bytes = known.bytes;
        self.pass(bytes);
        Some(bytes)
    }

    #[inline]
    fn known_literal(&mut self, block: &[u8]) -> Option<(usize, usize)> {
        let known = self.known.get(self.passed).filter(|known| known.entry.is_none())?;
        let start = self.passed.checked_sub(1).map_or(0, |last| self.known[last].literals_end);
        let literal = &self.literals[start..known.literals_end];
        if !block.starts_with(literal) {
            return None;
        }
        let (len, bytes) = (literal.len(), known.bytes);
        self.pass(bytes);
        Some((len, bytes))
    }

    #[inline]
    fn field(&mut self, field: &Field<'_>, origin: Origin<'_>) {
        let is_free = field.sound && matches!(field.name, Name::Other | Name::GrpcTimeout);
        if self.stage == Stage::Repeating && (!is_free || self.is_inside_pseudo_fields()) {
            self.diverge();
        }
        if self.stage == Stage::Learning && !is_free {
            if field.name == Name::ContentType && self.latest.has_content_type() {
                // The text after the first one would be lost.
                self.stage = Stage::Unknown;
            } else {
                self.latest.take(field);
                return self.learn(field.bytes, origin);
            }
        }
        self.latest.take(field);
    }
}

#[cfg(test)]
mod tests {

    use rand::{RngExt as _, SeedableRng as _};
    use rand_pcg::Pcg64;

    use super::*;
    use crate::wire::h2::hpack::{write_coded_literal, write_indexed_literal, write_literal};

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
                self.heads.set_route(Route(0));
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
        let more = (head.timeout, head.encoded(), head.is_grpc());
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
            assert!(routed_after(&[
                &with(&literal("x", "1")),
                &with(&literal("grpc-timeout", "2S"))
            ]));
        }
        // Each insertion moves the indexes of the others by one.
        let moved = |by: u8| [0x83, 0x86, 0xC1 + by, 0xC0 + by, 0xBF + by, 0xBE + by];
        let inserting = |by, value| [&moved(by)[..], &kept("x", value)].concat();
        assert!(routed_after(&[&inserting(0, "1"), &inserting(1, "2"), &inserting(2, "3")]));
    }

    #[test]
    fn literals_of_the_same_bytes_are_known() {
        let block =
            [&[0x83, 0x86][..], &literal(":path", "/c"), &literal("te", "trailers")].concat();
        assert!(routed_after(&[&block, &block]));
        let other =
            [&[0x83, 0x86][..], &literal(":path", "/d"), &literal("te", "trailers")].concat();
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
        const VALUES: [&str; 7] =
            ["/a", "host:1", "trailers", "application/grpc", "5", "2S", "gzip"];
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
}
