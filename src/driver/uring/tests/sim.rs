//! Simulated kernel that does everything a kernel may do, in an order drawn from a seed.
//!
//! Completions arrive in any order, late, short or failing. Multishot operations end for no reason.
//! Provided buffers and descriptors run out. Cancels lose races. [`World::violations`] lists broken
//! contracts.
#![allow(unsafe_code)] // Reads and writes the memory of operations, like the kernel.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng as _;

use super::super::op::{Completion, Op, Token};
use super::super::ring::Ring;

/// Few, so that they run out.
const BUFFERS: u16 = 3;
const BUFFER_BYTES: usize = 700;

#[derive(Default)]
pub(super) struct World {
    /// Peers before their connect; the last one is first.
    pub(super) arrivals: Vec<Peer>,
    pub(super) peers: BTreeMap<RawFd, Peer>,
    pub(super) gone: Vec<Peer>,
    pub(super) violations: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub(super) script: Vec<u8>,
    /// Number of script bytes that have arrived.
    pub(super) sent: usize,
    pub(super) received: Vec<u8>,
    pub(super) resets: bool,
    /// The script ends only after as many bytes returned.
    pub(super) patient: bool,
    pub(super) was_shut: bool,
}

impl Peer {
    fn pending(&self) -> usize {
        self.script.len() - self.sent
    }

    /// Result of a receive when no byte is pending; `None` means wait.
    fn ending(&self) -> Option<i32> {
        if self.resets {
            return Some(-libc::ECONNRESET);
        }
        let waits = self.patient && !self.was_shut && self.received.len() < self.script.len();
        (!waits).then_some(0)
    }
}

pub(super) struct Sim {
    world: Rc<RefCell<World>>,
    random: Pcg32,
    buffers: Vec<Vec<u8>>,
    free: Vec<u16>,
    flying: Vec<Flying>,
    /// Successful non-blocking sends, for which a kernel posts no CQE.
    quiet: Vec<Completion>,
    done: Vec<Completion>,
}

struct Flying {
    op: Op,
    token: Token,
    written: usize,
    seen: Vec<u8>,
}

impl Sim {
    pub(super) fn new(world: &Rc<RefCell<World>>, seed: u64) -> Sim {
        Sim {
            world: Rc::clone(world),
            random: Pcg32::new(seed, 1),
            buffers: vec![vec![0; BUFFER_BYTES]; usize::from(BUFFERS)],
            free: (0..BUFFERS).collect(),
            flying: Vec::new(),
            quiet: Vec::new(),
            done: Vec::new(),
        }
    }

    fn chance(&mut self, times: u32) -> bool {
        self.random.next_u32().is_multiple_of(times)
    }

    fn upto(&mut self, most: usize) -> usize {
        1 + self.random.next_u32() as usize % most
    }

    fn complete(&mut self, token: Token, result: i32) {
        self.done.push(Completion::last(token, result));
    }

    fn end(&mut self, at: usize, result: i32) {
        let flying = self.flying.swap_remove(at);
        self.complete(flying.token, result);
    }

    fn step(&mut self, at: usize) {
        match self.flying[at].op {
            Op::Accept { .. } => self.accept(at),
            Op::ReceiveMulti { fd } => self.receive(at, fd, BUFFER_BYTES, true),
            Op::ReceiveOnce { fd, len, .. } => self.receive(at, fd, len as usize, false),
            Op::ReceiveInto { fd, at: to, len, .. } => self.receive_into(at, fd, to, len as usize),
            Op::Send { fd, .. } | Op::SendVectored { fd, .. } => self.send(at, fd),
            Op::Cancel { target } => self.cancel(at, target),
            Op::Watch { .. } => {}
        }
    }

    fn accept(&mut self, at: usize) {
        // A lack of descriptors costs the reactor a pause, so it is rare.
        if self.chance(8) {
            let gone = if self.chance(50) { libc::EMFILE } else { libc::ECONNABORTED };
            return self.end(at, -gone);
        }
        let Some(peer) = self.world.borrow_mut().arrivals.pop() else { return };
        let fd = File::open("/dev/null").expect("a descriptor").into_raw_fd();
        let world = &mut *self.world.borrow_mut();
        world.gone.extend(world.peers.insert(fd, peer));
        let token = self.flying[at].token;
        let more = !self.random.next_u32().is_multiple_of(4);
        if !more {
            self.flying.swap_remove(at);
        }
        self.done.push(Completion { token, result: fd, buffer: None, more, nonempty: false });
    }

