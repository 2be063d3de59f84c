//! State that the server keeps for each stream.

use std::fmt;
use std::time::Instant;

use super::frames::TextResponse;
use crate::axis::Coding;
use crate::wire::{Call, PendingJob, Route};

#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) state: RequestState,
    /// End of the call, from its `grpc-timeout`.
    pub(super) deadline: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) enum RequestState {
    Call(Route),
    /// Response that is sent once the content has ended.
    Text(Box<TextResponse>),
    Stream(Box<StreamCall>),
    /// Call whose message is worked on elsewhere, and the coding of its answer.
    Working(Box<PendingJob>, Coding),
    #[default]
    Answered,
}

pub(super) struct StreamCall {
    pub(super) call: Box<dyn Call>,
    pub(super) has_head: bool,
}

impl fmt::Debug for StreamCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamCall").field("has_head", &self.has_head).finish_non_exhaustive()
    }
}

impl Request {
    pub(super) fn is_working(&self) -> bool {
        matches!(self.state, RequestState::Working(..))
    }

    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}
