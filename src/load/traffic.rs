//! Traffic of a run, which every connection counts.

use std::cell::Cell;

use crate::record::Http2Settings;

/// Bytes on the wire of all connections, with framing, and the SETTINGS of both sides.
#[derive(Debug, Default)]
pub struct Traffic {
    pub bytes_out: Cell<u64>,
    pub bytes_in: Cell<u64>,
    pub server_settings: Cell<Option<Http2Settings>>,
    pub client_settings: Cell<Option<Http2Settings>>,
}

impl Traffic {
    pub fn sent(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
    }

    pub fn received(&self, bytes: usize) {
        self.bytes_in.set(self.bytes_in.get() + bytes as u64);
    }
}
