//! One peer and its connection: two streams of bytes, and the ways in which a peer misbehaves.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::brain::Brain;
use super::chance::{Chance, Fault};
use crate::sys::socket::Unread;

/// Behaviour of a peer. A number is that of bytes after which it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Good,
    /// Reads and sends little at a time, but above the least rate.
    Slow,
    /// Ends its side as soon as all requests are sent.
    HalfClose,
    /// Ends its side inside a request.
    Cut(usize),
    Vanish(usize),
    /// Sends no more, and does not end.
    Silent(usize),
    StopReading(usize),
    /// Stays after its last reply.
    Stay,
}

impl Manner {
    /// Returns true if every request is to be answered.
    pub(super) fn is_fair(self) -> bool {
        matches!(self, Manner::Good | Manner::Slow | Manner::HalfClose | Manner::Stay)
    }
}

/// Bytes under way in both directions, and the ends of both.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// Bytes that the server has not received.
    pub(super) inbound: VecDeque<u8>,
    /// Bytes that the peer has not read.
    pub(super) outbound: VecDeque<u8>,
    /// Most bytes in `outbound`.
    pub(super) room: usize,
    pub(super) peer_has_ended: bool,
    pub(super) peer_has_reset: bool,
    pub(super) server_has_ended: bool,
    /// Time of the end of the server's output.
    pub(super) server_ended_at: Option<u64>,
    /// Time at which the server last asked for unread bytes, and there were none.
    pub(super) seen_empty_at: Option<u64>,
    pub(super) server_reads_no_more: bool,
    pub(super) server_has_closed: bool,
    /// The peer lost bytes, because the server closed with unread input.
    pub(super) is_cut: bool,
    /// Bytes that completions have given to the server, and taken from it.
    pub(super) bytes_in: usize,
    pub(super) bytes_out: usize,
    /// Time of the first receive.
    pub(super) admitted_at: Option<u64>,
}

impl Line {
    /// Notes that the server has asked for unread bytes, and there were none.
    pub(super) fn look_at_nothing(&mut self, time: u64) -> Unread {
        self.seen_empty_at = Some(time);
        Unread::Nothing
    }

    /// Returns the time at which the server decided to end the connection, if that was idle.
    pub(super) fn retired_at(&self) -> Option<u64> {
        let ended_at = self.server_ended_at?;
        Some(self.seen_empty_at.map_or(ended_at, |at| at.min(ended_at)))
    }
}

pub(super) struct Peer {
    pub(super) brain: Box<dyn Brain>,
    pub(super) manner: Manner,
    pub(super) line: Line,
    /// Time of the next action.
    pub(super) wake_at: Option<u64>,
    unsent: VecDeque<u8>,
    sent: usize,
    read: usize,
    misbehaves: bool,
}

impl Peer {
    /// Makes a peer that connects at `at`.
    pub(super) fn new(brain: Box<dyn Brain>, manner: Manner, room: usize, at: u64) -> Peer {
        Peer {
            brain,
            manner,
            line: Line { room, ..Line::default() },
            wake_at: Some(at),
            unsent: VecDeque::new(),
            sent: 0,
            read: 0,
            misbehaves: false,
        }
    }

    /// Wakes the peer at `at` or before.
    pub(super) fn wake(&mut self, at: u64) {
        self.wake_at = Some(self.wake_at.map_or(at, |other| other.min(at)));
    }

    /// Reads and sends some bytes, and plans the next action.
    pub(super) fn act(&mut self, time: u64, origin: Instant, chance: &mut Chance) {
        self.wake_at = None;
        if self.line.peer_has_reset {
            return;
        }
        let now = origin + Duration::from_nanos(time);
        // A peer that sends first has not seen what it reads, so it acts again.
        let (sends_first, read_before) = (chance.is_one_in(3), self.read);
        if sends_first {
            self.send(time, now, chance);
        }
        self.read(time, now, chance);
        if !sends_first {
            self.send(time, now, chance);
        }
        let has_input = self.reads() && !self.line.outbound.is_empty();
        let has_news = sends_first && self.read > read_before;
        if has_input || has_news || self.may_send() && !self.unsent.is_empty() {
            let gap = if self.manner == Manner::Slow { 200_000_000 } else { 1_000_000 };
            self.wake(time + chance.up_to(gap) as u64);
        }
    }

    fn reads(&self) -> bool {
        !(self.misbehaves && matches!(self.manner, Manner::StopReading(_)))
    }

    fn may_send(&self) -> bool {
        let is_silent = self.misbehaves && matches!(self.manner, Manner::Silent(_));
        !self.line.peer_has_ended && !self.line.peer_has_reset && !is_silent
    }

    fn read(&mut self, time: u64, now: Instant, chance: &mut Chance) {
        if let Manner::StopReading(after) = self.manner
            && self.read >= after
        {
            self.misbehave(Fault::StopReading, chance);
        }
        if !self.reads() {
            return;
        }
        let most = chance.up_to(if self.manner == Manner::Slow { 1000 } else { 40_000 });
        let count = self.line.outbound.len().min(most);
        let bytes: Vec<u8> = self.line.outbound.drain(..count).collect();
        if !bytes.is_empty() {
            self.read += count;
            self.brain.receive(&bytes, now, time);
        }
        let server_is_over = self.line.server_has_ended || self.line.server_has_closed;
        if self.line.outbound.is_empty() && server_is_over {
            self.line.peer_has_ended = true;
        }
    }

    fn send(&mut self, time: u64, now: Instant, chance: &mut Chance) {
        if !self.may_send() {
            return;
        }
        self.unsent.extend(self.brain.output(now));
        let most = match self.manner {
            Manner::Slow => 1000,
            _ if chance.is_one_in(3) => 20,
            _ => 9000,
        };
        let most = chance.up_to(most);
        let limit = match self.manner {
            Manner::Cut(after) | Manner::Vanish(after) | Manner::Silent(after) => {
                after.saturating_sub(self.sent)
            }
            _ => usize::MAX,
        };
        let count = self.unsent.len().min(most).min(limit);
        let bytes = self.unsent.drain(..count);
        if self.line.server_has_closed {
            // The answer is RST. On Linux the peer can still read what has come before.
            self.line.peer_has_ended |= bytes.len() > 0;
            return;
        }
        self.line.inbound.extend(bytes);
        self.sent += count;
        self.brain.arrived(self.sent, time);
        match self.manner {
            Manner::Cut(after) if self.sent >= after => {
                self.misbehave(Fault::HalfClose, chance);
                self.line.peer_has_ended = true;
            }
            Manner::Vanish(after) if self.sent >= after => {
                self.misbehave(Fault::Vanish, chance);
                self.line.peer_has_reset = true;
                if chance.is_one_in(2) {
                    self.line.inbound.clear();
                }
            }
            Manner::Silent(after) if self.sent >= after => {
                self.misbehave(Fault::Silence, chance);
            }
            Manner::HalfClose if self.brain.has_asked() && self.unsent.is_empty() => {
                self.misbehave(Fault::HalfClose, chance);
                self.line.peer_has_ended = true;
            }
            Manner::Stay if self.brain.is_done() => self.misbehave(Fault::Stay, chance),
            Manner::Stay => {}
            _ if self.brain.is_done() && self.unsent.is_empty() => {
                self.line.peer_has_ended = true;
            }
            _ => {}
        }
    }

    fn misbehave(&mut self, fault: Fault, chance: &mut Chance) {
        if !std::mem::replace(&mut self.misbehaves, true) {
            chance.note(fault);
        }
    }
}
