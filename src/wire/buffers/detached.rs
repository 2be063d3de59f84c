//! Message that may go to another thread, without its account.
//!
//! [`super::Slice`] makes one of itself, keeps the charge of the buffer, and joins them again.

use std::ops::Range;

use bytes::Bytes;

/// Range of a buffer whose memory counts elsewhere.
#[derive(Debug)]
pub enum Detached {
    Owned(Vec<u8>, Range<usize>),
    Foreign(Bytes),
}

impl Detached {
    /// Calls `work` with a `Bytes`, as [`super::Slice::with_bytes`] does.
    pub fn with_bytes<T>(&mut self, work: impl FnOnce(Bytes) -> T) -> T {
        match self {
            Detached::Owned(buffer, range) => {
                let whole = Bytes::from(std::mem::take(buffer));
                let result = work(whole.slice(range.clone()));
                *buffer = Vec::from(whole);
                result
            }
            Detached::Foreign(bytes) => work(bytes.clone()),
        }
    }
}

impl AsRef<[u8]> for Detached {
    fn as_ref(&self) -> &[u8] {
        match self {
            Detached::Owned(bytes, range) => &bytes[range.clone()],
            Detached::Foreign(bytes) => bytes,
        }
    }
}
