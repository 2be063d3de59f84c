//! Latest request head, of which a repeated field is not decoded again.
//!
//! The fields of a call that mean something to a server are mostly those of the last one: indexes
//! of the same table entries, or literals of the same bytes. They are remembered in order, each
//! with the state of the head after it. Free fields, which mean nothing, may stand between them and
//! change at will; of a free literal, the name is remembered.
//!
//! ```text
//!            :method  :scheme  :path  :authority      te  content-type
//! remembered    3        6      #70      #71         #72      #73       numbers of table entries
//! new block    0x83     0x86    0xc3     0xc2  trace 0xc2    0xc1       decoded: the trace
//! ```
//! While the table does not change, the bytes before the first free literal are compared at once.
//! A field that is not the remembered one ends the repetition: the head goes back to the state
//! before it, and what follows is decoded and remembered. The route of the head
//! ([`crate::wire::Handler::route`]) holds while all fields are repeated.

use std::time::Duration;

use super::head::{Marks, RequestHead};
use crate::wire::Route;
use crate::wire::h2::hpack::{
    Decoder, EntryId, Field, FieldSink, HpackError, Name, Origin, is_sound_value,
};

pub(super) const KNOWN_FIELDS_MAX: usize = 16;
const LITERAL_BYTES_MAX: usize = 512;
const FREE_NAMES_MAX: usize = 8;
const FREE_BYTES_MAX: usize = 64;

/// First byte of a string from which on it is in Huffman code or its length has more bytes.
const LONG_LENGTH: u8 = 0x7F;

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
    front: Front,
    /// Free literals in their order in the latest block.
    free_names: Vec<FreeName>,
    free_passed: usize,
    /// State before the first free literal of the block.
    before_free: Option<FrontState>,
    block_len: usize,
}

/// Bytes of the latest block up to its first free literal, which equal bytes repeat while the table
/// does not change; empty if it has changed.
#[derive(Debug, Default)]
struct Front {
    block: Vec<u8>,
    table_changes: u64,
    state: FrontState,
}

#[derive(Clone, Copy, Debug, Default)]
struct FrontState {
    len: usize,
    passed: usize,
    bytes: usize,
    fields: usize,
    timeout: Option<Duration>,
}

/// Literal without a meaning up to its value, as the block has it.
#[derive(Debug)]
struct FreeName {
    encoded: Vec<u8>,
    name: Name,
    /// Size of the field without its value.
    bytes: usize,
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
        self.free_passed = 0;
        self.before_free = None;
        self.block_len = block.len();
        self.stage = Stage::Repeating;
        let table_changes = decoder.table_changes();
        decoder.decode(block, bytes_max, &mut *self)?;
        match self.stage {
            Stage::Repeating if self.passed == self.known.len() => {
                self.latest.restore(self.marks());
                if self.front.block.is_empty() && decoder.table_changes() == table_changes {
                    self.keep_front(block, table_changes);
                }
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
        self.front.block.clear();
    }

    #[inline(never)]
    fn keep_front(&mut self, block: &[u8], table_changes: u64) {
        let state = self.before_free.unwrap_or_else(|| self.front_state(block.len()));
        if state.len <= LITERAL_BYTES_MAX {
            self.front.block.extend_from_slice(&block[..state.len]);
            self.front.table_changes = table_changes;
            self.front.state = state;
        }
    }

    fn front_state(&self, len: usize) -> FrontState {
        let RequestHead { bytes, fields, timeout, .. } = self.latest;
        FrontState { len, passed: self.passed, bytes, fields, timeout }
    }

    /// Remembers the name of a free literal.
    fn learn_free(&mut self, field: &Field<'_>, literal: &[u8], value_start: usize) {
        self.free_names.truncate(self.free_passed);
        let encoded = &literal[..value_start];
        if encoded.len() <= FREE_BYTES_MAX && self.free_passed < FREE_NAMES_MAX {
            let (encoded, bytes) = (encoded.to_vec(), field.bytes - field.value.len());
            self.free_names.push(FreeName { encoded, name: field.name, bytes });
            self.free_passed += 1;
        }
    }

    fn repeated_literal(&mut self, block: &[u8]) -> Option<(usize, usize)> {
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

    /// Takes a literal with the name of the last block's, and any value of one length byte.
    #[inline]
    fn free_literal(&mut self, block: &[u8]) -> Option<(usize, usize)> {
        if self.before_free.is_none() {
            self.before_free = Some(self.front_state(self.block_len - block.len()));
        }
        let free = self.free_names.get(self.free_passed)?;
        let (&value_len, rest) = block.strip_prefix(free.encoded.as_slice())?.split_first()?;
        let value = rest.get(..usize::from(value_len))?;
        if value_len >= LONG_LENGTH || !is_sound_value(value) || self.is_inside_pseudo_fields() {
            return None;
        }
        let (len, bytes) = (free.encoded.len() + 1 + value.len(), free.bytes + value.len());
        self.latest.take(&Field { name: free.name, value, sound: true, bytes });
        self.free_passed += 1;
        Some((len, bytes))
    }

    fn forget(&mut self) {
        self.known.clear();
        self.literals.clear();
    }

    /// Remembers the field that the head has just taken, or gives up.
    fn learn(&mut self, bytes: usize, origin: Origin<'_>) {
        let (entry, literal) = match origin {
            Origin::Entry(entry) => (Some(entry), &[][..]),
            Origin::Literal { bytes, .. } => (None, bytes),
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
    fn known_front(&mut self, block: &[u8], table_changes: u64) -> Option<(usize, usize)> {
        let Front { block: front, table_changes: then, state } = &self.front;
        if front.is_empty() || *then != table_changes || !block.starts_with(front) {
            return None;
        }
        self.passed = state.passed;
        self.latest.bytes = state.bytes;
        self.latest.fields = state.fields;
        self.latest.timeout = state.timeout;
        Some((state.len, state.bytes))
    }

    #[inline]
    fn known_entry(&mut self, entry: EntryId) -> Option<usize> {
        let known = self.known.get(self.passed).filter(|known| known.entry == Some(entry))?;
        let bytes = known.bytes;
        self.pass(bytes);
        Some(bytes)
    }

    #[inline]
    fn known_literal(&mut self, block: &[u8]) -> Option<(usize, usize)> {
        self.repeated_literal(block).or_else(|| self.free_literal(block))
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
        if let Origin::Literal { bytes, value_start } = origin
            && bytes[value_start] < LONG_LENGTH
            && is_free
        {
            self.learn_free(field, bytes, value_start);
        }
        self.latest.take(field);
    }
}
