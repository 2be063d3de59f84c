//! Watch over a connection or a call of a *service*: a peer that does not get on is given up.
//!
//! At any time a connection waits for one thing of its peer. A stack says which ([`Wait`]), with a
//! number that grows with every progress. The rest follows from the limits:
//!
//! | waits for | longest pause | progress | limit |
//! |---|---|---|---|
//! | a request | `idle_timeout` | a request, or bytes of a response | idle time |
//! | a body | `body_gap_timeout`, `rate_min` | its bytes | message time |
//! | room for responses | `window_timeout`, `rate_min` | bytes of responses | window time |
//! | the same | `window_timeout` | a part of each response | window time |
//! | nothing | none | | |
//! | the end of a head | `head_timeout` for all of it | none | head time, head |
//!
//! The end of a head ([`Head`]) has a clock of its own, so that the begin and the end of a frame do
//! not change the other one. Frames that only keep a connection alive move no number, so they are
//! no progress. Of each response, a quarter of the bytes of `rate_min` is demanded in the time of a
//! pause ([`Responses`]), since other responses share the connection.
//!
//! The watch looks at the number when an alarm rings, and not at every message. So it reads the
//! clock when the kind of a wait changes, and may notice a pause a quarter of its length late.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::driver::WorkerHandle;
use crate::service::echo::EchoService;
use crate::stack::message::{Responses, TURNS};
use crate::wire::progress::Progress;
use crate::wire::{Limit, Limits, Pace};

/// Longest wait for the next request of a connection that has been told to end: a client answers a
/// GOAWAY within a round trip.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Request,
    Body,
    /// Room for responses: windows, or a socket that takes bytes.
    Room,
    Nothing,
}

/// Head, or another frame, of which the end has not arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) number: u64,
    /// Bytes received on the connection.
    pub(super) bytes: u64,
}

/// State of a connection or a call, after the input of a turn was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) head: Option<Head>,
    pub(super) wait: Wait,
    /// Progress of this wait.
    pub(super) moved: u64,
    /// True while the socket takes no output. A stack then reads nothing, perhaps.
    pub(super) is_blocked: bool,
}

/// Judgement on a peer that is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// The peer is idle: the connection is to shut down.
    Idle,
    End,
}

pub(super) struct Watch {
    worker: WorkerHandle,
    service: EchoService,
    head: Option<(Head, Clock)>,
    wait: Wait,
    moved: u64,
    clock: Option<Clock>,
    /// Responses of the connection, each of which is to get on.
    responses: Option<Rc<Responses>>,
    /// End of a turn of the responses.
    turn_ends: Option<Instant>,
    alarm: Option<Alarm>,
    /// True once the connection is told to end.
    is_leaving: bool,
    is_of_call: bool,
}

#[derive(Clone, Copy, Debug)]
struct Clock {
    pace: Pace,
    progress: Progress,
}

struct Alarm {
    at: Instant,
    sleep: Pin<Box<dyn Future<Output = ()>>>,
}

impl Watch {
    pub(super) fn new(worker: &WorkerHandle, service: &EchoService) -> Watch {
        Watch {
            worker: worker.clone(),
            service: service.clone(),
            head: None,
            wait: Wait::Nothing,
            moved: 0,
            clock: None,
            responses: None,
            turn_ends: None,
            alarm: None,
            is_leaving: false,
            is_of_call: false,
        }
    }

    /// Makes the watch over a connection with several responses at a time.
    pub(super) fn of_responses(
        worker: &WorkerHandle,
        service: &EchoService,
        responses: &Rc<Responses>,
    ) -> Watch {
        Watch { responses: Some(Rc::clone(responses)), ..Watch::new(worker, service) }
    }

    /// Makes the watch over one call, whose end does not end the connection.
    pub(super) fn of_call(worker: &WorkerHandle, service: &EchoService) -> Watch {
        Watch { is_of_call: true, ..Watch::new(worker, service) }
    }

    /// Notes that the connection is told to end. Its peer gets a short time for that.
    pub(super) fn leave(&mut self) {
        self.is_leaving = true;
        self.wait = Wait::Nothing;
        self.clock = None;
    }

    /// Judges the peer.
    pub(super) fn poll_late(&mut self, state: State, cx: &mut Context<'_>) -> Poll<Late> {
        let number = |head: Head| head.number;
        if state.head.map(number) != self.head.map(|(head, _)| head.number) {
            self.begin_head(state.head);
        } else if self.is_long(state.head) {
            return Poll::Ready(self.end(Limit::Head));
        }
        if state.wait != self.wait {
            self.begin(state);
        }
        if self.clock.is_none() && self.head.is_none() {
            return Poll::Pending;
        }
        let Some(alarm) = &mut self.alarm else { return Poll::Pending };
        ready!(alarm.sleep.as_mut().poll(cx));
        self.ring(state, cx)
    }

