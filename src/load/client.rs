//! Connection of the load generator over a client half of our own protocols, for the reactor.
//!
//! A reply is checked in place and frees its slot. The free slots are filled after all replies of a
//! call, so the requests of one turn go out together. The first error ends the run.
//!
//! A server may end a connection between two requests: by `Connection: close`, by a GOAWAY with
//! NO_ERROR, or because no request is in flight. The connection then asks the run for a successor,
//! once its requests have been answered, and hands back those that the server has not processed. A
//! connection that ends with a request that may have been processed is a failure: sent again, the
//! request could be counted twice. So is one that ends before its first reply, because its
//! successors would end as well.
//!
//! Times are those of the reactor, read once a turn. A latency begins with the turn that queued the
//! request and ends with the turn that brought the last byte of the reply, so it includes the work
//! of the client in these turns.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use crate::axis::Coding;
use crate::driver::Connected;
use crate::record::Http2Settings;
use crate::wire::h1::H1Client;
use crate::wire::h2::{H2Client, Settings};
use crate::wire::raw::RawClient;
use crate::wire::zmtp::ZmtpClient;
use crate::wire::{
    Client, Context, ErrorKind, Loan, Machine, Part, Pool, PooledBuf, ResponseEvent, Sink,
    WireError,
};

use super::LoadError;
use super::message::Message;
use super::run::{Reply, Run, Ticket};

/// Least length at which the bytes after the nonce are shared and not copied.
const SHARE_BYTES_MIN: usize = 8 * 1024;

#[derive(Debug)]
pub struct LoadConnection<C> {
    client: C,
    pub(super) run: Rc<RefCell<Run>>,
    slots: Slots,
    stamped: Vec<u8>,
    /// Request in the coding of the load.
    coded: Vec<u8>,
    /// Number among the connections of the run.
    index: usize,
    lent_len: usize,
    /// True once the run knows that the connection takes no more requests.
    has_left: bool,
}

#[derive(Debug)]
struct Slots {
    tickets: Vec<Option<Ticket>>,
    free: Vec<u32>,
    free_since: Instant,
    has_answered: bool,
}

struct Replies<'a> {
    run: &'a mut Run,
    slots: &'a mut Slots,
    now: Instant,
}

pub trait LoadClient: Client {
    /// Returns the SETTINGS of the server, once they have come, and of the client.
    fn http2_settings(&self) -> (Option<Http2Settings>, Option<Http2Settings>) {
        (None, None)
    }
}

impl LoadClient for RawClient {}
impl LoadClient for H1Client {}
impl LoadClient for ZmtpClient {}

impl LoadClient for H2Client {
    fn http2_settings(&self) -> (Option<Http2Settings>, Option<Http2Settings>) {
        (self.peer_settings().map(http2), Some(http2(self.own_settings())))
    }
}

impl<C: LoadClient> LoadConnection<C> {
    /// Keeps `share` requests in flight, or as many as `client` can carry; fewer in an open loop.
    pub fn new(client: C, run: Rc<RefCell<Run>>, index: usize, share: u32) -> LoadConnection<C> {
        let slots = Slots {
            tickets: vec![None; share as usize],
            free: (0..share).rev().collect(),
            free_since: Instant::now(),
            has_answered: false,
        };
        let (stamped, coded) = (Vec::new(), Vec::new());
        LoadConnection { client, run, slots, stamped, coded, index, lent_len: 0, has_left: false }
    }

    fn fill(&mut self, now: Instant, cx: &mut Context<'_>) {
        let mut run = self.run.borrow_mut();
        while let Some(&slot) = self.slots.free.last() {
            if self.slots.in_flight() >= self.client.in_flight_max() {
                break;
            }
            let Some(ticket) = run.next(now, self.slots.free_since, self.index) else { break };
            self.slots.free.pop();
            self.slots.tickets[slot as usize] = Some(ticket);
            let Message { form, nonce, .. } = run.message(ticket.request);
            self.stamped.clear();
            form.stamp(nonce, ticket.request, &mut self.stamped);
            let rest = form.stamped_len..form.bytes.len();
            if run.coder().coding != Coding::Identity {
                self.coded.clear();
                run.coder().deflate(&[&self.stamped, &form.bytes[rest]], &mut self.coded);
                self.client.request(slot, &[Part::Copy(&self.coded)], cx);
                continue;
            }
            if rest.len() >= SHARE_BYTES_MIN {
                let rest = Part::Share(&form.bytes, rest);
                self.client.request(slot, &[Part::Copy(&self.stamped), rest], cx);
            } else {
                self.stamped.extend_from_slice(&form.bytes[rest]);
                self.client.request(slot, &[Part::Copy(&self.stamped)], cx);
            }
        }
    }

