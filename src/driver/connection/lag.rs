//! Time in which the worker was busy with another request, so that no peer was served.

use std::time::Duration;

use super::Connection;

impl Connection {
    /// Leaves `time` out of all deadlines: the worker was busy and served no connection.
    pub(crate) fn lag(&mut self, time: Duration) {
        if self.paused.is_none() {
            self.machine.paused(time);
        }
        if let Some(sending) = &mut self.sending {
            sending.pause(time);
        }
    }
}
