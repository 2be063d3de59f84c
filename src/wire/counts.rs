//! WorkerCounts of one worker, which its thread writes and any thread reads.
//!
//! A count has one writer, so an addition is a load and a store without a lock: some three
//! instructions. A reader sees each count at some recent time, perhaps each at another. The counts
//! of a worker are never freed, so whoever serves a request has them as a plain reference.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use super::grpc::Code;

/// Number that only grows. One thread at a time adds to it.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    #[inline(always)]
    pub fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    /// Adds from any thread, if all that is added to this count comes this way.
    fn add_shared(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub struct WorkerCounts {
    /// Requests that were handled, well or with a refusal.
    pub requests: Count,
    /// Requests whose work was long and was done outside of the worker.
    pub jobs: Count,
    pub accepted: Count,
    /// Connections that have ended; standalone stacks do not tell of them.
    pub closed: Count,
    /// Connections whose peer broke the protocol, was too slow, or vanished inside a message.
    pub peer_faults: Count,
    /// Bytes from and to peers; not those of borrowed stacks on tokio.
    pub bytes_in: Count,
    pub bytes_out: Count,
    pub busy_poll_idle_ns: Count,
    /// Turns of the event loop of `uring`, and the time in them. Other drivers have a runtime that
    /// counts: see [`WorkerCounts::loop_time`].
    pub turns: Count,
    pub busy_ns: Count,
    refusals: [Count; STATUSES.len() + Code::ALL.len()],
    limits: [Count; Limit::ALL.len()],
    alarms: [Count; Alarm::ALL.len()],
    is_rung: AtomicBool,
    bell: Hook<()>,
    runtime: Hook<LoopTime>,
}

/// Time that an event loop has spent outside of its wait, and its waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoopTime {
    pub turns: u64,
    pub busy: Duration,
}

/// Event that an operator should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Alarm {
    /// A connection could not be accepted, for want of descriptors or memory.
    AcceptFailed,
    /// All connections of a worker are in use, so further ones wait.
    ConnectionsFull,
    /// A request failed because its handler panicked.
    Panicked,
    /// The drain timeout passed with requests unanswered.
    DrainAborted,
}

impl Alarm {
    pub const ALL: [Alarm; 4] =
        [Alarm::AcceptFailed, Alarm::ConnectionsFull, Alarm::Panicked, Alarm::DrainAborted];

    pub fn name(self) -> &'static str {
        ["accept_failed", "connections_full", "panicked", "drain_aborted"][self as usize]
    }
}

/// Declares [`Limit`] with a name for each variant.
macro_rules! limits {
    ($($(#[$doc:meta])* $Limit:ident $name:literal,)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Limit {
            $($(#[$doc])* $Limit,)+
        }

        impl Limit {
            pub const ALL: [Limit; [$($name),+].len()] = [$(Limit::$Limit),+];

            pub fn name(self) -> &'static str {
                [$($name),+][self as usize]
            }
        }
    };
}

limits! {
    Head "head",
    /// Bytes or frames of a header block, encoded or decoded.
    HeaderBlock "header_block",
    Message "message",
    /// Bytes of all messages that are arriving on a connection.
    Messages "messages",
    Streams "streams",
    /// Streams that were reset by the peer, or because of it.
    Resets "resets",
    /// Frames that answer the peer's and wait unread.
    ControlFrames "control_frames",
    /// Send windows of streams that SETTINGS have moved.
    WindowChanges "window_changes",
    /// DATA frames with little content.
    SmallData "small_data",
    HeadTime "head_time",
    MessageTime "message_time",
    /// Time for a send window to open.
    WindowTime "window_time",
    IdleTime "idle_time",
    /// Time in which a peer takes no byte.
    StallTime "stall_time",
    /// Bodies that are refused while the process is short of memory.
    Memory "memory",
    /// Bodies that wait, as long as the process is short of memory.
    MemoryWait "memory_wait",
    /// Connections and bodies that are dropped because the process holds too much memory.
    MemoryDrop "memory_drop",
    /// Memory that one connection holds.
    ConnectionMemory "connection_memory",
    /// Idle connections that are closed as others wait for a place.
    IdlePlace "idle_place",
    /// Sockets that are closed, as no place was free in time and too many wait.
    PlaceTime "place_time",
    /// Connections of one address.
    AddressConnections "address_connections",
}

/// Every status of a refusal in HTTP.
const STATUSES: [StatusCode; 14] = [
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::LENGTH_REQUIRED,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::URI_TOO_LONG,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::EXPECTATION_FAILED,
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::NOT_IMPLEMENTED,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::HTTP_VERSION_NOT_SUPPORTED,
];

/// WorkerCounts of all that is served outside of a worker, by lanes and tests.
static UNREAD: OnceLock<&'static WorkerCounts> = OnceLock::new();

impl WorkerCounts {
    /// Makes the counts of a worker.
    pub fn of_worker() -> &'static WorkerCounts {
        Box::leak(Box::default())
    }

    /// Returns counts that nobody reads, for servers without a worker.
    pub fn unread() -> &'static WorkerCounts {
        UNREAD.get_or_init(WorkerCounts::of_worker)
    }

    #[cold]
    pub fn hit(&self, limit: Limit) {
        self.limits[limit as usize].add(1);
    }

    /// Returns the limits that peers have reached, and how often.
    pub fn limits(&self) -> impl Iterator<Item = (Limit, u64)> {
        Limit::ALL.into_iter().zip(self.limits.iter().map(Count::get))
    }

    /// Notes a response with this status. Only those of refusals count.
    #[cold]
    pub fn refused(&self, status: StatusCode) {
        if let Some(at) = STATUSES.iter().position(|known| *known == status) {
            self.refusals[at].add(1);
        }
    }

    #[cold]
    pub fn refused_call(&self, code: Code) {
        if let Some(at) = Code::ALL.iter().position(|known| *known == code) {
            self.refusals[STATUSES.len() + at].add(1);
        }
    }

    /// Returns the refusals by HTTP status and by name of the gRPC status.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let statuses = STATUSES.iter().map(StatusCode::as_str);
        let names = statuses.chain(Code::ALL.iter().map(|code| code.name()));
        names.zip(self.refusals.iter().map(Count::get))
    }

    /// WorkerCounts an event, and rings the bell if no ring waits to be answered. Any thread may
    /// call it.
    #[cold]
    pub fn alarm(&self, alarm: Alarm) {
        self.alarms[alarm as usize].add_shared(1);
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            self.bell.call();
        }
    }

    /// Sets what to do at an alarm, the first one after [`WorkerCounts::answer_alarm`].
    pub fn on_alarm(&self, bell: impl Fn() + Send + Sync + 'static) {
        self.bell.set(Box::new(bell));
    }

    /// Lets the next alarm ring again. The caller reads [`WorkerCounts::alarms`] after it.
    pub fn answer_alarm(&self) {
        self.is_rung.store(false, Ordering::Release);
    }

    pub fn alarms(&self) -> impl Iterator<Item = (Alarm, u64)> {
        Alarm::ALL.into_iter().zip(self.alarms.iter().map(Count::get))
    }

    pub fn panics(&self) -> u64 {
        self.alarms[Alarm::Panicked as usize].get()
    }

    /// Sets the source of [`WorkerCounts::loop_time`], for a runtime that measures its own loop.
    pub fn measure_loop(&self, read: impl Fn() -> LoopTime + Send + Sync + 'static) {
        self.runtime.set(Box::new(read));
    }

    pub fn loop_time(&self) -> LoopTime {
        self.runtime.call().unwrap_or_else(|| LoopTime {
            turns: self.turns.get(),
            busy: Duration::from_nanos(self.busy_ns.get()),
        })
    }
}

