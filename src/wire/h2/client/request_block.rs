//! Header block of a client's requests: fields that are the same for all, then those that change.
//!
//! The first request puts the equal fields into the peer's dynamic table; later blocks have six
//! bytes for them. A changing field is a literal, which no table keeps, as the gRPC core sends it,
//! or one that enters the table, as the h2 crate (so tonic) and Go send it. In the table it moves
//! the equal fields by one index, and the whole lot is sent anew before they would be evicted:
//!
//! ```text
//! index: 62                                              oldest
//!        | timeout | trace | ... | timeout | trace | equal fields |
//! ```
//! A peer with a small table (SETTINGS_HEADER_TABLE_SIZE) gets literals. After a change of the size
//! the next block begins with the required size updates. RFC 7541 sections 4.2 and 6.3.

use crate::axis::Coding;
use crate::wire::changing_fields::{
    ChangingFields, GRPC_TIMEOUT, TIMEOUT_BYTES_MAX, TRACEPARENT, TRACEPARENT_BYTES,
};
use crate::wire::h2::hpack::{
    ENTRY_OVERHEAD, STATIC_ENTRIES, TABLE_BYTES, write_coded_literal, write_indexed_literal,
    write_integer, write_literal,
};

/// `:method POST` and `:scheme http`, indexed.
const POST_HTTP: [u8; 2] = [0x83, 0x86];

/// Index of the last trace when a trace is sent, and of the last timeout when a timeout is.
const LAST_CHANGING: usize = STATIC_ENTRIES + 2;

/// Size of the changing fields of one request in the peer's table.
const CHANGING_BYTES_MAX: usize = TRACEPARENT.len()
    + TRACEPARENT_BYTES
    + GRPC_TIMEOUT.len()
    + TIMEOUT_BYTES_MAX
    + 2 * ENTRY_OVERHEAD;

