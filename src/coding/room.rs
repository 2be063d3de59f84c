//! Room for an inflated message: it grows with the bytes that come out, never beyond the limit.

use super::error::CodingError;
use crate::axis::Coding;

/// First room, which most messages fill.
const FIRST_BYTES: usize = 16 * 1024;

/// Bound of an inflated message, and the memory for it.
pub(super) struct Room<'a> {
    coding: Coding,
    bytes_max: usize,
    /// Called before each growth with the bytes that it adds; false refuses it.
    grow: &'a mut dyn FnMut(usize) -> bool,
}

impl<'a> Room<'a> {
    pub(super) fn new(
        coding: Coding,
        bytes_max: usize,
        grow: &'a mut dyn FnMut(usize) -> bool,
    ) -> Room<'a> {
        Room { coding, bytes_max, grow }
    }

    pub(super) fn coding(&self) -> Coding {
        self.coding
    }

    /// Makes spare capacity in `out`, unless it has some. One byte beyond the limit is allowed, to
    /// tell a message that ends at the limit from a longer one.
    pub(super) fn reserve(&mut self, out: &mut Vec<u8>) -> Result<(), CodingError> {
        self.check(out)?;
        if out.len() < out.capacity() {
            return Ok(());
        }
        let doubled = out.len().saturating_mul(2).max(FIRST_BYTES);
        let wanted = doubled.min(self.bytes_max.saturating_add(1));
        self.extend(out, wanted - out.len())
    }

    /// Makes room for `more` bytes.
    fn extend(&mut self, out: &mut Vec<u8>, more: usize) -> Result<(), CodingError> {
        let growth = (out.len() + more).saturating_sub(out.capacity());
        if growth > 0 && !(self.grow)(growth) {
            return Err(CodingError::NoMemory { coding: self.coding });
        }
        out.reserve_exact(more);
        Ok(())
    }

    /// Appends `len` zeros, for a message of known length.
    pub(super) fn append_zeros(
        &mut self,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CodingError> {
        self.extend(out, len)?;
        out.resize(out.len() + len, 0);
        self.check(out)
    }

    /// Appends `bytes`, unless they are more than the limit.
    pub(super) fn append(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CodingError> {
        self.check(bytes)?;
        self.extend(out, bytes.len())?;
        out.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn check(&self, out: &[u8]) -> Result<(), CodingError> {
        if out.len() > self.bytes_max {
            return Err(CodingError::TooLarge { coding: self.coding, limit: self.bytes_max });
        }
        Ok(())
    }

    pub(super) fn truncated(&self, out: &[u8]) -> CodingError {
        CodingError::Truncated { coding: self.coding, inflated: out.len() }
    }

    pub(super) fn malformed(&self, at: usize, what: impl ToString) -> CodingError {
        CodingError::Malformed { coding: self.coding, at, what: what.to_string() }
    }
}