/// Function that is set once.
struct Hook<T>(OnceLock<Box<dyn Fn() -> T + Send + Sync>>);

impl<T> Hook<T> {
    fn set(&self, work: Box<dyn Fn() -> T + Send + Sync>) {
        // Only counts that nobody reads are shared by several workers.
        let _ = self.0.set(work);
    }

    fn call(&self) -> Option<T> {
        self.0.get().map(|work| work())
    }
}

impl<T> Default for Hook<T> {
    fn default() -> Hook<T> {
        Hook(OnceLock::new())
    }
}

impl<T> fmt::Debug for Hook<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.get().is_some() { "set" } else { "not set" })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;

    fn hits<T: Copy>(counts: impl Iterator<Item = (T, u64)>) -> Vec<(T, u64)> {
        counts.filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn each_limit_refusal_and_alarm_is_counted_under_its_own_name() {
        for limit in Limit::ALL {
            let counts = WorkerCounts::default();
            counts.hit(limit);
            counts.hit(limit);
            assert_eq!(hits(counts.limits()), [(limit, 2)]);
        }
        for (at, alarm) in Alarm::ALL.into_iter().enumerate() {
            let counts = WorkerCounts::default();
            counts.alarm(alarm);
            assert_eq!((alarm as usize, hits(counts.alarms())), (at, vec![(alarm, 1)]));
        }
        let counts = WorkerCounts::default();
        STATUSES.iter().for_each(|status| counts.refused(*status));
        Code::ALL.iter().for_each(|code| counts.refused_call(*code));
        counts.refused(StatusCode::OK);
        let names: BTreeSet<&str> = counts.refusals().map(|(name, _)| name).collect();
        assert_eq!(names.len(), counts.refusals.len());
        assert!(counts.refusals().all(|(_, count)| count == 1));
        assert!(names.contains("413") && names.contains("RESOURCE_EXHAUSTED"), "{names:?}");
    }

    #[test]
    fn the_bell_rings_once_until_it_is_answered() {
        let (counts, rings) = (WorkerCounts::default(), Arc::new(Count::default()));
        counts.alarm(Alarm::Panicked);
        let heard = Arc::clone(&rings);
        assert_eq!(hits(counts.alarms()), [(Alarm::Panicked, 1)]);
        counts.on_alarm(move || heard.add(1));
        counts.answer_alarm();
        (0..3).for_each(|_| counts.alarm(Alarm::AcceptFailed));
        assert_eq!(rings.get(), 1);
        counts.answer_alarm();
        assert_eq!(hits(counts.alarms()), [(Alarm::AcceptFailed, 3), (Alarm::Panicked, 1)]);
        counts.alarm(Alarm::AcceptFailed);
        assert_eq!(rings.get(), 2);
    }
}
