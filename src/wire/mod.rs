//! Own protocols as pure state machines, server and client halves side by side.
//!
//! A machine is fed bytes, answers whole messages through a [`Handler`] into an [`Outbox`], and is drained by its
//! caller. It never reads a clock (`now` is an argument), blocks, spawns, logs, or allocates on a length that was
//! merely announced. Incomplete input is a normal state, not an error.
//!
//! # The contract between a machine and who drives it
//!
//! ```text
//!            bytes                         small messages: the caller's buffer, borrowed for the call
//! caller ───────────▶ receive ──▶ Outbox
//!            lend ◀── machine              large messages: the machine lends the message's own buffer,
//!            repay ──▶                     the caller receives into its spare room and gives it back
//! ```
//!
//! 1. `receive` consumes all of its input. What is left of a message stays inside the machine.
//! 2. After every call the caller asks [`Machine::lend`]. On `Some(loan)` it owns the buffer, receives at most
//!    `loan.want` more bytes at its end, and returns it by [`Machine::repay`] before anything else is fed: also when
//!    nothing came, when the peer ended (`repay`, then `end`) and when the deadline passes (the receive is taken
//!    back, what came is repaid, and [`Machine::deadline`] asked anew before `expire` is called).
//! 3. The caller sends what is in the outbox, in order, and stops reading while the outbox is over its limit.
//! 4. Once [`Machine::finished`] is true or a call has returned an error nothing more is fed. The outbox may hold a
//!    last word (the reason of a refusal), so in both cases the caller sends all of it and then closes as rule 5 says;
//!    an error is also counted as the peer's fault.
//! 5. Closing lingers: a socket closed with unread input sends RST, and the peer loses the reply that explains the
//!    close. The caller shuts its write side down, reads and discards until the peer ends, no byte has come for
//!    [`LINGER_GAP`], or [`LINGER_TIME`] is over, and then closes. It need not when the peer has already ended or the
//!    worker is draining. Buffers of a dead connection go back to the pool ([`Outbox::discard`]).
//! 6. [`Pool::trim`] is called about once a second, so that an idle server gives its memory back.

use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

mod body;
mod gathered;
pub mod grpc;
pub mod h1;
pub mod h2;
mod limit;
mod outbox;
mod patience;
mod pool;
pub mod raw;
mod reply;

pub use limit::{Limit, LimitCounts};
pub use outbox::{Batch, Outbox};
pub use pool::{Pool, SharedPool};

/// What a machine may use during one call; all of it belongs to the caller and is shared by its connections.
pub struct Context<'a> {
    /// Where replies (server half) or requests (client half) go.
    pub out: &'a mut Outbox,
    /// Where message buffers come from and return to.
    pub pool: &'a mut Pool,
    /// The caller's clock, read once a turn.
    pub now: Instant,
}

/// A message buffer lent for a direct receive.
#[derive(Debug)]
pub struct Loan {
    /// What has arrived so far; the caller appends within its spare capacity, which is at least `want`.
    pub buffer: Vec<u8>,
    /// Most bytes that may be appended before the buffer is given back. Never 0.
    pub want: usize,
}

/// One connection of one own protocol. The server halves, the load generator's client connections and the poll
/// view of a borrowed stack are all machines, so that one reactor drives them.
pub trait Machine {
    /// The connection stands. A client half speaks first here.
    fn open(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let _ = cx;
        Ok(())
    }

