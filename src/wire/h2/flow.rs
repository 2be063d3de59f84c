//! Flow control windows of both directions.
//!
//! A window is signed: a peer that lowers SETTINGS_INITIAL_WINDOW_SIZE can move it below zero.
//! Bytes are credited when they arrive, because the budget of `connection/budget.rs` bounds their
//! memory. Updates are batched, one for each half of a window. RFC 9113 sections 5.2 and 6.9.

pub(crate) const WINDOW_MAX: i64 = (1 << 31) - 1;

/// Error of a window over [`WINDOW_MAX`], or of bytes over a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SendWindow(i64);

impl SendWindow {
    pub(crate) fn new(size: u32) -> SendWindow {
        SendWindow(i64::from(size))
    }

    pub(crate) fn available(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    pub(crate) fn spend(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.available() || bytes == 0);
        self.0 -= bytes as i64;
    }

    /// Opens the window, or narrows it if `by` is negative.
    pub(crate) fn shift(&mut self, by: i64) -> Result<(), Overflow> {
        self.0 += by;
        if self.0 > WINDOW_MAX { Err(Overflow) } else { Ok(()) }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceiveWindow {
    left: i64,
    size: i64,
}

impl ReceiveWindow {
    pub(crate) fn new(size: u32) -> ReceiveWindow {
        ReceiveWindow { left: i64::from(size), size: i64::from(size) }
    }

    /// Takes off `bytes` that arrive, padding included.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Overflow> {
        self.left -= bytes as i64;
        if self.left < 0 { Err(Overflow) } else { Ok(()) }
    }

    pub(crate) fn allows(self, bytes: usize) -> bool {
        bytes as i64 <= self.left
    }

    /// Makes the window at least `size` from the next update on, which is then due earlier.
    pub(crate) fn widen(&mut self, size: u64) {
        self.size = self.size.max(i64::try_from(size).unwrap_or(WINDOW_MAX)).min(WINDOW_MAX);
    }

    /// Returns the increment, once half of the window is used and `expected` exceeds the rest.
    pub(crate) fn update(&mut self, expected: u64) -> Option<u32> {
        let half = self.size - self.size / 2;
        let enough = i64::try_from(expected).unwrap_or(WINDOW_MAX).min(half);
        if self.left >= enough {
            return None;
        }
        let increment = self.size - self.left;
        self.left = self.size;
        u32::try_from(increment).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_window_may_be_negative_but_not_too_large() {
        let mut window = SendWindow::new(3);
        window.spend(3);
        assert_eq!(window.shift(-1), Ok(()));
        assert_eq!(window.available(), 0);
        assert_eq!(window.shift(2), Ok(()));
        assert_eq!(window.available(), 1);
        assert_eq!(window.shift(WINDOW_MAX - 1), Ok(()));
        assert_eq!(window.shift(1), Err(Overflow));
    }

    #[test]
    fn updates_come_once_for_half_a_window() {
        let mut window = ReceiveWindow::new(1000);
        assert_eq!(window.spend(500), Ok(()));
        assert_eq!(window.update(u64::MAX), None);
        assert_eq!(window.spend(1), Ok(()));
        assert_eq!(window.update(499), None, "what is to come has room");
        assert_eq!(window.update(500), Some(501));
        assert_eq!(window.spend(1000), Ok(()));
        assert_eq!(window.spend(1), Err(Overflow));
    }

    #[test]
    fn a_window_of_a_byte_is_granted_again() {
        let mut window = ReceiveWindow::new(1);
        assert_eq!(window.update(u64::MAX), None);
        assert_eq!(window.spend(1), Ok(()));
        assert_eq!(window.update(u64::MAX), Some(1));
    }

    #[test]
    fn a_window_widens_for_a_large_message() {
        let mut window = ReceiveWindow::new(1000);
        window.widen(10_000);
        assert_eq!(window.update(9_000), Some(9_000));
        assert_eq!(window.spend(10_000), Ok(()));
        window.widen(u64::MAX);
        assert_eq!(window.update(u64::MAX), Some(WINDOW_MAX as u32));
    }
}
