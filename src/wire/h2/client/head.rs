//! Response head and trailers: the fields that a client needs, and the rules for them.
//!
//! A block that equals one of the last two, over an unchanged decoder table, is not decoded again.
//! RFC 9113 section 8.3.2; `doc/PROTOCOL-HTTP2.md` of gRPC.

use crate::axis::Coding;
use crate::wire::grpc::{self, Compression};
use crate::wire::h2::hpack::{Decoder, Field, HpackError, Name};
use crate::wire::h2::server::head::{NamedCompression, is_grpc};

const KNOWN_BYTES_MAX: usize = 512;

#[derive(Debug, Default)]
pub(crate) struct ResponseHeads {
    known: [Known; 2],
    latest: usize,
}

/// Decoded block; empty bytes stand for a block that may mean something else next time.
#[derive(Debug, Default)]
struct Known {
    block: Vec<u8>,
    /// Count of table changes before the block, which did not change the table itself.
    table_changes: u64,
    head: ResponseHead,
}

/// Header block of a response; its buffers are reused.
#[derive(Debug, Default)]
pub(crate) struct ResponseHead {
    status: Option<u16>,
    grpc_content: bool,
    other_content: Vec<u8>,
    compression: NamedCompression,
    grpc_status: Option<u32>,
    grpc_message: Vec<u8>,
    regular: bool,
    fault: Option<&'static str>,
}

impl ResponseHeads {
    pub(crate) fn decode(
        &mut self,
        block: &[u8],
        decoder: &mut Decoder,
        bytes_max: usize,
    ) -> Result<(), HpackError> {
        let before = decoder.table_changes();
        let is_known = |known: &Known| known.table_changes == before && known.block == block;
        if let Some(at) = self.known.iter().position(is_known) {
            self.latest = at;
            return Ok(());
        }
        self.latest = 1 - self.latest;
        let Known { block: kept, table_changes, head } = &mut self.known[self.latest];
        kept.clear();
        head.clear();
        decoder.decode(block, bytes_max, |field: &Field<'_>| head.take(field))?;
        *table_changes = before;
        if decoder.table_changes() == before && block.len() <= KNOWN_BYTES_MAX {
            kept.extend_from_slice(block);
        }
        Ok(())
    }

    pub(crate) fn latest(&self) -> &ResponseHead {
        &self.known[self.latest].head
    }
}

impl ResponseHead {
    fn clear(&mut self) {
        self.status = None;
        self.grpc_content = false;
        self.other_content.clear();
        self.compression = NamedCompression::None;
        self.grpc_status = None;
        self.grpc_message.clear();
        self.regular = false;
        self.fault = None;
    }

    fn take(&mut self, field: &Field<'_>) {
        let number = || std::str::from_utf8(field.value).ok()?.parse().ok();
        match field.name {
            _ if !field.sound => self.fault = Some("a field holds a forbidden byte"),
            Name::Status if self.regular || self.status.is_some() => {
                self.fault = Some(":status occurs twice or after a regular field");
            }
            Name::Status => {
                self.status = number().and_then(|status: u32| u16::try_from(status).ok());
                if !self.status.is_some_and(|status| (100..1000).contains(&status)) {
                    self.fault = Some(":status is not a number");
                }
            }
            Name::Authority | Name::Method | Name::Path | Name::Scheme | Name::UnknownPseudo => {
                self.fault = Some("a pseudo-field that responses do not have");
            }
            Name::Hop => self.fault = Some("a connection-specific field of HTTP/1.1"),
            name => {
                self.regular = true;
                match name {
                    Name::ContentType => {
                        self.grpc_content = is_grpc(field.value);
                        if !self.grpc_content {
                            self.other_content.extend_from_slice(field.value);
                        }
                    }
                    Name::GrpcEncoding => {
                        self.compression = NamedCompression::from_field(field.value);
                    }
                    Name::GrpcStatus => self.grpc_status = Some(number().unwrap_or(2)),
                    Name::GrpcMessage => self.grpc_message.extend_from_slice(field.value),
                    _ => {}
                }
            }
        }
    }

    /// Returns true for 1xx; another head follows.
    pub(crate) fn is_informational(&self) -> bool {
        self.status.is_some_and(|status| status < 200)
    }

