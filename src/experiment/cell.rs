//! A cell: one rung at one array under one load. Everything that is tried, once per round, is a cell.
//!
//! Which load a rung gets by default depends on its family and the array's size only, so that rungs of a family
//! can be compared; `raw` stands under both HTTP families and gets the load of each.
//!
//! | array | gRPC: one connection, in flight | REST: connections, one in flight on each |
//! |---|---|---|
//! | up to 4 KiB | 1000 | 50 |
//! | up to 256 KiB | 64 | 50 |
//! | up to 4 MiB | 8 | 8 |
//! | more | 1 | 1 |
//!
//! The depth shrinks with the size so that what is in flight (and lies in socket buffers, in the server and in the
//! load generator at once) stays near 8 MiB, but for the small sizes, where depth is the point.

use std::fmt;
use std::time::Duration;

use crate::axis::{Encoding, Family, Payload, Rung};
use crate::record::trial_spec::Length;
use crate::record::{ArrayInfo, Side, Trial, Variant};

use super::Subject;
use super::ceilings;
use crate::external::client::Client;
use crate::ladder::table;

/// Connections, and requests in flight over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Load {
    /// Connections.
    pub connections: u32,
    /// Requests in flight over all connections; at least one on each.
    pub in_flight: u32,
}

/// One rung at one array under one load.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The rung.
    pub subject: Subject,
    /// What is special about its server.
    pub variant: Variant,
    /// What it is compared with.
    pub parent: Option<Rung>,
    /// The standard server it is compared with.
    pub reference: Option<Rung>,
    /// What is sent.
    pub array: ArrayInfo,
    /// How many at once.
    pub load: Load,
    /// How many in flight it would have been, had the rung been able to bear as many.
    pub in_flight_wanted: Option<u32>,
    /// Requests a second of an open loop; `None` in a closed one.
    pub offered_hz: Option<f64>,
    /// The null server that the load generator's ceiling is measured with.
    pub null: Option<Rung>,
    /// True to count what requests make the server do, which nothing is timed beside.
    pub is_counted: bool,
    /// True of one that is tried in one block only.
    pub is_once: bool,
    /// How much is measured.
    pub window: Length,
    /// Why it is not tried, if it is not.
    pub skip: Option<String>,
}

/// Sizes from here on are measured by count, not by time.
const COUNTED_BYTES_MIN: u64 = 8 << 20;

/// Bytes sent in a trial that is measured by count.
const COUNTED_BYTES: u64 = 256 << 20;

impl Load {
    /// One connection with `in_flight` requests on it.
    pub const fn streams(in_flight: u32) -> Load {
        Load { connections: 1, in_flight }
    }

    /// `connections` with one request in flight on each.
    pub const fn connections(connections: u32) -> Load {
        Load { connections, in_flight: connections }
    }

    /// The loads a family gets by default at an array of `bytes`.
    pub fn usual(family: Family, bytes: u64) -> Vec<Load> {
        let (streams, connections) = match bytes {
            0..=0x1000 => (1000, 50),
            0x1001..=0x4_0000 => (64, 50),
            0x4_0001..=0x40_0000 => (8, 8),
            _ => (1, 1),
        };
        Load::of_family(family, Load::streams(streams), Load::connections(connections))
    }

    /// `grpc`, `rest`, or for raw both.
    pub fn of_family(family: Family, grpc: Load, rest: Load) -> Vec<Load> {
        match family {
            Family::Grpc => vec![grpc],
            Family::Rest => vec![rest],
            Family::Raw if grpc == rest => vec![grpc],
            Family::Raw => vec![grpc, rest],
        }
    }

    /// The HTTP family whose rungs are under this load.
    pub fn family(self) -> Family {
        if self.connections == 1 { Family::Grpc } else { Family::Rest }
    }
}

/// Connections and requests in flight on each, `1x1000` or `50x1`.
impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}x{}", self.connections, self.in_flight / self.connections.max(1)))
    }
}

