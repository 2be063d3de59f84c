//! The contract between a server half and the work behind it.
//!
//! ```text
//!           head            ┌─ Unary(route) ─▶ answer(route, message) ─▶ Response  one each way
//! machine ───────▶ route ───┤
//!                           └─ Stream(call) ─▶ message* ─▶ end                 any number each way
//!                                              resume*  ─▶ Replies::send* ─▶ Replies::finish
//! ```
//!
//! The contract carries a stream of messages in each direction. A unary call is its fast path: the
//! machine gathers the one message, calls [`Handler::answer`] and writes the response in one piece,
//! without an allocation or an object for the call. For any other call [`Handler::route`] returns a
//! [`Call`], to which the machine hands every message as soon as it is whole. A call may send at
//! any of its events. It must stop when [`Replies::is_full`] is true; the machine calls
//! [`Call::resume`] when there is room again. The call ends with [`Replies::finish`] or an error.
//!
//! A handler knows no frames and no header fields; each protocol has its own way to write a
//! response or a refusal. HTTP/1.1 and raw frames carry unary calls only and refuse a
//! [`Routed::Stream`].

use std::ops::Range;

/// Content type of every plain text: refusals and health.
pub const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// Refusal of a body with a content coding.
pub const NO_CONTENT_CODING: &str = "content codings are not supported; send the body without one";

/// Head of a request, before its body.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// HTTP method, or empty where the protocol has none. HEAD is shown as GET: the machine leaves
    /// the body out.
    pub method: &'a [u8],
    /// Path without the query, or empty where the protocol has none.
    pub path: &'a [u8],
    /// Content type as the protocol writes it: a media type in HTTP, the codec's byte in a raw
    /// frame; or empty.
    pub content_type: &'a [u8],
    /// False when the head says that no body follows (HTTP/1.1 without Content-Length and
    /// Transfer-Encoding). A route that needs a body refuses with [`Refusal::LengthRequired`]; one
    /// that needs none is answered at once, with an empty body.
    pub has_body: bool,
    /// Announced body length. For deciding, never for allocating.
    pub body_len: Option<u64>,
}

/// The handler's name for the target of a unary call; meaningless to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route(pub u32);

/// Decision on a request's head.
pub enum Routed {
    /// One message in, one message out, answered by [`Handler::answer`]. Equal heads have equal
    /// routes, so a machine may use a route again without asking.
    Unary(Route),
    /// A call of its own, which takes and sends any number of messages.
    Stream(Box<dyn Call>),
}

/// Response cut for a vectored write: `out[..head_len]`, `body[payload]`, `out[head_len..]`, where
/// `out` is counted from its end before the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Content type as the protocol writes it, see [`Head::content_type`].
    pub content_type: &'static str,
    /// Bytes written to `out` that precede the payload.
    pub head_len: usize,
    /// Part of the request body that is sent back unchanged; may be empty.
    pub payload: Range<usize>,
}

/// Reason of a refusal; each protocol writes it in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// 400, INVALID_ARGUMENT.
    BadRequest,
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
}

/// Refusal of a request, with one line for the peer.
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

/// Work behind a server half.
pub trait Handler {
    /// Decides on the head alone, before the machine keeps any of the body.
    fn route(&mut self, head: &Head<'_>) -> Result<Routed, Refused>;

    /// Answers the whole message of a unary call; appends to `out` what is not borrowed from
    /// `body`. On an error `out` is as before.
    fn answer(&mut self, route: Route, body: &[u8], out: &mut Vec<u8>)
    -> Result<Response, Refused>;
}

/// One call that takes and sends any number of messages. An error ends the call with the refusal as
/// its status.
pub trait Call {
    /// Content type of every response message.
    fn content_type(&self) -> &'static str;

    /// Takes the next message of the request.
    fn message(&mut self, message: &[u8], replies: &mut dyn Replies) -> Result<(), Refused>;

    /// Notes that the peer has sent its last message.
    fn end(&mut self, replies: &mut dyn Replies) -> Result<(), Refused>;

    /// Continues after [`Replies::is_full`] has stopped the call: there is room again.
    fn resume(&mut self, replies: &mut dyn Replies) -> Result<(), Refused>;
}

/// Response side of a [`Call`].
pub trait Replies {
    /// Sends one whole message, behind those sent before.
    fn send(&mut self, message: &[u8]);

    /// Returns true while enough messages wait for the peer: the call sends no more until it is
    /// resumed.
    fn is_full(&self) -> bool;

    /// Ends the response well. The call gets no further event.
    fn finish(&mut self);
}
