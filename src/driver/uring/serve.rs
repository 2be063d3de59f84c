//! Server's part of a reactor: its listeners, and the end of the worker.
#![allow(unsafe_code)] // Takes over accepted descriptors.

use std::os::fd::AsRawFd;

use super::acceptor::{Acceptor, ConnectionFactory, Waiting};
use super::kernel::Kernel;
use super::op::{Completion, Key, Kind, Op, Token};
use super::reactor::{Reactor, mark};
use super::timers::Due;
use crate::driver::planted_bugs::{PlantedBug, is_planted};
use crate::driver::{DriverError, WAITING_MAX, accept_pause};
use crate::sys::socket::SocketOptions;
use crate::wire::{Alarm, Limit};

impl<K: Kernel> Reactor<K> {
    /// Accepts connections of `listener`, which is in blocking mode.
    pub(super) fn serve(&mut self, listener: K::Listener, factory: ConnectionFactory) {
        let acceptor = Acceptor {
            listener: Some(listener),
            factory,
            accepting: false,
            cancelled: false,
            paused: None,
        };
        self.acceptors.push(acceptor);
    }

    /// Serves until `stop` is readable, and drains.
    pub(super) fn run(
        &mut self,
        stop: &impl AsRawFd,
    ) -> Result<Option<SocketOptions>, DriverError> {
        self.watch(stop.as_raw_fd(), Kind::Stop);
        while !self.stopped {
            self.turn(None)?;
        }
        self.drain();
        let end = self.now() + self.options.drain_timeout;
        while !self.is_drained() && self.now() < end {
            self.turn(Some(end))?;
        }
        if !self.is_drained() {
            self.core.counts.alarm(Alarm::DrainAborted);
        }
        Ok(self.core.socket.clone())
    }

    fn is_drained(&self) -> bool {
        let has_closed = |acceptor: &Acceptor<K>| acceptor.listener.is_none();
        self.connections.is_empty()
            && self.waiting.is_empty()
            && self.acceptors.iter().all(has_closed)
    }

    /// Begins the shutdown. Connections of the backlog come first, since their requests may have
    /// been sent before it.
    fn drain(&mut self) {
        self.core.executor.shutdown.set();
        for (number, acceptor) in self.acceptors.iter().enumerate() {
            let listeners = acceptor.listener.iter();
            let kernel = &self.core.ring.kernel;
            let backlog = listeners.flat_map(|listener| kernel.backlog(listener));
            if !is_planted(PlantedBug::BacklogForgotten) {
                self.waiting.extend(backlog.filter_map(|socket| {
                    let place = self.addresses.place(kernel.peer_address(&socket))?;
                    Some(Waiting { number, socket, place, since: self.core.now })
                }));
            }
        }
        for key in self.connections.keys() {
            if let Some(connection) = self.connections.get_mut(key) {
                self.core.with_cx(|cx| connection.inner.drain(cx));
                mark(&mut self.dirty, key, connection);
            }
        }
    }

    /// Keeps an accept in flight on each listener while there is room for connections.
    pub(super) fn listen(&mut self) {
        let draining = self.core.executor.shutdown.is_set();
        // Some sockets wait inside, so that the worker can make room and look for urgent requests.
        let room = !draining && self.waiting.len() < WAITING_MAX;
        for (number, acceptor) in self.acceptors.iter_mut().enumerate() {
            let token = accept_token(number);
            if acceptor.accepting && !room && !std::mem::replace(&mut acceptor.cancelled, true) {
                self.core.cancel(token);
            } else if !acceptor.accepting
                && room
                && acceptor.paused.is_none()
                && let Some(listener) = &acceptor.listener
            {
                acceptor.accepting = true;
                acceptor.cancelled = false;
                let is_multishot = self.core.ring.kernel.has_multishot_accept();
                self.core.push(Op::Accept { fd: listener.as_raw_fd(), is_multishot }, token);
            } else if !acceptor.accepting && draining {
                acceptor.listener = None;
                self.core.timers.disarm(Due::Listener(number), &mut acceptor.paused);
            }
        }
    }

    pub(super) fn accepted(
        &mut self,
        number: usize,
        completion: Completion,
    ) -> Result<(), DriverError> {
        let acceptor = &mut self.acceptors[number];
        acceptor.accepting = completion.more;
        if completion.result >= 0 {
            // SAFETY: it is the result of an accept, and a completion comes once.
            let socket = unsafe { self.core.ring.kernel.socket(completion.result) };
            let peer = self.core.ring.kernel.peer_address(&socket);
            let Some(place) = self.addresses.place(peer) else {
                self.core.counts.hit(Limit::AddressConnections);
                return Ok(());
            };
            self.waiting.push_back(Waiting { number, socket, place, since: self.core.now });
            self.next_shed = self.core.now;
            return self.admit_waiting();
        }
        if completion.result != -libc::ECANCELED {
            let pause = accept_pause(&std::io::Error::from_raw_os_error(-completion.result));
            if !pause.is_zero() {
                self.core.counts.alarm(Alarm::AcceptFailed);
            }
            let until = (!pause.is_zero()).then(|| self.core.now + pause);
            self.core.timers.arm(until, Due::Listener(number), &mut acceptor.paused);
        }
        Ok(())
    }
}

fn accept_token(number: usize) -> Token {
    Token { kind: Kind::Accept, key: Key { index: number as u32, generation: 0 } }
}
