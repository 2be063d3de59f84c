//! Scripts of the events of a connection: a byte of options, the number of steps, two bytes for
//! each step, and then the bytes of the peer.

use std::time::Duration;

/// Most steps of a script.
const STEPS_MAX: u8 = 64;

/// Bytes of a [`Step::Fill`] for each unit of its amount.
const FILL_UNIT_BYTES: usize = 256;

const OUTBOX_BYTES_SMALL: usize = 256;
const OUTBOX_BYTES: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Script<'a> {
    pub(crate) setup: Setup,
    steps: &'a [u8],
    pub(crate) wire: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) has_small_limits: bool,
    /// The peer does not begin with the first bytes of its protocol.
    pub(crate) has_no_hello: bool,
    /// The peer sends no FIN at the end.
    pub(crate) falls_silent: bool,
    /// Unary calls are answered by jobs.
    pub(crate) has_jobs: bool,
    /// Unsent bytes at which the driver stops to read.
    pub(crate) outbox_bytes_max: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Bytes of the peer.
    Receive(usize),
    /// Bytes with no meaning, such as those of a long body.
    Fill(usize),
    /// Gives a loan back before it is full.
    Repay,
    Send(usize),
    Wait(Duration),
    /// Waits up to the next deadline, if any, and longer by this time.
    Expire(Duration),
    /// A time in which the driver does not read.
    Pause(Duration),
    End,
    Drain,
    /// More input has arrived behind the next bytes, or may have.
    Follow(bool),
    /// One of the jobs ends, chosen by this number.
    EndJob(usize),
    Retire,
    Restrict,
    /// Frees the idle buffers of the pool.
    Trim,
    /// Other connections hold this part of the budget, in percent.
    Squeeze(usize),
}

impl<'a> Script<'a> {
    pub(crate) fn read(data: &'a [u8]) -> Script<'a> {
        let (options, count, rest) = match data {
            [options, count, rest @ ..] => (*options, *count, rest),
            _ => (0, 0, &[][..]),
        };
        let len = 2 * usize::from(count % STEPS_MAX);
        let (steps, wire) = rest.split_at(rest.len().min(len));
        let is_set = |bit: u8| options & 1 << bit != 0;
        let setup = Setup {
            has_small_limits: is_set(0),
            has_no_hello: is_set(1),
            falls_silent: is_set(2),
            has_jobs: is_set(4),
            outbox_bytes_max: if is_set(3) { OUTBOX_BYTES_SMALL } else { OUTBOX_BYTES },
        };
        Script { setup, steps, wire }
    }

    pub(crate) fn steps(&self) -> impl Iterator<Item = Step> + use<'a> {
        self.steps.chunks_exact(2).map(|pair| Step::read(pair[0], pair[1]))
    }
}

impl Step {
    fn read(kind: u8, amount: u8) -> Step {
        let count = usize::from(amount);
        match kind % 16 {
            0 | 1 => Step::Receive(count + 1),
            2 => Step::Receive(usize::MAX),
            3 => Step::Fill(FILL_UNIT_BYTES * (count + 1)),
            4 => Step::Repay,
            5 => Step::Send(count),
            6 => Step::Send(usize::MAX),
            7 => Step::Wait(time(amount)),
            8 => Step::Expire(Duration::ZERO),
            9 => Step::Expire(time(amount)),
            10 => Step::Pause(time(amount)),
            11 => Step::Drain,
            12 if amount >= 64 => Step::EndJob(count),
            12 => Step::Follow(amount.is_multiple_of(2)),
            13 if amount < 64 => Step::End,
            13 => Step::Retire,
            14 if amount < 64 => Step::Restrict,
            14 => Step::Trim,
            _ => Step::Squeeze([0, 80, 95, 101][count % 4]),
        }
    }
}

/// Returns a time from ten microseconds to 800 s; each power of ten has eight of them.
fn time(amount: u8) -> Duration {
    let digit = u64::from(amount % 8) + 1;
    Duration::from_nanos(10u64.pow(u32::from(amount / 32) + 4) * digit)
}