    fn begin_head(&mut self, head: Option<Head>) {
        let pace = Pace { gap: self.service.limits().head_timeout, rate_min: 0 };
        self.head = head.map(|head| (head, self.start(pace)));
    }

    fn begin(&mut self, State { wait, moved, .. }: State) {
        (self.wait, self.moved, self.turn_ends) = (wait, moved, None);
        self.clock = self.pace().map(|pace| self.start(pace));
    }

    fn start(&mut self, pace: Pace) -> Clock {
        let now = self.worker.now();
        let clock = Clock::start(pace, now);
        self.arm(clock.look(now));
        clock
    }

    /// Sees to it that there is an alarm at `at` or before.
    fn arm(&mut self, at: Instant) {
        if self.alarm.as_ref().is_none_or(|alarm| alarm.at > at) {
            self.alarm = Some(Alarm { at, sleep: Box::pin(self.worker.sleep_until(at)) });
        }
    }

    fn is_long(&self, head: Option<Head>) -> bool {
        let (Some(now), Some((begun, _))) = (head, self.head) else { return false };
        now.bytes - begun.bytes > self.service.limits().head_bytes_max as u64
    }

    #[cold]
    fn ring(&mut self, state: State, cx: &mut Context<'_>) -> Poll<Late> {
        loop {
            self.alarm = None;
            let now = self.worker.now();
            if let Some(late) = self.look(state, now) {
                return Poll::Ready(late);
            }
            let Some(alarm) = &mut self.alarm else { return Poll::Pending };
            ready!(alarm.sleep.as_mut().poll(cx));
        }
    }

    /// Judges the peer at this time, or sets the alarm for the next look.
    fn look(&mut self, state: State, now: Instant) -> Option<Late> {
        let State { moved, is_blocked, .. } = state;
        // The driver has a deadline for what it sends.
        let is_sending = is_blocked || self.worker.is_sending();
        if let Some((_, clock)) = &mut self.head {
            if is_sending {
                *clock = Clock::start(clock.pace, now);
            }
            let clock = *clock;
            if clock.progress.due() <= now {
                return Some(self.end(Limit::HeadTime));
            }
            self.arm(clock.look(now));
        }
        let mut clock = self.clock?;
        let bytes = usize::try_from(moved - self.moved).unwrap_or(usize::MAX);
        self.moved = moved;
        if is_sending && self.wait != Wait::Room {
            clock = Clock::start(clock.pace, now);
        } else {
            clock.progress.moved(bytes, clock.pace, now);
        }
        self.clock = Some(clock);
        let is_late = clock.progress.due() <= now
            || self.wait == Wait::Room && !is_blocked && self.has_late_response(clock.pace, now);
        if is_late {
            return Some(self.late());
        }
        self.arm(clock.look(now));
        None
    }

    /// Ends a turn of the responses if its time has come.
    fn has_late_response(&mut self, pace: Pace, now: Instant) -> bool {
        let Some(responses) = &self.responses else { return false };
        let turn = pace.gap / TURNS;
        let ends = *self.turn_ends.get_or_insert(now);
        if now < ends {
            return false;
        }
        self.turn_ends = Some(now + turn);
        let progress_min = turn.as_secs_f64() * pace.rate_min as f64;
        // Conversion saturates.
        responses.end_turn((progress_min as usize).max(1))
    }

    fn late(&mut self) -> Late {
        match self.wait {
            Wait::Request if self.is_leaving => Late::End,
            Wait::Request | Wait::Nothing => {
                self.service.limits().counts.hit(Limit::IdleTime);
                self.leave();
                Late::Idle
            }
            Wait::Body => self.end(Limit::MessageTime),
            Wait::Room => self.end(Limit::WindowTime),
        }
    }

    fn end(&self, limit: Limit) -> Late {
        let counts = self.service.limits().counts;
        counts.hit(limit);
        counts.peer_faults.add(u64::from(!self.is_of_call));
        Late::End
    }

    fn pace(&self) -> Option<Pace> {
        let limits = self.service.limits();
        let pace = pace(self.wait, limits)?;
        let is_short = self.is_leaving && self.wait == Wait::Request;
        let gap = if is_short { pace.gap.min(LEAVE_TIMEOUT) } else { pace.gap };
        Some(Pace { gap, ..pace })
    }
}

impl Clock {
    fn start(pace: Pace, now: Instant) -> Clock {
        Clock { pace, progress: Progress::start(pace, now) }
    }

    /// Returns the time of the next look at the progress.
    fn look(&self, now: Instant) -> Instant {
        self.progress.due().min(now + self.pace.gap / TURNS)
    }
}

fn pace(wait: Wait, limits: &Limits) -> Option<Pace> {
    match wait {
        Wait::Request => Some(Pace { gap: limits.idle_timeout, rate_min: 0 }),
        Wait::Body => Some(limits.body_pace()),
        Wait::Room => Some(limits.window_pace()),
        Wait::Nothing => None,
    }
}
