//! Agreement with the h2 crate: where both servers accept all frames of a connection, they read the
//! same calls, with the same path, content type and message.
//!
//! The two differ in what they call a fault. So a connection is not compared if either one ends it
//! or resets a stream: the h2 crate refuses an `:authority` and a path with other bytes than those
//! of a URI, which mean nothing to the own server.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use ndecho::wire::h2::H2;
use ndecho::wire::{Handler, Head, Limits, Refused, Response, Route, Routed};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::common::Driven;
use crate::input::HELLO;

/// Largest window, so that no window decides.
const WINDOW: u32 = (1 << 31) - 1;

const STREAMS_MAX: u32 = 1024;

/// Turns of the other server for one input.
const TURNS_MAX: usize = 1000;

/// Call as a server has read it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    path: Vec<u8>,
    content_type: Vec<u8>,
    /// Message with its prefix.
    content: Vec<u8>,
}

/// Checks the frames of a client, after its first bytes.
pub fn h2_calls(data: &[u8]) {
    let bytes = [HELLO, data].concat();
    let Some(mut ours) = own_calls(&bytes) else { return };
    let Some(mut theirs) = calls_of_the_crate(&bytes) else { return };
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs, "the calls differ");
}

#[derive(Clone, Debug, Default)]
struct Recorder {
    heads: Vec<(Vec<u8>, Vec<u8>)>,
    calls: Rc<RefCell<Vec<Call>>>,
}

impl Handler for Recorder {
    fn route(&mut self, head: &Head<'_>) -> Result<Routed, Refused> {
        self.heads.push((head.path.to_vec(), head.content_type.to_vec()));
        Ok(Routed::Unary(Route::plain(self.heads.len() as u32 - 1)))
    }

    fn answer(&mut self, route: Route, body: &[u8], _: &mut Vec<u8>) -> Result<Response, Refused> {
        let (path, content_type) = self.heads[route.id as usize].clone();
        let prefix = [&[0][..], &(body.len() as u32).to_be_bytes()].concat();
        let content = [&prefix, body].concat();
        self.calls.borrow_mut().push(Call { path, content_type, content });
        Ok(Response { content_type: "application/grpc", head_len: 0, payload: 0..0 })
    }
}

/// Returns the calls that the own server has answered, unless it has ended the connection or a
/// stream.
fn own_calls(bytes: &[u8]) -> Option<Vec<Call>> {
    let recorder = Recorder::default();
    let mut server = Driven::new(H2::new(recorder.clone(), Rc::new(Limits::default())), true);
    server.feed(bytes);
    let is_refused = server.error.is_some() || refuses(&server.sent);
    (!is_refused).then(|| recorder.calls.take())
}

/// Returns true if a server has reset a stream or ended the connection.
fn refuses(mut sent: &[u8]) -> bool {
    const RST_STREAM: u8 = 3;
    const GOAWAY: u8 = 7;
    while let Some(head) = sent.first_chunk::<9>() {
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if [RST_STREAM, GOAWAY].contains(&head[3]) {
            return true;
        }
        sent = &sent[9 + len..];
    }
    false
}

/// Bytes of a client that then waits, and takes everything that is sent to it.
struct Wire<'a> {
    input: &'a [u8],
    sent: Rc<RefCell<Vec<u8>>>,
}

impl AsyncRead for Wire<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.input.is_empty() {
            return Poll::Pending;
        }
        let (now, later) = self.input.split_at(self.input.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.input = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.sent.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Call that the h2 crate is receiving.
struct Receiving {
    call: Call,
    is_grpc: bool,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    is_whole: bool,
}

/// Returns the gRPC calls that the h2 crate has read to their end; `None` if it has ended the
/// connection or a stream.
fn calls_of_the_crate(bytes: &[u8]) -> Option<Vec<Call>> {
    let mut cx = Context::from_waker(Waker::noop());
    let wire = Wire { input: bytes, sent: Rc::default() };
    let sent = Rc::clone(&wire.sent);
    let handshake = Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(STREAMS_MAX)
        .max_frame_size((1 << 20) + (1 << 14))
        .handshake::<_, Bytes>(wire);
    let Poll::Ready(Ok(mut connection)) = pin!(handshake).poll(&mut cx) else { return None };
    let mut calls = Vec::new();
    let mut turns = 0;
    while take_turn(&mut connection, &mut calls, &mut cx)? {
        turns += 1;
        assert!(turns < TURNS_MAX, "the h2 crate goes on for ever");
    }
    if refuses(&sent.borrow()) {
        return None;
    }
    let is_read =
        |call: &Receiving| call.is_whole && call.is_grpc && is_message(&call.call.content);
    Some(calls.into_iter().filter(is_read).map(|receiving| receiving.call).collect())
}

/// Takes requests and content; returns false if there are no more, and `None` after a fault.
fn take_turn(
    connection: &mut Connection<Wire<'_>, Bytes>,
    calls: &mut Vec<Receiving>,
    cx: &mut Context<'_>,
) -> Option<bool> {
    let mut goes_on = match connection.poll_accept(cx) {
        Poll::Ready(Some(Ok((request, respond)))) => {
            let (head, body) = request.into_parts();
            let field = |name: &str| head.headers.get(name).map(|value| value.as_bytes());
            let content_type = field("content-type").unwrap_or_default().to_vec();
            let is_plain =
                ["grpc-timeout", "grpc-encoding"].iter().all(|name| field(name).is_none());
            let path = head.uri.path().as_bytes().to_vec();
            calls.push(Receiving {
                is_grpc: is_grpc(&content_type) && is_plain && head.method == http::Method::POST,
                call: Call { path, content_type, content: Vec::new() },
                body,
                respond,
                is_whole: false,
            });
            true
        }
        Poll::Ready(_) => return None,
        Poll::Pending => false,
    };
    for receiving in calls.iter_mut().filter(|receiving| !receiving.is_whole) {
        match receiving.body.poll_data(cx) {
            Poll::Ready(Some(Ok(content))) => {
                receiving.call.content.extend_from_slice(&content);
                receiving.body.flow_control().release_capacity(content.len()).ok()?;
            }
            Poll::Ready(Some(Err(_))) => return None,
            Poll::Ready(None) => {
                receiving.is_whole = true;
                receiving.respond.send_response(http::Response::new(()), true).ok()?;
            }
            Poll::Pending => continue,
        }
        goes_on = true;
    }
    Some(goes_on)
}

/// Returns true for `application/grpc`, alone or with a subtype or parameters.
fn is_grpc(content_type: &[u8]) -> bool {
    let (base, rest) = content_type.split_at(content_type.len().min(16));
    let ends = matches!(rest.first(), None | Some(b'+' | b';' | b' '));
    ends && base.eq_ignore_ascii_case(b"application/grpc")
}

/// Returns true for one message that is not compressed.
fn is_message(content: &[u8]) -> bool {
    matches!(content, [0, a, b, c, d, message @ ..]
        if u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len())
}
