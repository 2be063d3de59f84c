//! The contract between a client half and the code that calls it.
//!
//! A client half turns requests into bytes and bytes into responses, in the order that the protocol
//! allows. It has the lending rules of [`super::machine`], and the load generator wraps it into a
//! machine. A request carries one message. A response is a sequence of [`ResponseEvent`]s, and the
//! response of a unary call is one event.

use super::buffers::{Loan, Part, Pool, PooledBuf};
use super::error::WireError;
use super::machine::Context;

/// Client half of one connection.
pub trait Client {
    /// Starts the connection, which is established: writes what precedes the first request.
    fn open(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// Returns the number of requests that the connection can carry at once, as far as is known
    /// now: 1 for HTTP/1.1 without pipelining, and 0 once there will be no more.
    fn in_flight_max(&self) -> usize;

    /// Writes one request whose message is `parts` in order. `id` comes back with the response. The
    /// caller has fewer than [`Client::in_flight_max`] requests without a response.
    fn request(&mut self, id: u32, parts: &[Part<'_>], cx: &mut Context<'_>);

    /// Takes all of `input` and hands each response to `sink`.
    fn receive(
        &mut self,
        input: &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError>;

    /// Lends as [`super::Machine::lend`] does.
    fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        let _ = pool;
        None
    }

    /// Takes a buffer back as [`super::Machine::repay`] does, and delivers the responses that its
    /// bytes complete.
    fn repay(
        &mut self,
        buffer: PooledBuf,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        let _ = (buffer, cx, sink);
        Ok(())
    }

    /// Notes that the outbox has been sent in full.
    fn flushed(&mut self) {}

    /// Notes that the peer will send or take no more; returns an error with the reason when that is
    /// the peer's doing.
    fn end(&mut self) -> Result<(), WireError>;
}

/// Receiver of responses.
pub trait Sink {
    /// Takes the next event of the response to request `id`.
    fn response(&mut self, id: u32, event: ResponseEvent<'_>);
}

/// Event of a response: either one `Whole`, or any number of `Message` and then `End`, or `Failed`
/// at any point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseEvent<'a> {
    /// The only message of a response that has ended well.
    Whole(&'a [u8]),
    /// One message of several; more events follow.
    Message(&'a [u8]),
    /// The response has ended well, after its last `Message`.
    End,
    /// The peer has refused or broken off the request: status and reason as text. No event follows.
    Failed(&'a str),
}
