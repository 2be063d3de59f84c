//! Agreement with httparse: a head that both parsers accept means the same to both, and a head
//! that httparse refuses is refused here as well, but for [`is_known`].
//!
//! The own parser is stricter, so a head that it alone refuses is no finding.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::Uri;
use httparse::{EMPTY_HEADER, Header, Status};
use ndecho::wire::h1::{DateClock, H1, H1Client};
use ndecho::wire::{Handler, Head, Limits, Part, Refused, Response, Route, Routed};

use crate::common::{Calling, Driven};

const FIELDS_MAX: usize = 200;

/// Checks the input as the head of a request, and as that of a response.
pub fn h1_heads(data: &[u8]) {
    request(data);
    response(data);
}

/// Parts of the first head that the server has passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    method: String,
    path: String,
    content_type: Vec<u8>,
    has_body: bool,
    body_len: Option<u64>,
}

/// Handler that keeps the first head, and answers every request.
#[derive(Clone, Debug, Default)]
struct Recorder(Rc<RefCell<Option<Seen>>>);

impl Handler for Recorder {
    fn route(&mut self, head: &Head<'_>) -> Result<Routed, Refused> {
        self.0.borrow_mut().get_or_insert_with(|| Seen {
            method: String::from_utf8_lossy(head.method).into_owned(),
            path: String::from_utf8_lossy(head.path).into_owned(),
            content_type: head.content_type.to_vec(),
            has_body: head.has_body,
            body_len: head.body_len,
        });
        Ok(Routed::Unary(Route::plain(0)))
    }

    fn answer(&mut self, _: Route, _: &[u8], _: &mut Vec<u8>) -> Result<Response, Refused> {
        Ok(Response { content_type: "", head_len: 0, payload: 0..0 })
    }
}

fn server() -> (Driven<H1<Recorder>>, Recorder) {
    let clock = DateClock::new(Instant::now(), Duration::from_secs(784_111_777));
    let recorder = Recorder::default();
    let limits = Rc::new(Limits { body_bytes_max: usize::MAX, ..Limits::default() });
    (Driven::new(H1::new(recorder.clone(), limits, clock), true), recorder)
}

fn request(data: &[u8]) {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let len = match request.parse(data) {
        Ok(Status::Complete(len)) => len,
        other => {
            let seen = first_head(data);
            return assert!(seen.is_none() || is_known(data), "httparse: {other:?}; {seen:?}");
        }
    };
    let (mut server, recorder) = server();
    server.feed(&data[..len]);
    let Some(seen) = recorder.0.take() else { return };
    let fields = Fields(request.headers);
    assert_eq!(Some(seen.method.as_str()), request.method.map(as_get));
    assert_eq!(Some(seen.path), request.path.and_then(path_of), "{:?}", request.path);
    assert_eq!(seen.content_type, fields.last("content-type").unwrap_or_default());
    let length = fields.last("content-length").map(|text| number(text).expect("a number"));
    let is_chunked = fields.last("transfer-encoding").is_some();
    assert!(length.is_none() || !is_chunked, "two framings of one body");
    assert_eq!((seen.has_body, seen.body_len), (length.is_some() || is_chunked, length));
    ends_at(data, len, request.version == Some(0), &fields);
}

/// Returns the first head, if the server passes it on. A later one does not count.
fn first_head(data: &[u8]) -> Option<Seen> {
    let (mut server, recorder) = server();
    server.feed(data);
    recorder.0.take()?;
    let (mut server, recorder) = self::server();
    let is_answered = |byte: &u8| {
        server.feed(&[*byte]);
        !server.sent.is_empty() || recorder.0.borrow().is_some()
    };
    data.iter().any(is_answered);
    recorder.0.take()
}

