//! State that the client keeps for each stream.

/// Call in flight.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// Number that the caller has given the call.
    pub(super) id: u32,
    /// True once the first header block of the response has arrived, informational ones aside.
    pub(super) has_head: bool,
    /// Reason for which the response is not a good one.
    pub(super) failure: Option<String>,
}
