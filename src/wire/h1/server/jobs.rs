//! Requests whose work is long, and is done on another thread.
//!
//! The connection takes no input until the answer is there, since answers keep the order of the
//! requests. No deadline runs meanwhile.

use super::{Exchange, H1};
use crate::wire::response::Received;
use crate::wire::working::{Resumed, Working};
use crate::wire::{Context, EndedJob, Handler, Machine, Route, Slice, WireError};

impl<H: Handler> H1<H> {
    /// Answers a request whose body has a buffer of its own, now or after a job. `rest` follows it.
    pub(super) fn answer_gathered(
        &mut self,
        route: Route,
        exchange: Exchange,
        body: Slice,
        rest: &[u8],
        cx: &mut Context<'_>,
    ) {
        if let Some(work) = self.handler.long_work(route, body.as_ref()) {
            self.working = Some(Box::new((exchange, Working::start(work, body, cx))));
            return;
        }
        let exchange = self.last(exchange, rest, cx.now);
        self.answer(route, exchange, Received::Owned(body), cx);
    }

    /// Answers a coded request whose body is in the input. It may inflate to a long one, so it
    /// needs a buffer of its own.
    #[cold]
    pub(super) fn answer_coded(
        &mut self,
        route: Route,
        exchange: Exchange,
        body: &[u8],
        rest: &[u8],
        cx: &mut Context<'_>,
    ) {
        let mut copy = cx.pool.take(body.len());
        copy.extend_from_slice(body);
        self.answer_gathered(route, exchange, Slice::from(copy), rest, cx);
    }

    /// Answers the request whose job has ended, and takes the input that has come meanwhile.
    pub(super) fn resume(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let Some((exchange, working)) = self.working.as_deref_mut() else { return Ok(()) };
        let exchange = *exchange;
        let Some(Resumed { ended, held, has_ended }) = working.resume() else { return Ok(()) };
        self.working = None;
        let EndedJob { message, answer, response } = ended;
        let exchange = self.last(exchange, &held, cx.now);
        self.send(exchange, response, answer, Received::Owned(message), cx);
        self.receive(&held, cx)?;
        match self.working.as_deref_mut() {
            _ if !has_ended => Ok(()),
            Some((_, working)) => {
                working.end();
                Ok(())
            }
            None => self.end(cx),
        }
    }
}
