//! Concurrency of a load: connections, and requests in flight over all of them.
//!
//! The default depends only on the family and the size of the array, so that rungs of a family can
//! be compared. `raw` is compared with both HTTP families and gets the load of each. ZMTP carries
//! one request at a time on a connection, and gets the load of REST.
//!
//! | array | gRPC: one connection, in flight | REST: connections, one in flight on each |
//! |---|---|---|
//! | up to 4 KiB | 1000 | 50 |
//! | up to 256 KiB | 64 | 50 |
//! | up to 4 MiB | 8 | 8 |
//! | more | 1 | 1 |
//!
//! The bytes in flight lie in socket buffers, in the server and in the load generator at once. They
//! stay near 8 MiB, except at the small sizes, which show the effect of depth.

use std::fmt;

use crate::axis::Family;

/// Largest array whose cost per call depends much on how many calls are in flight.
const ONE_BYTES_MAX: u64 = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Concurrency {
    pub connections: u32,
    pub in_flight: u32,
}

impl Concurrency {
    pub const fn streams(in_flight: u32) -> Concurrency {
        Concurrency { connections: 1, in_flight }
    }

    pub const fn connections(connections: u32) -> Concurrency {
        Concurrency { connections, in_flight: connections }
    }

    pub fn defaults(family: Family, bytes: u64) -> Vec<Concurrency> {
        let (streams, connections) = match bytes {
            0..=0x1000 => (1000, 50),
            0x1001..=0x4_0000 => (64, 50),
            0x4_0001..=0x40_0000 => (8, 8),
            _ => (1, 1),
        };
        let (grpc, rest) = (Concurrency::streams(streams), Concurrency::connections(connections));
        Concurrency::for_family(family, grpc, rest)
    }

    /// Returns the default of a call over gRPC, and one call in flight if that is another load.
    pub fn many_and_one(_: Family, bytes: u64) -> Vec<Concurrency> {
        let mut loads = Concurrency::defaults(Family::Grpc, bytes);
        if bytes <= ONE_BYTES_MAX {
            loads.push(Concurrency::streams(1));
        }
        loads
    }

    /// Returns as many connections as the default over REST for the array has, but at most `most`.
    pub fn few_connections(most: u32, bytes: u64) -> Concurrency {
        let usual = Concurrency::defaults(Family::Rest, bytes);
        Concurrency::connections(usual[0].connections.min(most))
    }

    /// Selects `grpc`, or `rest` for one request at a time on a connection; `raw` gets both.
    pub fn for_family(family: Family, grpc: Concurrency, rest: Concurrency) -> Vec<Concurrency> {
        match family {
            Family::Grpc => vec![grpc],
            Family::Rest | Family::Zmtp => vec![rest],
            Family::Raw if grpc == rest => vec![grpc],
            Family::Raw => vec![grpc, rest],
        }
    }

    pub fn family(self) -> Family {
        if self.connections == 1 { Family::Grpc } else { Family::Rest }
    }
}

/// Connections and requests in flight on each, `1x1000` or `50x1`.
impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}x{}", self.connections, self.in_flight / self.connections.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_gets_the_loads_of_both_families() {
        for bytes in [8, 65_536, 1 << 20, 16 << 20] {
            let mut both = Concurrency::defaults(Family::Grpc, bytes);
            both.extend(Concurrency::defaults(Family::Rest, bytes));
            both.dedup();
            assert_eq!(Concurrency::defaults(Family::Raw, bytes), both, "{bytes}");
        }
    }

    #[test]
    fn a_load_reads_connections_times_depth() {
        assert_eq!(Concurrency::streams(1000).to_string(), "1x1000");
        assert_eq!(Concurrency::connections(50).to_string(), "50x1");
    }
}
