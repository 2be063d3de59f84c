//! Promise: in any order of completions no byte is lost, doubled or swapped, and nothing leaks.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ::tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::reactor::{ConnectionFactory, Reactor};
use super::super::stream::UringStream;
use super::sim::{Peer, Sim, World};
use crate::driver::Options;
use crate::sys::address::Address;
use crate::sys::listener::Listener;
use crate::wire::{Context, Loan, Machine, Pool, PooledBuf, WireError};

#[derive(Default)]
struct Echo {
    calls: usize,
    lent: bool,
    done: bool,
}

impl crate::driver::Connected for Echo {}

impl Machine for Echo {
    fn receive(&mut self, input: &[u8], cx: &mut Context<'_>) -> Result<(), WireError> {
        assert!(!self.lent && !self.done && !input.is_empty(), "the contract is broken");
        self.calls += 1;
        cx.out.copy(input, cx.pool);
        Ok(())
    }

    fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        assert!(!self.lent, "asked for a second buffer");
        let want = 1 + self.calls * 37 % 900;
        let mut buffer = (self.calls % 3 == 1).then(|| pool.take(want))?;
        buffer.reserve(want);
        self.lent = true;
        Some(Loan { buffer, want })
    }

    fn repay(&mut self, buffer: PooledBuf, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.calls += 1;
        self.lent = false;
        cx.out.push(buffer.into());
        Ok(())
    }

    fn end(&mut self, _cx: &mut Context<'_>) -> Result<(), WireError> {
        self.done = true;
        Ok(())
    }

    fn drain(&mut self, _cx: &mut Context<'_>) {
        self.done = true;
    }

    fn finished(&self) -> bool {
        self.done
    }
}

async fn echo(mut stream: UringStream) {
    let mut buffer = vec![0; 500];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

fn machines() -> ConnectionFactory {
    ConnectionFactory::Machine(Rc::new(|| Box::new(Echo::default())))
}

fn services() -> ConnectionFactory {
    ConnectionFactory::Service(Rc::new(|stream, _| Box::pin(echo(stream))))
}

fn script(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| ((at * 31) ^ (at >> 8) ^ (seed * 97)) as u8).collect()
}

/// Patient peers need a stack that answers every byte at once, which [`Echo`] does not.
fn peers(seed: u64, factory: &ConnectionFactory) -> Vec<Peer> {
    let count = 1 + seed % 7;
    let patience = matches!(factory, ConnectionFactory::Service(_));
    let peer = |number: u64| Peer {
        script: script(seed + number, ((seed * 7919 + number * 104_729) % 9000) as usize),
        resets: (seed + number) % 5 == 4,
        patient: patience && (seed + number).is_multiple_of(3),
        ..Peer::default()
    };
    (0..count).map(peer).collect()
}

fn reactor(world: &Rc<RefCell<World>>, seed: u64, factory: ConnectionFactory) -> Reactor<Sim> {
    world.borrow_mut().arrivals = peers(seed, &factory);
    let options = Options {
        outbox_bytes_max: 2000,
        connections_max: 3,
        busy_poll: Duration::from_micros(20 * (seed % 2)),
        ..Options::default()
    };
    let mut reactor = Reactor::on(Sim::new(world, seed), options, Pool::default());
    // The simulator uses only its descriptor and invents the peers.
    let listener = Listener::bind(&Address::FREE_PORT).expect("port 0");
    reactor.serve(listener, factory).expect("a listener");
    reactor
}

fn serve_all(seed: u64, factory: ConnectionFactory) {
    let world = Rc::new(RefCell::new(World::default()));
    let mut reactor = reactor(&world, seed, factory);
    let end = Instant::now() + Duration::from_secs(20);
    let count = world.borrow().arrivals.len();
    while reactor.counters().accepted < count as u64 || reactor.connections() > 0 {
        reactor.turn(None).expect("the simulator does not fail");
        assert!(reactor.connections() <= 3, "more connections than allowed");
        assert!(Instant::now() < end, "seed {seed} does not come to an end");
    }
    drop(reactor);
    let world = world.borrow();
    assert!(world.violations.is_empty(), "seed {seed}: {:?}", world.violations);
    let served: Vec<&Peer> = world.gone.iter().chain(world.peers.values()).collect();
    assert_eq!(served.len(), count, "seed {seed}");
    for peer in served {
        let got = peer.received.len();
        assert!(peer.received == peer.script[..got], "seed {seed}: bytes came back changed");
        assert!(peer.resets || got == peer.script.len(), "seed {seed}: {got} bytes only");
    }
}

#[test]
fn machines_echo_every_byte_in_any_order_of_completions() {
    (0..400).for_each(|seed| serve_all(seed, machines()));
}

#[test]
fn services_echo_every_byte_in_any_order_of_completions() {
    (0..400).for_each(|seed| serve_all(seed, services()));
}

#[test]
fn a_reactor_dropped_at_any_time_leaves_nothing_in_flight() {
    for seed in 0..300_u64 {
        let world = Rc::new(RefCell::new(World::default()));
        let factory = if seed.is_multiple_of(2) { machines() } else { services() };
        let mut reactor = reactor(&world, seed, factory);
        for _ in 0..seed % 40 {
            let soon = Instant::now() + Duration::from_millis(1);
            reactor.turn(Some(soon)).expect("the simulator does not fail");
        }
        drop(reactor);
        let world = world.borrow();
        assert!(world.violations.is_empty(), "seed {seed}: {:?}", world.violations);
    }
}
