//! Byte stream over a connection of the ring, for borrowed stacks.
//!
//! ```text
//!  ring ──completion──▶ StreamMachine ──▶ inbound ──poll_read──▶ task
//!  ring ◀──one send a turn── outbox ◀── StreamMachine ◀── outbound ◀──poll_write── task
//! ```
//! Operations need buffers that do not move, so bytes are copied in both directions. A flush does
//! nothing, since the reactor sends all output of a turn at its end. `poll_write` is pending only
//! while `OUTBOUND_BYTES_MAX` wait, or `TIGHT_OUTBOUND_BYTES_MAX` while memory is short; then the
//! buffer of input has little spare room as well. A task takes at most `turn_bytes_max` in a turn,
//! so that one peer's input does not keep the others waiting for longer. While more than that is
//! unread, the connection receives nothing; a last turn of receiving may have filled all provided
//! buffers of the worker, 2 MiB. A shutdown discards later bytes of the peer.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::executor::Executor;
use super::op::Key;
use crate::driver::Connected;
use crate::wire::{Context, Level, Machine, PooledBuf, WireError};

/// Written bytes at which a writer waits. As many more may be in the outbox and in flight.
const OUTBOUND_BYTES_MAX: usize = 1024 * 1024;

/// The same while memory is short: the response that is copied is still held as well.
const TIGHT_OUTBOUND_BYTES_MAX: usize = 64 * 1024;

/// Bytes that a buffer of input may be too long for its unread bytes while memory is short.
const SPARE_BYTES_MAX: usize = 256 * 1024;

pub struct UringStream(Rc<Pipe>);

impl UringStream {
    /// Returns a function that returns true while written bytes are unsent.
    pub(super) fn output(&self) -> impl Fn() -> bool + 'static {
        let pipe = Rc::clone(&self.0);
        move || {
            let state = pipe.state.borrow();
            state.is_sending || !state.outbound.is_empty()
        }
    }
}

pub(super) struct StreamMachine(Rc<Pipe>);

struct Pipe {
    executor: Rc<Executor>,
    key: Key,
    turn_bytes_max: usize,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    inbound: PooledBuf,
    read: usize,
    /// Turn of the last read, and the bytes that were read in it.
    turn: u64,
    turn_bytes: usize,
    outbound: PooledBuf,
    /// Bytes of an earlier `outbound` are unsent.
    is_sending: bool,
    /// Recent lengths of both buffers, for the room of the next ones.
    inbound_room: usize,
    outbound_room: usize,
    /// The peer sends no more.
    ended: bool,
    /// The task writes no more.
    shut: bool,
    gone: bool,
    /// [`Executor::touch`] has been called.
    touched: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

pub(super) fn pipe(
    executor: &Rc<Executor>,
    key: Key,
    turn_bytes_max: usize,
) -> (StreamMachine, UringStream) {
    let (executor, state) = (Rc::clone(executor), RefCell::default());
    let pipe = Rc::new(Pipe { executor, key, turn_bytes_max, state });
    (StreamMachine(Rc::clone(&pipe)), UringStream(pipe))
}

impl Pipe {
    /// Requests [`Connected::resume`] before the turn ends.
    fn touch(&self, state: &mut State) {
        if !std::mem::replace(&mut state.touched, true) {
            self.executor.touch(self.key);
        }
    }
}

impl State {
    fn unread(&self) -> &[u8] {
        &self.inbound[self.read..]
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// Returns the number of bytes that were read in turn `turn`, the present one.
    fn read_in(&mut self, turn: u64) -> usize {
        if self.turn != turn {
            (self.turn, self.turn_bytes) = (turn, 0);
        }
        self.turn_bytes
    }

    fn consume(&mut self, count: usize) {
        self.turn_bytes += count;
        self.read += count;
        if self.read == self.inbound.len() {
            self.inbound.clear();
            self.read = 0;
        }
    }

    /// Moves the unread bytes to the begin of their buffer.
    fn drop_read(&mut self) {
        let read = std::mem::take(&mut self.read);
        self.inbound.drain(..read);
    }

    /// Gives back what the unread bytes do not need, if it is much.
    fn shrink_inbound(&mut self) {
        let unread = self.unread().len();
        if self.inbound.capacity() - unread >= SPARE_BYTES_MAX {
            self.drop_read();
            self.inbound.shrink_to_fit();
            self.inbound.settle();
        }
    }

    /// Moves written bytes to the outbox if it is empty, so at most twice the limit is pending.
    fn hand_over(&mut self, cx: &mut Context<'_>) {
        self.touched = false;
        if !self.outbound.is_empty() && cx.out.is_empty() {
            let buffer = std::mem::take(&mut self.outbound);
            let len = buffer.len();
            self.outbound_room = lately(self.outbound_room, len);
            cx.out.push(buffer.into());
            self.is_sending = true;
            self.wake_writer();
        }
    }
}

impl Machine for StreamMachine {
    fn receive(&mut self, input: &[u8], cx: &mut Context<'_>) -> Result<(), WireError> {
        let mut state = self.0.state.borrow_mut();
        let is_tight = cx.pool.level() >= Level::Tight;
        if state.inbound.capacity() == 0 {
            let room = if is_tight { 0 } else { state.inbound_room };
            state.inbound = cx.pool.take(input.len().max(room));
        } else if is_tight || state.read > state.inbound.len() / 2 {
            state.drop_read();
        }
        // A buffer that grows by itself doubles its room.
        if is_tight && state.inbound.capacity() - state.inbound.len() < input.len() {
            let step = input.len().max(state.inbound.len() / 4);
            state.inbound.reserve_exact(step);
        }
        state.inbound.extend_from_slice(input);
        state.inbound.settle();
        state.inbound_room = lately(state.inbound_room, state.inbound.len());
        state.wake_reader();
        Ok(())
    }

