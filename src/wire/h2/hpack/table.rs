//! HPACK's tables of fields: the static one and the peer's dynamic one.
//!
//! An entry holds the class of its name ([`Name`]) and the result of its checks, so an indexed
//! field costs no comparison of text. The dynamic table keeps all text in one buffer, oldest first:
//!
//! ```text
//! text:     [ gone ... | name value | name value | ... | name value ]    moved to the front at
//! entries:             front (oldest)                     back (index 62)  twice the limit
//! ```
//! RFC 7541 sections 2.3, 4 and appendix A.

use std::collections::VecDeque;

pub(crate) const ENTRY_OVERHEAD: usize = 32;
pub(crate) const STATIC_ENTRIES: usize = 61;

/// Default size; the fields of an echo fit ten times.
pub(crate) const TABLE_BYTES: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Authority,
    Method,
    Path,
    Scheme,
    Status,
    UnknownPseudo,
    /// Field of one HTTP/1.1 hop, which HTTP/2 forbids.
    Hop,
    ContentLength,
    ContentType,
    GrpcAcceptEncoding,
    GrpcEncoding,
    GrpcMessage,
    GrpcStatus,
    GrpcTimeout,
    Host,
    Te,
    Other,
}

/// Entry of the static table by its index, or of the dynamic table by its place among all
/// insertions, evicted ones too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryId(u64);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: Name,
    pub(crate) value: &'a [u8],
    /// False if the name or the value holds a forbidden byte.
    pub(crate) sound: bool,
    /// Name, value and [`ENTRY_OVERHEAD`].
    pub(crate) bytes: usize,
}

impl Name {
    pub(crate) fn classify(name: &[u8]) -> Name {
        match name {
            b":authority" => Name::Authority,
            b":method" => Name::Method,
            b":path" => Name::Path,
            b":scheme" => Name::Scheme,
            b":status" => Name::Status,
            [b':', ..] => Name::UnknownPseudo,
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding"
            | b"upgrade" => Name::Hop,
            b"content-length" => Name::ContentLength,
            b"content-type" => Name::ContentType,
            b"grpc-accept-encoding" => Name::GrpcAcceptEncoding,
            b"grpc-encoding" => Name::GrpcEncoding,
            b"grpc-message" => Name::GrpcMessage,
            b"grpc-status" => Name::GrpcStatus,
            b"grpc-timeout" => Name::GrpcTimeout,
            b"host" => Name::Host,
            b"te" => Name::Te,
            _ => Name::Other,
        }
    }
}

/// Returns true for lower-case visible ASCII, colon only in front (RFC 9113 section 8.2.1).
pub(crate) fn is_sound_name(name: &[u8]) -> bool {
    let rest = name.strip_prefix(b":").unwrap_or(name);
    let allowed =
        |&byte: &u8| matches!(byte, 0x21..=0x7E) && !byte.is_ascii_uppercase() && byte != b':';
    !rest.is_empty() && rest.iter().fold(true, |sound, byte| sound & allowed(byte))
}

/// Returns true without NUL, CR, LF, and a blank at either end.
pub(crate) fn is_sound_value(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    // Without an early exit, so that many bytes are checked at a time.
    let forbidden = value.iter().fold(false, |any, byte| any | matches!(byte, 0 | b'\r' | b'\n'));
    !forbidden && !blank(value.first()) && !blank(value.last())
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Start of the text, counted from the first byte that ever entered.
    start: usize,
    name_len: u32,
    value_len: u32,
    name: Name,
    sound: bool,
}

