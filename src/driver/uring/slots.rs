//! Table whose places are reused, each time under a new generation.
//!
//! The place freed last is taken first. A key of an earlier tenant finds nothing.

use super::op::Key;
use crate::driver::planted_bugs::{PlantedBug, is_planted};

#[derive(Debug)]
pub(super) struct Slots<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    tenant: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Inserts the tenant; `None` if tokens have no room for the index.
    pub(super) fn insert(&mut self, make: impl FnOnce(Key) -> T) -> Option<Key> {
        let index = match self.free.last() {
            Some(&index) => index,
            None => u32::try_from(self.places.len()).ok().filter(|&at| at < Key::INDEX_END)?,
        };
        let place = self.places.get(index as usize);
        let key = Key { index, generation: place.map_or(0, |place| place.generation) };
        let tenant = Some(make(key));
        if self.free.pop().is_some() {
            self.places[index as usize].tenant = tenant;
        } else {
            self.places.push(Place { generation: 0, tenant });
        }
        Some(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        let is_ours = place.generation == key.generation
            || is_planted(PlantedBug::GenerationIgnored)
            || is_planted(PlantedBug::ClosedInFlightAndReused);
        if is_ours { place.tenant.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let tenant = self.places.get_mut(key.index as usize).and_then(|place| {
            let tenant = place.tenant.take_if(|_| place.generation == key.generation)?;
            place.generation = place.generation.wrapping_add(1);
            Some(tenant)
        })?;
        self.free.push(key.index);
        Some(tenant)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let key = Key { index: index as u32, generation: place.generation };
            place.tenant.as_ref().map(|tenant| (key, tenant))
        })
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.iter().map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_its_tenant_and_no_later_one() {
        let mut slots = Slots::default();
        let first = slots.insert(|key| (key, 'a')).expect("room");
        let second = slots.insert(|key| (key, 'b')).expect("room");
        assert_eq!(slots.get_mut(first), Some(&mut (first, 'a')));
        assert_eq!(slots.remove(first), Some((first, 'a')));
        assert_eq!(slots.remove(first), None);
        let third = slots.insert(|key| (key, 'c')).expect("room");
        assert_eq!(third.index, first.index);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!((slots.len(), slots.keys()), (2, vec![third, second]));
    }
}
