//! Puts a reply on its way: the protocol's head, then what the handler wrote, with the payload between.
//!
//! ```text
//! head | answer[..head_len] | body[payload] | answer[head_len..]
//! ```
//! Short pieces are coalesced. A long payload in a buffer of its own is sent from there, and so is a long answer
//! that borrows nothing.

use super::buffers::OWN_BYTES_MIN;
use super::buffers::recv::RecvBuffer;
use super::handler::Response;
use super::machine::Context;

/// Where the request body lies.
#[derive(Debug)]
pub(super) enum Source<'a> {
    /// In the caller's receive buffer, until the call returns.
    Slice(&'a [u8]),
    /// In a buffer of its own.
    Buffer(RecvBuffer),
}

impl Source<'_> {
    /// The body.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Source::Slice(bytes) => bytes,
            Source::Buffer(message) => message.bytes(),
        }
    }

    /// Gives a buffer back.
    pub(super) fn retire(self, cx: &mut Context<'_>) {
        if let Source::Buffer(message) = self {
            cx.pool.give(message.into_buffer());
        }
    }
}

/// Bytes of the message that `answer` and `reply` describe.
pub(super) fn message_len(answer: &[u8], reply: &Response) -> usize {
    answer.len() + reply.payload.len()
}

/// Sends `head` (at most about `head_hint` bytes) and the message; buffers go where they belong.
pub(super) fn send(
    cx: &mut Context<'_>,
    head_hint: usize,
    head: impl FnOnce(&mut Vec<u8>),
    answer: Vec<u8>,
    reply: &Response,
    body: Source<'_>,
) {
    let payload = reply.payload.clone();
    if payload.is_empty() && answer.len() >= OWN_BYTES_MIN {
        cx.out.compose(head_hint, cx.pool, head);
        let all = 0..answer.len();
        cx.out.own(answer, all, cx.pool);
        return body.retire(cx);
    }
    let (before, after) = answer.split_at(reply.head_len);
    match body {
        Source::Buffer(message) if payload.len() >= OWN_BYTES_MIN => {
            cx.out.compose(head_hint + before.len(), cx.pool, |out| {
                head(out);
                out.extend_from_slice(before);
            });
            let range = message.range(&payload);
            cx.out.own(message.into_buffer(), range, cx.pool);
            cx.out.copy(after, cx.pool);
        }
        body => {
            let hint = head_hint + answer.len() + payload.len();
            cx.out.compose(hint, cx.pool, |out| {
                head(out);
                out.extend_from_slice(before);
                out.extend_from_slice(&body.bytes()[payload]);
                out.extend_from_slice(after);
            });
            body.retire(cx);
        }
    }
    cx.pool.give(answer);
}
