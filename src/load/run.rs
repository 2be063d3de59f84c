//! State that the connections of one run share: schedule, checks, counts, and the first failure.
//!
//! Time is an argument. The CPU clocks and counters of the machine are read at the two boundaries
//! of the window only.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::probe::cpu_clock::{self, CpuTime};
use crate::probe::cpu_clock_sync::CpuClockSync;
use crate::probe::memory;
use crate::record::{Http2Settings, Measurement, ScheduleReport};
use crate::stats::histogram::Histogram;
use crate::sys::socket::SocketOptions;

use super::arrivals::Arrivals;
use super::message::Message;
use super::schedule::{Boundary, Schedule};
use super::verify::{Verifier, WrongReply};
use super::{LoadError, conformance};
use crate::record::trial_spec::LoadSpec;

#[derive(Debug)]
pub struct Run {
    schedule: Schedule,
    /// One for each message, taken in turns. Only the conformance run has several.
    verifiers: Vec<Verifier>,
    latencies: Histogram,
    open: Option<OpenLoop>,
    traffic: Rc<Traffic>,
    server: Option<Watched>,
    opened: Option<Reading>,
    closed: Option<Reading>,
    failure: Option<LoadError>,
    started: Option<Instant>,
    busy_poll_idle: Duration,
    delay: Duration,
}

#[derive(Debug)]
struct Watched {
    pid: u32,
    cpu_clock_sync: CpuClockSync,
}

#[derive(Debug)]
struct OpenLoop {
    arrivals: Arrivals,
    lags: Histogram,
    /// Connections that can send while nothing is due.
    idle: Vec<usize>,
}

/// Bytes on the wire of all connections, with framing, and the SETTINGS of both sides.
#[derive(Debug, Default)]
pub struct Traffic {
    pub bytes_out: Cell<u64>,
    pub bytes_in: Cell<u64>,
    pub server_settings: Cell<Option<Http2Settings>>,
    pub client_settings: Cell<Option<Http2Settings>>,
}

#[derive(Clone, Copy, Debug)]
pub enum Reply<'a> {
    /// A complete body, not yet checked.
    Body(&'a [u8]),
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
            verifiers: messages.into_iter().map(Verifier::new).collect(),
            latencies: Histogram::default(),
            open: spec.rate_hz.map(|rate_hz| OpenLoop {
                arrivals: Arrivals::new(rate_hz),
                lags: Histogram::default(),
                idle: Vec::new(),
            }),
            traffic: Rc::default(),
            server: spec.target().pid.map(Watched::new).transpose()?,
            opened: None,
            closed: None,
            failure: None,
            started: None,
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
        if self.failure.is_some() || !self.schedule.may_send() {
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
            Reply::Body(body) => self.verifiers[turn].check(ticket.request, body),
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
        if counts {
            self.latencies.record(nanoseconds(now.saturating_duration_since(ticket.sent)));
        }
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

    /// Returns true when nothing more is sent or awaited.
    pub fn over(&self) -> bool {
        self.failure.is_some() || self.schedule.finished()
    }

    pub fn finish(&mut self, socket: SocketOptions) -> Result<Measurement, LoadError> {
        if let Some(failure) = self.failure.take() {
            return Err(self.named(failure));
        }
        let opened = self.opened.expect("a finished run has opened its window");
        let closed = self.closed.expect("a finished run has closed its window");
        let rss_peak = |server: &Watched| memory::rss_peak_bytes(server.pid);
        let server_rss_peak_bytes =
            self.server.as_ref().map(rss_peak).transpose().map_err(reading_server)?;
        Ok(Measurement {
            requests: self.schedule.counted(),
            wall_ns: (closed.at - opened.at).as_nanos() as u64,
            bytes_out: self.share_of(self.traffic.bytes_out.get()),
            bytes_in: self.share_of(self.traffic.bytes_in.get()),
            latency_ns: self.latencies.quantiles(),
            latency_histogram: self.latencies.to_text(),
            client_cpu: cpu_clock::used(opened.client, closed.client),
            client_busy_poll_idle_ns: nanoseconds(closed.busy_poll_idle - opened.busy_poll_idle),
            server_cpu: opened
                .server
                .zip(closed.server)
                .map(|(before, after)| cpu_clock::used(before, after)),
            server_rss_peak_bytes,
            server_faults: opened
                .server_faults
                .zip(closed.server_faults)
                .map(|(before, after)| after.saturating_sub(before)),
            socket,
            server_settings: self.traffic.server_settings.get(),
            client_settings: self.traffic.client_settings.get(),
            warmup_ns: self.started.map_or(0, |started| nanoseconds(opened.at - started)),
            is_steady: self.schedule.is_steady(),
            schedule: self.open.as_ref().map(|open| ScheduleReport {
                offered_hz: open.arrivals.rate_hz(),
                lag_ns: open.lags.quantiles(),
                lag_histogram: open.lags.to_text(),
            }),
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

    /// Returns the window's share of the run's `bytes`, by requests. A count between the two
    /// boundaries would be off by the bytes in flight.
    fn share_of(&self, bytes: u64) -> u64 {
        let (counted, answered) = (self.schedule.counted(), self.schedule.answered_in_all());
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

impl Watched {
    fn new(pid: u32) -> Result<Watched, LoadError> {
        let what = "starting the thread that syncs the server's CPU clock";
        let cpu_clock_sync =
            CpuClockSync::start().map_err(|source| LoadError::Io { what, source })?;
        Ok(Watched { pid, cpu_clock_sync })
    }

    fn cpu(&self) -> std::io::Result<CpuTime> {
        // If the sync fails, the time is up to a tick old.
        self.cpu_clock_sync.sync(self.pid)?;
        cpu_clock::process_cpu(self.pid)
    }
}

impl Traffic {
    pub fn sent(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
    }

    pub fn received(&self, bytes: usize) {
        self.bytes_in.set(self.bytes_in.get() + bytes as u64);
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

fn reading_server(source: std::io::Error) -> LoadError {
    LoadError::Io { what: "reading CPU time and memory of the server's process", source }
}

fn one_line(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CHARS_MAX).collect()
}