    fn take(
        &mut self,
        cx: &mut Context<'_>,
        give: impl FnOnce(&mut C, &mut Context<'_>, &mut dyn Sink) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        let queued = cx.out.len();
        let mut run = self.run.borrow_mut();
        let mut replies = Replies { run: &mut run, slots: &mut self.slots, now: cx.now };
        let taken = give(&mut self.client, cx, &mut replies);
        if run.traffic().server_settings.get().is_none() {
            run.traffic().server_settings.set(self.client.http2_settings().0);
        }
        let leaves = self.client.is_leaving() && self.slots.are_idle();
        match &taken {
            Err(error) if !leaves => run.broken(LoadError::Wire(error.clone())),
            _ => {}
        }
        drop(run);
        if leaves {
            self.leave();
        } else {
            self.fill(cx.now, cx);
        }
        self.run.borrow().traffic().sent(cx.out.len() - queued);
        if leaves { Ok(()) } else { taken }
    }

    /// Asks for a successor of a connection that the server has ended.
    fn leave(&mut self) {
        if !std::mem::replace(&mut self.has_left, true) {
            self.run.borrow_mut().ended(self.index);
        }
    }
}

impl<C: LoadClient> Machine for LoadConnection<C> {
    fn open(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.client.open(cx);
        self.run.borrow().traffic().client_settings.set(self.client.http2_settings().1);
        self.fill(cx.now, cx);
        self.run.borrow().traffic().sent(cx.out.len());
        Ok(())
    }

    fn receive(&mut self, input: &[u8], cx: &mut Context<'_>) -> Result<(), WireError> {
        self.run.borrow().traffic().received(input.len());
        self.take(cx, |client, cx, sink| client.receive(input, cx, sink))
    }

    fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        let loan = self.client.lend(pool)?;
        self.lent_len = loan.buffer.len();
        Some(loan)
    }

    fn repay(&mut self, buffer: PooledBuf, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.run.borrow().traffic().received(buffer.len() - self.lent_len);
        self.take(cx, |client, cx, sink| client.repay(buffer, cx, sink))
    }

    fn flushed(&mut self, _: &mut Context<'_>) -> Result<(), WireError> {
        self.client.flushed();
        Ok(())
    }

    fn end(&mut self, _: &mut Context<'_>) -> Result<(), WireError> {
        let ended = self.client.end();
        if self.slots.are_idle() && (ended.is_ok() || self.client.is_leaving()) {
            self.leave();
        }
        if self.has_left {
            return Ok(());
        }
        let mut run = self.run.borrow_mut();
        match &ended {
            Err(why) if why.kind == ErrorKind::Violation => {
                run.broken(LoadError::Wire(why.clone()))
            }
            _ => run.closed(),
        }
        drop(run);
        ended
    }

    fn drain(&mut self, _: &mut Context<'_>) {}

    fn finished(&self) -> bool {
        self.has_left || self.run.borrow().over()
    }
}

impl<C: LoadClient + 'static> Connected for LoadConnection<C> {
    /// Sends the request that is due. The clock of the turn is older, so it is read again.
    fn resume(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let queued = cx.out.len();
        self.fill(Instant::now(), cx);
        self.run.borrow().traffic().sent(cx.out.len() - queued);
        Ok(())
    }
}

impl<C> Drop for LoadConnection<C> {
    /// Ends the wait for replies if the reactor drops a connection that was reset or refused.
    fn drop(&mut self) {
        if !self.has_left {
            self.run.borrow_mut().closed();
        }
    }
}

impl Slots {
    /// Returns true if every request has been answered, and there was one.
    fn are_idle(&self) -> bool {
        self.has_answered && self.in_flight() == 0
    }

    fn in_flight(&self) -> usize {
        self.tickets.len() - self.free.len()
    }
}

impl Sink for Replies<'_> {
    fn response(&mut self, id: u32, event: ResponseEvent<'_>) {
        let Some(ticket) = self.slots.tickets.get_mut(id as usize).and_then(Option::take) else {
            return self.run.fail(LoadError::Unasked { id });
        };
        if self.slots.free.is_empty() {
            self.slots.free_since = self.now;
        }
        self.slots.free.push(id);
        let reply = match event {
            ResponseEvent::Unprocessed => return self.run.hand_back(ticket),
            ResponseEvent::Whole(message) => Reply::Body(message),
            ResponseEvent::Coded(message) => Reply::Coded(message),
            ResponseEvent::Failed(why) => Reply::Refused(why),
            ResponseEvent::Message(_) | ResponseEvent::End => {
                Reply::Refused("a stream of messages came for a unary request")
            }
        };
        self.slots.has_answered = true;
        self.run.reply(ticket, reply, self.now);
    }
}

fn http2(settings: Settings) -> Http2Settings {
    let default = Settings::default();
    let changed = |value, default| (value != default).then_some(value);
    Http2Settings {
        header_table_size: changed(settings.header_table_size, default.header_table_size),
        max_concurrent_streams: settings.max_concurrent_streams,
        initial_window_size: changed(settings.initial_window_size, default.initial_window_size),
        max_frame_size: changed(settings.max_frame_size, default.max_frame_size),
        max_header_list_size: settings.max_header_list_size,
    }
}
