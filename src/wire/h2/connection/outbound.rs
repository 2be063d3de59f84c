//! Sending side of a stream. Only the send queue changes it.

use super::outgoing::Outgoing;
use crate::wire::h2::flow::SendWindow;

#[derive(Debug, Default)]
pub(crate) struct Outbound {
    pub(super) window: SendWindow,
    pub(super) message: Option<Outgoing>,
    pub(super) queued: bool,
}

impl Outbound {
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
