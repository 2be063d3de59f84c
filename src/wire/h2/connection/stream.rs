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
//! Idle and closed streams are not in the table ([`super::history`] knows them), and RST_STREAM
//! takes a stream out of it in any state. A call that lies whole in the input is answered without a
//! stream. RFC 9113 section 5.1.

use std::time::Instant;

use super::inbound::Inbound;
use super::outbound::Outbound;

/// State of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// Place in the table that is not in use.
    #[default]
    Idle,
    Open,
    /// The peer has ended its side.
    HalfClosedRemote,
    /// We have ended ours.
    HalfClosedLocal,
    /// Both sides have ended; the stream is about to leave the table.
    Closed,
}

impl State {
    /// Records END_STREAM from the peer, which must still be open.
    pub(crate) fn receive_end(&mut self) {
        debug_assert!(self.receives());
        *self = if *self == State::Open { State::HalfClosedRemote } else { State::Closed };
    }

    /// Records our END_STREAM.
    pub(crate) fn send_end(&mut self) {
        debug_assert!(self.sends());
        *self = if *self == State::Open { State::HalfClosedLocal } else { State::Closed };
    }

    /// Returns true while the peer may send HEADERS and DATA.
    pub(crate) fn receives(self) -> bool {
        matches!(self, State::Open | State::HalfClosedLocal)
    }

    /// Returns true while we have not ended our side.
    pub(crate) fn sends(self) -> bool {
        matches!(self, State::Open | State::HalfClosedRemote)
    }
}

/// Stream in the table; `T` is the state that a half keeps for it.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    pub(crate) id: u32,
    pub(crate) state: State,
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    /// Time of the last byte in either direction.
    pub(crate) touched: Instant,
    pub(crate) data: T,
}

impl<T: Default> Stream<T> {
    /// Makes a place for streams.
    pub(super) fn idle(now: Instant) -> Stream<T> {
        Stream {
            id: 0,
            state: State::Idle,
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            touched: now,
            data: T::default(),
        }
    }

    /// Opens stream `id` in an idle place.
    #[inline]
    pub(super) fn open(&mut self, id: u32, now: Instant) {
        debug_assert!(self.state == State::Idle);
        (self.id, self.state, self.touched) = (id, State::Open, now);
    }

    /// Empties the place; buffers return to their pool.
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
    /// Returns the bytes that the stream's window allows us to send.
    #[inline]
    pub(crate) fn send_window(&self) -> usize {
        self.outbound.window.available()
    }

    /// Returns the bytes of our messages that wait to be sent.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.outbound.unsent_bytes()
    }

    /// Returns true while a message of ours is not sent in full.
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
