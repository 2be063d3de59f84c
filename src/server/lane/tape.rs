//! Lane of a borrowed stack: the stack on a tokio runtime, and a stream in memory.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ::axum::serve::Listener as Accepts;
use ::tonic::transport::server::Connected;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use crate::driver::tokio::Sleep;
use crate::driver::{Service, Task, WorkerHandle};
use crate::service::codecs::CodecSet;
use crate::stack::standalone::{Shutdown, Stack};
use crate::wire::Limits;

use super::peer::Peer;
use super::{LaneError, Running};

/// Time after which a lane that does nothing is given up. A tool that counts is slow.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct TapeLane {
    runtime: Runtime,
    tasks: LocalSet,
    tape: Tape,
}

/// Peer that the stream and the lane share.
#[derive(Clone)]
struct Tape(Arc<Mutex<State>>);

struct State {
    peer: Peer,
    reader: Option<Waker>,
    lane: Option<Waker>,
    /// First fault, or the end of the connection.
    fault: Option<LaneError>,
}

/// Connection of the peer.
struct TapeStream(Tape);

/// Listener with one connection.
struct TapeListener(Option<TapeStream>);

impl TapeLane {
    pub(super) fn service<S: Service>(peer: Peer, service: S) -> Result<TapeLane, LaneError> {
        let lane = TapeLane::new(peer)?;
        let sleep = |until: Instant| Box::pin(Sleep::new(until)) as Task;
        let stream = TapeStream(lane.tape.clone());
        let entered = lane.runtime.enter();
        let serving = service.serve(stream, WorkerHandle::without_shutdown(sleep));
        lane.tasks.spawn_local(serving);
        drop(entered);
        Ok(lane)
    }

    pub(super) fn standalone<S: Stack>(
        peer: Peer,
        codecs: CodecSet,
        limits: Limits,
    ) -> Result<TapeLane, LaneError> {
        let lane = TapeLane::new(peer)?;
        let listener = TapeListener(Some(TapeStream(lane.tape.clone())));
        let entered = lane.runtime.enter();
        let serving = S::serve(listener, codecs, limits, Shutdown::never());
        lane.tasks.spawn_local(serving);
        drop(entered);
        Ok(lane)
    }

    fn new(peer: Peer) -> Result<TapeLane, LaneError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let state = State { peer, reader: None, lane: None, fault: None };
        let tape = Tape(Arc::new(Mutex::new(state)));
        Ok(TapeLane { runtime, tasks: LocalSet::new(), tape })
    }
}

impl Running for TapeLane {
    fn turns(&mut self, count: u32) -> Result<(), LaneError> {
        {
            let mut state = self.tape.state();
            state.peer.allow(count);
            wake(&mut state.reader);
        }
        let tape = self.tape.clone();
        let done = std::future::poll_fn(move |cx| tape.poll_done(cx));
        // The time limit begins inside of the runtime.
        let limited = async { tokio::time::timeout(PATIENCE, done).await };
        match self.tasks.block_on(&self.runtime, limited) {
            Ok(result) => result,
            Err(_) => Err(self.tape.state().peer.stuck()),
        }
    }
}

impl Tape {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the tape")
    }

    fn poll_done(&self, cx: &mut Context<'_>) -> Poll<Result<(), LaneError>> {
        let mut state = self.state();
        if let Some(fault) = state.fault.take() {
            return Poll::Ready(Err(fault));
        }
        if state.peer.is_done() {
            return Poll::Ready(Ok(()));
        }
        state.lane = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl State {
    fn fail(&mut self, fault: LaneError) {
        self.fault.get_or_insert(fault);
        wake(&mut self.lane);
    }

    fn output(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(fault) = self.peer.output(bytes) {
            self.fail(fault);
            return Err(io::ErrorKind::InvalidData.into());
        }
        if self.peer.is_done() {
            wake(&mut self.lane);
        } else {
            wake(&mut self.reader);
        }
        Ok(())
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl AsyncRead for TapeStream {
    fn poll_read(
        self: Pin<&mut TapeStream>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        let input = state.peer.input();
        if input.is_empty() {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = input.len().min(into.remaining());
        into.put_slice(&input[..length]);
        state.peer.sent(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TapeStream {
    fn poll_write(
        self: Pin<&mut TapeStream>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.state().output(bytes)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut TapeStream>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        let mut length = 0;
        for slice in slices {
            state.output(slice)?;
            length += slice.len();
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut TapeStream>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut TapeStream>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for TapeStream {
    fn drop(&mut self) {
        // A poisoned lock means that the lane panics already.
        if let Ok(mut state) = self.0.0.lock() {
            let closed = state.peer.closed();
            state.fail(closed);
        }
    }
}

impl Connected for TapeStream {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl Accepts for TapeListener {
    type Io = TapeStream;
    type Addr = ();

    async fn accept(&mut self) -> (TapeStream, ()) {
        match self.0.take() {
            Some(stream) => (stream, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}