/// Checks that the head ends with the byte `len - 1`, and that the version and the `Connection`
/// field decide on the connection's end.
fn ends_at(data: &[u8], len: usize, is_old: bool, fields: &Fields<'_, '_>) {
    let (mut server, recorder) = server();
    server.feed(&data[..len - 1]);
    assert!(recorder.0.borrow().is_none(), "the head ends before its last byte");
    server.feed(&data[len - 1..len]);
    assert!(recorder.0.borrow().is_some(), "the head does not end with its last byte");
    let has_body = [Some(&b"0"[..]), None].contains(&fields.last("content-length"));
    if has_body && fields.last("transfer-encoding").is_none() {
        let closes = fields.has_option("close");
        let keeps = !closes && (!is_old || fields.has_option("keep-alive"));
        assert_eq!(server.closing(), !keeps, "{}", server.sent.escape_ascii());
    }
}

/// Returns true for a request that httparse alone refuses, with a good reason.
fn is_known(data: &[u8]) -> bool {
    // RFC 9110 section 2.5: a higher minor version is answered as HTTP/1.1.
    let line = data.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty());
    let version = line.and_then(|line| line.trim_ascii_end().rsplit(|byte| *byte == b' ').next());
    matches!(version, Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9']))
}

/// Fields of a head, as httparse has read them.
struct Fields<'a, 'b>(&'a [Header<'b>]);

impl<'b> Fields<'_, 'b> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        let is_it = move |field: &&Header<'_>| field.name.eq_ignore_ascii_case(name);
        self.0.iter().filter(is_it).map(|field| field.value)
    }

    fn last(&self, name: &str) -> Option<&'b [u8]> {
        self.all(name).last()
    }

    fn has_option(&self, name: &str) -> bool {
        let options = self.all("connection").flat_map(|value| value.split(|byte| *byte == b','));
        options.map(<[u8]>::trim_ascii).any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// The handler sees HEAD as GET.
fn as_get(method: &str) -> &str {
    if method == "HEAD" { "GET" } else { method }
}

/// Returns the path of a target, by the `http` crate unless that refuses one of its bytes.
fn path_of(target: &str) -> Option<String> {
    if let Ok(uri) = target.parse::<Uri>() {
        return Some(uri.path().to_owned());
    }
    let is_origin_form = target.starts_with('/');
    let rest = if is_origin_form { target } else { target.split_once("://")?.1 };
    let path = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
    let path = path.split('?').next().filter(|path| !path.is_empty());
    Some(path.unwrap_or("/").to_owned())
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn response(data: &[u8]) {
    let limits = Limits { body_bytes_max: usize::MAX, ..Limits::default() };
    let mut calling = Calling::new(H1Client::new("host", "/", "text/plain", &limits), true);
    calling.request(0, &[Part::Copy(b"hi")]);
    let _ = calling.feed(data);
    let Some((_, reply)) = calling.replies.first() else { return };
    let mut rest = data;
    loop {
        let mut fields = [EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let len = match response.parse(rest) {
            Ok(Status::Complete(len)) => len,
            _ if is_newer(rest) => return,
            other => panic!("httparse: {other:?}; accepted: {reply:?}"),
        };
        rest = &rest[len..];
        let code = response.code.unwrap_or_default();
        if (100..200).contains(&code) && code != 101 {
            continue;
        }
        let fields = Fields(response.headers);
        let range = body(code, &fields);
        let Some(body) = range.and_then(|range| rest.get(range)) else { return };
        match reply {
            Ok(message) => assert_eq!((code, &message[..]), (200, body)),
            Err(text) => {
                let told = (text.get(..3).and_then(|text| text.parse().ok()), code == 200);
                assert_eq!(told, (Some(code), false), "{text}");
                let reason = response.reason.unwrap_or_default();
                assert!(text[3..].trim_start().starts_with(reason.trim()), "{text}: {reason}");
            }
        }
        return;
    }
}

/// Returns the place of a body with one length; `None` in chunks.
fn body(code: u16, fields: &Fields<'_, '_>) -> Option<Range<usize>> {
    if matches!(code, 100..=199 | 204 | 304) {
        return Some(0..0);
    }
    if fields.last("transfer-encoding").is_some() {
        return None;
    }
    Some(0..number(fields.last("content-length")?)? as usize)
}

/// Returns true for a response of a higher minor version.
fn is_newer(data: &[u8]) -> bool {
    matches!(data, [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9', ..])
}
