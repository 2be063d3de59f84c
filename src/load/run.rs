//! State that the connections of one run share: schedule, checks, counts, and the first failure.
//!
//! Time is an argument. The CPU clocks and counters of the machine are read at the two boundaries
//! of a window only. A run has one window, or one for each slice.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::probe::cpu_clock::{self, CpuTime};
use crate::probe::kernel_counts::KernelCounts;
use crate::probe::memory;
use crate::record::trial_spec::{Length, LoadSpec};
use crate::record::{Measurement, ScheduleReport, Slice};
use crate::stats::histogram::Histogram;
use crate::sys::socket::SocketOptions;

use super::arrivals::Arrivals;
use super::coded::Coder;
use super::message::Message;
use super::schedule::{Boundary, Schedule};
use super::traffic::Traffic;
use super::verify::{Verifier, WrongReply};
use super::watched::{Watched, reading_server};
use super::{LoadError, conformance};

#[derive(Debug)]
pub struct Run {
    schedule: Schedule,
    /// One for each message, taken in turns. Only the conformance run has several.
    verifiers: Vec<Verifier>,
    coder: Coder,
    latencies: Histogram,
    open: Option<OpenLoop>,
    traffic: Rc<Traffic>,
    server: Option<Watched>,
    /// Requests that a server has not processed, for the next connection that asks.
    handed_back: VecDeque<Ticket>,
    /// Connections without a successor yet.
    ended: Vec<usize>,
    reconnects: u64,
    opened: Option<Reading>,
    closed: Option<Reading>,
    totals: Totals,
    slices: Vec<Slice>,
    /// True while another slice may follow, so that connections stay open.
    is_sliced: bool,
    /// True in a window of which nothing counts.
    is_head: bool,
    failure: Option<LoadError>,
    /// Requests without a reply when the run was stopped.
    unanswered_at_stop: Option<u64>,
    started: Option<Instant>,
    warmup: Option<Duration>,
    busy_poll_idle: Duration,
    delay: Duration,
}

/// Sums over the windows that have ended.
#[derive(Debug, Default)]
struct Totals {
    requests: u64,
    wall: Duration,
    client: CpuTime,
    busy_poll_idle: Duration,
    server: Option<CpuTime>,
    server_faults: Option<u64>,
    server_kernel: Option<KernelCounts>,
}

