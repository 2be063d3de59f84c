//! Progress of operations in flight: what a kernel does with sockets and memory.
#![allow(unsafe_code)] // Reads and writes the memory of operations, like a kernel.

use std::os::fd::RawFd;

use super::chance::Fault;
use super::entry::Action;
use super::kernel::{Flying, SimKernel};

pub(super) const F_BUFFER: u32 = 1;
const F_MORE: u32 = 2;
const F_SOCK_NONEMPTY: u32 = 4;
const BUFFER_SHIFT: u32 = 16;

impl SimKernel {
    pub(super) fn step(&mut self, at: usize) {
        let operation = self.flying[at].operation;
        match operation.action {
            Action::Accept { is_multishot } => self.accept(at, is_multishot),
            Action::Receive { len, is_multishot } => self.receive(at, len, is_multishot),
            Action::ReceiveInto { to, len } => self.receive_into(at, to, len),
            Action::Send { may_block, .. } | Action::SendMessage { may_block, .. } => {
                self.send(at, may_block);
            }
            Action::Cancel { target } => self.cancel(at, target),
            Action::Watch if self.is_ready(at) => self.end(at, i32::from(libc::POLLIN), 0),
            Action::Watch => {}
        }
    }

    fn accept(&mut self, at: usize, is_multishot: bool) {
        if is_multishot && !self.world.borrow().has_multishot_accept {
            self.violation("a multishot accept on a kernel that has no good one".to_owned());
        }
        for (fault, code) in
            [(Fault::NoDescriptor, libc::EMFILE), (Fault::AcceptAborted, libc::ECONNABORTED)]
        {
            if self.strikes(fault) {
                return self.end(at, -code, 0);
            }
        }
        let Some(fd) = self.world.borrow_mut().accept() else { return };
        self.complete_one(at, fd, 0, is_multishot);
    }

    /// Completes an operation, which goes on if it is a multishot and has no bad luck.
    fn complete_one(&mut self, at: usize, result: i32, flags: u32, is_multishot: bool) {
        if is_multishot && !self.strikes(Fault::MultishotEnds) {
            let user_data = self.flying[at].operation.user_data;
            self.post(user_data, result, flags | F_MORE, None);
        } else {
            self.end(at, result, flags);
        }
    }

    /// Returns the result of a receive without input, or `None` to wait.
    fn end_of_input(&self, fd: RawFd) -> Option<i32> {
        let world = &mut *self.world.borrow_mut();
        let Some(line) = world.line(fd) else { return Some(-libc::EBADF) };
        if line.peer_has_reset {
            return Some(-libc::ECONNRESET);
        }
        (line.peer_has_ended || line.server_reads_no_more).then_some(0)
    }

    /// Takes input of a socket, at most `most` bytes. The flag says that more is there.
    fn take_input(&self, fd: RawFd, most: usize) -> (Vec<u8>, bool) {
        let is_short = self.strikes(Fault::ShortReceive);
        let world = &mut *self.world.borrow_mut();
        let below = world.chance.below(most.max(1));
        let Some(line) = world.line(fd) else { return (Vec::new(), false) };
        let count = line.inbound.len().min(most);
        let count = if is_short { count.min(1 + below) } else { count };
        let bytes: Vec<u8> = line.inbound.drain(..count).collect();
        line.bytes_in += count;
        (bytes, !line.inbound.is_empty())
    }

    pub(super) fn has_input(&self, fd: RawFd) -> bool {
        self.world.borrow_mut().line(fd).is_some_and(|line| !line.inbound.is_empty())
    }

    fn receive(&mut self, at: usize, len: usize, is_multishot: bool) {
        let fd = self.flying[at].operation.fd;
        if self.strikes(Fault::ReceiveInterrupted) {
            return self.end(at, -libc::EINTR, 0);
        }
        if !self.has_input(fd) {
            if let Some(result) = self.end_of_input(fd) {
                self.end(at, result, 0);
            }
            return;
        }
        let is_empty = self.strikes(Fault::NoBuffer);
        let ring = self.buffers.as_mut().expect("registered before the first receive");
        let Some(buffer) = (if is_empty { None } else { ring.take() }) else {
            return self.end(at, -libc::ENOBUFS, 0);
        };
        let most = if len == 0 { buffer.len } else { buffer.len.min(len) };
        let (bytes, is_more) = self.take_input(fd, most);
        buffer.fill(&bytes);
        let nonempty = if is_more { F_SOCK_NONEMPTY } else { 0 };
        let flags = F_BUFFER | u32::from(buffer.id) << BUFFER_SHIFT | nonempty;
        self.complete_one(at, bytes.len() as i32, flags, is_multishot);
    }

