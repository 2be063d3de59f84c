//! Request head: the fields that a server needs, and the rules for them.
//!
//! A broken rule is noted, and the block decoded to its end, because the next block needs the
//! compression state. RFC 9113 sections 8.2 and 8.3.

use std::time::Duration;

use crate::axis::Coding;
use crate::wire::Codings;
use crate::wire::grpc::{self, Compression};
use crate::wire::h2::hpack::{Field, Name};

/// Longest kept text. No known path, content type or host is longer, and an idle connection keeps
/// those of its last request.
const TEXT_BYTES_KEPT: usize = 512;

const METHOD: u8 = 1;
const SCHEME: u8 = 2;
const AUTHORITY: u8 = 4;
const PATH: u8 = 8;
const CONTENT_TYPE: u8 = 0x10;
/// Bit of all regular fields, which no pseudo-field may follow.
const REGULAR: u8 = 0x80;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Method {
    #[default]
    Post,
    Head,
    Connect,
    Other,
}

/// Compression of messages that a head names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NamedCompression {
    #[default]
    None,
    Known(Coding),
    Unknown,
}

impl NamedCompression {
    /// Reads the value of `grpc-encoding`.
    pub(crate) fn from_field(value: &[u8]) -> NamedCompression {
        match Coding::from_token(value) {
            Some(Coding::Identity) => NamedCompression::None,
            Some(coding) => NamedCompression::Known(coding),
            None => NamedCompression::Unknown,
        }
    }

    /// Returns the meaning of the flag of a compressed message if the caller undoes `undone`.
    pub(crate) fn flag(self, undone: Coding) -> Compression {
        match self {
            NamedCompression::None => Compression::Unnamed,
            NamedCompression::Known(coding) if coding == undone => Compression::Known,
            _ => Compression::Unsupported,
        }
    }
}

/// State of a head between two fields, without its texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    method: Method,
    compression: NamedCompression,
    /// Set of the codings in `grpc-accept-encoding`, by their places in [`Coding::ALL`].
    accepted: u8,
    content_length: Option<u64>,
    seen: u8,
}

/// Head of a request; its buffers are reused.
#[derive(Debug, Default)]
pub(crate) struct RequestHead {
    marks: Marks,
    pub(crate) path: Vec<u8>,
    pub(crate) content_type: Vec<u8>,
    authority: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) bytes: usize,
    pub(crate) fields: usize,
    fault: Option<&'static str>,
}

impl Marks {
    /// Returns true if no regular field has come yet.
    pub(crate) fn is_before_regular(self) -> bool {
        self.seen & REGULAR == 0
    }
}

impl RequestHead {
    /// Begins a new block. The fields that [`Marks`] stand for remain until [`Self::restore`].
    pub(crate) fn begin(&mut self) {
        self.timeout = None;
        self.bytes = 0;
        self.fields = 0;
        self.fault = None;
    }

    /// Goes back to the state that `marks` describe, which the last block has passed.
    pub(crate) fn restore(&mut self, marks: Marks) {
        self.marks = marks;
        let texts = [
            (PATH, &mut self.path),
            (AUTHORITY, &mut self.authority),
            (CONTENT_TYPE, &mut self.content_type),
        ];
        for (bit, text) in texts {
            if marks.seen & bit == 0 {
                text.clear();
            }
        }
    }

    /// Notes a regular field without a meaning.
    pub(crate) fn note_regular(&mut self) {
        self.marks.seen |= REGULAR;
    }

