//! Errors of inflating, all of which are the peer's fault.

use crate::axis::Coding;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    #[error("{coding}: the message is over the limit of {limit} bytes when it is inflated")]
    TooLarge { coding: Coding, limit: usize },
    #[error("{coding}: the server is short of memory for the inflated message; try again later")]
    NoMemory { coding: Coding },
    #[error("{coding}: the message ends early, after {inflated} inflated bytes")]
    Truncated { coding: Coding, inflated: usize },
    #[error("{coding} at byte {at}: {what}")]
    Malformed { coding: Coding, at: usize, what: String },
    #[error(
        "{coding}: the first byte is the item size of the shuffle and must be 1, 2, 4, 8 or 16, \
         got {got}"
    )]
    ItemSize { coding: Coding, got: u8 },
}
