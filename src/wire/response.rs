//! Writer of a response into the outbox: the protocol's head, the handler's bytes, the payload
//! between.
//!
//! ```text
//! head | answer[..head_len] | body[payload] | answer[head_len..]
//! ```
//! Short parts are copied together. A long payload is sent from its own buffer, and so is a long
//! answer that borrows nothing.

use super::buffers::{OWN_BYTES_MIN, PooledBuf, Slice};
use super::handler::Response;
use super::machine::Context;

/// Longest tail of a response that moves by way of the stack.
const TAIL_BYTES_MAX: usize = 64;

#[derive(Debug)]
pub(super) enum Received<'a> {
    Borrowed(&'a [u8]),
    Owned(Slice),
}

impl Received<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Received::Borrowed(bytes) => bytes,
            Received::Owned(slice) => slice.as_ref(),
        }
    }
}

pub(super) fn message_len(answer: &[u8], response: &Response) -> usize {
    answer.len() + response.payload.len()
}

pub(super) fn insert(payload: &[u8], index: usize, out: &mut Vec<u8>) {
    let tail_len = out.len() - index;
    let mut tail = [0; TAIL_BYTES_MAX];
    match tail.get_mut(..tail_len) {
        _ if payload.is_empty() => {}
        Some([]) => out.extend_from_slice(payload),
        Some(tail) => {
            tail.copy_from_slice(&out[index..]);
            out.truncate(index);
            out.extend_from_slice(payload);
            out.extend_from_slice(tail);
        }
        None => {
            out.extend_from_slice(payload);
            out[index..].rotate_right(payload.len());
        }
    }
}

/// Sends `head`, of about `head_hint` bytes, and the message.
pub(super) fn send(
    cx: &mut Context<'_>,
    head_hint: usize,
    head: impl FnOnce(&mut Vec<u8>),
    answer: PooledBuf,
    response: &Response,
    body: Received<'_>,
) {
    let payload = response.payload.clone();
    if payload.is_empty() && answer.len() >= OWN_BYTES_MIN {
        cx.out.compose(head_hint, cx.pool, head);
        return cx.out.push(Slice::from(answer));
    }
    let (before, after) = answer.split_at(response.head_len);
    match body {
        Received::Owned(message) if message.is_worth_sharing(&payload) => {
            cx.out.compose(head_hint + before.len(), cx.pool, |out| {
                head(out);
                out.extend_from_slice(before);
            });
            cx.out.push(message.narrow(payload));
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_inserted_before_any_tail() {
        for tail_len in [0, 1, TAIL_BYTES_MAX, TAIL_BYTES_MAX + 1, 1000] {
            for payload in [&b""[..], b"payload"] {
                let tail: Vec<u8> = (0..tail_len).map(|i| i as u8).collect();
                let mut out = [b"head", &tail[..]].concat();
                insert(payload, 4, &mut out);
                assert_eq!(out, [b"head", payload, &tail].concat());
            }
        }
    }
}
