//! State that the server keeps for each stream.

use std::fmt;
use std::time::Instant;

use super::frames::TextResponse;
use crate::wire::{Call, Route};

/// Request on a stream.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) state: RequestState,
    /// Time at which the call is over, from its `grpc-timeout`.
    pub(super) deadline: Option<Instant>,
}

/// Use of a request's content.
#[derive(Debug, Default)]
pub(super) enum RequestState {
    /// Message of a call.
    Call(Route),
    /// Dropped, since the request is not a call. The response is sent once the content has ended.
    Text(Box<TextResponse>),
    /// Messages of a stream of messages.
    Stream(Box<StreamCall>),
    /// Dropped, since the response is on its way.
    #[default]
    Answered,
}

/// Call that takes and sends any number of messages.
pub(super) struct StreamCall {
    pub(super) call: Box<dyn Call>,
    /// True once the response's HEADERS have been sent.
    pub(super) has_head: bool,
}

impl fmt::Debug for StreamCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamCall").field("has_head", &self.has_head).finish_non_exhaustive()
    }
}

impl Request {
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}