    fn receive(&mut self, at: usize, fd: RawFd, most: usize, multi: bool) {
        let pending = self.world.borrow().peers[&fd].pending();
        if pending == 0 {
            let ending = self.world.borrow().peers[&fd].ending();
            return ending.map_or((), |result| self.end(at, result));
        }
        let Some(id) = self.free.pop() else { return self.end(at, -libc::ENOBUFS) };
        let count = self.upto(most.min(pending).min(BUFFER_BYTES));
        let more = multi && !self.chance(6);
        let world = &mut *self.world.borrow_mut();
        let peer = world.peers.get_mut(&fd).expect("a peer");
        let bytes = &peer.script[peer.sent..peer.sent + count];
        self.buffers[usize::from(id)][..count].copy_from_slice(bytes);
        peer.sent += count;
        let token = self.flying[at].token;
        let (result, buffer, nonempty) = (count as i32, Some(id), peer.pending() > 0);
        if !more {
            self.flying.swap_remove(at);
        }
        self.done.push(Completion { token, result, buffer, more, nonempty });
    }

    fn receive_into(&mut self, at: usize, fd: RawFd, to: *mut u8, len: usize) {
        let written = self.flying[at].written;
        let pending = self.world.borrow().peers[&fd].pending();
        if pending == 0 {
            let ending = self.world.borrow().peers[&fd].ending();
            let result = if written > 0 { Some(written as i32) } else { ending };
            return if ending.is_some() {
                self.end(at, result.unwrap_or(0))
            };
        }
        let count = self.upto(pending.min(len - written));
        {
            let world = &mut *self.world.borrow_mut();
            let peer = world.peers.get_mut(&fd).expect("a peer");
            // SAFETY: by the contract of `push`, `to` has room for `len` bytes until the last
            // completion, which has not been posted; `written + count <= len`.
            unsafe { to.add(written).copy_from(peer.script[peer.sent..].as_ptr(), count) };
            peer.sent += count;
        }
        self.flying[at].written += count;
        if written + count == len || self.chance(10) {
            self.end(at, (written + count) as i32);
        }
    }

    fn send(&mut self, at: usize, fd: RawFd) {
        let bytes = bytes_of(&self.flying[at].op);
        if bytes != self.flying[at].seen {
            let note = format!("{:?} changed while in flight", self.flying[at].op);
            self.world.borrow_mut().violations.push(note);
        }
        if self.world.borrow().peers[&fd].resets && self.chance(8) {
            return self.end(at, -libc::EPIPE);
        }
        let at_once = self.flying[at].op.is_at_once();
        if self.chance(9) {
            return self.end(at, if at_once { -libc::EAGAIN } else { -libc::EINTR });
        }
        let count = if self.chance(2) { bytes.len() } else { self.upto(bytes.len()) };
        let into = if at_once && count == bytes.len() { &mut self.quiet } else { &mut self.done };
        let world = &mut *self.world.borrow_mut();
        let peer = world.peers.get_mut(&fd).expect("a peer");
        peer.received.extend_from_slice(&bytes[..count]);
        let token = self.flying.swap_remove(at).token;
        into.push(Completion::last(token, count as i32));
    }

    fn hand_over(&mut self) {
        while let Some(at) = self.flying.iter().position(|flying| flying.op.is_at_once()) {
            self.step(at);
        }
    }

