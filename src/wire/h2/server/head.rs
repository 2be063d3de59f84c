//! Request head: the fields that a server needs, and the rules for them.
//!
//! A broken rule is noted, and the block decoded to its end, because the next block needs the
//! compression state. RFC 9113 sections 8.2 and 8.3.

use std::time::Duration;

use crate::wire::grpc;
use crate::wire::h2::hpack::{Field, Name};

/// Longest kept text. No known path, content type or host is longer, and an idle connection keeps
/// those of its last request.
const TEXT_BYTES_KEPT: usize = 512;

const METHOD: u8 = 1;
const SCHEME: u8 = 2;
const AUTHORITY: u8 = 4;
const PATH: u8 = 8;
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

/// Head of a request; its buffers are reused.
#[derive(Debug, Default)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) path: Vec<u8>,
    pub(crate) content_type: Vec<u8>,
    authority: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) encoded: bool,
    pub(crate) content_length: Option<u64>,
    pub(crate) bytes: usize,
    pub(crate) fields: usize,
    seen: u8,
    fault: Option<&'static str>,
}

impl RequestHead {
    pub(crate) fn clear(&mut self) {
        self.method = Method::Post;
        self.path.clear();
        self.content_type.clear();
        self.authority.clear();
        self.timeout = None;
        self.encoded = false;
        self.content_length = None;
        self.bytes = 0;
        self.fields = 0;
        self.seen = 0;
        self.fault = None;
    }

    #[inline]
    pub(crate) fn take(&mut self, field: &Field<'_>) {
        self.bytes += field.bytes;
        self.fields += 1;
        if !field.sound {
            return self.blame("a field holds a forbidden byte");
        }
        let value = field.value;
        match field.name {
            Name::Method => {
                self.pseudo(METHOD);
                self.method = match value {
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
        self.seen |= REGULAR;
        match name {
            Name::ContentType => replace(&mut self.content_type, value),
            Name::GrpcTimeout => self.timeout = grpc::parse_timeout(value),
            Name::GrpcEncoding => self.encoded = grpc::is_compression(value),
            Name::Te if value != b"trailers" => self.blame("te may only be trailers"),
            Name::Hop => self.blame("a connection-specific field of HTTP/1.1"),
            Name::ContentLength => match parse_length(value) {
                Some(length) if self.content_length.is_none_or(|known| known == length) => {
                    self.content_length = Some(length);
                }
                _ => self.blame("content-length is not one number"),
            },
            Name::Host if self.seen & AUTHORITY != 0 && front(value) != self.authority => {
                self.blame("host differs from :authority");
            }
            _ => {}
        }
    }

    fn pseudo(&mut self, bit: u8) {
        if self.seen & bit != 0 {
            self.blame("a pseudo-field occurs twice");
        }
        if self.seen & !(METHOD | SCHEME | AUTHORITY | PATH) != 0 {
            self.blame("a pseudo-field after a regular field");
        }
        self.seen |= bit;
    }

    fn blame(&mut self, what: &'static str) {
        self.fault.get_or_insert(what);
    }

    pub(crate) fn fault(&self) -> Option<&'static str> {
        let has = |bits: u8| self.seen & bits == bits;
        if self.fault.is_some() {
            return self.fault;
        }
        match self.method {
            _ if !has(METHOD) => Some(":method is missing"),
            Method::Connect if self.seen & (SCHEME | PATH) != 0 || !has(AUTHORITY) => {
                Some("CONNECT has an :authority and nothing else")
            }
            Method::Connect => None,
            _ if !has(SCHEME) => Some(":scheme is missing"),
            _ if !self.path.starts_with(b"/") && self.path != b"*" => Some(":path is missing"),
            _ => None,
        }
    }

    pub(crate) fn trailers_fault(&self) -> Option<&'static str> {
        let pseudo = self.seen & (METHOD | SCHEME | AUTHORITY | PATH) != 0;
        self.fault.or(pseudo.then_some("a pseudo-field in trailers"))
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
        assert!(head.is_grpc() && head.encoded && head.method == Method::Post);
        assert_eq!((head.timeout, head.content_length), (Some(Duration::from_secs(2)), Some(12)));
        assert_eq!((head.fields, head.bytes > 11 * 32), (11, true));
        head.clear();
        assert!(head.fault().is_some() && head.timeout.is_none() && !head.encoded);
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
