//! The contract between a machine and the caller that drives it.
//!
//! ```text
//!            bytes                     small messages: the caller's buffer, borrowed for the call
//! caller ───────────▶ receive ──▶ Outbox
//!            lend ◀── machine          large messages: the machine lends the message's own buffer,
//!            repay ──▶                 the caller receives into its spare room and gives it back
//! ```
//!
//! 1. `receive` consumes all of its input. The machine keeps the beginning of an unfinished
//!    message.
//! 2. After every call the caller calls [`Machine::lend`]. On `Some(loan)` it owns the buffer,
//!    receives at most `loan.want` more bytes at its end, and returns it by [`Machine::repay`]
//!    before it feeds anything else: also when nothing came, when the peer ended (`repay`, then
//!    `end`) and when the deadline passes (the caller takes the receive back, repays what came, and
//!    reads [`Machine::deadline`] again before it calls `expire`).
//! 3. The caller sends the content of the outbox, in order, and stops reading while the outbox is
//!    over its limit.
//! 4. After [`Machine::finished`] is true or a call has returned an error, the caller feeds nothing
//!    more. The outbox may hold a last message (the reason of a refusal), so in both cases the
//!    caller sends all of it and then closes as rule 5 says. An error also counts as the peer's
//!    fault.
//! 5. Closing lingers: a socket that is closed with unread input sends RST, and the peer loses the
//!    response that explains the close. The caller shuts its write side down, reads and discards
//!    until the peer ends, no byte has come for [`LINGER_GAP`], or [`LINGER_TIME`] is over, and
//!    then closes. It closes at once when the peer has already ended or the worker is draining.
//! 6. The caller calls [`Pool::trim`] about once a second, so that an idle server gives its memory
//!    back.

use std::time::{Duration, Instant};

use super::buffers::{Loan, Outbox, Pool, PooledBuf};
use super::error::WireError;
use super::limits::LimitCounts;

/// Longest wait of a closing connection for the next byte of a peer that has not ended.
pub const LINGER_GAP: Duration = Duration::from_secs(2);

/// Longest time for which a closing connection discards input.
pub const LINGER_TIME: Duration = Duration::from_secs(10);

/// Resources of the caller that a machine may use during one call; the caller's connections share
/// them.
pub struct Context<'a> {
    pub out: &'a mut Outbox,
    pub pool: &'a Pool,
    /// The caller's clock, read once in each turn of its loop.
    pub now: Instant,
}

/// One connection of one own protocol, driven by rules 1 to 6 of the module.
pub trait Machine {
    /// Starts the connection, which is established. A client half writes its first bytes here.
    fn open(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let _ = cx;
        Ok(())
    }

    /// Takes all of `input`, which is never empty.
    fn receive(&mut self, input: &[u8], cx: &mut Context<'_>) -> Result<(), WireError>;

    /// Offers the buffer of a large message that is still arriving. `None` asks for
    /// [`Machine::receive`].
    fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        let _ = pool;
        None
    }

    /// Takes a lent buffer back, which has gained from 0 to `want` bytes.
    fn repay(&mut self, buffer: PooledBuf, cx: &mut Context<'_>) -> Result<(), WireError> {
        let _ = (buffer, cx);
        Ok(())
    }

    /// Notes that the outbox has been sent in full.
    fn flushed(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let _ = cx;
        Ok(())
    }

    /// Notes that the peer will send no more (FIN).
    fn end(&mut self, cx: &mut Context<'_>) -> Result<(), WireError>;

    /// Starts the shutdown: finishes open requests, takes no new ones, and then becomes finished.
    fn drain(&mut self, cx: &mut Context<'_>);

    /// Moment at which to call [`Machine::expire`], if nothing happens before.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Handles a deadline that has passed.
    fn expire(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let _ = cx;
        Ok(())
    }

    /// Returns true once the machine needs no more input: the caller sends the rest of the outbox
    /// and closes.
    fn finished(&self) -> bool;

    /// Returns the limits that the peer has run into so far.
    fn limits(&self) -> LimitCounts {
        LimitCounts::default()
    }
}
