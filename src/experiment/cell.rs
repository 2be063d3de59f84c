//! A cell: one rung with one array under one load.

use std::fmt;
use std::time::Duration;

use crate::axis::{Coding, Encoding, Family, Malloc, Payload, Rung};
use crate::ladder::table;
use crate::record::trial_spec::Length;
use crate::record::{ArrayInfo, Client, Side, Trial, Variant};

use super::any_rung::AnyRung;
use super::concurrency::Concurrency;

#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    pub rung: AnyRung,
    pub variant: Variant,
    pub parent: Option<Rung>,
    /// Standard server for comparison: tonic, or axum with the usual libraries.
    pub reference: Option<Rung>,
    pub array: ArrayInfo,
    /// Coding of the messages, both ways.
    pub coding: Coding,
    pub concurrency: Concurrency,
    /// Requested concurrency, if the limit of the rung reduced it.
    pub in_flight_wanted: Option<u32>,
    pub offered_hz: Option<f64>,
    /// Null server that shows the highest rate of the load generator.
    pub null: Option<Rung>,
    /// Allocator of the server; `None` for the usual one of the rung.
    pub malloc: Option<Malloc>,
    /// True if system calls and allocations of a request are counted, and nothing is timed.
    pub is_counted: bool,
    /// True if one block tries the cell and the others do not.
    pub is_once: bool,
    pub window: Length,
    pub skip: Option<String>,
}

/// Size from which a window is a number of requests, of which few would fit into its time.
const COUNTED_BYTES_MIN: u64 = 8 << 20;

const COUNTED_BYTES: u64 = 256 << 20;

impl Cell {
    /// A cell under `wanted` concurrency, or as much of it as the rung can take from each client.
    pub fn new(
        rung: AnyRung,
        array: &ArrayInfo,
        wanted: Concurrency,
        clients: &[Client],
        time: Duration,
    ) -> Cell {
        let family = match rung.family() {
            Family::Raw => wanted.family(),
            family => family,
        };
        let concurrency = rung.limit(wanted, array.bytes, clients);
        Cell {
            parent: rung.parent(),
            reference: table::reference(rung.encoding(), family, rung.transport()),
            array: array.clone(),
            coding: Coding::Identity,
            concurrency,
            in_flight_wanted: (concurrency != wanted).then_some(wanted.in_flight),
            window: window(rung.encoding(), array.bytes, time),
            skip: None,
            variant: Variant::Usual,
            offered_hz: None,
            null: rung.null_server(),
            malloc: None,
            is_counted: false,
            is_once: false,
            rung,
        }
    }

    /// Returns whether `trial` is a trial of this cell, apart from its load.
    pub fn matches(&self, trial: &Trial) -> bool {
        self.rung.is_named(&trial.rung)
            && self.variant == trial.variant
            && (&self.array, self.coding) == (&trial.array, trial.coding)
    }

    /// Returns the reason not to load the cell with `client`, if there is one.
    pub fn obstacle(&self, client: Client) -> Option<String> {
        let obstacle = || client.obstacle(self.rung.family(), self.rung.transport());
        self.skip.clone().or_else(|| obstacle().map(str::to_owned))
    }

    /// Returns whether the load visits the cell in slices. A null server is tried only once, and
    /// the latencies of an open loop need a whole window.
    pub fn is_sliced(&self) -> bool {
        self.offered_hz.is_none() && !self.is_counted && !self.is_once
    }

    /// Returns the allocator of the server if `wanted` is the choice of the run.
    pub fn malloc(&self, wanted: Option<Malloc>) -> Malloc {
        self.rung.malloc(wanted.or(self.malloc))
    }

    pub fn is_usual(&self, rung: Rung) -> bool {
        self.variant == Variant::Usual && self.rung == rung.into()
    }

    /// Returns true for a cell of the same array and concurrency, in any coding.
    pub fn is_same_load(&self, other: &Cell) -> bool {
        (self.concurrency, &self.array) == (other.concurrency, &other.array)
    }
}

/// Returns `time`, or a number of requests for large messages. Slow text gets a quarter of them.
fn window(encoding: Encoding, bytes: u64, time: Duration) -> Length {
    if bytes < COUNTED_BYTES_MIN {
        return Length::Time(time);
    }
    let share = if encoding.spec().payload == Payload::Bytes { 1 } else { 4 };
    Length::Requests((COUNTED_BYTES / bytes / share).clamp(2, 16))
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} B {}", self.rung, self.array.bytes, self.concurrency)?;
        if let Some(data_set) = self.array.data_set {
            write!(f, " {data_set}")?;
        }
        if !self.coding.is_identity() {
            write!(f, " in {}", self.coding)?;
        }
        match self.variant {
            Variant::Usual => {}
            Variant::Twin => write!(f, " again")?,
            Variant::Delayed { ns } => write!(f, " +{ns} ns")?,
            Variant::Profiled => write!(f, " profiled")?,
            Variant::Planted { layer, ns, is_profiled } => {
                let profiled = if is_profiled { ", profiled" } else { "" };
                write!(f, " +{ns} ns in {layer}{profiled}")?;
            }
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
        let array = ArrayInfo { dtype: "<f8".into(), shape: vec![1], bytes: 8, data_set: None };
        let cell = |load| Cell::new(rung.into(), &array, load, &[Client::Own], Duration::ZERO);
        let reference = |load| cell(load).reference.map(|rung| rung.protocol());
        assert_eq!(reference(Concurrency::connections(50)), Some(Protocol::Axum));
        assert_eq!(reference(Concurrency::streams(1000)), Some(Protocol::Tonic));
    }
}
