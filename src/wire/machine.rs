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
//!    `end`) and when the deadline passes (`repay`, then [`Machine::deadline`] again before
//!    `expire`).
//! 3. The caller sends the outbox in order, and stops reading while the outbox is over its limit.
//!    It calls [`Outbox::batch_sent`] before it takes a further batch, and [`Machine::flushed`]
//!    when all has been sent. After a time without reading it calls [`Machine::paused`]; within
//!    that time it asks for no deadline.
//! 4. After [`Machine::finished`] is true or a call has returned an error (the peer's fault), the
//!    caller feeds nothing more, sends the rest of the outbox (perhaps a refusal) and closes.
//! 5. Closing lingers: a socket that is closed with unread input sends RST, and the peer loses the
//!    last response. The caller shuts its write side down and discards input until the peer ends,
//!    no byte has come for [`LINGER_GAP`], or [`LINGER_TIME`] is over. It closes at once when the
//!    peer has ended or the worker is draining.
//! 6. After every call the caller takes the jobs of the outbox ([`Outbox::take_job`]), runs them on
//!    another thread or later, and calls [`Machine::jobs_ended`] after the end of each. A machine
//!    that answers in order takes no input meanwhile ([`Machine::is_working`]): the caller stops
//!    reading, and the machine keeps what comes all the same.
//! 7. The caller calls [`Pool::trim`] about once a second, to give memory back.

use std::time::{Duration, Instant};

use super::buffers::{Loan, Outbox, Pool, PooledBuf};
use super::error::WireError;

/// Longest wait of a closing connection for the next byte.
pub const LINGER_GAP: Duration = Duration::from_secs(2);

pub const LINGER_TIME: Duration = Duration::from_secs(10);

/// Resources of the caller that all of its connections share.
pub struct Context<'a> {
    pub out: &'a mut Outbox,
    pub pool: &'a Pool,
    pub now: Instant,
}

pub trait Machine {
    fn open(&mut self, _cx: &mut Context<'_>) -> Result<(), WireError> {
        Ok(())
    }

    fn receive(&mut self, input: &[u8], cx: &mut Context<'_>) -> Result<(), WireError>;

    /// Offers the buffer of a large message that is arriving; `None` asks for [`Machine::receive`].
    fn lend(&mut self, _pool: &Pool) -> Option<Loan> {
        None
    }

    /// Takes back a buffer that has gained 0 to `want` bytes.
    fn repay(&mut self, _buffer: PooledBuf, _cx: &mut Context<'_>) -> Result<(), WireError> {
        Ok(())
    }

    /// Takes the results of jobs that have ended.
    fn jobs_ended(&mut self, _cx: &mut Context<'_>) -> Result<(), WireError> {
        Ok(())
    }

    /// Returns true while a job must end before the machine takes input.
    fn is_working(&self) -> bool {
        false
    }

    /// Notes that all output has been sent.
    fn flushed(&mut self, _cx: &mut Context<'_>) -> Result<(), WireError> {
        Ok(())
    }

    fn end(&mut self, cx: &mut Context<'_>) -> Result<(), WireError>;

    /// Answers the requests that have arrived, takes no later ones, and then becomes finished. A
    /// machine that cannot know whether one has arrived waits for [`Limits::drain_grace`].
    ///
    /// [`Limits::drain_grace`]: super::Limits::drain_grace
    fn drain(&mut self, cx: &mut Context<'_>);

    /// Notes whether more bytes have perhaps arrived behind the next input. The caller says so only
    /// after [`Machine::drain`].
    fn input_follows(&mut self, _follows: bool) {}

    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Leaves `time` out of all deadlines: the caller did not read, as too much output was unsent.
    fn paused(&mut self, _time: Duration) {}

    fn expire(&mut self, _cx: &mut Context<'_>) -> Result<(), WireError> {
        Ok(())
    }

    /// Returns true if the next input belongs to a body that the machine keeps. The caller may
    /// leave it in the socket while memory is short.
    fn is_gathering(&self) -> bool {
        false
    }

    /// Returns the time of the last request or response if no request is in progress. Frames that
    /// only keep a connection alive do not count.
    fn idle_since(&self) -> Option<Instant> {
        None
    }

    /// Limits the connection to requests for the server's health. All others are refused, as no
    /// place is free.
    fn restrict(&mut self) {}

    /// Ends an idle connection, whose place another one needs.
    fn retire(&mut self, _cx: &mut Context<'_>) {}

    /// Returns true once the machine needs no more input.
    fn finished(&self) -> bool;
}
