//! Machines and a task that exist only in the simulation.

use std::cell::Cell;
use std::rc::Rc;

use ::tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::super::stream::UringStream;
use crate::driver::Connected;
use crate::wire::{Context, Loan, Machine, Pool, PooledBuf, WireError};

/// Echoes at once, and lends buffers of odd lengths.
#[derive(Default)]
pub(super) struct Echo {
    calls: usize,
    lent: bool,
    done: bool,
}

impl Connected for Echo {}

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

pub(super) async fn echo(mut stream: UringStream) {
    let mut buffer = vec![0; 500];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

/// Client that sends some bytes each time it is asked, and ends after a number of replies.
pub(super) struct Asking {
    /// Requests of the caller that have not been served.
    permits: Rc<Cell<usize>>,
    /// Requests that were meant for others.
    strangers: Rc<Cell<usize>>,
    calls_left: usize,
    awaited: usize,
}

impl Asking {
    pub(super) fn new(
        permits: Rc<Cell<usize>>,
        strangers: Rc<Cell<usize>>,
        calls_left: usize,
    ) -> Asking {
        Asking { permits, strangers, calls_left, awaited: 0 }
    }
}

impl Machine for Asking {
    fn receive(&mut self, input: &[u8], _cx: &mut Context<'_>) -> Result<(), WireError> {
        assert!(input.len() <= self.awaited, "more came back than was sent");
        self.awaited -= input.len();
        Ok(())
    }

    fn end(&mut self, _cx: &mut Context<'_>) -> Result<(), WireError> {
        self.calls_left = 0;
        self.awaited = 0;
        Ok(())
    }

    fn drain(&mut self, _cx: &mut Context<'_>) {}

    fn finished(&self) -> bool {
        self.calls_left == 0 && self.awaited == 0
    }
}

impl Connected for Asking {
    fn resume(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        match self.permits.get().checked_sub(1) {
            Some(left) => self.permits.set(left),
            None => self.strangers.set(self.strangers.get() + 1),
        }
        if self.calls_left > 0 {
            self.calls_left -= 1;
            self.awaited += 300;
            cx.out.copy(&[7; 300], cx.pool);
        }
        Ok(())
    }
}
