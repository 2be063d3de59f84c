//! The contract between a server half and the work behind it.
//!
//! ```text
//!           head            ┌─ Unary(route) ─▶ answer(route, message) ─▶ Response  one each way
//! machine ───────▶ route ───┤
//!                           └─ Stream(call) ─▶ message* ─▶ end                 any number each way
//!                                              resume*  ─▶ Replies::send* ─▶ Replies::finish
//! ```
//!
//! The contract carries streams of messages. A unary call is its fast path: the machine gathers the
//! message, calls [`Handler::answer`] and writes the response in one piece, without an allocation.
//! For any other call [`Handler::route`] returns a [`Call`], which receives each message as soon as
//! it is whole and may send at any event. The call must stop sending while [`Replies::is_full`];
//! [`Call::resume`] follows when there is room. [`Replies::finish`] or an error ends it.
//!
//! A message whose work is long can be answered on another thread: see [`super::job`].
//!
//! A handler knows no frames and no header fields. HTTP/1.1 and raw frames refuse a
//! [`Routed::Stream`].

use std::ops::Range;

use http::StatusCode;

use super::buffers::Detached;
use crate::axis::Coding;

pub const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
pub const NO_MEMORY: &str = "the server is short of memory; try again later";
pub const NO_CONTENT_CODING: &str = "content codings are not supported; send the body without one";

/// Head of a request, before its body.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// HTTP method, or empty where the protocol has none. HEAD appears as GET; the machine leaves
    /// the body out.
    pub method: &'a [u8],
    /// Path without the query, or empty where the protocol has none.
    pub path: &'a [u8],
    /// Media type, or the codec's byte in a raw frame; may be empty.
    pub content_type: &'a [u8],
    /// False when the head announces no body (HTTP/1.1 without Content-Length and
    /// Transfer-Encoding). A route that needs a body refuses with [`Refusal::LengthRequired`].
    pub has_body: bool,
    /// Announced body length. For deciding, never for allocating.
    pub body_len: Option<u64>,
    pub codings: Codings,
}

/// Codings of a message and of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codings {
    pub request: Coding,
    /// That of the request if the peer accepts it, else identity.
    pub reply: Coding,
}

/// Target of a unary call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Meaningless to the machine.
    pub id: u32,
    /// Codings that [`Handler::answer`] undoes and applies: those of the head, or none, which
    /// refuses a coded message.
    pub codings: Codings,
}

pub enum Routed {
    /// Call that [`Handler::answer`] answers; equal heads have equal routes.
    Unary(Route),
    Stream(Box<dyn Call>),
}

/// Response cut for a vectored write: `out[..head_len]`, `body[payload]`, `out[head_len..]`, where
/// `out` is counted from its end before the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub content_type: &'static str,
    pub head_len: usize,
    /// Part of the request body to send back; may be empty.
    pub payload: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// 400, INVALID_ARGUMENT.
    BadRequest,
    /// 400, INTERNAL: the message cannot be inflated (doc/statuscodes.md of gRPC).
    BadCoding,
    /// 404, UNIMPLEMENTED: the server has no such path or method.
    NoSuchRoute,
    /// 404, NOT_FOUND: the route exists, the resource that the request names does not.
    NoSuchResource,
    /// 405, UNIMPLEMENTED. Carries the allowed methods.
    MethodNotAllowed(&'static str),
    /// 411: the route needs a body and the head announces none.
    LengthRequired,
    /// 413, RESOURCE_EXHAUSTED.
    TooLarge,
    /// 415, INVALID_ARGUMENT.
    UnsupportedMediaType,
    /// 500, INTERNAL: the server's own fault.
    Internal,
    /// 503, UNAVAILABLE: the server shuts down.
    Unavailable,
}

impl Codings {
    pub const NONE: Codings = Codings { request: Coding::Identity, reply: Coding::Identity };
}

impl Route {
    /// Makes a route for messages without a coding.
    pub const fn plain(id: u32) -> Route {
        Route { id, codings: Codings::NONE }
    }

    /// Returns true if a message may be coded.
    #[inline]
    pub fn is_coded(self) -> bool {
        self.codings.request as u8 != Coding::Identity as u8
    }

    /// Returns the route of a message that is not coded although its head names a coding.
    #[must_use]
    pub const fn uncoded(self) -> Route {
        Route::plain(self.id)
    }
}

impl From<Refusal> for StatusCode {
    fn from(refusal: Refusal) -> StatusCode {
        match refusal {
            Refusal::BadRequest | Refusal::BadCoding => StatusCode::BAD_REQUEST,
            Refusal::NoSuchRoute | Refusal::NoSuchResource => StatusCode::NOT_FOUND,
            Refusal::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::LengthRequired => StatusCode::LENGTH_REQUIRED,
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub kind: Refusal,
    pub detail: String,
}

impl Refused {
    pub fn new(kind: Refusal, detail: impl Into<String>) -> Refused {
        Refused { kind, detail: detail.into() }
    }
}

pub trait Handler {
    /// Decides before the machine keeps any of the body.
    fn route(&mut self, head: &Head<'_>) -> Result<Routed, Refused>;

    /// Returns the codings that the handler undoes, as a field of a response lists them.
    fn coding_tokens(&self) -> &'static str {
        Coding::Identity.token()
    }

    /// Notes that the server shuts down; requests may still follow.
    fn drain(&mut self) {}

    /// Refuses all requests from now on but those for the server's health.
    fn restrict(&mut self) {}

    /// Returns true if the bodies of a route are JSON and bytes behind it, with the length of the
    /// JSON in a field of HTTP/1.1 ([`super::json_head`]).
    fn has_json_head(&self, _route: Route) -> bool {
        false
    }

    /// Returns the work of a call that would take the worker too long, so that it is done on
    /// another thread; `None` asks for [`Handler::answer`]. A coded message always passes here
    /// first.
    fn long_work(&mut self, _route: Route, _message: &[u8]) -> Option<Box<dyn Work>> {
        None
    }

    /// Answers a unary call; appends to `out` what `body` does not hold, and nothing on error. The
    /// body is in the route's coding of the request, and so is the answer in that of the reply.
    fn answer(&mut self, route: Route, body: &[u8], out: &mut Vec<u8>)
    -> Result<Response, Refused>;
}

/// Work of one unary call, for any thread.
pub trait Work: Send {
    /// Answers as [`Handler::answer`] does, and does not panic. `scratch` is empty.
    fn run(
        &self,
        message: &mut Detached,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Response, Refused>;
}

/// Call with any number of messages each way. An error ends it with the refusal as its status.
pub trait Call {
    fn content_type(&self) -> &'static str;

    fn message(&mut self, message: &[u8], replies: &mut dyn Replies) -> Result<(), Refused>;

    /// Notes that the peer has sent its last message.
    fn end(&mut self, replies: &mut dyn Replies) -> Result<(), Refused>;

    /// Continues a call that [`Replies::is_full`] stopped.
    fn resume(&mut self, replies: &mut dyn Replies) -> Result<(), Refused>;
}

pub trait Replies {
    fn send(&mut self, message: &[u8]);

    /// Returns true while enough messages wait for the peer.
    fn is_full(&self) -> bool;

    /// Ends the response well; the call gets no further event.
    fn finish(&mut self);
}