/// `time`, or a count where messages are large; a quarter of it for text, which is slow.
fn window(encoding: Encoding, bytes: u64, time: Duration) -> Length {
    if bytes < COUNTED_BYTES_MIN {
        return Length::Time(time);
    }
    let share = if encoding.spec().payload == Payload::Bytes { 1 } else { 4 };
    Length::Requests((COUNTED_BYTES / bytes / share).clamp(2, 16))
}

impl Cell {
    /// Whether `trial` is one of this cell.
    pub fn is_of(&self, trial: &Trial) -> bool {
        self.subject.to_string() == trial.rung
            && self.variant == trial.variant
            && self.array == trial.array
    }

    /// The cell of `subject` at `array` under `load` from `client`, or under as much of it as it can bear.
    pub fn new(
        subject: Subject,
        array: &ArrayInfo,
        load: Load,
        client: Client,
        time: Duration,
    ) -> Cell {
        let family = match subject.family() {
            // It stands under both, and the load says which one is meant.
            Family::Raw => load.family(),
            family => family,
        };
        let bearable = subject.bearable(load, array.bytes, client);
        Cell {
            parent: subject.parent(),
            reference: table::reference(subject.encoding(), family, subject.transport()),
            array: array.clone(),
            load: bearable,
            in_flight_wanted: (bearable != load).then_some(load.in_flight),
            window: window(subject.encoding(), array.bytes, time),
            skip: None,
            variant: Variant::Usual,
            offered_hz: None,
            null: Some(ceilings::null(subject.family(), subject.encoding())),
            is_counted: false,
            is_once: false,
            subject,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} B {}", self.subject, self.array.bytes, self.load)?;
        match self.variant {
            Variant::Usual => {}
            Variant::Twin => write!(f, " again")?,
            Variant::Delayed { ns } => write!(f, " +{ns} ns")?,
            Variant::Null => write!(f, " null")?,
            Variant::Build { side: Side::Old, number } => write!(f, " old {number}")?,
            Variant::Build { side: Side::New, number } => write!(f, " new {number}")?,
        }
        match self.offered_hz {
            Some(rate) => write!(f, " at {rate:.0}/s"),
            None if self.is_counted => write!(f, " counted"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Protocol;

    #[test]
    fn raw_stands_under_the_loads_of_both_families() {
        for bytes in [8, 65_536, 1 << 20, 16 << 20] {
            let mut both = Load::usual(Family::Grpc, bytes);
            both.extend(Load::usual(Family::Rest, bytes));
            both.dedup();
            assert_eq!(Load::usual(Family::Raw, bytes), both, "{bytes}");
        }
    }

    #[test]
    fn a_load_reads_connections_times_depth() {
        assert_eq!(Load::streams(1000).to_string(), "1x1000");
        assert_eq!(Load::connections(50).to_string(), "50x1");
    }

    #[test]
    fn large_messages_are_counted() {
        let time = Duration::from_millis(250);
        assert_eq!(window(Encoding::Npy, 1 << 20, time), Length::Time(time));
        assert_eq!(window(Encoding::Npy, 16 << 20, time), Length::Requests(16));
        assert_eq!(window(Encoding::Json, 16 << 20, time), Length::Requests(4));
        assert_eq!(window(Encoding::Json, 256 << 20, time), Length::Requests(2));
    }

    #[test]
    fn the_reference_of_raw_follows_its_load() {
        let rung: Rung = "uring/raw/reflect".parse().expect("the root");
        let array = ArrayInfo { dtype: "<f8".into(), shape: vec![1], bytes: 8 };
        let cell = |load| Cell::new(rung.into(), &array, load, Client::Own, Duration::ZERO);
        let reference = |load| cell(load).reference.map(|rung| rung.protocol());
        assert_eq!(reference(Load::connections(50)), Some(Protocol::Axum));
        assert_eq!(reference(Load::streams(1000)), Some(Protocol::Tonic));
    }
}
