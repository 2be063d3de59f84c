//! Lanes: each protocol over a replayed conversation in memory, and each codec alone.
//!
//! A lane has no socket, no other thread and no client that thinks: the bytes of a turn of calls
//! are ready before it, and its replies are only counted. So its instructions repeat to a few per
//! mille, and a tool can count them by function. What a lane leaves out is the driver, the kernel,
//! and the misses of caches that both cause.
//!
//! ```text
//! Peer: hello, turn, turn ... ─▶ Wired: own protocol          ─▶ bytes ─▶ Peer: counts replies
//!                             └▶ Tape: stack on a tokio runtime ─┘
//! ```
//! Code of this folder is not part of the server: whoever counts a lane leaves it out.

mod codec;
mod machine;
mod peer;
mod replies;
mod tape;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::array::{ArrayError, ArrayView, DType, NdArray, Shape};
use crate::axis::{Codec, Encoding, Family, Protocol, Tuning};
use crate::codec::CodecError;
use crate::driver::planted::Planted;
use crate::probe::injected_delay::InjectedDelay;
use crate::service::codecs::CodecSet;
use crate::service::echo::EchoService;
use crate::stack::tuning::STREAM_WINDOW_BYTES;
use crate::wire::{Limits, Pool, WireError};

use super::build::{self, Host};
pub use codec::{Numbers, Work};
use machine::Wired;
use peer::Peer;

/// Part of the names that the symbol of [`counted`] has, for tools that count its instructions.
pub const COUNTED_SYMBOL: &str = "server4lane7counted";

/// Folder of this code, from the root of the crate.
pub const SOURCES: &str = "src/server/lane/";

/// Sizes of the arrays of protocol lanes, and the calls of one HTTP/2 or raw connection that are in
/// flight. 100 streams are the least that RFC 9113 recommends, so that every stack allows them.
const LOADS: [(u64, u32); 2] = [(8, 100), (64 * 1024, 16)];

/// Size of the arrays of codec lanes.
const CODEC_BYTES: u64 = 64 * 1024;

/// Calls of a lane that are counted, and of its warm-up: of small arrays, of large ones, and of
/// codecs.
const SMALL_CALLS: u32 = 1000;
const LARGE_CALLS: u32 = 96;
const CODEC_CALLS: u32 = 4;

/// Size from which the windows of a stack as documented hold back a message.
const DEFAULT_WINDOW_BYTES: u64 = 64 * 1024;

/// Bytes of the calls in flight of a lane of a run: half of the first window of a connection, whose
/// other half the server may not have widened yet, or one message, up to a limit.
const TURN_BYTES: u64 = DEFAULT_WINDOW_BYTES / 2;
const LARGE_TURN_BYTES: u64 = 1024 * 1024;

/// Bytes of a call besides its message, at most.
const CALL_BYTES: u64 = 64;

/// Bytes of the calls of a lane of a run that are counted, and the least number of them.
const COUNTED_BYTES: u64 = 2 << 20;
const COUNTED_CALLS_MIN: u64 = 2;

const SEED: u64 = 1;

/// A lane, which has a name and no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    pub subject: Subject,
    /// Size of the array.
    pub bytes: u64,
    /// Calls of a turn.
    calls: u32,
    /// Turns that [`counted`] makes.
    counted_turns: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Protocol(Protocol, Codec),
    Codec(Codec, Numbers, Work),
}

/// A lane with warm buffers.
pub struct Lane {
    running: Box<dyn Running>,
    /// Calls of one turn.
    calls: u32,
    turns: u32,
}

/// Anything that can do some turns.
trait Running {
    fn turns(&mut self, count: u32) -> Result<(), LaneError>;
}

