//! Connections of each peer's address at one worker, for a limit on them.
//!
//! An IPv6 address counts by its network of 64 bits, within which a host chooses freely. Peers of a
//! Unix socket have no address and no limit.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

type Counts = Rc<RefCell<HashMap<IpAddr, usize>>>;

#[derive(Debug)]
pub(crate) struct Addresses {
    counts: Counts,
    connections_max: usize,
}

/// Place of a connection, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Option<(Counts, IpAddr)>);

impl Addresses {
    pub(crate) fn new(connections_max: usize) -> Addresses {
        Addresses { counts: Counts::default(), connections_max }
    }

    /// Gives a place to an accepted connection; `None` if its address has as many as it may have.
    pub(crate) fn place(&self, peer: Option<IpAddr>) -> Option<Place> {
        match peer {
            Some(address) => self.place_of(address),
            None => Some(Place(None)),
        }
    }

    fn place_of(&self, address: IpAddr) -> Option<Place> {
        let network = network(address);
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry(network).or_default();
        if *count >= self.connections_max {
            return None;
        }
        *count += 1;
        Some(Place(Some((Rc::clone(&self.counts), network))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((counts, network)) = &self.0 else { return };
        let mut counts = counts.borrow_mut();
        if let Some(count) = counts.get_mut(network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(network);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_places() {
        let addresses = Addresses::new(2);
        let place = |text: &str| addresses.place_of(text.parse().expect("an address"));
        let first = place("10.0.0.1");
        let second = place("::ffff:10.0.0.1");
        assert!(first.is_some() && second.is_some() && place("10.0.0.1").is_none());
        assert!(place("10.0.0.2").is_some(), "another address");
        drop(first);
        let third = place("10.0.0.1");
        assert!(third.is_some() && place("10.0.0.1").is_none());
        drop((second, third));
        assert!(addresses.counts.borrow().is_empty());
        let network = [place("2001:db8::1"), place("2001:db8::ffff:2")];
        assert!(place("2001:db8::3").is_none() && place("2001:db8:0:1::3").is_some());
        drop(network);
    }
}