    /// Counts a field that the marks contain.
    #[inline]
    pub(crate) fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.fields += 1;
    }

    #[inline]
    pub(crate) fn take(&mut self, field: &Field<'_>) {
        self.count(field.bytes);
        if !field.sound {
            return self.blame("a field holds a forbidden byte");
        }
        let value = field.value;
        match field.name {
            Name::Method => {
                self.pseudo(METHOD);
                self.marks.method = match value {
                    b"POST" => Method::Post,
                    b"HEAD" => Method::Head,
                    b"CONNECT" => Method::Connect,
                    _ => Method::Other,
                };
            }
            Name::Scheme => self.pseudo(SCHEME),
            Name::Path => {
                self.pseudo(PATH);
                replace(&mut self.path, value);
            }
            Name::Authority => {
                self.pseudo(AUTHORITY);
                replace(&mut self.authority, value);
            }
            Name::Status | Name::UnknownPseudo => {
                self.blame("a pseudo-field that requests do not have")
            }
            _ => self.regular(field.name, value),
        }
    }

    fn regular(&mut self, name: Name, value: &[u8]) {
        self.marks.seen |= REGULAR;
        match name {
            Name::ContentType => {
                self.marks.seen |= CONTENT_TYPE;
                replace(&mut self.content_type, value);
            }
            Name::GrpcTimeout => self.timeout = grpc::parse_timeout(value),
            Name::GrpcEncoding => {
                self.marks.compression = NamedCompression::from_field(value);
            }
            Name::GrpcAcceptEncoding => self.marks.accepted |= accepted(value),
            Name::Te if value != b"trailers" => self.blame("te may only be trailers"),
            Name::Hop => self.blame("a connection-specific field of HTTP/1.1"),
            Name::ContentLength => match parse_length(value) {
                Some(length) if self.marks.content_length.is_none_or(|known| known == length) => {
                    self.marks.content_length = Some(length);
                }
                _ => self.blame("content-length is not one number"),
            },
            Name::Host if self.marks.seen & AUTHORITY != 0 && front(value) != self.authority => {
                self.blame("host differs from :authority");
            }
            _ => {}
        }
    }

    fn pseudo(&mut self, bit: u8) {
        if self.marks.seen & bit != 0 {
            self.blame("a pseudo-field occurs twice");
        }
        if self.marks.seen & !(METHOD | SCHEME | AUTHORITY | PATH) != 0 {
            self.blame("a pseudo-field after a regular field");
        }
        self.marks.seen |= bit;
    }

    fn blame(&mut self, what: &'static str) {
        self.fault.get_or_insert(what);
    }

    pub(crate) fn has_content_type(&self) -> bool {
        self.marks.seen & CONTENT_TYPE != 0
    }

    pub(crate) fn is_blamed(&self) -> bool {
        self.fault.is_some()
    }

    pub(crate) fn fault(&self) -> Option<&'static str> {
        let has = |bits: u8| self.marks.seen & bits == bits;
        if self.fault.is_some() {
            return self.fault;
        }
        match self.marks.method {
            _ if !has(METHOD) => Some(":method is missing"),
            Method::Connect if self.marks.seen & (SCHEME | PATH) != 0 || !has(AUTHORITY) => {
                Some("CONNECT has an :authority and nothing else")
            }
            Method::Connect => None,
            _ if !has(SCHEME) => Some(":scheme is missing"),
            _ if !self.path.starts_with(b"/") && self.path != b"*" => Some(":path is missing"),
            _ => None,
        }
    }

    pub(crate) fn trailers_fault(&self) -> Option<&'static str> {
        let pseudo = self.marks.seen & (METHOD | SCHEME | AUTHORITY | PATH) != 0;
        self.fault.or(pseudo.then_some("a pseudo-field in trailers"))
    }

    pub(crate) fn marks(&self) -> Marks {
        self.marks
    }

    pub(crate) fn method(&self) -> Method {
        self.marks.method
    }

    /// Returns the codings of a compressed message, and of its answer.
    pub(crate) fn codings(&self) -> Codings {
        let NamedCompression::Known(request) = self.marks.compression else {
            return Codings::NONE;
        };
        let is_accepted = self.marks.accepted & bit(request) != 0;
        Codings { request, reply: if is_accepted { request } else { Coding::Identity } }
    }

    /// Returns the meaning of the flag of a compressed message if the handler undoes `undone`.
    pub(crate) fn compression(&self, undone: Coding) -> Compression {
        self.marks.compression.flag(undone)
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.marks.content_length
    }

    pub(crate) fn is_grpc(&self) -> bool {
        is_grpc(&self.content_type)
    }
}

/// Returns true for `application/grpc`, alone or with a subtype or parameters.
pub(crate) fn is_grpc(content_type: &[u8]) -> bool {
    const BASE: &[u8] = b"application/grpc";
    content_type.split_at_checked(BASE.len()).is_some_and(|(base, rest)| {
        (base == BASE || base.eq_ignore_ascii_case(BASE))
            && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
    })
}

fn replace(text: &mut Vec<u8>, value: &[u8]) {
    text.clear();
    text.extend_from_slice(front(value));
}

fn front(value: &[u8]) -> &[u8] {
    &value[..value.len().min(TEXT_BYTES_KEPT)]
}

/// Returns the set of the codings that a list names.
fn accepted(list: &[u8]) -> u8 {
    let known = Coding::ALL.into_iter().filter(|coding| coding.is_accepted_by(list));
    known.fold(0, |set, coding| set | bit(coding))
}

fn bit(coding: Coding) -> u8 {
    1 << coding as u8
}

fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 4] =
        [(":method", "POST"), (":scheme", "http"), (":path", "/a/b"), (":authority", "host:1")];

    fn head(fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::default();
        for (name, value) in fields {
            let bytes = name.len() + value.len() + 32;
            let (name, value) = (Name::classify(name.as_bytes()), value.as_bytes());
            head.take(&Field { name, value, sound: true, bytes });
        }
        head
    }

    fn with(more: &[(&str, &str)]) -> Option<&'static str> {
        head(&[&GOOD[..], more].concat()).fault()
    }

    #[test]
    fn a_call_is_understood() {
        let more = [
            ("te", "trailers"),
            ("content-type", "application/grpc+npy"),
            ("grpc-timeout", "2S"),
            ("grpc-encoding", "gzip"),
            ("content-length", "12"),
            ("host", "host:1"),
            ("x-other", "y"),
        ];
        let mut head = head(&[&GOOD[..], &more].concat());
        assert_eq!(head.fault(), None);
        assert_eq!((&head.path[..], &head.content_type[..]), (&b"/a/b"[..], more[1].1.as_bytes()));
        assert!(head.is_grpc() && head.method() == Method::Post);
        assert_eq!(head.codings(), Codings { request: Coding::Gzip, reply: Coding::Identity });
        assert_eq!(head.compression(Coding::Gzip), Compression::Known);
        assert_eq!(head.compression(Coding::Identity), Compression::Unsupported);
        assert_eq!((head.timeout, head.content_length()), (Some(Duration::from_secs(2)), Some(12)));
        assert_eq!((head.fields, head.bytes > 11 * 32), (11, true));
        head.begin();
        head.restore(Marks::default());
        assert!(head.fault().is_some() && head.timeout.is_none());
        assert_eq!(head.compression(Coding::Gzip), Compression::Unnamed);
    }

    #[test]
    fn the_answer_is_coded_if_the_peer_accepts_it() {
        let codings = |encoding, accepted| {
            let more = [("grpc-accept-encoding", accepted), ("grpc-encoding", encoding)];
            head(&[&GOOD[..], &more].concat()).codings()
        };
        let zstd = Codings { request: Coding::Zstd, reply: Coding::Zstd };
        assert_eq!(codings("zstd", "identity, deflate,ZSTD"), zstd);
        assert_eq!(codings("zstd", "identity,gzip").reply, Coding::Identity);
        for none in ["identity", "deflate", ""] {
            assert_eq!(codings(none, "gzip,zstd"), Codings::NONE, "{none}");
        }
    }

    #[test]
    fn a_long_text_is_kept_in_part_and_is_still_none_that_is_known() {
        let long = format!("/a/b{}", "x".repeat(10_000));
        let head = head(&[(":method", "POST"), (":scheme", "http"), (":path", &long)]);
        assert_eq!(head.fault(), None);
        assert_eq!(head.path.len(), TEXT_BYTES_KEPT);
        assert!(head.path.capacity() <= 2 * TEXT_BYTES_KEPT && head.bytes > 10_000);
    }

    #[test]
    fn every_rule_is_kept() {
        for more in [
            (":status", "200"),
            (":protocol", "websocket"),
            (":path", "/twice"),
            ("connection", "close"),
            ("keep-alive", "1"),
            ("proxy-connection", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("host", "other"),
            ("content-length", "+5"),
            ("content-length", ""),
        ] {
            assert!(with(&[more]).is_some(), "{more:?}");
        }
        assert!(with(&[("x", "y"), (":path", "/late")]).is_some());
        assert!(with(&[("content-length", "1"), ("content-length", "2")]).is_some());
        assert_eq!(with(&[("content-length", "1"), ("content-length", "1")]), None);
        for missing in &GOOD[..3] {
            let fields: Vec<_> = GOOD.into_iter().filter(|field| field != missing).collect();
            assert!(head(&fields).fault().is_some(), "{missing:?}");
        }
        assert_eq!(head(&GOOD[..3]).fault(), None, "an authority is not needed");
        assert!(head(&[GOOD[0], GOOD[1], (":path", "")]).fault().is_some());
    }

    #[test]
    fn connect_has_rules_of_its_own() {
        let connect = (":method", "CONNECT");
        assert_eq!(head(&[connect, GOOD[3]]).fault(), None);
        assert!(head(&[connect]).fault().is_some());
        assert!(head(&[connect, GOOD[3], GOOD[1]]).fault().is_some());
        assert!(head(&[connect, GOOD[3], GOOD[2]]).fault().is_some());
    }

    #[test]
    fn trailers_have_no_pseudo_fields() {
        assert_eq!(head(&[("x-checksum", "1")]).trailers_fault(), None);
        assert!(head(&[GOOD[0]]).trailers_fault().is_some());
        assert!(head(&[("connection", "close")]).trailers_fault().is_some());
    }

    #[test]
    fn grpc_is_told_from_what_looks_like_it() {
        for good in ["application/grpc", "Application/GRPC+proto", "application/grpc;x=y"] {
            assert!(is_grpc(good.as_bytes()), "{good}");
        }
        for bad in ["", "application/json", "application/grpc-web", "application/grp"] {
            assert!(!is_grpc(bad.as_bytes()), "{bad}");
        }
    }
}
