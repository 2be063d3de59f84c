//! Sending side of a stream. Only the send queue changes it.

use super::outgoing::Outgoing;
use crate::wire::h2::flow::SendWindow;

/// Sending side of a stream.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    pub(super) window: SendWindow,
    /// Message of which some is not sent.
    pub(super) message: Option<Outgoing>,
    /// True while the stream is in the send queue.
    pub(super) queued: bool,
}

impl Outbound {
    /// Prepares the sending side of a stream whose peer takes `window` bytes at first.
    #[inline]
    pub(crate) fn open(&mut self, window: u32) {
        self.window = SendWindow::new(window);
    }

    pub(super) fn clear(&mut self) {
        self.message = None;
        self.queued = false;
    }

    pub(super) fn is_sending(&self) -> bool {
        self.message.as_ref().is_some_and(|message| !message.is_idle())
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.message.as_ref().map_or(0, Outgoing::left)
    }
}
