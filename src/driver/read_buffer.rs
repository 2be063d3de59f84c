//! Buffer into which the connections of a worker read.

use std::ops::{Deref, DerefMut};

/// A full pipeline of small messages.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// Begins at a page. Where malloc puts a buffer depends on what was allocated before, and at one
/// place the kernel's copy into it and the copy out of it took a tenth longer (docs/TRIED.md).
#[repr(align(4096))]
pub(crate) struct ReadBuffer([u8; READ_BYTES]);

impl ReadBuffer {
    pub(crate) fn new() -> Box<ReadBuffer> {
        Box::new(ReadBuffer([0; READ_BYTES]))
    }
}

impl Deref for ReadBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for ReadBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_at_a_page() {
        assert_eq!(ReadBuffer::new().as_ptr().addr() % 4096, 0);
    }
}