    fn cancel(&mut self, at: usize, target: Token) {
        let found = self
            .flying
            .iter()
            .position(|flying| flying.token == target && !matches!(flying.op, Op::Cancel { .. }));
        let sending = found.is_some_and(|found| {
            matches!(self.flying[found].op, Op::Send { .. } | Op::SendVectored { .. })
        });
        let token = self.flying[at].token;
        let Some(found) = found else { return self.end(at, -libc::ENOENT) };
        // A send that is already running ends by itself.
        if sending && self.chance(2) {
            return self.end(at, -libc::EALREADY);
        }
        let written = self.flying[found].written;
        let result = if written > 0 { written as i32 } else { -libc::ECANCELED };
        let first = self.chance(2);
        self.flying.retain(|flying| {
            flying.token != token || !matches!(flying.op, Op::Cancel { target: t } if t == target)
        });
        let found = self.flying.iter().position(|flying| flying.token == target).expect("found");
        if first {
            self.complete(token, 0);
        }
        self.end(found, result);
        if !first {
            self.complete(token, 0);
        }
    }
}

fn bytes_of(op: &Op) -> Vec<u8> {
    let slice = |at: *const u8, len: usize| {
        // SAFETY: by the contract of `push`, `at` leads to `len` bytes until the last completion.
        unsafe { std::slice::from_raw_parts(at, len) }
    };
    match *op {
        Op::Send { at, len, .. } => slice(at, len as usize).to_vec(),
        Op::SendVectored { message, .. } => {
            // SAFETY: by the contract of `push`, the header and its list stay until the last
            // completion.
            let list =
                unsafe { std::slice::from_raw_parts((*message).msg_iov, (*message).msg_iovlen) };
            let slices = list.iter().map(|entry| slice(entry.iov_base.cast(), entry.iov_len));
            slices.collect::<Vec<_>>().concat()
        }
        _ => Vec::new(),
    }
}

impl Ring for Sim {
    unsafe fn push(&mut self, op: Op, token: Token) {
        let twice = self.flying.iter().any(|flying| {
            flying.token == token
                && !matches!((flying.op, op), (Op::Cancel { .. }, _) | (_, Op::Cancel { .. }))
        });
        if twice {
            self.world.borrow_mut().violations.push(format!("{op:?} while {token:?} is in flight"));
        }
        self.flying.push(Flying { op, token, written: 0, seen: bytes_of(&op) });
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.hand_over();
        for _ in 0..self.upto(2 * self.flying.len() + 1) {
            if !self.flying.is_empty() {
                let at = self.upto(self.flying.len()) - 1;
                self.step(at);
            }
        }
        // A step may advance an operation without ending it, so each gets many.
        for round in 0..1000 {
            if self.done.is_empty() && !self.flying.is_empty() {
                self.step(round % self.flying.len());
            }
        }
        if self.done.is_empty() {
            let timeout = timeout.expect("the reactor does not wait for ever for nothing");
            std::thread::sleep(timeout.min(Duration::from_millis(1)));
        }
        Ok(())
    }

    fn look(&mut self) -> io::Result<()> {
        self.hand_over();
        if !self.flying.is_empty() {
            let at = self.upto(self.flying.len()) - 1;
            self.step(at);
        }
        Ok(())
    }

    fn completions(&mut self, into: &mut Vec<Completion>) {
        into.append(&mut self.quiet);
        into.append(&mut self.done);
    }

    fn buffer(&self, id: u16, len: usize) -> &[u8] {
        &self.buffers[usize::from(id)][..len]
    }

    fn recycle(&mut self, id: u16) {
        if self.free.contains(&id) {
            self.world.borrow_mut().violations.push(format!("buffer {id} was given back twice"));
        }
        self.buffers[usize::from(id)].fill(0xEE);
        self.free.push(id);
    }

    fn shut_down(&mut self, socket: BorrowedFd<'_>) {
        let world = &mut *self.world.borrow_mut();
        world.peers.get_mut(&socket.as_raw_fd()).expect("a peer").was_shut = true;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let world = &mut *self.world.borrow_mut();
        let pointing = self.flying.iter().filter(|flying| {
            matches!(flying.op, Op::ReceiveInto { .. } | Op::Send { .. } | Op::SendVectored { .. })
        });
        world.violations.extend(pointing.map(|flying| format!("{:?} is left", flying.op)));
        if self.free.len() != usize::from(BUFFERS) {
            world.violations.push(format!("only {} buffers came back", self.free.len()));
        }
    }
}
