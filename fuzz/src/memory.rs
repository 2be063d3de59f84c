//! Law of memory: whatever bytes arrive, the memory that they take is at most a multiple of them.
//!
//! The law is checked after each step, so an allocation by an announced length breaks it even if
//! all of the bytes arrive later. It counts what is held at the peak of a step, as the allocator
//! sees it: buffers, tables of streams, scratch, and output that is not yet sent.

use allocation_counter::measure;

/// Most bytes that may be held: `base`, and `per_byte` for each byte that has been received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) base: usize,
    pub(crate) per_byte: usize,
}

impl Allowance {
    /// Returns the most bytes for `received` bytes.
    pub(crate) fn bytes_max(self, received: usize) -> usize {
        self.base + self.per_byte * received
    }
}

/// Memory that the steps so far have left behind.
#[derive(Debug)]
pub(crate) struct Meter {
    allowance: Allowance,
    held: i64,
}

impl Meter {
    pub(crate) fn new(allowance: Allowance) -> Meter {
        Meter { allowance, held: 0 }
    }

    /// Runs a step, which returns the bytes received so far.
    pub(crate) fn run(&mut self, step: impl FnOnce() -> usize) {
        let mut received = 0;
        let info = measure(|| received = step());
        let peak = self.held + info.bytes_max as i64;
        self.held += info.bytes_current;
        let most = self.allowance.bytes_max(received);
        assert!(
            peak <= most as i64,
            "{peak} bytes are held for {received} bytes received; at most {most} are allowed",
        );
    }

    /// Checks that nothing is left.
    pub(crate) fn assert_empty(&self) {
        assert_eq!(self.held, 0, "bytes are left when everything has been dropped");
    }
}
