//! Driver of a machine over bytes in memory, with any cuts, and a handler with replies of every
//! form.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use ndecho::wire::{
    Batch, Client, Context, Handler, Head, Machine, Outbox, Part, Pool, Refusal, Refused, Response,
    ResponseEvent, Route, Routed, Sink, WireError,
};

/// Machine with everything that a driver lends it.
pub(crate) struct Driven<M> {
    pub(crate) machine: M,
    pub(crate) now: Instant,
    /// All output so far.
    pub(crate) sent: Vec<u8>,
    /// Error that broke the connection.
    pub(crate) error: Option<WireError>,
    /// True if loans are accepted.
    pub(crate) lending: bool,
    /// True until the machine learns that its output has been sent.
    unsent: bool,
    out: Outbox,
    pool: Pool,
}

impl<M: Machine> Driven<M> {
    pub(crate) fn new(machine: M, lending: bool) -> Driven<M> {
        let (out, pool) = (Outbox::default(), Pool::default());
        let now = Instant::now();
        let (sent, error, unsent) = (Vec::new(), None, false);
        let mut driven = Driven { machine, now, sent, error, lending, unsent, out, pool };
        driven.call(|machine, cx| machine.open(cx));
        driven
    }

    fn call(&mut self, work: impl FnOnce(&mut M, &mut Context<'_>) -> Result<(), WireError>) {
        let mut cx = Context { out: &mut self.out, pool: &self.pool, now: self.now };
        if let Err(error) = work(&mut self.machine, &mut cx) {
            assert!(self.error.is_none(), "a broken connection is not fed");
            self.error = Some(error);
        }
        let before = self.sent.len();
        drain(&mut self.out, &mut self.sent);
        self.unsent |= self.sent.len() > before;
    }

    /// True when the machine accepts no more input.
    pub(crate) fn closing(&self) -> bool {
        self.machine.finished() || self.error.is_some()
    }

    /// Feeds `input` as one arrival. Uses loans that the machine offers.
    pub(crate) fn feed(&mut self, mut input: &[u8]) {
        while !input.is_empty() && !self.closing() {
            let loan = if self.lending { self.machine.lend(&self.pool) } else { None };
            let Some(mut loan) = loan else {
                return self.receive_whole(input);
            };
            assert!(loan.want > 0 && loan.buffer.capacity() - loan.buffer.len() >= loan.want);
            let (now, later) = input.split_at(input.len().min(loan.want));
            loan.buffer.extend_from_slice(now);
            self.call(|machine, cx| machine.repay(loan.buffer, cx));
            input = later;
        }
    }

    /// Takes a loan and gives it back without a byte.
    #[allow(dead_code, reason = "not every test program has a protocol that lends")]
    pub(crate) fn repay_nothing(&mut self) {
        if let Some(loan) = self.machine.lend(&self.pool) {
            self.call(|machine, cx| machine.repay(loan.buffer, cx));
        }
    }

    fn receive_whole(&mut self, input: &[u8]) {
        self.call(|machine, cx| machine.receive(input, cx));
    }

    /// Ends the input, as a FIN does.
    pub(crate) fn end(&mut self) {
        if !self.closing() {
            self.call(|machine, cx| machine.end(cx));
        }
    }

    /// Sends all output, advances the time, and calls `expire` at each deadline of the machine.
    pub(crate) fn wait(&mut self, time: Duration) {
        if std::mem::take(&mut self.unsent) {
            self.flushed();
        }
        self.wait_unsent(time);
    }

    /// Does the work of [`Driven::wait`] while output is still being sent.
    pub(crate) fn wait_unsent(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(deadline) = self.machine.deadline().filter(|deadline| *deadline <= until)
            && self.error.is_none()
        {
            self.now = self.now.max(deadline);
            self.call(|machine, cx| machine.expire(cx));
        }
        self.now = until;
    }

    /// Notes that the batch before the current one has been sent.
    #[allow(dead_code, reason = "not every test program has a limit of unsent answers")]
    pub(crate) fn batch_sent(&mut self) {
        self.out.batch_sent();
    }

    /// Notes that all output has been sent.
    pub(crate) fn flushed(&mut self) {
        if !self.closing() {
            self.call(|machine, cx| machine.flushed(cx));
        }
    }

    /// Starts the shutdown of the server.
    pub(crate) fn drain(&mut self) {
        self.call(|machine, cx| {
            machine.drain(cx);
            Ok(())
        });
    }
}

/// Client half with everything that a driver lends it.
pub(crate) struct Calling<C> {
    pub(crate) client: C,
    pub(crate) sent: Vec<u8>,
    pub(crate) replies: Vec<(u32, Result<Vec<u8>, String>)>,
    pub(crate) lending: bool,
    out: Outbox,
    pool: Pool,
}

struct Collect<'a>(&'a mut Vec<(u32, Result<Vec<u8>, String>)>);

impl Sink for Collect<'_> {
    fn response(&mut self, id: u32, event: ResponseEvent<'_>) {
        self.0.push((id, whole(event)));
    }
}

/// Message of a unary response, or the reason of its failure.
pub(crate) fn whole(event: ResponseEvent<'_>) -> Result<Vec<u8>, String> {
    match event {
        ResponseEvent::Whole(message) | ResponseEvent::Coded(message) => Ok(message.to_vec()),
        ResponseEvent::Failed(why) => Err(why.to_owned()),
        ResponseEvent::Unprocessed => Err("not processed".to_owned()),
        ResponseEvent::Message(_) | ResponseEvent::End => panic!("a stream for a unary request"),
    }
}

