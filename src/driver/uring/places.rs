//! Places of connections: sockets that wait for one, and connections that give up theirs.

use std::time::Instant;

use super::acceptor::{ConnectionFactory, Waiting};
use super::connection::RingConnection;
use super::core::Core;
use super::kernel::Kernel;
use super::op::Key;
use super::reactor::{Reactor, mark};
use crate::driver::connection::leave::longest_idle;
use crate::driver::connection::memory::choose_dropped;
use crate::driver::planted_bugs::{PlantedBug, is_planted};
use crate::driver::{
    DriverError, RESTRICTED_AFTER, SHED_INTERVAL, URGENT_PLACES, Urgent, waits_too_long,
};
use crate::wire::{Alarm, Limit};

impl<K: Kernel> Reactor<K> {
    pub(super) fn admit_waiting(&mut self) -> Result<(), DriverError> {
        while (self.connections.len() < self.options.connections_max() as usize
            || is_planted(PlantedBug::ConnectionLimitIgnored))
            && let Some(waiting) = self.waiting.pop_front()
        {
            self.admit(waiting, None)?;
        }
        Ok(())
    }

    fn admit(
        &mut self,
        Waiting { number, socket, place, .. }: Waiting<K>,
        urgent: Option<Urgent>,
    ) -> Result<(), DriverError> {
        let Core { ring, counts, socket: options, .. } = &mut *self.core;
        counts.accepted.add(1);
        *options = options.take().or_else(|| ring.kernel.options(&socket));
        match self.acceptors[number].factory.clone() {
            ConnectionFactory::Machine(make) => {
                let key = self.insert(socket, Some(place), urgent, |_| make())?;
                if self.core.executor.shutdown.is_set()
                    && let Some(connection) = self.connections.get_mut(key)
                {
                    self.core.with_cx(|cx| connection.inner.drain(cx));
                }
            }
            ConnectionFactory::Service(serve) => {
                let stream = self.insert_stream(socket, place, urgent)?;
                let worker = self.core.executor.worker_handle().limited_to(urgent);
                let worker = worker.with_output(stream.output());
                self.core.executor.spawn(serve(stream, worker));
            }
        }
        if self.connections.len() >= self.options.connections_max() as usize {
            self.core.counts.alarm(Alarm::ConnectionsFull);
        }
        Ok(())
    }

    /// Drops the connections that hold most, until the others fit the memory.
    #[inline]
    pub(super) fn shed_memory(&mut self) {
        while self.core.executor.pool.must_drop() {
            let Some(key) = self.largest() else { return };
            if let Some(connection) = self.connections.get_mut(key) {
                connection.inner.drop_for_memory();
                mark(&mut self.dirty, key, connection);
            }
        }
    }

    /// Makes room for sockets that wait for a place, and serves urgent requests among them.
    #[inline]
    pub(super) fn make_room(&mut self) -> Result<(), DriverError> {
        if self.waiting.is_empty() || self.next_shed > self.core.now {
            return Ok(());
        }
        self.next_shed = self.core.now + SHED_INTERVAL;
        self.shed_idle();
        self.admit_urgent()?;
        self.shed_waiting();
        Ok(())
    }

    /// Closes sockets that have waited for too long, unless they are the last ones.
    fn shed_waiting(&mut self) {
        if self.core.executor.shutdown.is_set() {
            return;
        }
        let Core { ring, counts, now, .. } = &*self.core;
        let waiting = self.waiting.len();
        self.waiting.retain(|Waiting { socket, since, .. }| {
            let waited = now.saturating_duration_since(*since);
            let must_go = waits_too_long(waited, waiting, || ring.kernel.unread(socket));
            if must_go {
                counts.hit(Limit::PlaceTime);
            }
            !must_go
        });
    }

    /// Ends as many idle connections as sockets wait, those that are idle for longest first.
    fn shed_idle(&mut self) {
        for key in self.idle_keys() {
            if let Some(connection) = self.connections.get_mut(key)
                && connection.may_retire(&self.core.ring.kernel, self.core.now)
            {
                self.core.with_cx(|cx| connection.inner.retire(cx));
                mark(&mut self.dirty, key, connection);
            }
        }
    }

    fn admit_urgent(&mut self) -> Result<(), DriverError> {
        let connections_max = self.options.connections_max() as usize + URGENT_PLACES;
        let mut index = 0;
        while self.connections.len() < connections_max
            && let Some(Waiting { socket, since, .. }) = self.waiting.get(index)
        {
            let may_restrict = *since + RESTRICTED_AFTER <= self.core.now;
            let kernel = &self.core.ring.kernel;
            let begins_with = |prefix: &[u8]| kernel.begins_with(socket, prefix);
            match self.options.urgent_request(begins_with, may_restrict) {
                None => index += 1,
                urgent => {
                    if let Some(waiting) = self.waiting.remove(index) {
                        self.admit(waiting, urgent)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn idle_keys(&self) -> Vec<Key> {
        let retired = self.connections.iter().filter(|(_, it)| it.inner.is_retired()).count();
        let places = self.options.connections_max() as usize;
        let free = places.saturating_sub(self.connections.len());
        let needed = self.waiting.len().saturating_sub(retired + free);
        let idle = |(key, it): (Key, &RingConnection<K>)| Some((it.inner.idle_since()?, key));
        let idle: Vec<(Instant, Key)> = self.connections.iter().filter_map(idle).collect();
        longest_idle(idle, needed, self.core.now)
    }

    fn largest(&self) -> Option<Key> {
        let connections = self.connections.iter();
        let pools = connections.map(|(key, connection)| (key, connection.inner.pool()));
        choose_dropped(&self.core.executor.pool, pools)
    }
}