/// Index of a name in the static table (or 0), name, and value.
type Line = (usize, &'static [u8], Vec<u8>);

#[derive(Debug)]
pub(crate) struct RequestBlock {
    lines: Vec<Line>,
    changing: Option<ChangingFields>,
    bytes: usize,
    table_max: usize,
    /// Smallest limit since the last block.
    table_low: usize,
    /// Size that the peer was told last.
    table_told: usize,
    /// Requests whose changing fields entered the peer's table after the lines; `None` if the lines
    /// are not there.
    requests_since: Option<usize>,
    indexed: Vec<u8>,
}

fn table_bytes(lines: &[Line]) -> usize {
    lines.iter().map(|(_, name, value)| name.len() + value.len() + ENTRY_OVERHEAD).sum()
}

impl RequestBlock {
    pub(crate) fn new(authority: &str, path: &str, content_type: &str) -> RequestBlock {
        let lines: Vec<Line> = vec![
            (4, b":path", path.into()),
            (1, b":authority", authority.into()),
            (0, b"te", b"trailers".to_vec()),
            (31, b"content-type", content_type.into()),
        ];
        RequestBlock {
            bytes: table_bytes(&lines),
            lines,
            changing: None,
            table_max: TABLE_BYTES,
            table_low: TABLE_BYTES,
            table_told: TABLE_BYTES,
            requests_since: None,
            indexed: Vec::new(),
        }
    }

    /// Adds the fields of a compression, before the first block.
    pub(crate) fn set_coding(&mut self, coding: Coding) {
        if coding != Coding::Identity {
            let token = || coding.token().as_bytes().to_vec();
            self.lines.push((0, b"grpc-encoding", token()));
            self.lines.push((0, b"grpc-accept-encoding", token()));
            self.bytes = table_bytes(&self.lines);
        }
    }

    pub(crate) fn set_changing(&mut self, fields: ChangingFields) {
        self.changing = Some(fields);
    }

    pub(crate) fn resize(&mut self, bytes: u32) {
        self.table_max = usize::try_from(bytes).unwrap_or(usize::MAX).min(TABLE_BYTES);
        self.table_low = self.table_low.min(self.table_max);
    }

    pub(crate) fn write(&mut self, block: &mut Vec<u8>) {
        self.write_updates(block);
        let indexes_changing = self.changing.as_ref().is_some_and(|fields| fields.indexed);
        let more = if indexes_changing { CHANGING_BYTES_MAX } else { 0 };
        let fits = self.bytes + more <= self.table_max;
        self.requests_since = self
            .requests_since
            .filter(|requests| self.bytes + (requests + 1) * more <= self.table_max);
        if self.requests_since.is_some() {
            block.extend_from_slice(&self.indexed);
        } else {
            block.extend_from_slice(&POST_HTTP);
            let write = if fits { write_indexed_literal } else { write_literal };
            for (index, name, value) in &self.lines {
                write(*index, name, value, block);
            }
            self.requests_since = fits.then_some(0);
            self.index(0);
        }
        match self.requests_since {
            Some(requests) if indexes_changing => {
                let name = if requests > 0 { LAST_CHANGING } else { 0 };
                self.write_changing(write_coded_literal, name, block);
                self.requests_since = Some(requests + 1);
                self.index(2 * (requests + 1));
            }
            _ => self.write_changing(write_literal, 0, block),
        }
    }

    /// Sets the indexes of the lines, with `newer` entries in front of them.
    fn index(&mut self, newer: usize) {
        self.indexed.clear();
        self.indexed.extend_from_slice(&POST_HTTP);
        let last = STATIC_ENTRIES + newer + self.lines.len();
        (0..self.lines.len()).for_each(|at| write_integer(0x80, 7, last - at, &mut self.indexed));
    }

    fn write_changing(
        &mut self,
        write: impl Fn(usize, &[u8], &[u8], &mut Vec<u8>),
        name: usize,
        block: &mut Vec<u8>,
    ) {
        let Some(fields) = &mut self.changing else { return };
        write(name, TRACEPARENT, &fields.next_traceparent(), block);
        fields.with_next_timeout(|timeout| write(name, GRPC_TIMEOUT, timeout, block));
    }

    fn write_updates(&mut self, block: &mut Vec<u8>) {
        if self.table_low < self.table_told {
            write_integer(0x20, 5, self.table_low, block);
            self.requests_since = self
                .requests_since
                .filter(|requests| self.bytes + requests * CHANGING_BYTES_MAX <= self.table_low);
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
    use std::time::Duration;

    use super::*;
    use crate::wire::h2::hpack::{Decoder, Field, Name};

    fn block() -> RequestBlock {
        RequestBlock::new("127.0.0.1:50051", "/Calculator/Echo", "application/grpc+npy")
    }

    fn check(block: &mut RequestBlock, decoder: &mut Decoder) -> usize {
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        block.write(&mut bytes);
        decoder
            .decode(&bytes, 16 * 1024, |f: &Field<'_>| fields.push((f.name, f.value.to_vec())))
            .unwrap();
        let expected: [(Name, &[u8]); 6] = [
            (Name::Method, b"POST"),
            (Name::Scheme, b"http"),
            (Name::Path, b"/Calculator/Echo"),
            (Name::Authority, b"127.0.0.1:50051"),
            (Name::Te, b"trailers"),
            (Name::ContentType, b"application/grpc+npy"),
        ];
        let fields: Vec<(Name, &[u8])> = fields.iter().map(|(n, v)| (*n, &v[..])).collect();
        assert_eq!(fields[..6], expected);
        let changing: Vec<Name> = fields[6..].iter().map(|(name, _)| *name).collect();
        match &block.changing {
            None => assert!(changing.is_empty()),
            Some(_) => {
                assert_eq!(changing, [Name::Other, Name::GrpcTimeout]);
                assert!(fields[6].1.len() == TRACEPARENT_BYTES && fields[7].1.ends_with(b"m"));
            }
        }
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

    fn changing_block(indexed: bool) -> RequestBlock {
        let mut block = block();
        block.set_changing(ChangingFields::new(1, Duration::from_secs(60), indexed));
        block
    }

    #[test]
    fn changing_literals_leave_the_table_alone() {
        let (mut block, mut decoder) = (changing_block(false), Decoder::default());
        check(&mut block, &mut decoder);
        let entered = decoder.table_changes();
        for _ in 0..1000 {
            // Names, values and their lengths behind six indexes.
            assert_eq!(check(&mut block, &mut decoder), 6 + (3 + 11 + 55) + (3 + 12 + 6));
        }
        assert_eq!(decoder.table_changes(), entered);
    }

    #[test]
    fn changing_fields_that_enter_the_table_evict_the_others_at_times() {
        let (mut block, mut decoder) = (changing_block(true), Decoder::default());
        let lens: Vec<usize> = (0..1000).map(|_| check(&mut block, &mut decoder)).collect();
        let anew = lens.iter().filter(|len| **len > 100).count();
        assert!((20..50).contains(&anew), "{anew} of 1000 blocks have all fields anew");
    }

    #[test]
    fn changing_fields_keep_to_a_table_that_shrinks_and_grows() {
        let (mut block, mut decoder) = (changing_block(true), Decoder::default());
        for size in [0, 300, 4096, 400, 401, 1000, 200, 65_536, 4096] {
            block.resize(size);
            let lens: Vec<usize> = (0..40).map(|_| check(&mut block, &mut decoder)).collect();
            assert_eq!(lens.iter().any(|len| *len < 80), size >= 1000, "{size}: {lens:?}");
        }
    }
}
