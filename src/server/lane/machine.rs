//! Lane of an own protocol: the machine, fed as a ring would feed it.

use std::io::IoSlice;
use std::time::Instant;

use crate::wire::{Batch, Context, Machine, Outbox, Pool};

use super::peer::Peer;
use super::{LaneError, Running};

/// Bytes that a ring brings at once.
const RING_BYTES: usize = 64 * 1024;

/// Slices that leave at once.
const SLICES: usize = 64;

pub(super) struct Wired<M> {
    machine: M,
    out: Outbox,
    batch: Batch,
    pool: Pool,
    /// The time stands still.
    now: Instant,
    peer: Peer,
}

impl<M: Machine> Wired<M> {
    pub(super) fn new(machine: M, peer: Peer, pool: Pool) -> Result<Wired<M>, LaneError> {
        let (out, batch) = Default::default();
        let mut wired = Wired { machine, out, batch, pool, now: Instant::now(), peer };
        wired.act(|machine, cx| machine.open(cx))?;
        Ok(wired)
    }

    fn act(
        &mut self,
        act: impl FnOnce(&mut M, &mut Context<'_>) -> Result<(), crate::wire::WireError>,
    ) -> Result<(), LaneError> {
        let mut cx = Context { out: &mut self.out, pool: &self.pool, now: self.now };
        Ok(act(&mut self.machine, &mut cx)?)
    }

    /// Feeds the machine once. Returns false if the peer has nothing to send.
    fn feed(&mut self) -> Result<bool, LaneError> {
        let input = self.peer.input();
        if input.is_empty() {
            return Ok(false);
        }
        let mut cx = Context { out: &mut self.out, pool: &self.pool, now: self.now };
        let loan = self.machine.lend(cx.pool);
        let length = input.len().min(loan.as_ref().map_or(RING_BYTES, |loan| loan.want));
        let bytes = &input[..length];
        match loan {
            Some(mut loan) => {
                loan.buffer.extend_from_slice(bytes);
                self.machine.repay(loan.buffer, &mut cx)?;
            }
            None => self.machine.receive(bytes, &mut cx)?,
        }
        self.peer.sent(length);
        Ok(true)
    }

    /// Gives everything that waits to the peer. Returns false if nothing does.
    fn drain(&mut self) -> Result<bool, LaneError> {
        if self.out.is_empty() {
            return Ok(false);
        }
        self.out.batch_sent();
        self.out.take(&mut self.batch);
        while !self.batch.is_empty() {
            let mut slots = [IoSlice::new(&[]); SLICES];
            let filled = self.batch.slices(&mut slots);
            let mut length = 0;
            for slot in &slots[..filled] {
                self.peer.output(slot)?;
                length += slot.len();
            }
            self.batch.advance(length);
        }
        self.act(|machine, cx| machine.flushed(cx))?;
        Ok(true)
    }
}

impl<M: Machine> Running for Wired<M> {
    fn turns(&mut self, count: u32) -> Result<(), LaneError> {
        self.peer.allow(count);
        while !self.peer.is_done() {
            let (fed, drained) = (self.feed()?, self.drain()?);
            if !fed && !drained {
                return Err(self.peer.stuck());
            }
        }
        Ok(())
    }
}
