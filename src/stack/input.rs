//! Input of a *service*, as its watch sees it: a stream that tells what its peer is about to send.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;
use super::watch::{Head, State, Wait};
use crate::driver::Stream;

/// Place where a stream notes what it has moved.
pub(super) trait Notes {
    fn received(&self, bytes: &[u8]);

    /// Notes bytes that the socket has taken; `None` if it has no room.
    fn sent(&self, _bytes: Option<usize>) {}
}

pub(super) struct NotedStream<S, N> {
    stream: S,
    notes: Rc<N>,
}

impl<S: Stream, N: Notes> NotedStream<S, N> {
    pub(super) fn new(stream: S, notes: &Rc<N>) -> NotedStream<S, N> {
        NotedStream { stream, notes: Rc::clone(notes) }
    }
}

impl<S: Stream, N: Notes> AsyncRead for NotedStream<S, N> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let begin = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        self.notes.received(&into.filled()[begin..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream, N: Notes> NotedStream<S, N> {
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(count)) => self.notes.sent(Some(count)),
            Poll::Pending => self.notes.sent(None),
            Poll::Ready(Err(_)) => {}
        }
        written
    }
}

impl<S: Stream, N: Notes> AsyncWrite for NotedStream<S, N> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.notes.sent(flushed.is_ready().then_some(0));
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Exchange over HTTP/1.1, which has one request at a time.
#[derive(Debug)]
pub(super) struct Exchange {
    wait: Cell<Wait>,
    /// Heads that have begun.
    heads: Cell<u64>,
    is_in_head: Cell<bool>,
    moved: Cell<u64>,
    is_blocked: Cell<bool>,
    /// True while the body waits for memory, and is not read.
    is_paused: Cell<bool>,
}

impl Exchange {
    pub(super) fn new() -> Rc<Exchange> {
        let wait = Cell::new(Wait::Request);
        Rc::new(Exchange {
            wait,
            heads: Cell::default(),
            is_in_head: Cell::default(),
            moved: Cell::default(),
            is_blocked: Cell::default(),
            is_paused: Cell::default(),
        })
    }

    /// Notes the end of a head.
    pub(super) fn begin(&self, has_body: bool) {
        self.is_in_head.set(false);
        self.wait.set(if has_body { Wait::Body } else { Wait::Nothing });
    }

    /// Notes the response of a request.
    pub(super) fn end(&self) {
        self.wait.set(Wait::Request);
        self.add(1);
    }

    /// Notes whether the body waits for memory.
    pub(super) fn pause(&self, is_paused: bool) {
        self.is_paused.set(is_paused);
    }

    pub(super) fn state(&self) -> State {
        let (moved, is_blocked) = (self.moved.get(), self.is_blocked.get() || self.is_paused.get());
        let head = self.is_in_head.get();
        let head = head.then(|| Head { number: self.heads.get(), bytes: moved });
        // A head that has begun is progress of an idle peer.
        let wait = if head.is_some() { Wait::Nothing } else { self.wait.get() };
        State { head, wait, moved, is_blocked }
    }

    fn add(&self, count: u64) {
        self.moved.set(self.moved.get().wrapping_add(count));
    }
}

impl Notes for Exchange {
    fn received(&self, bytes: &[u8]) {
        if self.wait.get() == Wait::Request && !self.is_in_head.get() && !bytes.is_empty() {
            self.heads.set(self.heads.get() + 1);
            self.is_in_head.set(true);
        } else {
            self.add(bytes.len() as u64);
        }
    }

    fn sent(&self, bytes: Option<usize>) {
        self.is_blocked.set(bytes.is_none());
        if self.wait.get() == Wait::Request && !self.is_in_head.get() {
            self.add(bytes.unwrap_or_default() as u64);
        }
    }
}

/// Input of an HTTP/2 connection.
#[derive(Debug, Default)]
pub(super) struct Heads {
    frames: RefCell<Frames>,
    is_blocked: Cell<bool>,
}

impl Heads {
    /// Returns the state of a connection that waits for this, with the progress so far.
    pub(super) fn state(&self, (wait, moved): (Wait, u64)) -> State {
        let frames = self.frames.borrow();
        let head = frames.head().map(|number| Head { number, bytes: frames.bytes() });
        State { head, wait, moved, is_blocked: self.is_blocked() }
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.get()
    }
}

impl Notes for Heads {
    fn received(&self, bytes: &[u8]) {
        self.frames.borrow_mut().receive(bytes);
    }

    fn sent(&self, bytes: Option<usize>) {
        self.is_blocked.set(bytes.is_none());
    }
}
