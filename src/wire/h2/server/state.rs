//! State that the server keeps for each stream.

use std::time::Instant;

use super::frames::TextResponse;
use crate::wire::Route;

/// Request on a stream.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) state: RequestState,
    /// Time at which the call is over, from its `grpc-timeout`.
    pub(super) deadline: Option<Instant>,
}

/// Use of a request's content.
#[derive(Debug)]
pub(super) enum RequestState {
    /// Message of a call.
    Call(Route),
    /// Dropped, since the request is not a call. The response is sent once the content has ended.
    Text(Box<TextResponse>),
    /// Dropped, since the response is on its way.
    Answered,
}

impl Request {
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}