    fn receive_into(&mut self, at: usize, to: usize, len: usize) {
        let Flying { operation, done, .. } = self.flying[at];
        self.check_memory(at);
        if self.strikes(Fault::ReceiveInterrupted) {
            let result = if done > 0 { done as i32 } else { -libc::EINTR };
            return self.end(at, result, 0);
        }
        if !self.has_input(operation.fd) {
            if let Some(result) = self.end_of_input(operation.fd) {
                let result = if done > 0 { done as i32 } else { result };
                self.end(at, result, 0);
            }
            return;
        }
        let (bytes, is_more) = self.take_input(operation.fd, len - done);
        // SAFETY: by the contract of `push`, `to` has room for `len` bytes until the completion.
        unsafe { ((to + done) as *mut u8).copy_from(bytes.as_ptr(), bytes.len()) };
        let flying = &mut self.flying[at];
        flying.seen[done..done + bytes.len()].copy_from_slice(&bytes);
        flying.done += bytes.len();
        if flying.done == len {
            self.end(at, len as i32, if is_more { F_SOCK_NONEMPTY } else { 0 });
        }
    }

    /// Reports memory that somebody else has changed.
    fn check_memory(&mut self, at: usize) {
        let Flying { operation, seen, .. } = &self.flying[at];
        let has_changed = match operation.action {
            Action::ReceiveInto { to, len } => {
                // SAFETY: by the contract of `push`, the memory stays, and `start` has written it.
                let memory = unsafe { std::slice::from_raw_parts(to as *const u8, len) };
                memory != seen
            }
            _ => operation.bytes() != *seen,
        };
        if has_changed {
            let text = format!("the memory of {operation:?} changed in flight");
            self.violation(text);
            self.flying[at].seen = match operation.action {
                Action::ReceiveInto { .. } => return,
                _ => self.flying[at].operation.bytes(),
            };
        }
    }

    fn send(&mut self, at: usize, may_block: bool) {
        self.check_memory(at);
        let Flying { operation, done, ref seen, .. } = self.flying[at];
        let fd = operation.fd;
        let left = seen[done.min(seen.len())..].to_vec();
        let partial = |code: i32| if done > 0 { done as i32 } else { -code };
        if self.strikes(Fault::SendInterrupted) {
            let code = if may_block { libc::EINTR } else { libc::EAGAIN };
            return self.end(at, partial(code), 0);
        }
        let is_short = self.strikes(Fault::ShortSend);
        let below = self.below(left.len().max(1));
        let sent = {
            let world = &mut *self.world.borrow_mut();
            match world.line(fd) {
                None => Err(libc::EBADF),
                Some(line) if line.peer_has_reset || line.server_has_ended => Err(libc::EPIPE),
                Some(line) => {
                    let room = line.room.saturating_sub(line.outbound.len());
                    let count = left.len().min(room);
                    let count = if is_short { count.min(below) } else { count };
                    line.outbound.extend(&left[..count]);
                    line.bytes_out += count;
                    Ok(count)
                }
            }
        };
        match sent {
            Err(code) => self.end(at, partial(code), 0),
            Ok(count) => {
                self.world.borrow_mut().poke(fd);
                self.flying[at].done += count;
                let total = done + count;
                if count == left.len() || is_short && total > 0 {
                    self.end(at, total as i32, 0);
                } else if !may_block {
                    let result = if total > 0 { total as i32 } else { -libc::EAGAIN };
                    self.end(at, result, 0);
                }
            }
        }
    }

    fn cancel(&mut self, at: usize, target: u64) {
        let is_target = |flying: &Flying| {
            let is_cancel = matches!(flying.operation.action, Action::Cancel { .. });
            !is_cancel && flying.operation.user_data == target
        };
        let found = self.flying.iter().position(is_target);
        let Some(found) = found.filter(|_| !self.strikes(Fault::CancelMissed)) else {
            return self.end(at, -libc::ENOENT, 0);
        };
        let action = self.flying[found].operation.action;
        let can_run = !matches!(action, Action::Accept { .. } | Action::Watch);
        if self.flying[found].is_running || can_run && self.strikes(Fault::CancelTooLate) {
            self.flying[found].is_running = true;
            return self.end(at, -libc::EALREADY, 0);
        }
        let (done, id) = (self.flying[found].done, self.flying[found].id);
        let result = if done > 0 { done as i32 } else { -libc::ECANCELED };
        let is_first = self.strikes(Fault::CancelFirst);
        if is_first {
            self.end(at, 0, 0);
        }
        let found = self.flying.iter().position(|flying| flying.id == id).expect("it is there");
        if matches!(action, Action::ReceiveInto { .. }) {
            self.check_memory(found);
        }
        self.end(found, result, 0);
        if !is_first {
            let is_cancel = |flying: &Flying| flying.operation.action == Action::Cancel { target };
            let at = self.flying.iter().position(is_cancel).expect("it is there");
            self.end(at, 0, 0);
        }
    }
}
