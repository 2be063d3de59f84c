//! Error of the list readers, without the name of the encoding, which the codec adds.

/// Fault in a list, with its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Offset in the message body.
    pub(super) at: usize,
    /// Text found or expected.
    pub(super) what: &'static str,
}
