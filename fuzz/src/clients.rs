//! Laws of the client halves, fed with arbitrary bytes of a server.
//!
//! - The cuts between arrivals change no response, and do not decide whether the connection ends by
//!   a fault. An HTTP/2 response may have several faults, and the cuts decide which one is told.
//! - Each request has at most one response, and nothing follows it.
//! - Memory is bounded by the bytes received ([`crate::memory`]). When everything is dropped, the
//!   account of the connection is zero.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use allocation_counter::opt_out;
use ndecho::wire::h1::H1Client;
use ndecho::wire::h2::{Allowance as Windows, H2Client};
use ndecho::wire::zmtp::ZmtpClient;
use ndecho::wire::{
    Client, Context, Limits, Loan, Outbox, Part, Pool, ResponseEvent, Sink, WireError, WorkerCounts,
};

use crate::input::{cut, cuts};
use crate::memory::{Allowance, Meter};
use crate::script::{Script, Step};

/// Settings of a server, without any.
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

/// Requests before the first bytes of the server that are compared.
const REQUESTS: u32 = 3;

/// Most requests of a script, of which each holds memory without a byte of the server.
const REQUESTS_MAX: u32 = 16;

/// Longest request. A few of them fill the window of a server.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Memory of a client. The base has its own requests, 16 of 8 KiB, which may wait for the windows
/// of the server, and the first buffers of a response, as in [`crate::events`].
const CLIENT: Allowance = Allowance { base: 300 * 1024, per_byte: 32 };

/// Bytes of a request, and of the rest of a long response.
static FILL: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// Checks the HTTP/1.1 client.
pub fn h1_client(data: &[u8]) {
    let client = |limits: Rc<Limits>| H1Client::new("host", "/echo", "application/json", &limits);
    compare(data, 1, str::len, || Session::new(client(small_limits()), b""));
    follow(data, || Session::new(client(Rc::default()), b""));
}

/// Checks the HTTP/2 client.
pub fn h2_client(data: &[u8]) {
    let client = |limits: Rc<Limits>| {
        let windows = Windows { window: 70_000, ..Windows::default() };
        H2Client::new("host", "/echo", "application/grpc", windows, limits)
    };
    let before_reason = |text: &str| text.find("Failed").map_or(text.len(), |at| at + 6);
    compare(data, REQUESTS, before_reason, || Session::new(client(small_limits()), SETTINGS));
    follow(data, || Session::new(client(Rc::default()), SETTINGS));
}

