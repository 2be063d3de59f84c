//! Loans: a large message is received straight into its own buffer, which is lent to the caller.

use super::Connection;
use super::stage::{OpenLoan, Stage};
use crate::wire::h2::error::Fault;
use crate::wire::{Context, DIRECT_BYTES_MIN, Loan, Pool, PooledBuf};

impl<T: Default> Connection<T> {
    /// Offers the buffer of a message with a long piece due in the current frame.
    pub(crate) fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        let Stage::Data(frame) = &mut self.stage else { return None };
        if self.open_loan.is_some() || (frame.left < DIRECT_BYTES_MIN && !frame.direct) {
            return None;
        }
        let inbound = &mut self.streams.get(frame.stream)?.inbound;
        if inbound.is_stream() {
            return None;
        }
        let loan = inbound.message()?.lend(frame.left, pool)?;
        frame.direct = true;
        self.open_loan = Some(OpenLoan { stream: frame.stream, len: loan.buffer.len() });
        Some(loan)
    }

    /// Takes a lent buffer back; events follow from [`Connection::next_event`].
    pub(crate) fn repay(&mut self, buffer: PooledBuf, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Some(OpenLoan { stream: id, len }) = self.open_loan.take() else { return Ok(()) };
        let gained = buffer.len() - len;
        if let Stage::Data(frame) = &mut self.stage {
            debug_assert!(gained <= frame.left);
            frame.left -= gained.min(frame.left);
        }
        let Some(stream) = self.streams.get(id) else { return Ok(()) };
        if let Some(message) = stream.inbound.message() {
            message.repay(buffer);
        }
        stream.arrived(gained, self.limits.body_pace(), cx)
    }
}
