//! One connection of the load generator over a client half of our own protocols, as a machine for the reactor.
//!
//! A reply is checked where it lies, its slot is freed, and once all replies of a call have been taken the free slots
//! are filled again: requests of one turn go out together. It never sends more than its share, and ends the run on
//! the first thing that is wrong.
//!
//! Times are the reactor's clock, read once a turn: a latency begins with the turn that queued the request and ends
//! with the one that brought the last of its reply, so it is whole turns and counts the client's own work in them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use crate::wire::{Client, Context, Loan, Machine, Part, Pool, Sink, WireError};

use super::LoadError;
use super::run::{Reply, Run, Ticket};

/// What follows the nonce is sent from where it lies when it is at least this long; shorter ones are cheaper to copy.
const SHARE_BYTES_MIN: usize = 8 * 1024;

/// A connection under load.
#[derive(Debug)]
pub struct LoadConnection<C> {
    client: C,
    run: Rc<RefCell<Run>>,
    slots: Slots,
    stamped: Vec<u8>,
    /// Bytes in the buffer that is lent out, as it was.
    lent_len: usize,
}

/// Requests in flight by the id that their connection knows them by.
#[derive(Debug)]
struct Slots {
    tickets: Vec<Option<Ticket>>,
    free: Vec<u32>,
}

/// Takes the replies of one call.
struct Replies<'a> {
    run: &'a mut Run,
    slots: &'a mut Slots,
    now: Instant,
}

impl<C: Client> LoadConnection<C> {
    /// A connection that keeps `share` requests of `run` in flight, or as many as `client` can carry.
    pub fn new(client: C, run: Rc<RefCell<Run>>, share: u32) -> LoadConnection<C> {
        let share = share.min(u32::try_from(client.in_flight_max()).unwrap_or(u32::MAX));
        let slots = Slots { tickets: vec![None; share as usize], free: (0..share).rev().collect() };
        LoadConnection { client, run, slots, stamped: Vec::new(), lent_len: 0 }
    }

    fn fill(&mut self, cx: &mut Context<'_>) {
        let mut run = self.run.borrow_mut();
        let queued = cx.out.len();
        while let Some(&slot) = self.slots.free.last() {
            let Some(ticket) = run.next(cx.now) else { break };
            self.slots.free.pop();
            self.slots.tickets[slot as usize] = Some(ticket);
            let message = run.message();
            let (form, nonce) = (message.form(), message.nonce());
            self.stamped.clear();
            form.stamp(nonce, ticket.request, &mut self.stamped);
            let rest = form.stamped_len()..form.len();
            if rest.len() >= SHARE_BYTES_MIN {
                let rest = Part::Share(form.bytes(), rest);
                self.client.request(slot, &[Part::Copy(&self.stamped), rest], cx);
            } else {
                self.stamped.extend_from_slice(&form.bytes()[rest]);
                self.client.request(slot, &[Part::Copy(&self.stamped)], cx);
            }
        }
        run.traffic().sent(cx.out.len() - queued);
    }

    /// Lets the client take something, checks the replies that come of it, and asks for more.
    fn take(
        &mut self,
        cx: &mut Context<'_>,
        give: impl FnOnce(&mut C, &mut Context<'_>, &mut dyn Sink) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        let mut run = self.run.borrow_mut();
        let mut replies = Replies { run: &mut run, slots: &mut self.slots, now: cx.now };
        let taken = give(&mut self.client, cx, &mut replies);
        if let Err(error) = &taken {
            run.fail(LoadError::Wire(error.clone()));
        }
        drop(run);
        self.fill(cx);
        taken
    }
}

impl<C: Client> Machine for LoadConnection<C> {
    fn open(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.fill(cx);
        Ok(())
    }

    fn receive(&mut self, input: &[u8], cx: &mut Context<'_>) -> Result<(), WireError> {
        self.run.borrow().traffic().received(input.len());
        self.take(cx, |client, cx, sink| client.receive(input, cx, sink))
    }

    fn lend(&mut self, pool: &mut Pool) -> Option<Loan> {
        let loan = self.client.lend(pool)?;
        self.lent_len = loan.buffer.len();
        Some(loan)
    }

    fn repay(&mut self, buffer: Vec<u8>, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.run.borrow().traffic().received(buffer.len() - self.lent_len);
        self.take(cx, |client, cx, sink| client.repay(buffer, cx, sink))
    }

    fn end(&mut self, _: &mut Context<'_>) -> Result<(), WireError> {
        self.run.borrow_mut().closed();
        self.client.end()
    }

    fn drain(&mut self, _: &mut Context<'_>) {}

    fn finished(&self) -> bool {
        self.run.borrow().over()
    }
}

impl<C> Drop for LoadConnection<C> {
    /// A reactor that gives a connection up (reset, refused) drops it; the run must not wait for its replies.
    fn drop(&mut self) {
        self.run.borrow_mut().closed();
    }
}

impl Sink for Replies<'_> {
    fn reply(&mut self, id: u32, body: Result<&[u8], &str>) {
        let Some(ticket) = self.slots.tickets.get_mut(id as usize).and_then(Option::take) else {
            return self.run.fail(LoadError::Unasked { id });
        };
        self.slots.free.push(id);
        let reply = body.map_or_else(Reply::Refused, Reply::Body);
        self.run.reply(ticket, reply, self.now);
    }
}

#[cfg(test)]
mod tests;