impl Entry {
    fn text_len(&self) -> usize {
        (self.name_len + self.value_len) as usize
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    text: Vec<u8>,
    text_start: usize,
    entries: VecDeque<Entry>,
    size: usize,
    size_max: usize,
    inserted: u64,
    resized: u64,
}

impl Default for Table {
    fn default() -> Table {
        Table {
            text: Vec::new(),
            text_start: 0,
            entries: VecDeque::new(),
            size: 0,
            size_max: TABLE_BYTES,
            inserted: 0,
            resized: 0,
        }
    }
}

impl Table {
    /// Calls `each` with the field at `index` of both tables and returns its size. By reference,
    /// because passing a field by value costs more than reading it.
    #[inline]
    pub(crate) fn show(&self, index: usize, each: &mut impl FnMut(&Field<'_>)) -> Option<usize> {
        if let Some(line) = STATIC.get(index.wrapping_sub(1)) {
            each(&line.field);
            return Some(line.field.bytes);
        }
        let entry = self.entry(index)?;
        let value_start = entry.start - self.text_start + entry.name_len as usize;
        let value = &self.text[value_start..][..entry.value_len as usize];
        let bytes = entry.text_len() + ENTRY_OVERHEAD;
        each(&Field { name: entry.name, value, sound: entry.sound, bytes });
        Some(bytes)
    }

    /// Returns the name at `index`, its class, and whether it is sound.
    pub(crate) fn name(&self, index: usize) -> Option<(&[u8], Name, bool)> {
        if let Some(line) = STATIC.get(index.wrapping_sub(1)) {
            return Some((line.text.as_bytes(), line.field.name, true));
        }
        let entry = self.entry(index)?;
        let name = &self.text[entry.start - self.text_start..][..entry.name_len as usize];
        Some((name, entry.name, entry.sound || is_sound_name(name)))
    }

    #[inline]
    fn entry(&self, index: usize) -> Option<&Entry> {
        let age = index.checked_sub(STATIC_ENTRIES + 1)?;
        self.entries.get(self.entries.len().checked_sub(age + 1)?)
    }

    /// Returns the entry that `index` stands for now. Unlike an index, it stands for the same field
    /// as long as the table exists.
    #[inline]
    pub(crate) fn entry_id(&self, index: usize) -> Option<EntryId> {
        let Some(age) = index.checked_sub(STATIC_ENTRIES + 1) else {
            return (index > 0).then_some(EntryId(index as u64));
        };
        (age < self.entries.len()).then(|| EntryId(self.next_id().0 - 1 - age as u64))
    }

    /// Returns the entry of the next insertion.
    pub(crate) fn next_id(&self) -> EntryId {
        EntryId(STATIC_ENTRIES as u64 + 1 + self.inserted)
    }

    pub(crate) fn changes(&self) -> u64 {
        self.inserted + self.resized
    }

    /// Inserts a field and evicts the oldest. A field larger than the table empties it.
    pub(crate) fn insert(&mut self, name: &[u8], value: &[u8], class: Name, sound: bool) {
        self.inserted += 1;
        let bytes = name.len() + value.len() + ENTRY_OVERHEAD;
        if bytes > self.size_max {
            self.shrink_to(0);
            return;
        }
        self.shrink_to(self.size_max - bytes);
        self.reclaim();
        let start = self.text_start + self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        let (name_len, value_len) = (name.len() as u32, value.len() as u32);
        self.entries.push_back(Entry { start, name_len, value_len, name: class, sound });
        self.size += bytes;
    }

    pub(crate) fn resize(&mut self, size_max: usize) {
        self.resized += 1;
        self.size_max = size_max;
        self.shrink_to(size_max);
    }

    fn shrink_to(&mut self, size: usize) {
        while self.size > size
            && let Some(oldest) = self.entries.pop_front()
        {
            self.size -= oldest.text_len() + ENTRY_OVERHEAD;
        }
    }

    fn reclaim(&mut self) {
        if self.text.len() >= self.size_max {
            let live = self.entries.front().map_or(self.text.len(), |e| e.start - self.text_start);
            self.text.drain(..live);
            self.text_start += live;
        }
    }
}

struct Line {
    text: &'static str,
    field: Field<'static>,
}

const fn line(name: Name, text: &'static str, value: &'static str) -> Line {
    let bytes = text.len() + value.len() + ENTRY_OVERHEAD;
    Line { text, field: Field { name, value: value.as_bytes(), sound: true, bytes } }
}

/// RFC 7541 appendix A.
#[rustfmt::skip]
static STATIC: [Line; STATIC_ENTRIES] = [
    line(Name::Authority, ":authority", ""),
    line(Name::Method, ":method", "GET"),
    line(Name::Method, ":method", "POST"),
    line(Name::Path, ":path", "/"),
    line(Name::Path, ":path", "/index.html"),
    line(Name::Scheme, ":scheme", "http"),
    line(Name::Scheme, ":scheme", "https"),
    line(Name::Status, ":status", "200"),
    line(Name::Status, ":status", "204"),
    line(Name::Status, ":status", "206"),
    line(Name::Status, ":status", "304"),
    line(Name::Status, ":status", "400"),
    line(Name::Status, ":status", "404"),
    line(Name::Status, ":status", "500"),
    line(Name::Other, "accept-charset", ""),
    line(Name::Other, "accept-encoding", "gzip, deflate"),
    line(Name::Other, "accept-language", ""),
    line(Name::Other, "accept-ranges", ""),
    line(Name::Other, "accept", ""),
    line(Name::Other, "access-control-allow-origin", ""),
    line(Name::Other, "age", ""),
    line(Name::Other, "allow", ""),
    line(Name::Other, "authorization", ""),
    line(Name::Other, "cache-control", ""),
    line(Name::Other, "content-disposition", ""),
    line(Name::Other, "content-encoding", ""),
    line(Name::Other, "content-language", ""),
    line(Name::ContentLength, "content-length", ""),
    line(Name::Other, "content-location", ""),
    line(Name::Other, "content-range", ""),
    line(Name::ContentType, "content-type", ""),
    line(Name::Other, "cookie", ""),
    line(Name::Other, "date", ""),
    line(Name::Other, "etag", ""),
    line(Name::Other, "expect", ""),
    line(Name::Other, "expires", ""),
    line(Name::Other, "from", ""),
    line(Name::Host, "host", ""),
    line(Name::Other, "if-match", ""),
    line(Name::Other, "if-modified-since", ""),
    line(Name::Other, "if-none-match", ""),
    line(Name::Other, "if-range", ""),
    line(Name::Other, "if-unmodified-since", ""),
    line(Name::Other, "last-modified", ""),
    line(Name::Other, "link", ""),
    line(Name::Other, "location", ""),
    line(Name::Other, "max-forwards", ""),
    line(Name::Other, "proxy-authenticate", ""),
    line(Name::Other, "proxy-authorization", ""),
    line(Name::Other, "range", ""),
    line(Name::Other, "referer", ""),
    line(Name::Other, "refresh", ""),
    line(Name::Other, "retry-after", ""),
    line(Name::Other, "server", ""),
    line(Name::Other, "set-cookie", ""),
    line(Name::Other, "strict-transport-security", ""),
    line(Name::Hop, "transfer-encoding", ""),
    line(Name::Other, "user-agent", ""),
    line(Name::Other, "vary", ""),
    line(Name::Other, "via", ""),
    line(Name::Other, "www-authenticate", ""),
];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn value(table: &Table, index: usize) -> Option<String> {
        let mut value = String::new();
        table.show(index, &mut |f| value = String::from_utf8(f.value.to_vec()).unwrap())?;
        Some(value)
    }