    fn flushed(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.0.state.borrow_mut().is_sending = false;
        self.resume(cx)
    }

    fn end(&mut self, _cx: &mut Context<'_>) -> Result<(), WireError> {
        let mut state = self.0.state.borrow_mut();
        state.ended = true;
        state.wake_reader();
        Ok(())
    }

    /// The borrowed stack learns of the shutdown from its [`crate::driver::WorkerHandle`].
    fn drain(&mut self, _cx: &mut Context<'_>) {}

    fn finished(&self) -> bool {
        let state = self.0.state.borrow();
        state.shut && state.outbound.is_empty()
    }
}

impl Connected for StreamMachine {
    fn resume(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let mut state = self.0.state.borrow_mut();
        state.hand_over(cx);
        if state.inbound.is_empty() && state.inbound.capacity() > 0 {
            state.inbound = PooledBuf::default();
        } else if cx.pool.level() >= Level::Tight {
            state.shrink_inbound();
        }
        Ok(())
    }

    fn awaits_flush(&self) -> bool {
        !self.0.state.borrow().outbound.is_empty()
    }

    fn is_full(&self) -> bool {
        self.0.state.borrow().unread().len() > self.0.turn_bytes_max
    }
}

impl Drop for StreamMachine {
    fn drop(&mut self) {
        let mut state = self.0.state.borrow_mut();
        state.gone = true;
        state.wake_reader();
        state.wake_writer();
    }
}

impl AsyncRead for UringStream {
    fn poll_read(
        self: Pin<&mut UringStream>,
        cx: &mut TaskContext<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.state.borrow_mut();
        // Nobody would get an answer to the input of a connection that is gone.
        if state.gone {
            return Poll::Ready(Ok(()));
        }
        if state.unread().is_empty() {
            if state.ended || state.shut {
                return Poll::Ready(Ok(()));
            }
            remember(&mut state.reader, cx);
            return Poll::Pending;
        }
        let Pipe { executor, turn_bytes_max, .. } = &*self.0;
        let left = turn_bytes_max.saturating_sub(state.read_in(executor.turn()));
        if left == 0 {
            executor.defer(cx.waker().clone());
            remember(&mut state.reader, cx);
            return Poll::Pending;
        }
        let unread = state.unread();
        let count = unread.len().min(into.remaining()).min(left);
        into.put_slice(&unread[..count]);
        state.consume(count);
        self.0.touch(&mut state);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for UringStream {
    fn poll_write(
        self: Pin<&mut UringStream>,
        cx: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut UringStream>,
        cx: &mut TaskContext<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.state.borrow_mut();
        if state.shut || state.gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let pool = &self.0.executor.pool;
        let is_tight = pool.level() >= Level::Tight;
        let most = if is_tight { TIGHT_OUTBOUND_BYTES_MAX } else { OUTBOUND_BYTES_MAX };
        let mut room = most.saturating_sub(state.outbound.len());
        if room == 0 {
            remember(&mut state.writer, cx);
            return Poll::Pending;
        }
        let wanted = slices.iter().map(|slice| slice.len()).sum::<usize>().min(room);
        if state.outbound.capacity() == 0 {
            let hint = if is_tight { wanted } else { wanted.max(state.outbound_room) };
            state.outbound = pool.take(hint);
        }
        for slice in slices {
            let count = slice.len().min(room);
            state.outbound.extend_from_slice(&slice[..count]);
            room -= count;
        }
        state.outbound.settle();
        self.0.touch(&mut state);
        Poll::Ready(Ok(wanted))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut UringStream>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        let gone = self.0.state.borrow().gone;
        Poll::Ready(if gone { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) })
    }

    fn poll_shutdown(self: Pin<&mut UringStream>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state.borrow_mut();
        state.shut = true;
        self.0.touch(&mut state);
        Poll::Ready(Ok(()))
    }
}

impl Drop for UringStream {
    fn drop(&mut self) {
        let mut state = self.0.state.borrow_mut();
        state.shut = true;
        self.0.touch(&mut state);
    }
}

fn lately(greatest: usize, len: usize) -> usize {
    len.max(greatest - greatest / 16)
}

fn remember(slot: &mut Option<Waker>, cx: &TaskContext<'_>) {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => *slot = Some(cx.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::time::Instant;

    use ::tokio::io::AsyncReadExt as _;

    use super::super::executor::{self, Tasks};
    use super::*;
    use crate::wire::{MemoryBudget, Outbox, Pool, WorkerCounts};

    #[test]
    fn a_task_takes_its_share_of_a_turn_and_no_more_is_received_than_its_next_share() {
        let now = Instant::now();
        let executor = executor::tests::executor(now);
        let mut tasks = Tasks::new(&executor);
        let (mut machine, mut stream) = pipe(&executor, Key { index: 0, generation: 0 }, 1000);
        let taken = Rc::new(Cell::new(0));
        let seen = Rc::clone(&taken);
        executor.spawn(async move {
            let mut buffer = [0; 300];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                seen.set(seen.get() + count);
            }
        });
        let (mut out, pool) = (Outbox::default(), Pool::default());
        let mut cx = Context { out: &mut out, pool: &pool, now };
        let mut turn = |input: &[u8]| {
            executor.tick(now);
            if !input.is_empty() {
                machine.receive(input, &mut cx).unwrap();
            }
            tasks.run(&executor);
            (taken.get(), executor.has_deferred(), machine.is_full())
        };
        assert_eq!(turn(&[7; 2500]), (1000, true, true));
        assert_eq!(turn(&[]), (2000, true, false));
        assert_eq!(turn(&[7; 500]), (3000, false, false));
        assert_eq!(turn(&[7; 100]), (3100, false, false));
    }