/// Checks the client of ZMTP, in the handshake and after it.
pub fn zmtp_client(data: &[u8]) {
    let mut hello = vec![0; 64];
    (hello[0], hello[9], hello[10]) = (0xFF, 0x7F, 3);
    hello[12..16].copy_from_slice(b"NULL");
    hello.extend_from_slice(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03REP");
    compare(data, 1, str::len, || Session::new(ZmtpClient::new(&small_limits()), b""));
    compare(data, 1, str::len, || Session::new(ZmtpClient::new(&small_limits()), &hello));
    follow(data, || Session::new(ZmtpClient::new(&Limits::default()), &hello));
}

fn small_limits() -> Rc<Limits> {
    let limits = Limits { body_bytes_max: 2000, head_bytes_max: 600, ..Limits::default() };
    Rc::new(limits)
}

/// Compares the responses from bytes in pieces and in one piece, each as far as `told_bytes`.
fn compare<C: Client>(
    data: &[u8],
    requests: u32,
    told_bytes: impl Fn(&str) -> usize,
    session: impl Fn() -> Session<C>,
) {
    let (cuts, input) = cuts(data);
    let outcome = |chunks: &[&[u8]]| {
        let mut session = session();
        (0..requests).for_each(|_| session.request(10));
        chunks.iter().for_each(|chunk| session.receive(chunk));
        session.end();
        // The reason of the end may differ: a server that goes away may send a fault behind that.
        let Responses { texts, mut messages, .. } = session.responses;
        let mut told: BTreeMap<_, _> = texts
            .into_iter()
            .map(|(id, text)| (id, text[..told_bytes(&text)].to_owned()))
            .collect();
        if session.error.is_some() {
            // A fault of the connection ends the other requests as well.
            for id in 0..session.requested {
                told.entry(id).or_insert_with(|| format!("{:?} Failed", messages.remove(&id)));
            }
        }
        (told, session.error.is_some())
    };
    let (got, want) = (outcome(&cut(cuts, input)), outcome(&[input]));
    assert!(got == want, "{got:?}\n is not what comes of one piece, \n{want:?}");
}

fn follow<C: Client>(data: &[u8], session: impl FnOnce() -> Session<C>) {
    // The first use of these counts allocates for good.
    WorkerCounts::unread();
    let script = Script::read(data);
    let mut meter = Meter::new(CLIENT);
    let mut made = None;
    meter.run(|| made.insert(session()).received);
    let Some(mut session) = made else { return };
    let mut wire = script.wire;
    for step in script.steps().chain([Step::Receive(usize::MAX), Step::End]) {
        meter.run(|| {
            session.step(step, &mut wire);
            session.received
        });
    }
    let received = session.received;
    meter.run(|| {
        session.leave();
        received
    });
    meter.assert_empty();
}

/// Client with everything that a driver lends it.
struct Session<C> {
    client: C,
    out: Outbox,
    pool: Pool,
    loan: Option<Loan>,
    responses: Responses,
    requested: u32,
    is_open: bool,
    error: Option<WireError>,
    received: usize,
}

/// Ends of the requests so far, by their numbers, and the messages before an end.
#[derive(Debug, Default)]
struct Responses {
    texts: BTreeMap<u32, String>,
    messages: BTreeMap<u32, Vec<Vec<u8>>>,
    requested: u32,
}

impl Sink for Responses {
    fn response(&mut self, id: u32, event: ResponseEvent<'_>) {
        assert!(id < self.requested, "a response to no request");
        // These copies are not memory of the client.
        opt_out(|| {
            if let ResponseEvent::Message(message) = event {
                self.messages.entry(id).or_default().push(message.to_vec());
                return;
            }
            let messages = self.messages.remove(&id);
            let text = format!("{messages:?} {event:?}");
            assert_eq!(self.texts.insert(id, text), None, "a second end of a response");
        });
    }
}

impl<C: Client> Session<C> {
    /// Opens the connection; the server begins with `hello`.
    fn new(client: C, hello: &[u8]) -> Session<C> {
        let mut session = Session {
            client,
            out: Outbox::default(),
            pool: Pool::default().for_connection(),
            loan: None,
            responses: Responses::default(),
            requested: 0,
            is_open: true,
            error: None,
            received: 0,
        };
        session.call(|client, cx, _| {
            client.open(cx);
            Ok(())
        });
        session.receive(hello);
        session
    }

    fn step(&mut self, step: Step, wire: &mut &[u8]) {
        match step {
            Step::Receive(count) => {
                let (now, later) = wire.split_at(count.min(wire.len()));
                *wire = later;
                self.receive(now);
            }
            Step::Fill(count) => self.receive(&FILL[..count.min(FILL.len())]),
            Step::Repay => self.repay_and_ask(),
            Step::Send(count) => self.request(count.min(REQUEST_BYTES_MAX)),
            Step::Pause(_) => {
                self.out.take_bytes();
                self.client.flushed();
            }
            Step::End => self.end(),
            _ => {}
        }
    }

    fn call(
        &mut self,
        work: impl FnOnce(&mut C, &mut Context<'_>, &mut dyn Sink) -> Result<(), WireError>,
    ) {
        assert!(self.is_open, "nothing more is required of a client that has failed");
        let mut cx = Context { out: &mut self.out, pool: &self.pool, now: Instant::now() };
        if let Err(error) = work(&mut self.client, &mut cx, &mut self.responses) {
            (self.is_open, self.loan, self.error) = (false, None, Some(error));
        }
    }

    /// Sends a request of `count` bytes, if the connection can carry one more.
    fn request(&mut self, count: usize) {
        let in_flight = self.requested as usize - self.responses.texts.len();
        let may_send = in_flight < self.client.in_flight_max() && self.requested < REQUESTS_MAX;
        if !self.is_open || !may_send {
            return;
        }
        let id = self.requested;
        self.requested += 1;
        self.responses.requested += 1;
        self.call(|client, cx, _| {
            client.request(id, &[Part::Copy(&FILL[..count])], cx);
            Ok(())
        });
    }

    fn receive(&mut self, mut input: &[u8]) {
        while !input.is_empty() && self.is_open {
            let Some(mut loan) = self.loan.take() else {
                self.received += input.len();
                self.call(|client, cx, sink| client.receive(input, cx, sink));
                return self.ask_for_loan();
            };
            let (now, later) = input.split_at(input.len().min(loan.want));
            loan.buffer.extend_from_slice(now);
            loan.want -= now.len();
            self.received += now.len();
            input = later;
            let is_full = loan.want == 0;
            self.loan = Some(loan);
            if is_full {
                self.repay_and_ask();
            }
        }
    }

    fn repay(&mut self) {
        if let Some(loan) = self.loan.take() {
            self.call(|client, cx, sink| client.repay(loan.buffer, cx, sink));
        }
    }

    fn repay_and_ask(&mut self) {
        self.repay();
        self.ask_for_loan();
    }

    fn ask_for_loan(&mut self) {
        if !self.is_open || self.loan.is_some() {
            return;
        }
        self.loan = self.client.lend(&self.pool);
        if let Some(Loan { buffer, want }) = &self.loan {
            assert!(*want > 0 && buffer.capacity() - buffer.len() >= *want, "no room for a loan");
        }
    }

    fn end(&mut self) {
        if !self.is_open {
            return;
        }
        self.repay();
        if self.is_open {
            self.call(|client, _, _| client.end());
            let answered = self.responses.texts.len() == self.requested as usize;
            assert!(answered || self.error.is_some(), "a request is lost without a fault");
            self.is_open = false;
        }
    }

    /// Drops everything, and checks that the account says so.
    fn leave(self) {
        let Session { client, out, pool, loan, responses, .. } = self;
        drop((client, out, loan));
        opt_out(|| drop(responses));
        assert_eq!(pool.held_bytes(), 0, "bytes stay charged to a connection that is gone");
    }
}