    #[test]
    fn the_static_table_says_what_its_names_mean() {
        for Line { text, field } in &STATIC {
            assert_eq!(Name::classify(text.as_bytes()), field.name, "{text}");
            assert!(is_sound_name(text.as_bytes()) && is_sound_value(field.value));
        }
        let table = Table::default();
        assert_eq!(value(&table, 8).as_deref(), Some("200"));
        assert!([0, 62, usize::MAX].iter().all(|at| value(&table, *at).is_none()));
    }

    #[test]
    fn older_entries_make_room_and_their_text_does_not_pile_up() {
        let mut table = Table::default();
        for round in 0..10_000u32 {
            let value = format!("value-{round}");
            table.insert(b"name", value.as_bytes(), Name::Other, true);
            assert_eq!(self::value(&table, 62).as_ref(), Some(&value));
            assert_eq!(table.name(62), Some((&b"name"[..], Name::Other, true)));
            assert!(table.size <= TABLE_BYTES && table.text.len() <= 2 * TABLE_BYTES);
        }
        let oldest = table.entries.len() - 1;
        assert_eq!(value(&table, 62 + oldest), Some(format!("value-{}", 9999 - oldest)));
        assert!(value(&table, 63 + oldest).is_none());
        table.resize(100);
        assert_eq!(table.entries.len(), 2);
        table.insert(b"large", &[b'x'; 100], Name::Other, true);
        assert_eq!((table.entries.len(), table.size), (0, 0));
    }

    #[test]
    fn names_and_values_are_checked() {
        for bad in ["", ":", "Te", "a b", "a:b", "::a", "\u{7f}a", "inv\u{e1}lid", "\u{1}"] {
            assert!(!is_sound_name(bad.as_bytes()), "{bad:?}");
        }
        assert!(is_sound_name(b":path") && is_sound_name(b"x-a_b.c"));
        for bad in [" a", "a\t", "a\0b", "a\rb", "a\nb"] {
            assert!(!is_sound_value(bad.as_bytes()), "{bad:?}");
        }
        assert!(is_sound_value(b"") && is_sound_value(b"a b\tc") && is_sound_value(b"\xe1"));
    }
}