    /// Takes all of `input`, which is never empty.
    fn receive(&mut self, input: &[u8], cx: &mut Context<'_>) -> Result<(), WireError>;

    /// Offers the buffer of a large message that is still arriving. `None` means: use [`Machine::receive`].
    fn lend(&mut self, pool: &mut Pool) -> Option<Loan> {
        let _ = pool;
        None
    }

    /// Takes a lent buffer back; it may hold anything from 0 to `want` bytes more than when it was lent.
    fn repay(&mut self, buffer: Vec<u8>, cx: &mut Context<'_>) -> Result<(), WireError> {
        let _ = (buffer, cx);
        Ok(())
    }

    /// The outbox has been sent in full.
    fn flushed(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let _ = cx;
        Ok(())
    }

    /// True while more is to be done as soon as [`Machine::flushed`] is called: more output, for instance.
    fn awaits_flush(&self) -> bool {
        false
    }

    /// The peer will send no more (FIN).
    fn end(&mut self, cx: &mut Context<'_>) -> Result<(), WireError>;

    /// The server is shutting down: finish what is open, take nothing new, then become finished.
    fn drain(&mut self, cx: &mut Context<'_>);

    /// When [`Machine::expire`] is to be called, if nothing happens before.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The deadline has passed.
    fn expire(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let _ = cx;
        Ok(())
    }

    /// Something that the caller cannot see has changed, a task has written for instance, and the caller was asked to
    /// look again.
    fn resume(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let _ = cx;
        Ok(())
    }

    /// True while what was received is not being used up; the caller leaves further bytes in the socket.
    fn is_full(&self) -> bool {
        false
    }

    /// True once nothing more is wanted from the peer: the caller sends the rest of the outbox and closes.
    fn finished(&self) -> bool;

    /// Which limits the peer has run into so far.
    fn limits(&self) -> LimitCounts {
        LimitCounts::default()
    }
}

/// What the head of a request says, before its body.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// HTTP method, or empty where the protocol has none. HEAD is shown as GET: the machine leaves the body out.
    pub method: &'a [u8],
    /// Path without the query, or empty where the protocol has none.
    pub path: &'a [u8],
    /// Content type as sent, or empty.
    pub content_type: &'a [u8],
    /// Codec byte of a raw frame.
    pub codec_id: Option<u8>,
    /// False when the head says that no body follows (HTTP/1.1 without Content-Length and Transfer-Encoding). A
    /// route that lives on a body refuses with [`Refusal::LengthRequired`]; one that needs none is answered with an
    /// empty body at once.
    pub has_body: bool,
    /// Body length where it is announced. For deciding, never for allocating.
    pub body_len: Option<u64>,
}

/// The handler's name for where a message goes; meaningless to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route(pub u32);

/// A reply cut for a vectored write: `out[..head_len]`, `body[payload]`, `out[head_len..]`, where `out` is counted
/// from its end before the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Content type, for protocols that state one.
    pub content_type: &'static str,
    /// Codec byte, for protocols that state one.
    pub codec_id: u8,
    /// Bytes written to `out` that precede the payload.
    pub head_len: usize,
    /// The part of the request body that is sent back as it lies; may be empty.
    pub payload: Range<usize>,
}

/// Why a request is refused; each protocol has its own way to say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// 400, INVALID_ARGUMENT.
    BadRequest,
    /// 404, UNIMPLEMENTED: nothing is served there.
    NotFound,
    /// 404, NOT_FOUND: what the request asks about is not there.
    Unknown,
    /// 405, UNIMPLEMENTED. Carries the methods that are allowed.
    MethodNotAllowed(&'static str),
    /// 411: the route needs a body and the head announces none.
    LengthRequired,
    /// 413, RESOURCE_EXHAUSTED.
    TooLarge,
    /// 415, INVALID_ARGUMENT.
    UnsupportedMediaType,
    /// 500, INTERNAL: our own fault.
    Internal,
}

/// The work behind a protocol. `server` puts the echo here; tests put what they like.
pub trait Handler {
    /// Decides on the head alone, before any of the body is kept: equal heads have equal routes, so a machine may use
    /// one again without asking. The text is one line, for the peer.
    fn route(&mut self, head: &Head<'_>) -> Result<Route, (Refusal, String)>;

    /// Answers a whole message; appends what is not borrowed from `body` to `out`. On an error `out` is as before.
    fn answer(
        &mut self,
        route: Route,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Reply, (Refusal, String)>;
}

/// Limits of every own protocol. Each has a default, a flag and a test.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest message body, in bytes. A 64 MiB array of doubles is 86 MiB as base64 and 165 MiB as a JSON list.
    pub body_bytes_max: usize,
    /// Largest request head (request line and fields; HPACK-decoded size on HTTP/2), in bytes.
    pub head_bytes_max: usize,
    /// Most header fields.
    pub head_fields_max: usize,
    /// Time for a request's head to arrive whole, from its first byte.
    pub head_timeout: Duration,
    /// Longest pause inside a body.
    pub body_gap_timeout: Duration,
    /// Longest quiet time between requests.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes_max: 192 * 1024 * 1024,
            head_bytes_max: 16 * 1024,
            head_fields_max: 64,
            head_timeout: Duration::from_secs(10),
            body_gap_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
        }
    }
}