#[derive(Debug)]
struct OpenLoop {
    arrivals: Arrivals,
    lags: Histogram,
    /// Connections that can send while nothing is due.
    idle: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
pub enum Reply<'a> {
    /// A complete body, not yet checked.
    Body(&'a [u8]),
    /// The same in the coding of the load.
    Coded(&'a [u8]),
    Refused(&'a str),
}

#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    pub request: u64,
    /// Time at which the connection got the request; in an open loop, the intended time.
    pub sent: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    client: CpuTime,
    busy_poll_idle: Duration,
    server: Option<CpuTime>,
    server_faults: Option<u64>,
}

impl Run {
    pub fn new(spec: &LoadSpec, messages: Vec<Message>) -> Result<Run, LoadError> {
        Ok(Run {
            schedule: Schedule::new(spec.warmup, spec.window).settling(spec.settle),
            coder: Coder::new(spec.coding, &messages),
            verifiers: messages.into_iter().map(Verifier::new).collect(),
            latencies: Histogram::default(),
            open: spec.rate_hz.map(|rate_hz| OpenLoop {
                arrivals: Arrivals::new(rate_hz),
                lags: Histogram::default(),
                idle: Vec::new(),
            }),
            traffic: Rc::default(),
            server: spec.target().pid.map(|pid| Watched::new(pid, spec)).transpose()?,
            handed_back: VecDeque::new(),
            ended: Vec::new(),
            reconnects: 0,
            opened: None,
            closed: None,
            totals: Totals::default(),
            slices: Vec::new(),
            is_sliced: spec.slice_head.is_some(),
            is_head: spec.slice_head.is_some(),
            failure: None,
            unanswered_at_stop: None,
            started: None,
            warmup: None,
            busy_poll_idle: Duration::ZERO,
            delay: spec.knobs.delay,
        })
    }

    pub fn message(&self, request: u64) -> &Message {
        &self.verifiers[self.turn(request)].message
    }

    pub fn request_len_max(&self) -> usize {
        let lens = self.verifiers.iter().map(|verifier| verifier.message.form.bytes.len());
        lens.max().unwrap_or_default()
    }

    fn turn(&self, request: u64) -> usize {
        // A division would cost more than the rest of this function. Timed runs have one message.
        if let [_] = self.verifiers.as_slice() {
            0
        } else {
            request as usize % self.verifiers.len()
        }
    }

    pub fn traffic(&self) -> &Rc<Traffic> {
        &self.traffic
    }

    /// Takes the next request, if one is wanted. The connection `index` could have sent it since
    /// `free`. A connection that gets none because none is due is remembered as idle.
    pub fn next(&mut self, now: Instant, free: Instant, index: usize) -> Option<Ticket> {
        if self.started.is_none() {
            self.started = Some(now);
            let boundary = self.schedule.start(now);
            self.read(boundary, now);
        }
        if self.failure.is_some() {
            return None;
        }
        if let Some(ticket) = self.handed_back.pop_front() {
            return Some(ticket);
        }
        if !self.schedule.may_send() {
            return None;
        }
        let sent = match &mut self.open {
            None => now,
            Some(open) => {
                let Some(due) = open.arrivals.take(now) else {
                    open.idle.push(index);
                    return None;
                };
                if self.opened.is_some() {
                    open.lags.record(nanoseconds(now.saturating_duration_since(due.max(free))));
                }
                due
            }
        };
        Some(Ticket { request: self.schedule.sent(), sent })
    }

    /// Takes a request back that was not processed. It keeps its number and its time.
    pub fn hand_back(&mut self, ticket: Ticket) {
        self.handed_back.push_back(ticket);
    }

    /// Notes that the server has ended the connection `index`, all of whose requests have a reply
    /// or were handed back.
    pub fn ended(&mut self, index: usize) {
        let is_needed = self.schedule.may_send() || !self.handed_back.is_empty();
        if !self.over() && (is_needed || self.is_sliced) {
            self.ended.push(index);
        }
    }

    /// Takes the connections that need a successor.
    pub fn take_ended(&mut self) -> Vec<usize> {
        self.reconnects += self.ended.len() as u64;
        std::mem::take(&mut self.ended)
    }

    pub fn reconnects(&self) -> u64 {
        self.reconnects
    }

    /// Returns an idle connection and the time of the next request of an open loop.
    pub fn waiting(&mut self, now: Instant) -> Option<(usize, Instant)> {
        let open = self.open.as_mut()?;
        let index = *open.idle.last()?;
        Some((index, open.arrivals.due(now)))
    }

    pub fn woken(&mut self) {
        if let Some(open) = &mut self.open {
            open.idle.pop();
        }
    }

    pub fn reply(&mut self, ticket: Ticket, reply: Reply<'_>, now: Instant) {
        let turn = self.turn(ticket.request);
        let checked = match reply {
            Reply::Body(body) if self.coder.allows_uncoded(body.len()) => {
                self.verifiers[turn].check(ticket.request, body)
            }
            Reply::Body(_) => Err(WrongReply::NotCoded(self.coder.coding.token())),
            Reply::Coded(body) => {
                let inflated = self.coder.inflate(body).map_err(WrongReply::from);
                inflated.and_then(|body| self.verifiers[turn].check(ticket.request, body))
            }
            Reply::Refused(text) => Err(WrongReply::Refused(one_line(text))),
        };
        if let Err(wrong) = checked {
            return self.fail(LoadError::Reply { request: ticket.request, wrong });
        }
        if !self.delay.is_zero() {
            wait(self.delay);
        }
        let verdict = self.schedule.answered(now);
        self.read(verdict.boundary, now);
        // In an open loop, a request belongs to the window of its intended time. Otherwise a
        // request that a stall delayed beyond the window would not count.
        let counts = match (&self.open, self.opened) {
            (None, _) => verdict.counts,
            (Some(_), None) => false,
            (Some(_), Some(opened)) => {
                let is_before_end = |closed: Reading| ticket.sent < closed.at;
                ticket.sent >= opened.at && self.closed.is_none_or(is_before_end)
            }
        };
        if counts && !self.is_head {
            self.latencies.record(nanoseconds(now.saturating_duration_since(ticket.sent)));
        }
    }

    pub fn coder(&self) -> &Coder {
        &self.coder
    }

    /// Ends the run with `error`, unless it has failed before.
    pub fn fail(&mut self, error: LoadError) {
        self.failure.get_or_insert(error);
    }

    /// Reports the end of a connection: a failure if the run is not over.
    pub fn closed(&mut self) {
        let outstanding = self.schedule.outstanding();
        self.broken(LoadError::Closed { outstanding });
    }

    /// Reports a broken connection. Connections of a finished run are closed without a farewell.
    pub fn broken(&mut self, error: LoadError) {
        if !self.over() {
            self.fail(error);
        }
    }

    pub fn set_busy_poll_idle(&mut self, idle: Duration) {
        self.busy_poll_idle = idle;
    }

    pub fn timed_out(&mut self, after: Duration) {
        let outstanding = self.schedule.outstanding();
        self.fail(LoadError::Timeout { after, outstanding, counted: self.schedule.counted() });
    }

    /// Ends the run at once. The window then has the replies that have been counted; without any
    /// the run fails.
    pub fn stop(&mut self, now: Instant) {
        if self.is_idle() {
            return;
        }
        if self.schedule.counted() == 0 {
            return self.fail(LoadError::Stopped);
        }
        if self.closed.is_none() {
            self.read(Some(Boundary::Close), now);
        }
        self.unanswered_at_stop = Some(self.schedule.outstanding());
    }

    pub fn unanswered_at_stop(&self) -> Option<u64> {
        self.unanswered_at_stop
    }

    fn has_ended_early(&self) -> bool {
        self.failure.is_some() || self.unanswered_at_stop.is_some()
    }

    /// Returns true when nothing more is sent or awaited, in this slice at least.
    pub fn is_idle(&self) -> bool {
        self.has_ended_early() || self.schedule.finished()
    }

    /// Returns true when nothing more will be sent or awaited.
    pub fn over(&self) -> bool {
        self.has_ended_early() || (self.schedule.finished() && !self.is_sliced)
    }

    /// Ends a window of which nothing counts: a warm-up, or the head of a slice.
    pub fn forget_window(&mut self) -> Result<(), LoadError> {
        let totals = std::mem::take(&mut self.totals);
        self.end_window()?;
        self.totals = totals;
        Ok(())
    }

    /// Prepares a slice, or its head.
    pub fn start_slice(&mut self, window: Length, is_head: bool) {
        self.schedule.next_slice(window);
        self.is_head = is_head;
        (self.started, self.opened, self.closed) = (None, None, None);
    }

    pub fn end_slice(&mut self) -> Result<Slice, LoadError> {
        if let (Some(server), Some(closed)) = (&self.server, &mut self.closed) {
            closed.server = Some(cpu_clock::idle_cpu(server.pid).map_err(reading_server)?);
        }
        let slice = self.end_window()?;
        self.slices.push(slice);
        Ok(slice)
    }

    /// Lets the connections be closed after the last slice.
    pub fn end_slices(&mut self) {
        self.is_sliced = false;
    }

    fn end_window(&mut self) -> Result<Slice, LoadError> {
        if let Some(failure) = self.failure.take() {
            return Err(self.named(failure));
        }
        let opened = self.opened.expect("a window that has ended was opened");
        let closed = self.closed.expect("a window that has ended was closed");
        let started = self.started.expect("a window that has ended was started");
        self.warmup.get_or_insert(opened.at - started);
        let requests = self.schedule.counted();
        let client = cpu_clock::used(opened.client, closed.client);
        let busy_poll_idle = closed.busy_poll_idle - opened.busy_poll_idle;
        let server =
            opened.server.zip(closed.server).map(|(before, after)| cpu_clock::used(before, after));
        let faults = opened.server_faults.zip(closed.server_faults);
        let faults = faults.map(|(before, after)| after.saturating_sub(before));
        let totals = &mut self.totals;
        totals.requests += requests;
        totals.wall += closed.at - opened.at;
        totals.client = cpu_clock::sum(totals.client, client);
        totals.busy_poll_idle += busy_poll_idle;
        totals.server =
            server.map(|server| cpu_clock::sum(totals.server.unwrap_or_default(), server));
        totals.server_faults = faults.map(|faults| totals.server_faults.unwrap_or(0) + faults);
        if let Some(counted) = self.server.as_ref().map(Watched::counted).transpose()?.flatten() {
            totals.server_kernel =
                Some(totals.server_kernel.take().unwrap_or_default().plus(&counted));
        }
        Ok(Slice {
            requests,
            wall_ns: nanoseconds(closed.at - opened.at),
            server_cpu_ns: server.map(|server| server.total_ns),
            client_work_ns: client.total_ns.saturating_sub(nanoseconds(busy_poll_idle)),
            ..Slice::default()
        })
    }

    pub fn finish(&mut self, socket: SocketOptions) -> Result<Measurement, LoadError> {
        if self.slices.is_empty() {
            self.end_window()?;
        }
        let rss_peak = |server: &Watched| memory::rss_peak_bytes(server.pid);
        let server_rss_peak_bytes =
            self.server.as_ref().map(rss_peak).transpose().map_err(reading_server)?;
        Ok(Measurement {
            requests: self.totals.requests,
            wall_ns: nanoseconds(self.totals.wall),
            bytes_out: self.share_of(self.traffic.bytes_out.get()),
            bytes_in: self.share_of(self.traffic.bytes_in.get()),
            latency_ns: self.latencies.quantiles(),
            latency_histogram: self.latencies.to_text(),
            client_cpu: self.totals.client,
            client_busy_poll_idle_ns: nanoseconds(self.totals.busy_poll_idle),
            server_cpu: self.totals.server,
            server_rss_peak_bytes,
            server_faults: self.totals.server_faults,
            server_kernel: self.totals.server_kernel.take(),
            reconnects: self.reconnects,
            socket,
            server_settings: self.traffic.server_settings.get(),
            client_settings: self.traffic.client_settings.get(),
            warmup_ns: self.warmup.map_or(0, nanoseconds),
            is_steady: self.schedule.is_steady(),
            schedule: self.open.as_ref().map(|open| ScheduleReport {
                offered_hz: open.arrivals.rate_hz(),
                lag_ns: open.lags.quantiles(),
                lag_histogram: open.lags.to_text(),
            }),
            slices: std::mem::take(&mut self.slices),
            is_client_on_poll: false,
        })
    }

    /// Adds the array that caused `failure`. Several arrays are sent one after another.
    fn named(&self, failure: LoadError) -> LoadError {
        let count = self.verifiers.len();
        let sent = self.schedule.sent_in_all();
        let Some(last) = sent.checked_sub(1).filter(|_| count > 1) else { return failure };
        let array = conformance::name(&self.message(last).array());
        LoadError::Array { number: self.turn(last) + 1, count, array, source: Box::new(failure) }
    }

    /// Returns the share of the windows in the run's `bytes`, by requests. A count between the two
    /// boundaries would be off by the bytes in flight.
    fn share_of(&self, bytes: u64) -> u64 {
        let (counted, answered) = (self.totals.requests, self.schedule.answered_in_all());
        let share = u128::from(bytes) * u128::from(counted) / u128::from(answered.max(1));
        u64::try_from(share).expect("a share is no more than the whole")
    }

    fn read(&mut self, boundary: Option<Boundary>, now: Instant) {
        let Some(boundary) = boundary else { return };
        match self.reading(now) {
            Ok(reading) if boundary == Boundary::Open => self.opened = Some(reading),
            Ok(reading) => self.closed = Some(reading),
            Err(error) => self.fail(error),
        }
        if let (Some(server), Boundary::Open) = (&mut self.server, boundary)
            && let Err(error) = server.start_count()
        {
            self.fail(error);
        }
    }

    fn reading(&self, now: Instant) -> Result<Reading, LoadError> {
        let what = "reading our own CPU time";
        let client = cpu_clock::own_cpu().map_err(|source| LoadError::Io { what, source })?;
        let server = self.server.as_ref().map(Watched::cpu).transpose().map_err(reading_server)?;
        let faults = |server: &Watched| memory::page_faults(server.pid);
        let server_faults = self.server.as_ref().map(faults).transpose().map_err(reading_server)?;
        Ok(Reading { at: now, client, busy_poll_idle: self.busy_poll_idle, server, server_faults })
    }
}

fn wait(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn one_line(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CHARS_MAX).collect()
}