    pub(crate) fn fault(&self) -> Option<&'static str> {
        self.fault.or(self.status.is_none().then_some(":status is missing"))
    }

    pub(crate) fn trailers_fault(&self) -> Option<&'static str> {
        self.fault.or(self.status.is_some().then_some(":status in trailers"))
    }

    /// Returns the meaning of the flag of a compressed message if the caller undoes `undone`.
    pub(crate) fn compression(&self, undone: Coding) -> Compression {
        self.compression.flag(undone)
    }

    /// Returns the reason why the content is not a message.
    pub(crate) fn refusal(&self) -> Option<String> {
        match self.status {
            Some(200) if self.grpc_content => None,
            Some(200) => {
                let kind = String::from_utf8_lossy(&self.other_content);
                Some(format!("content type {kind:?} is not application/grpc"))
            }
            status => Some(format!("HTTP status {}", status.unwrap_or(0))),
        }
    }

    /// Returns the reason that the last block gives for a failed call.
    pub(crate) fn failure(&self) -> Option<String> {
        match self.grpc_status {
            Some(0) => None,
            Some(code) => {
                let text = grpc::percent_decode(&self.grpc_message);
                Some(format!("grpc-status {code}: {text}"))
            }
            None => Some("the response has no grpc-status".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> ResponseHead {
        let mut head = ResponseHead::default();
        for (name, value) in fields {
            let (name, value) = (Name::classify(name.as_bytes()), value.as_bytes());
            head.take(&Field { name, value, sound: true, bytes: 0 });
        }
        head
    }

    #[test]
    fn a_good_response_is_told_from_a_failure() {
        let good = head(&[(":status", "200"), ("content-type", "application/grpc+npy")]);
        assert_eq!((good.fault(), good.refusal()), (None, None));
        let http = head(&[(":status", "415"), ("content-type", "text/plain")]);
        assert_eq!(http.refusal().as_deref(), Some("HTTP status 415"));
        let bare = head(&[(":status", "200")]);
        assert_eq!(bare.refusal().as_deref(), Some("content type \"\" is not application/grpc"));
        assert!(head(&[(":status", "103")]).is_informational());
        assert_eq!(head(&[("grpc-status", "0")]).failure(), None);
        let failed = head(&[("grpc-status", "13"), ("grpc-message", "50%25")]);
        assert_eq!(failed.failure().as_deref(), Some("grpc-status 13: 50%"));
        assert!(head(&[]).failure().is_some());
    }

    #[test]
    fn a_block_says_the_same_again_only_while_the_table_is_the_same() {
        let (mut heads, mut decoder) = (ResponseHeads::default(), Decoder::default());
        let mut status = |block: &[u8]| {
            heads.decode(block, &mut decoder, 1000).unwrap();
            heads.latest().grpc_status
        };
        // `grpc-status: N` enters the table at index 62, then something else.
        let ok = b"\x40\x0bgrpc-status\x010";
        let failed = b"\x40\x0bgrpc-status\x017";
        for _ in 0..3 {
            assert_eq!(status(ok), Some(0));
            assert_eq!((status(b"\xbe"), status(b"\xbe")), (Some(0), Some(0)));
            assert_eq!(status(failed), Some(7));
            assert_eq!((status(b"\xbe"), status(b"\xbf")), (Some(7), Some(0)));
            assert_eq!((status(b"\xbe"), status(b"\xbf")), (Some(7), Some(0)));
        }
        assert_eq!((status(b""), status(b"\x88")), (None, None), "blocks without one");
    }

    #[test]
    fn every_rule_is_kept() {
        assert!(head(&[]).fault().is_some());
        assert!(head(&[(":status", "ok")]).fault().is_some());
        assert!(head(&[(":status", "200"), (":status", "200")]).fault().is_some());
        assert!(head(&[("te", "x"), (":status", "200")]).fault().is_some());
        assert!(head(&[(":status", "200"), (":path", "/")]).fault().is_some());
        assert!(head(&[(":status", "200"), ("connection", "close")]).fault().is_some());
        assert!(head(&[(":status", "200")]).trailers_fault().is_some());
        assert_eq!(head(&[("grpc-status", "0")]).trailers_fault(), None);
    }
}