/// A body of which at least this much is to come is received straight into its own buffer (the machine lends it);
/// shorter ones are copied out of the caller's. A direct receive spares that copy and costs a turn of the caller's loop
/// for each message, and a send for each reply, where copies answer many messages in a turn. docs/LAYERS.md has the
/// figures from 8 to 256 KiB.
pub const DIRECT_BYTES_MIN: usize = 32 * 1024;

/// A payload at least this long in a buffer of its own is sent from there; shorter ones are copied together.
pub const OWN_BYTES_MIN: usize = 16 * 1024;

/// Most bytes of one [`Loan`]. A caller that waits for all of them sees progress at least this often, so that a slow
/// but honest sender is not taken for a stalled one; one completion per MiB costs less than 1 % of copying it.
pub const LOAN_BYTES_MAX: usize = 1024 * 1024;

/// How long a closing connection waits for the next byte of a peer that has not ended.
pub const LINGER_GAP: Duration = Duration::from_secs(2);

/// How long a closing connection discards input in all.
pub const LINGER_TIME: Duration = Duration::from_secs(10);

/// Why a connection cannot go on. Always the peer's fault; it is counted and the connection closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The peer broke the protocol.
    #[error("{protocol}: {what}")]
    Protocol {
        /// Protocol broken.
        protocol: &'static str,
        /// How.
        what: String,
    },
    /// The peer went away in the middle of a message.
    #[error("{protocol}: connection ended inside a message")]
    Truncated {
        /// Protocol cut.
        protocol: &'static str,
    },
    /// The peer was too slow.
    #[error("{protocol}: timed out {what}")]
    Timeout {
        /// Protocol concerned.
        protocol: &'static str,
        /// Waiting for what.
        what: &'static str,
    },
}

/// A client half: turns requests into bytes and bytes into replies, in the order the protocol allows.
///
/// It shares the lending contract of [`Machine`]; the load generator wraps it into one.
pub trait Client {
    /// The connection stands: what is said before the first request.
    fn open(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// How many requests this connection can carry at once, as far as is known now: 1 for HTTP/1.1 without
    /// pipelining, and 0 once there will be no more.
    fn in_flight_max(&self) -> usize;

    /// Writes one request whose message is `parts` in order. `id` comes back with the reply. The caller has fewer
    /// than [`Client::in_flight_max`] without one.
    fn request(&mut self, id: u32, parts: &[Part<'_>], cx: &mut Context<'_>);

    /// Takes all of `input` and hands each whole reply to `sink`.
    fn receive(
        &mut self,
        input: &[u8],
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError>;

    /// As [`Machine::lend`].
    fn lend(&mut self, pool: &mut Pool) -> Option<Loan> {
        let _ = pool;
        None
    }

    /// As [`Machine::repay`], with the replies it completes.
    fn repay(
        &mut self,
        buffer: Vec<u8>,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        let _ = (buffer, cx, sink);
        Ok(())
    }

    /// The outbox has been sent in full.
    fn flushed(&mut self) {}

    /// The peer will send no more, or will take no more; an error that says why when that is the peer's doing.
    fn end(&mut self) -> Result<(), WireError>;

    /// The SETTINGS of a peer that speaks HTTP/2, once they have come.
    fn peer_settings(&self) -> Option<h2::Settings> {
        None
    }

    /// Our own, of a client half that speaks HTTP/2.
    fn own_settings(&self) -> Option<h2::Settings> {
        None
    }
}

/// A piece of a message to send.
#[derive(Clone, Debug)]
pub enum Part<'a> {
    /// Copied into the outbox.
    Copy(&'a [u8]),
    /// Sent from where it lies, which stays alive until it is sent.
    Share(&'a Rc<Vec<u8>>, Range<usize>),
}

impl Part<'_> {
    /// Bytes in it.
    pub fn len(&self) -> usize {
        match self {
            Part::Copy(bytes) => bytes.len(),
            Part::Share(_, range) => range.len(),
        }
    }

    /// True for a piece of no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Takes replies from a client half.
pub trait Sink {
    /// A whole reply to request `id`. `Err` carries the peer's refusal as text (status and reason).
    fn reply(&mut self, id: u32, body: Result<&[u8], &str>);
}