impl<C: Client> Calling<C> {
    pub(crate) fn new(client: C, lending: bool) -> Calling<C> {
        let (out, pool) = (Outbox::default(), Pool::default());
        let mut calling =
            Calling { client, sent: Vec::new(), replies: Vec::new(), lending, out, pool };
        let now = Instant::now();
        let mut cx = Context { out: &mut calling.out, pool: &calling.pool, now };
        calling.client.open(&mut cx);
        drain(&mut calling.out, &mut calling.sent);
        calling
    }

    pub(crate) fn request(&mut self, id: u32, parts: &[Part<'_>]) {
        let now = Instant::now();
        let mut cx = Context { out: &mut self.out, pool: &self.pool, now };
        self.client.request(id, parts, &mut cx);
        drain(&mut self.out, &mut self.sent);
    }

    /// Feeds `input` as one arrival. Uses loans that the machine offers.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Result<(), WireError> {
        let fed = self.take(input);
        drain(&mut self.out, &mut self.sent);
        self.client.flushed();
        fed
    }

    fn take(&mut self, mut input: &[u8]) -> Result<(), WireError> {
        let mut sink = Collect(&mut self.replies);
        while !input.is_empty() {
            let loan = if self.lending { self.client.lend(&self.pool) } else { None };
            let now = Instant::now();
            let mut cx = Context { out: &mut self.out, pool: &self.pool, now };
            let Some(mut loan) = loan else {
                return self.client.receive(input, &mut cx, &mut sink);
            };
            let (now, later) = input.split_at(input.len().min(loan.want));
            loan.buffer.extend_from_slice(now);
            self.client.repay(loan.buffer, &mut cx, &mut sink)?;
            input = later;
        }
        Ok(())
    }
}

/// Takes all output in sends of at most three pieces and 1000 bytes, or a thousandth of it.
fn drain(out: &mut Outbox, sent: &mut Vec<u8>) {
    let mut batch = Batch::default();
    out.take(&mut batch);
    let most = batch.len().div_ceil(1000).max(1000);
    while !batch.is_empty() {
        let before = sent.len();
        let mut slots = [IoSlice::new(&[]); 3];
        let filled = batch.slices(&mut slots);
        for slot in &slots[..filled] {
            assert!(!slot.is_empty(), "an empty piece would look like progress");
            let room = before + most - sent.len();
            sent.extend_from_slice(&slot[..slot.len().min(room)]);
        }
        batch.advance(sent.len() - before);
    }
}

/// Handler with replies of every form. The path or the codec selects the form.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shapes;

/// Returns the body, borrowed.
const REFLECT: Route = Route::plain(0);
/// Returns `<`, the borrowed body, `>`.
const WRAP: Route = Route::plain(1);
/// Returns a copy of the body in capitals.
const TEXT: Route = Route::plain(2);
/// Returns `ok` for every body.
const HEALTH: Route = Route::plain(3);

/// First route of raw frames. Their codecs 0 to 2 are the routes above.
const RAW: u32 = 10;

impl Handler for Shapes {
    fn route(&mut self, head: &Head<'_>) -> Result<Routed, Refused> {
        let route = match (head.path, head.content_type) {
            (b"/reflect", _) => REFLECT,
            (b"/wrap", _) => WRAP,
            (b"/text", _) => TEXT,
            (b"/health", _) => HEALTH,
            (b"", [codec @ 0..=2]) => Route::plain(RAW + u32::from(*codec)),
            _ => return Err(Refused::new(Refusal::NoSuchRoute, "no such route")),
        };
        let allowed: &[&[u8]] = if route == HEALTH { &[b"GET"] } else { &[b"POST", b""] };
        if !allowed.contains(&head.method) {
            let allow = if route == HEALTH { "GET, HEAD" } else { "POST" };
            return Err(Refused::new(Refusal::MethodNotAllowed(allow), "wrong method"));
        }
        if route != HEALTH && !head.has_body {
            return Err(Refused::new(Refusal::LengthRequired, "a body is needed"));
        }
        if head.content_type == b"application/wrong" {
            return Err(Refused::new(Refusal::UnsupportedMediaType, "wrong type"));
        }
        Ok(Routed::Unary(route))
    }

    fn answer(
        &mut self,
        route: Route,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Response, Refused> {
        match body {
            b"bad" => return Err(Refused::new(Refusal::BadRequest, "bad body")),
            b"fail" => return Err(Refused::new(Refusal::Internal, "our fault")),
            _ => {}
        }
        let start = out.len();
        let (route, content_type) = match route.id.checked_sub(RAW) {
            Some(codec) => (Route::plain(codec), ["\0", "\x01", "\x02"][codec as usize]),
            None => (route, "application/x-test"),
        };
        let (head_len, payload) = match route {
            REFLECT => (0, 0..body.len()),
            WRAP => {
                out.extend_from_slice(b"<>");
                (1, 0..body.len())
            }
            TEXT => {
                out.extend(body.iter().map(u8::to_ascii_uppercase));
                (out.len() - start, 0..0)
            }
            _ => {
                out.extend_from_slice(b"ok");
                (2, 0..0)
            }
        };
        Ok(Response { content_type, head_len, payload })
    }
}
