//! The contract between a client half and the code that calls it.
//!
//! A client half turns requests into bytes and bytes into responses, with the lending rules of
//! [`super::machine`]. A request carries one message, a response a sequence of [`ResponseEvent`]s.

use super::buffers::{Loan, Part, Pool, PooledBuf};
use super::error::WireError;
use super::machine::Context;

pub trait Client {
    /// Writes the bytes that precede the first request; the connection is established.
    fn open(&mut self, _cx: &mut Context<'_>) {}

    /// Returns the number of requests that the connection can carry at once; 0 means none
    /// before the end of a handshake, or none any more.
    fn in_flight_max(&self) -> usize;

    /// Returns true once the peer has announced that it ends the connection without a fault. The
    /// connection carries no more requests; those in flight are still answered.
    fn is_leaving(&self) -> bool {
        false
    }

    /// Writes one request; `id` comes back with its response. Fewer than [`Client::in_flight_max`]
    /// requests may be without a response.
    fn request(&mut self, id: u32, parts: &[Part<'_>], cx: &mut Context<'_>);

    fn receive(
        &mut self,
        input: &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError>;

    fn lend(&mut self, _pool: &Pool) -> Option<Loan> {
        None
    }

    /// Takes a buffer back and delivers the responses that its bytes complete.
    fn repay(
        &mut self,
        _buffer: PooledBuf,
        _cx: &mut Context<'_>,
        _sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        Ok(())
    }

    /// Notes that the outbox has been sent in full.
    fn flushed(&mut self) {}

    /// Notes that the peer sends or takes no more; an error says that this is the peer's fault.
    fn end(&mut self) -> Result<(), WireError>;
}

pub trait Sink {
    fn response(&mut self, id: u32, event: ResponseEvent<'_>);
}

/// Event of a response: `Whole` or `Coded`, or `Message`s and an `End`, or `Failed` or
/// `Unprocessed` at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseEvent<'a> {
    Whole(&'a [u8]),
    /// Whole message in the coding that the client sends.
    Coded(&'a [u8]),
    Message(&'a [u8]),
    End,
    /// Status and reason as text. No event follows.
    Failed(&'a str),
    /// The peer is leaving and has not processed the request, which may be sent again on another
    /// connection. No event follows.
    Unprocessed,
}
