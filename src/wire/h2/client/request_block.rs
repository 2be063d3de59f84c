//! Header block of a client's requests, which is the same for all.
//!
//! The first request puts the fields into the peer's dynamic table; further blocks have six bytes.
//! A peer with a small table (SETTINGS_HEADER_TABLE_SIZE) gets literals. After a change of the size
//! the next block begins with the required size updates. RFC 7541 sections 4.2 and 6.3.

use crate::wire::h2::hpack::{
    ENTRY_OVERHEAD, STATIC_ENTRIES, TABLE_BYTES, write_indexed_literal, write_integer,
    write_literal,
};

/// `:method POST` and `:scheme http`, indexed.
const POST_HTTP: [u8; 2] = [0x83, 0x86];

/// Index of a name in the static table (or 0), name, and value.
type Line = (usize, &'static [u8], Vec<u8>);

#[derive(Debug)]
pub(crate) struct RequestBlock {
    lines: Vec<Line>,
    bytes: usize,
    table_max: usize,
    /// Smallest limit since the last block.
    table_low: usize,
    /// Size that the peer was told last.
    table_told: usize,
    inserted: bool,
    indexed: Vec<u8>,
}

impl RequestBlock {
    pub(crate) fn new(authority: &str, path: &str, content_type: &str) -> RequestBlock {
        let lines: Vec<Line> = vec![
            (4, b":path", path.into()),
            (1, b":authority", authority.into()),
            (0, b"te", b"trailers".to_vec()),
            (31, b"content-type", content_type.into()),
        ];
        let bytes = lines.iter().map(|(_, n, v)| n.len() + v.len() + ENTRY_OVERHEAD).sum();
        let mut indexed = POST_HTTP.to_vec();
        let last = STATIC_ENTRIES + lines.len();
        (0..lines.len()).for_each(|at| write_integer(0x80, 7, last - at, &mut indexed));
        RequestBlock {
            lines,
            bytes,
            table_max: TABLE_BYTES,
            table_low: TABLE_BYTES,
            table_told: TABLE_BYTES,
            inserted: false,
            indexed,
        }
    }

    pub(crate) fn resize(&mut self, bytes: u32) {
        self.table_max = usize::try_from(bytes).unwrap_or(usize::MAX).min(TABLE_BYTES);
        self.table_low = self.table_low.min(self.table_max);
    }

    pub(crate) fn write(&mut self, block: &mut Vec<u8>) {
        self.write_updates(block);
        let fits = self.bytes <= self.table_max;
        if fits && self.inserted {
            block.extend_from_slice(&self.indexed);
            return;
        }
        block.extend_from_slice(&POST_HTTP);
        let write = if fits { write_indexed_literal } else { write_literal };
        for (index, name, value) in &self.lines {
            write(*index, name, value, block);
        }
        self.inserted = fits;
    }

    fn write_updates(&mut self, block: &mut Vec<u8>) {
        if self.table_low < self.table_told {
            write_integer(0x20, 5, self.table_low, block);
            self.inserted &= self.bytes <= self.table_low;
            self.table_told = self.table_low;
        }
        if self.table_max != self.table_told {
            write_integer(0x20, 5, self.table_max, block);
            self.table_told = self.table_max;
        }
        self.table_low = self.table_max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::h2::hpack::{Decoder, Name};

    fn block() -> RequestBlock {
        RequestBlock::new("127.0.0.1:50051", "/Calculator/Echo", "application/grpc+npy")
    }

    fn check(block: &mut RequestBlock, decoder: &mut Decoder) -> usize {
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        block.write(&mut bytes);
        decoder.decode(&bytes, 16 * 1024, |f| fields.push((f.name, f.value.to_vec()))).unwrap();
        let expected: [(Name, &[u8]); 6] = [
            (Name::Method, b"POST"),
            (Name::Scheme, b"http"),
            (Name::Path, b"/Calculator/Echo"),
            (Name::Authority, b"127.0.0.1:50051"),
            (Name::Te, b"trailers"),
            (Name::ContentType, b"application/grpc+npy"),
        ];
        let fields: Vec<(Name, &[u8])> = fields.iter().map(|(n, v)| (*n, &v[..])).collect();
        assert_eq!(fields, expected);
        bytes.len()
    }

    #[test]
    fn a_thousand_requests_cost_six_bytes_each() {
        let (mut block, mut decoder) = (block(), Decoder::default());
        assert!(check(&mut block, &mut decoder) > 60);
        (0..1000).for_each(|_| assert_eq!(check(&mut block, &mut decoder), 6));
    }

    #[test]
    fn a_small_table_gets_literals_and_a_grown_one_is_used_again() {
        let (mut block, mut decoder) = (block(), Decoder::default());
        check(&mut block, &mut decoder);
        block.resize(0);
        let with_update = check(&mut block, &mut decoder);
        assert_eq!(check(&mut block, &mut decoder), with_update - 1);
        block.resize(65_536);
        check(&mut block, &mut decoder);
        assert_eq!(check(&mut block, &mut decoder), 6);
        block.resize(10);
        block.resize(4096);
        assert!(check(&mut block, &mut decoder) > 60, "the table was emptied in between");
        assert_eq!(check(&mut block, &mut decoder), 6);
        block.resize(1000);
        assert_eq!(check(&mut block, &mut decoder), 6 + 3, "what is in it still fits");
    }
}
