//! State that the client keeps for each stream.

#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) id: u32,
    /// True after the first head that is not informational.
    pub(super) has_head: bool,
    pub(super) failure: Option<String>,
}
