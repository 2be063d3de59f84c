//! Tells workers to stop: one socket pair per worker, so that a ring and an epoll set can both wait on it.

use std::os::unix::net::UnixStream;

/// The worker's end: becomes readable (end of file) when the worker is to stop.
#[derive(Debug)]
pub struct Stop(UnixStream);

/// The owner's end: dropping it stops the worker.
#[derive(Debug)]
pub struct Stopper(#[expect(dead_code, reason = "held only to be dropped")] UnixStream);

/// A connected pair.
pub fn pair() -> std::io::Result<(Stopper, Stop)> {
    let (ours, theirs) = UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    Ok((Stopper(ours), Stop(theirs)))
}

impl Stop {
    /// The stream to wait on.
    pub fn into_stream(self) -> UnixStream {
        self.0
    }
}
