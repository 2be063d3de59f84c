//! What the connections of one run share: the schedule, the checks, the counts, and the first failure.
//!
//! One thread owns it all, so a plain `Rc<RefCell<Run>>` is enough. Time is an argument; the only things read from
//! the machine are processor clocks and counters, at the window's two boundaries.

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

/// One run, from its first request to its last reply.
#[derive(Debug)]
pub struct Run {
    schedule: Schedule,
    /// Of the messages that requests carry in turns; hardly ever more than one.
    verifiers: Vec<Verifier>,
    latencies: Histogram,
    open: Option<OpenLoop>,
    traffic: Rc<Traffic>,
    server: Option<Watched>,
    opened: Option<Reading>,
    closed: Option<Reading>,
    failure: Option<LoadError>,
    started: Option<Instant>,
    /// Time in which the reactor only looked for replies, up to its last turn.
    spun: Duration,
    delay: Duration,
}

/// The server's process, whose time is read.
#[derive(Debug)]
struct Watched {
    pid: u32,
    cpu_clock_sync: CpuClockSync,
}

/// What an open loop has beside.
#[derive(Debug)]
struct OpenLoop {
    arrivals: Arrivals,
    /// How late requests were sent.
    lags: Histogram,
    /// Connections that could send and have nothing due.
    idle: Vec<usize>,
}

/// What went over the wire on all connections, framing included, and what the server said first.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes sent.
    pub bytes_out: Cell<u64>,
    /// Bytes received.
    pub bytes_in: Cell<u64>,
    /// The HTTP/2 SETTINGS of the server.
    pub server_settings: Cell<Option<Http2Settings>>,
    /// Ours.
    pub client_settings: Cell<Option<Http2Settings>>,
}

/// What has come for a request.
#[derive(Clone, Copy, Debug)]
pub enum Reply<'a> {
    /// A whole body, not looked at yet.
    Body(&'a [u8]),
    /// The server's refusal.
    Refused(&'a str),
}

/// A request that waits for its reply.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// Its number, from 0.
    pub request: u64,
    /// When it was handed to its connection; in an open loop, when it should have been.
    pub sent: Instant,
}

/// Clocks at a boundary of the window.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    client: CpuTime,
    spun: Duration,
    server: Option<CpuTime>,
    server_faults: Option<u64>,
}

impl Run {
    /// A run as `spec` says, whose requests carry `messages` in turns.
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
            spun: Duration::ZERO,
            delay: spec.knobs.delay,
        })
    }

    /// What `request` carries.
    pub fn message(&self, request: u64) -> &Message {
        self.verifiers[self.turn(request)].message()
    }

    /// Bytes of the longest message.
    pub fn request_len_max(&self) -> usize {
        let lens = self.verifiers.iter().map(|verifier| verifier.message().form().len());
        lens.max().unwrap_or_default()
    }

    fn turn(&self, request: u64) -> usize {
        // Dividing costs more than all the rest, and there is one message wherever anything is timed.
        if let [_] = self.verifiers.as_slice() {
            0
        } else {
            request as usize % self.verifiers.len()
        }
    }

    /// Counters that whoever moves bytes keeps.
    pub fn traffic(&self) -> &Rc<Traffic> {
        &self.traffic
    }

    /// The next request, if one is wanted at all. `free` is since when its connection could have sent it, `index` the
    /// connection's number: one that gets nothing because nothing is due is told when something is.
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

    /// A connection that can send the next request of an open loop, and when that is due.
    pub fn waiting(&mut self, now: Instant) -> Option<(usize, Instant)> {
        let open = self.open.as_mut()?;
        let index = *open.idle.last()?;
        Some((index, open.arrivals.due(now)))
    }

    /// The connection that [`Run::waiting`] gave is going to send.
    pub fn woken(&mut self) {
        if let Some(open) = &mut self.open {
            open.idle.pop();
        }
    }

    /// The reply to `ticket` has come whole.
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
        // In an open loop a request belongs to the window that it should have been sent in: one that a stall held up
        // until the window was over would not count otherwise.
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

    /// Ends the run with `error`, unless it already failed.
    pub fn fail(&mut self, error: LoadError) {
        self.failure.get_or_insert(error);
    }

    /// A connection has ended: a failure while replies are outstanding or requests are still to be sent.
    pub fn closed(&mut self) {
        let outstanding = self.schedule.outstanding();
        self.broken(LoadError::Closed { outstanding });
    }

    /// A connection broke: likewise. Once the run is over, connections are torn down without a farewell.
    pub fn broken(&mut self, error: LoadError) {
        if !self.over() {
            self.fail(error);
        }
    }

    /// Says how long the reactor has only looked for replies, in all.
    pub fn spun(&mut self, spun: Duration) {
        self.spun = spun;
    }

    /// The run's time is up.
    pub fn timed_out(&mut self, after: Duration) {
        let outstanding = self.schedule.outstanding();
        self.fail(LoadError::Timeout { after, outstanding, counted: self.schedule.counted() });
    }

    /// True when nothing more is to be sent or awaited.
    pub fn over(&self) -> bool {
        self.failure.is_some() || self.schedule.finished()
    }

    /// The measurement, or the failure.
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
            client_busy_poll_idle_ns: nanoseconds(closed.spun - opened.spun),
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

    /// `failure`, with the array that it was about, where that is one of several: they go one after another.
    fn named(&self, failure: LoadError) -> LoadError {
        let count = self.verifiers.len();
        let sent = self.schedule.sent_in_all();
        let Some(last) = sent.checked_sub(1).filter(|_| count > 1) else { return failure };
        let array = conformance::name(&self.message(last).array());
        LoadError::Array { number: self.turn(last) + 1, count, array, source: Box::new(failure) }
    }

    /// The window's share of the run's `bytes`, by requests: messages that lie across a boundary would blur a count
    /// between the two, by as much as all that is in flight.
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
        Ok(Reading { at: now, client, spun: self.spun, server, server_faults })
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
    /// Counts bytes sent.
    pub fn sent(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
    }

    /// Counts bytes received.
    pub fn received(&self, bytes: usize) {
        self.bytes_in.set(self.bytes_in.get() + bytes as u64);
    }
}

/// Keeps the processor busy.
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

/// A peer's text on one line of bounded length.
fn one_line(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CHARS_MAX).collect()
}