    #[test]
    fn buffers_of_both_directions_are_short_while_memory_is_tight() {
        const KIB: usize = 1024;
        let now = Instant::now();
        let budget = Arc::new(MemoryBudget::new(16 * KIB * KIB, 16 * KIB * KIB, 1));
        let pool = Pool::within(budget, WorkerCounts::unread());
        let executor = executor::tests::executor_with(pool.clone(), now);
        let (mut machine, mut stream) = pipe(&executor, Key { index: 0, generation: 0 }, KIB * KIB);
        let mut out = Outbox::default();
        let mut cx = Context { out: &mut out, pool: &pool, now };
        let mut task = TaskContext::from_waker(Waker::noop());
        machine.receive(&vec![7; 600 * KIB], &mut cx).unwrap();
        machine.receive(&vec![7; 100 * KIB], &mut cx).unwrap();
        let room = |stream: &UringStream| stream.0.state.borrow().inbound.capacity();
        assert!(room(&stream) >= 1200 * KIB, "it doubles while there is memory");
        let mut write = |stream: &mut UringStream| {
            Pin::new(stream).poll_write(&mut task, &vec![7; 2 * KIB * KIB])
        };
        let mut others = pool.charge();

        others.set(13 * KIB * KIB);
        assert!(matches!(write(&mut stream), Poll::Ready(Ok(len)) if len == 64 * KIB));
        assert!(write(&mut stream).is_pending());
        machine.receive(&[7; 1], &mut cx).unwrap();
        machine.resume(&mut cx).unwrap();
        assert!((700 * KIB + 1..956 * KIB).contains(&room(&stream)), "{}", room(&stream));
        machine.receive(&vec![7; 300 * KIB], &mut cx).unwrap();
        assert!((1000 * KIB + 1..1256 * KIB).contains(&room(&stream)), "{}", room(&stream));

        let mut taken = vec![0; 900 * KIB];
        let mut into = ReadBuf::new(&mut taken);
        let mut task = TaskContext::from_waker(Waker::noop());
        assert!(Pin::new(&mut stream).poll_read(&mut task, &mut into).is_ready());
        machine.resume(&mut cx).unwrap();
        assert_eq!(room(&stream), 100 * KIB + 1);
        assert_eq!(stream.0.state.borrow().unread(), vec![7; 100 * KIB + 1]);
    }
}
