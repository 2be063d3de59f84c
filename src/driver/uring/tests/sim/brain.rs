//! Peers' side of a protocol: what a peer sends, and whether the answers are right.

use std::time::Instant;

use crate::wire::{Client, Context, ErrorKind, Outbox, Part, Pool, ResponseEvent, Sink, WireError};

/// Request as its peer sees it. Times are those of the simulation in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    /// Bytes of the connection before the request, if it has been written.
    begin: Option<usize>,
    /// Bytes of the connection up to the end of the request, if known.
    end: Option<usize>,
    /// Time at which the server has received the first byte, or could have.
    pub(super) begun_at: Option<u64>,
    pub(super) arrived_at: Option<u64>,
    pub(super) answered_at: Option<u64>,
    /// The answer was a refusal, or that the request may be sent again.
    pub(super) is_refused: bool,
}

impl Request {
    /// Returns true if the server could receive nothing of the request until `time`.
    pub(super) fn begins_after(&self, time: u64) -> bool {
        self.begun_at.is_none_or(|begun| begun >= time)
    }
}

pub(super) trait Brain {
    /// Makes the next bytes to send.
    fn output(&mut self, now: Instant) -> Vec<u8>;

    /// Checks bytes from the server, which came at `at`.
    fn receive(&mut self, bytes: &[u8], now: Instant, at: u64);

    /// Returns true once every request has been written.
    fn has_asked(&self) -> bool;

    fn requests(&self) -> &[Request];

    fn requests_mut(&mut self) -> &mut [Request];

    fn problem(&self) -> Option<&str>;

    /// Returns true once the peer may end its side.
    fn is_done(&self) -> bool {
        self.requests().iter().all(|request| request.answered_at.is_some())
    }

    /// Notes that the server has received, or could have, `total` bytes.
    fn arrived(&mut self, total: usize, at: u64) {
        for request in self.requests_mut() {
            if request.begun_at.is_none() && request.begin.is_some_and(|begin| begin < total) {
                request.begun_at = Some(at);
            }
            if request.arrived_at.is_none() && request.end.is_some_and(|end| end <= total) {
                request.arrived_at = Some(at);
            }
        }
    }
}

/// Sends a script and expects it back, as one request.
pub(super) struct Echoing {
    script: Vec<u8>,
    received: usize,
    has_asked: bool,
    /// Waits for all bytes before it ends its side.
    is_patient: bool,
    request: [Request; 1],
    problem: Option<String>,
}

impl Echoing {
    pub(super) fn new(script: Vec<u8>, is_patient: bool) -> Echoing {
        let (begin, end) = (Some(0), Some(script.len()));
        let request = [Request { begin, end, ..Request::default() }];
        Echoing { script, received: 0, has_asked: false, is_patient, request, problem: None }
    }
}

impl Brain for Echoing {
    fn output(&mut self, _now: Instant) -> Vec<u8> {
        match std::mem::replace(&mut self.has_asked, true) {
            true => Vec::new(),
            false => self.script.clone(),
        }
    }

    fn receive(&mut self, bytes: &[u8], _now: Instant, at: u64) {
        let end = self.received + bytes.len();
        if self.script.get(self.received..end) != Some(bytes) {
            self.problem = Some(format!("bytes from {} on came back changed", self.received));
        }
        self.received = end;
        if end >= self.script.len() {
            self.request[0].answered_at.get_or_insert(at);
        }
    }

    fn has_asked(&self) -> bool {
        self.has_asked
    }

    fn is_done(&self) -> bool {
        self.request[0].answered_at.is_some() || self.has_asked && !self.is_patient
    }

    fn requests(&self) -> &[Request] {
        &self.request
    }

    fn requests_mut(&mut self) -> &mut [Request] {
        &mut self.request
    }

    fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

/// Sends requests through a client half and expects each message back.
pub(super) struct Calling<C> {
    client: C,
    bodies: Vec<Vec<u8>>,
    requests: Vec<Request>,
    asked: usize,
    in_flight_max: usize,
    is_open: bool,
    written: usize,
    outbox: Outbox,
    pool: Pool,
    problem: Option<String>,
}

impl<C: Client> Calling<C> {
    pub(super) fn new(client: C, bodies: Vec<Vec<u8>>, in_flight_max: usize) -> Calling<C> {
        Calling {
            client,
            requests: vec![Request::default(); bodies.len()],
            bodies,
            asked: 0,
            in_flight_max,
            is_open: false,
            written: 0,
            outbox: Outbox::default(),
            pool: Pool::default(),
            problem: None,
        }
    }

    fn in_flight(&self) -> usize {
        let asked = &self.requests[..self.asked];
        asked.iter().filter(|request| request.answered_at.is_none()).count()
    }
}

struct Replies<'a> {
    bodies: &'a [Vec<u8>],
    requests: &'a mut [Request],
    problem: &'a mut Option<String>,
    at: u64,
}

impl Sink for Replies<'_> {
    fn response(&mut self, id: u32, event: ResponseEvent<'_>) {
        let (request, body) = (&mut self.requests[id as usize], &self.bodies[id as usize]);
        if request.answered_at.replace(self.at).is_some() {
            *self.problem = Some(format!("request {id} was answered twice"));
        }
        match event {
            ResponseEvent::Whole(message) if message == body => {}
            ResponseEvent::Failed(_) | ResponseEvent::Unprocessed => request.is_refused = true,
            other => {
                let text = format!("{other:?}");
                let text = text.get(..80).unwrap_or(&text);
                *self.problem = Some(format!("request {id} has a wrong answer: {text}"));
            }
        }
    }
}

impl<C: Client> Brain for Calling<C> {
    fn output(&mut self, now: Instant) -> Vec<u8> {
        let Calling { client, pool, outbox, .. } = self;
        let mut cx = Context { out: outbox, pool, now };
        if !std::mem::replace(&mut self.is_open, true) {
            client.open(&mut cx);
        }
        loop {
            let most = self.client.in_flight_max().min(self.in_flight_max);
            let Some(body) = self.bodies.get(self.asked) else { break };
            if self.in_flight() >= most || self.client.is_leaving() {
                break;
            }
            let before = self.outbox.len();
            self.requests[self.asked].begin = Some(self.written + before);
            let mut cx = Context { out: &mut self.outbox, pool: &self.pool, now };
            self.client.request(self.asked as u32, &[Part::Copy(body)], &mut cx);
            // Less is written while the windows of HTTP/2 are shut.
            if self.outbox.len() - before >= body.len() {
                self.requests[self.asked].end = Some(self.written + self.outbox.len());
            }
            self.asked += 1;
        }
        self.written += self.outbox.len();
        self.client.flushed();
        self.outbox.take_bytes()
    }

    fn receive(&mut self, bytes: &[u8], now: Instant, at: u64) {
        let Calling { client, bodies, requests, outbox, pool, problem, .. } = self;
        let mut replies = Replies { bodies, requests, problem, at };
        let mut cx = Context { out: outbox, pool, now };
        let received = client.receive(bytes, &mut cx, &mut replies);
        if let Err(WireError { kind: ErrorKind::Violation, .. }) = &received
            && !client.is_leaving()
        {
            *problem = received.err().map(|error| error.to_string());
        }
    }

    fn has_asked(&self) -> bool {
        self.asked == self.bodies.len() || self.client.is_leaving()
    }

    fn requests(&self) -> &[Request] {
        &self.requests
    }

    fn requests_mut(&mut self) -> &mut [Request] {
        &mut self.requests
    }

    fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

/// Sends back what comes, to a connection that the reactor has opened.
#[derive(Default)]
pub(super) struct Reflecting {
    pending: Vec<u8>,
}

impl Brain for Reflecting {
    fn output(&mut self, _now: Instant) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    fn receive(&mut self, bytes: &[u8], _now: Instant, _at: u64) {
        self.pending.extend_from_slice(bytes);
    }

    fn has_asked(&self) -> bool {
        false
    }

    fn requests(&self) -> &[Request] {
        &[]
    }

    fn requests_mut(&mut self) -> &mut [Request] {
        &mut []
    }

    fn problem(&self) -> Option<&str> {
        None
    }

    fn is_done(&self) -> bool {
        false
    }
}
