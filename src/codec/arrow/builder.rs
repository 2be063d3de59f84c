//! Writer of flatbuffers. It works from the end to the start, as the reference implementation
//! does, and gives the same bytes.
//!
//! A place is a distance from the end of the room. Padding stands in front of what needs it, and
//! two equal vtables are written once.

/// Most fields of a table.
const FIELDS_MAX: usize = 5;

/// Most different vtables: message, tensor, type, a dimension of no items, and one of some with and
/// without padding.
const VTABLES_MAX: usize = 6;

/// Bytes of a vtable with all fields: two lengths, and the place of each field.
const VTABLE_BYTES_MAX: usize = 2 * (2 + FIELDS_MAX);

/// Flatbuffer in the last bytes of a room that the caller made large enough.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    room: &'a mut [u8],
    len: usize,
    /// Places of the fields of the table that is being written; 0 for absent ones.
    fields: [usize; FIELDS_MAX],
    vtables: [usize; VTABLES_MAX],
    vtable_count: usize,
}

impl<'a> Builder<'a> {
    /// `room` holds zeros only.
    pub(super) fn new(room: &'a mut [u8]) -> Builder<'a> {
        let (fields, vtables) = ([0; FIELDS_MAX], [0; VTABLES_MAX]);
        Builder { room, len: 0, fields, vtables, vtable_count: 0 }
    }

    fn push<const N: usize>(&mut self, bytes: [u8; N]) {
        self.len += N;
        let at = self.room.len() - self.len;
        self.room[at..at + N].copy_from_slice(&bytes);
    }

    /// Pads, so that what ends after `len` more bytes starts at a multiple of `align`.
    fn align(&mut self, len: usize, align: usize) {
        self.len = (self.len + len).next_multiple_of(align) - len;
    }

    fn push_aligned<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(0, N);
        self.push(bytes);
    }

    fn push_offset(&mut self, target: usize) {
        const BYTES: usize = 4;
        self.align(0, BYTES);
        let distance = (self.len + BYTES - target) as u32;
        self.push(distance.to_le_bytes());
    }

    /// Writes a string without characters and returns its place.
    pub(super) fn empty_string(&mut self) -> usize {
        self.align(1, 4);
        self.push([0; 1 + 4]);
        self.len
    }

    /// Writes the offsets of a vector whose items are `count` tables, and returns its place.
    pub(super) fn offsets(&mut self, count: usize, place: impl Fn(usize) -> usize) -> usize {
        for index in (0..count).rev() {
            self.push_offset(place(index));
        }
        self.push_aligned((count as u32).to_le_bytes());
        self.len
    }

    /// Writes a vector of `count` integers and returns its place. The items, if any, are aligned.
    pub(super) fn integers(&mut self, count: usize, value: impl Fn(usize) -> u64) -> usize {
        if count > 0 {
            self.align(0, 4);
            self.align(8 * count, 8);
        }
        for index in (0..count).rev() {
            self.push(value(index).to_le_bytes());
        }
        self.push_aligned((count as u32).to_le_bytes());
        self.len
    }

    /// Adds a number to the table that is being written, aligned to its own size.
    pub(super) fn number<const N: usize>(&mut self, slot: usize, bytes: [u8; N]) {
        self.push_aligned(bytes);
        self.fields[slot] = self.len;
    }

    /// Adds a structure of two integers to the table that is being written.
    pub(super) fn pair(&mut self, slot: usize, first: u64, second: u64) {
        self.push_aligned(second.to_le_bytes());
        self.number(slot, first.to_le_bytes());
    }

    /// Adds the offset to what stands at `target` to the table that is being written.
    pub(super) fn offset(&mut self, slot: usize, target: usize) {
        self.push_offset(target);
        self.fields[slot] = self.len;
    }

    /// Writes a table whose fields `fill` adds, the widest first, and returns its place.
    pub(super) fn table(&mut self, fill: impl FnOnce(&mut Builder<'a>)) -> usize {
        let end = self.len;
        self.fields = [0; FIELDS_MAX];
        fill(self);
        self.push_aligned([0; 4]);
        let table = self.len;
        let mut vtable = [0; VTABLE_BYTES_MAX];
        let used = self.fields.iter().rposition(|&field| field > 0).map_or(0, |last| last + 1);
        let vtable = &mut vtable[..2 * (2 + used)];
        let words = [vtable.len(), table - end].into_iter();
        let places = self.fields.iter().map(|&field| if field > 0 { table - field } else { 0 });
        for (word, value) in vtable.as_chunks_mut().0.iter_mut().zip(words.chain(places)) {
            *word = (value as u16).to_le_bytes();
        }
        let place = self.vtable(vtable);
        let at = self.room.len() - table;
        let distance = place as i32 - table as i32;
        self.room[at..at + 4].copy_from_slice(&distance.to_le_bytes());
        table
    }

    /// Returns the place of an equal vtable, or writes a new one.
    fn vtable(&mut self, vtable: &[u8]) -> usize {
        let is_equal = |&&place: &&usize| {
            let at = self.room.len() - place;
            self.room[at..].starts_with(vtable)
        };
        if let Some(place) = self.vtables[..self.vtable_count].iter().find(is_equal) {
            return *place;
        }
        self.len += vtable.len();
        let at = self.room.len() - self.len;
        self.room[at..at + vtable.len()].copy_from_slice(vtable);
        self.vtables[self.vtable_count] = self.len;
        self.vtable_count += 1;
        self.len
    }

    /// Writes the offset to the root table. Returns the length of the flatbuffer, a multiple of 8.
    pub(super) fn finish(mut self, root: usize) -> usize {
        self.align(4, 8);
        self.push_offset(root);
        self.len
    }
}