#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    #[error("the server broke the protocol: {0}")]
    Server(String),
    #[error("the requests were refused: {0}")]
    Wire(#[from] WireError),
    #[error("the server ended the connection after {replies} of {calls} replies of a turn")]
    Closed { replies: u32, calls: u32 },
    #[error("the server did not go on after {replies} of {calls} replies of a turn")]
    Stuck { replies: u32, calls: u32 },
    #[error("a turn brought {got} bytes of messages, expected {expected}")]
    Replies { got: u64, expected: u64 },
    #[error(
        "the windows of {protocol} hold back a message of {message_bytes} B ({window} B); a lane \
         sends its messages at once"
    )]
    Window { protocol: Protocol, message_bytes: u64, window: u64 },
    #[error("no lane speaks {0}://")]
    Family(&'static str),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Array(#[from] ArrayError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Returns all lanes: every protocol at each size that its windows allow, and every codec.
pub fn specs() -> Vec<Spec> {
    let mut specs = Vec::new();
    for (bytes, _) in LOADS {
        for protocol in Protocol::ALL {
            let is_held = bytes >= DEFAULT_WINDOW_BYTES
                && protocol.family() == Family::Grpc
                && protocol.spec().tuning == Tuning::Default;
            if !is_held {
                specs.push(Spec::usual(Subject::Protocol(protocol, codec_of(protocol)), bytes));
            }
        }
    }
    for codec in crate::codec::implementations() {
        for numbers in Numbers::that_differ(codec.encoding()) {
            for work in Work::ALL {
                let subject = Subject::Codec(codec.id(), *numbers, work);
                specs.push(Spec::usual(subject, CODEC_BYTES));
            }
        }
    }
    specs
}

/// Returns the codec with the least work of its own: the one that a user of the stack would have.
fn codec_of(protocol: Protocol) -> Codec {
    let spec = protocol.spec();
    match (spec.family, spec.tuning) {
        (Family::Rest, _) => Encoding::Npy.own(),
        (Family::Raw, _) => Encoding::Protobuf.own(),
        (Family::Zmtp, _) => Encoding::Multipart.own(),
        (Family::Grpc, _) if spec.crates.is_empty() => Encoding::Protobuf.own(),
        (Family::Grpc, Tuning::Best) => Codec::ProtobufProstBytes,
        (Family::Grpc, _) => Codec::ProtobufProst,
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subject {
            Subject::Protocol(protocol, codec) if self.bytes.is_multiple_of(1024) => {
                write!(f, "{protocol}/{codec}/{}K", self.bytes / 1024)
            }
            Subject::Protocol(protocol, codec) => write!(f, "{protocol}/{codec}/{}", self.bytes),
            Subject::Codec(codec, numbers, work) => {
                write!(f, "codec/{codec}/{}/{}", numbers.name(), work.name())
            }
        }
    }
}

impl Spec {
    fn usual(subject: Subject, bytes: u64) -> Spec {
        let calls = match subject {
            Subject::Protocol(protocol, _) if protocol.family() != Family::Rest => {
                let of_size = LOADS.iter().find(|(of, _)| *of == bytes);
                of_size.map_or(1, |(_, calls)| *calls)
            }
            _ => 1,
        };
        let all = match subject {
            Subject::Codec(..) => CODEC_CALLS,
            Subject::Protocol(..) if bytes < DEFAULT_WINDOW_BYTES => SMALL_CALLS,
            Subject::Protocol(..) => LARGE_CALLS,
        };
        Spec { subject, bytes, calls, counted_turns: all / calls }
    }

    /// Returns the lane of a rung in a run, with up to `in_flight` calls in flight that carry
    /// `array`.
    pub fn of_run(
        protocol: Protocol,
        codec: Codec,
        array: &ArrayView<'_>,
        in_flight: u32,
    ) -> Result<Spec, LaneError> {
        let spec = protocol.spec();
        let message_bytes = peer::message(codec, array)?.len() as u64;
        let window = match spec.tuning {
            _ if spec.family != Family::Grpc => u64::MAX,
            Tuning::Default if !spec.crates.is_empty() => DEFAULT_WINDOW_BYTES,
            _ => STREAM_WINDOW_BYTES.into(),
        };
        if message_bytes + CALL_BYTES >= window {
            return Err(LaneError::Window { protocol, message_bytes, window });
        }
        let call_bytes = message_bytes + CALL_BYTES;
        let turn_bytes = match call_bytes {
            0..TURN_BYTES => TURN_BYTES,
            TURN_BYTES..DEFAULT_WINDOW_BYTES => call_bytes,
            _ => LARGE_TURN_BYTES,
        };
        let most = match spec.family {
            Family::Rest => 1,
            _ => (turn_bytes / call_bytes).clamp(1, LOADS[0].1.into()) as u32,
        };
        let calls = in_flight.clamp(1, most);
        let counted = (COUNTED_BYTES / call_bytes).clamp(COUNTED_CALLS_MIN, SMALL_CALLS.into());
        let counted_turns = (counted as u32).div_ceil(calls);
        let (subject, bytes) = (Subject::Protocol(protocol, codec), array.data().len() as u64);
        Ok(Spec { subject, bytes, calls, counted_turns })
    }

    /// Calls that [`counted`] makes.
    pub fn counted_calls(&self) -> u32 {
        self.counted_turns * self.calls
    }

    /// Calls in flight.
    pub fn in_flight(&self) -> u32 {
        self.calls
    }

    /// Makes the lane and warms its buffers. The calls of a protocol have the work of `delay`.
    pub fn prepare(&self, delay: InjectedDelay) -> Result<Lane, LaneError> {
        match self.subject {
            Subject::Codec(codec, numbers, work) => {
                self.warm(codec::Case::running(codec, numbers, work, self.bytes)?)
            }
            Subject::Protocol(..) => {
                let array = Numbers::Doubles.array(self.bytes)?;
                self.prepare_with(&array.view(), delay)
            }
        }
    }

    /// Makes the lane of a protocol, whose calls carry `array`, with a delay in each of them.
    pub fn prepare_with(
        &self,
        array: &ArrayView<'_>,
        delay: InjectedDelay,
    ) -> Result<Lane, LaneError> {
        let Subject::Protocol(protocol, codec) = self.subject else {
            return self.prepare(delay);
        };
        let peer = Peer::new(protocol.family(), codec, array, self.calls)?;
        let pool = Pool::default();
        let codecs = CodecSet::own().with(codec).delayed(delay);
        // A lane has one thread.
        let limits = Limits { job_bytes_min: usize::MAX, ..Limits::default() };
        let service = EchoService::new(codecs, limits, pool.clone());
        self.warm(build::endpoint(protocol, &service, LaneHost { peer, pool, delay })?)
    }

    fn warm(&self, running: Box<dyn Running>) -> Result<Lane, LaneError> {
        let mut lane = Lane { running, calls: self.calls, turns: self.counted_turns };
        lane.running.turns(self.counted_turns.max(2))?;
        Ok(lane)
    }
}

/// Host that makes a lane of a protocol.
struct LaneHost {
    peer: Peer,
    pool: Pool,
    delay: InjectedDelay,
}

impl Host for LaneHost {
    type Endpoint = Result<Box<dyn Running>, LaneError>;

    fn machine<M: crate::driver::Connected>(
        self,
        make: impl Fn() -> M + 'static,
    ) -> Self::Endpoint {
        let LaneHost { peer, pool, delay } = self;
        Ok(match build::place_around(delay) {
            None => Box::new(Wired::new(make(), peer, pool)?),
            Some((delay, at)) => {
                Box::new(Wired::new(Planted::new(Box::new(make()), delay, at), peer, pool)?)
            }
        })
    }

    fn service<S: crate::driver::Service>(self, service: S) -> Self::Endpoint {
        Ok(Box::new(tape::TapeLane::service(self.peer, service)?))
    }

    fn standalone<S: crate::stack::standalone::Stack>(
        self,
        codecs: CodecSet,
        limits: Limits,
    ) -> Self::Endpoint {
        Ok(Box::new(tape::TapeLane::standalone::<S>(self.peer, codecs, limits)?))
    }
}

impl Lane {
    /// Returns the CPU time of a call in nanoseconds: the shortest of some rounds of `time`.
    pub fn time_ns(&mut self, rounds: u32, time: Duration) -> Result<f64, LaneError> {
        let mut least = f64::INFINITY;
        for _ in 0..rounds {
            let (end, begun, mut calls) = (Instant::now() + time, cpu_time(), 0);
            while calls == 0 || Instant::now() < end {
                self.running.turns(self.turns)?;
                calls += self.turns * self.calls;
            }
            least = least.min((cpu_time() - begun).as_nanos() as f64 / f64::from(calls));
        }
        Ok(least)
    }
}

/// Does the turns of a lane in a function that a tool can find by its name.
#[inline(never)]
pub fn counted(lane: &mut Lane) -> Result<(), LaneError> {
    black_box(&mut *lane.running).turns(lane.turns)
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

fn seeded(bytes: u64, dtype: &str) -> Result<NdArray, ArrayError> {
    let dtype = DType::parse(dtype)?;
    NdArray::seeded(dtype, Shape::new(&[bytes / dtype.item_size() as u64])?, SEED)
}
