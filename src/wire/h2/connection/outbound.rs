//! Sending side of a stream. Only the send queue changes it.

use super::outgoing::Outgoing;
use crate::wire::h2::flow::SendWindow;

/// Sending side of a stream.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(super) window: SendWindow,
    /// Message of which some is not sent.
    pub(super) message: Option<Outgoing>,
    /// True while the stream is in the send queue.
    pub(super) queued: bool,
}

impl Outbound {
    /// Makes the sending side of a stream whose peer takes `window` bytes at first.
    pub(crate) fn new(window: u32) -> Outbound {
        Outbound { window: SendWindow::new(window), message: None, queued: false }
    }

    pub(super) fn is_sending(&self) -> bool {
        self.message.is_some()
    }
}
