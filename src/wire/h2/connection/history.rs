//! Streams that are not in the table.
//!
//! The highest number, the last resets and the last skipped ranges tell a late frame, which is
//! ignored, from a wrong one. RFC 9113 section 5.1.

use std::collections::VecDeque;

/// All open streams may be reset together.
pub(crate) const RESETS_REMEMBERED: usize = 1024;

const SKIPS_REMEMBERED: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct StreamHistory {
    last: u32,
    resets: VecDeque<u32>,
    /// First and last number of each range that was skipped and may no longer be used.
    skips: VecDeque<(u32, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoneStream {
    Idle,
    Skipped,
    /// Reset by us; the peer may not know yet.
    Reset,
    Closed,
}

impl StreamHistory {
    /// Returns the highest opened number, or 0.
    pub(crate) fn last(&self) -> u32 {
        self.last
    }

    /// Records a new stream, odd and higher than any before.
    pub(crate) fn open(&mut self, id: u32) {
        let expected = if self.last == 0 { 1 } else { self.last + 2 };
        if id > expected {
            if self.skips.len() == SKIPS_REMEMBERED {
                self.skips.pop_front();
            }
            self.skips.push_back((expected, id - 2));
        }
        self.last = id;
    }

    pub(crate) fn reset(&mut self, id: u32) {
        if self.resets.len() == RESETS_REMEMBERED {
            self.resets.pop_front();
        }
        self.resets.push_back(id);
    }

    /// Returns the state of `id`, which must not be in the table.
    pub(crate) fn state(&self, id: u32) -> GoneStream {
        if id > self.last || id.is_multiple_of(2) {
            return GoneStream::Idle;
        }
        if self.resets.contains(&id) {
            return GoneStream::Reset;
        }
        if self.skips.iter().any(|(first, last)| (*first..=*last).contains(&id)) {
            return GoneStream::Skipped;
        }
        GoneStream::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_streams_are_told_apart() {
        let mut history = StreamHistory::default();
        assert_eq!(history.state(1), GoneStream::Idle);
        history.open(1);
        history.open(7);
        assert_eq!(history.state(1), GoneStream::Closed);
        assert_eq!([3, 5].map(|id| history.state(id)), [GoneStream::Skipped; 2]);
        assert_eq!([9, 2].map(|id| history.state(id)), [GoneStream::Idle; 2]);
        history.reset(7);
        assert_eq!(history.state(7), GoneStream::Reset);
        for id in 0..10_000 {
            history.open(11 + 4 * id);
            history.reset(11 + 4 * id);
        }
        assert_eq!(history.resets.len(), RESETS_REMEMBERED);
        assert_eq!(history.skips.len(), SKIPS_REMEMBERED);
        assert_eq!(history.state(7), GoneStream::Closed, "forgotten");
    }
}
