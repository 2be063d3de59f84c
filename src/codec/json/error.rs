//! Error of the list readers, without the name of the encoding, which the codec adds.

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) what: &'static str,
}
