//! One stream: its state, the message that arrives and the message that leaves.
//!
//! ```text
//!            HEADERS                END_STREAM from the peer
//!   idle ───────────────▶ open ────────────────────────────▶ half-closed (remote)
//!                           │                                          │
//!                 our END_STREAM                             our END_STREAM
//!                           ▼                                          ▼
//!                 half-closed (local) ────────────────────────────▶ closed
//!                               END_STREAM from the peer
//! ```
//! Idle and closed streams are not in the table ([`super::history`] knows them); RST_STREAM ends
//! any state. A call that lies whole in the input needs no stream. RFC 9113 section 5.1.

use super::inbound::Inbound;
use super::outbound::Outbound;
use crate::wire::progress::Progress;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    #[default]
    Idle,
    Open,
    HalfClosedRemote,
    HalfClosedLocal,
    /// About to leave the table.
    Closed,
}

impl State {
    pub(crate) fn receive_end(&mut self) {
        debug_assert!(self.receives());
        *self = if *self == State::Open { State::HalfClosedRemote } else { State::Closed };
    }

    pub(crate) fn send_end(&mut self) {
        debug_assert!(self.sends());
        *self = if *self == State::Open { State::HalfClosedLocal } else { State::Closed };
    }

    pub(crate) fn receives(self) -> bool {
        matches!(self, State::Open | State::HalfClosedLocal)
    }

    pub(crate) fn sends(self) -> bool {
        matches!(self, State::Open | State::HalfClosedRemote)
    }
}

/// Stream in the table; `T` is the half's state of it.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    pub(crate) id: u32,
    pub(crate) state: State,
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    /// Progress of the side that the stream waits for: of the peer's content, then of our message
    /// through the windows.
    pub(crate) progress: Progress,
    pub(crate) data: T,
}

impl<T: Default> Stream<T> {
    pub(super) fn idle(progress: Progress) -> Stream<T> {
        Stream {
            id: 0,
            state: State::Idle,
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            progress,
            data: T::default(),
        }
    }

    #[inline]
    pub(super) fn open(&mut self, id: u32, progress: Progress) {
        debug_assert!(self.state == State::Idle);
        (self.id, self.state, self.progress) = (id, State::Open, progress);
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.id = 0;
        self.state = State::Idle;
        self.inbound.clear();
        self.outbound.clear();
        self.data = T::default();
    }
}

impl<T> Stream<T> {
    #[inline]
    pub(crate) fn send_window(&self) -> usize {
        self.outbound.window.available()
    }

    pub(crate) fn unsent_bytes(&self) -> usize {
        self.outbound.unsent_bytes()
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.outbound.is_sending()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_closes_when_both_sides_have_ended() {
        let mut state = State::Open;
        state.receive_end();
        assert_eq!(
            (state, state.receives(), state.sends()),
            (State::HalfClosedRemote, false, true)
        );
        state.send_end();
        assert_eq!(state, State::Closed);
        let mut state = State::Open;
        state.send_end();
        assert_eq!((state, state.receives(), state.sends()), (State::HalfClosedLocal, true, false));
        state.receive_end();
        assert_eq!((state, state.receives(), state.sends()), (State::Closed, false, false));
    }
}
