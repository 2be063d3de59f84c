//! Receive budget of a connection: its window, and the bytes of messages that are arriving.
//!
//! Content is credited when it arrives, since the budget bounds the memory: a message announces its
//! length, and one over the budget is refused. While unread responses hold more than the budget, no
//! window is granted for new requests. Windows grow with the announced lengths. Padding counts like
//! content. RFC 9113 sections 5.2 and 6.9.

use crate::wire::h2::CONNECTION_WINDOW_MAX;
use crate::wire::h2::error::{ErrorCode, Fault};
use crate::wire::h2::flow::ReceiveWindow;

/// Bytes that one message holds of the budget, which alone makes and releases it.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Reservation(usize);

/// Window and message bytes of a connection. `arriving_bytes` is the sum of all reservations.
#[derive(Debug)]
pub(crate) struct ReceiveBudget {
    window: ReceiveWindow,
    arriving_bytes: usize,
    bytes_max: usize,
}

/// Error of a reservation; holds the budget in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OverBudget(pub(crate) usize);

impl ReceiveBudget {
    /// Makes a budget for a peer that may send `window` bytes at first.
    pub(crate) fn new(window: u32, bytes_max: usize) -> ReceiveBudget {
        ReceiveBudget { window: ReceiveWindow::new(window), arriving_bytes: 0, bytes_max }
    }

    #[inline]
    pub(super) fn allows(&self, bytes: usize) -> bool {
        self.window.allows(bytes)
    }

    /// Takes `bytes` of DATA off the window.
    #[inline]
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        let text = "DATA exceeds the connection's window";
        self.window.spend(bytes).map_err(|_| Fault::connection(ErrorCode::FlowControl, text))
    }

    /// Reserves `bytes`, even over the budget, so that the release is the same.
    pub(super) fn reserve(
        &mut self,
        bytes: usize,
        reservation: &mut Reservation,
    ) -> Result<(), OverBudget> {
        reservation.0 += bytes;
        self.arriving_bytes += bytes;
        if self.arriving_bytes > self.bytes_max {
            return Err(OverBudget(self.bytes_max));
        }
        self.window.widen((2 * bytes as u64).min(CONNECTION_WINDOW_MAX));
        Ok(())
    }

    /// Releases a reservation; a second release has no effect.
    pub(super) fn release(&mut self, reservation: &mut Reservation) {
        self.arriving_bytes -= std::mem::take(reservation).0;
    }

    /// Returns true while a message is arriving.
    pub(super) fn is_receiving(&self) -> bool {
        self.arriving_bytes > 0
    }

    /// Returns the increment to grant, unless the peer leaves `waiting_bytes` of responses unread.
    #[inline]
    pub(super) fn window_update(&mut self, waiting_bytes: usize) -> Option<u32> {
        if waiting_bytes > self.bytes_max {
            return None;
        }
        self.window.update(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_is_released_once() {
        let mut budget = ReceiveBudget::new(65_535, 100);
        let (mut first, mut second) = (Reservation::default(), Reservation::default());
        assert_eq!(budget.reserve(60, &mut first), Ok(()));
        assert_eq!(budget.reserve(60, &mut second), Err(OverBudget(100)));
        budget.release(&mut second);
        budget.release(&mut second);
        assert_eq!(budget.arriving_bytes, 60);
        budget.release(&mut first);
        assert_eq!(budget.arriving_bytes, 0);
    }

    #[test]
    fn nothing_is_granted_while_replies_wait() {
        let mut budget = ReceiveBudget::new(1000, 100);
        assert_eq!(budget.spend(600), Ok(()));
        assert_eq!(budget.window_update(101), None);
        assert_eq!(budget.window_update(100), Some(600));
        assert!(budget.spend(1001).is_err());
    }
}
