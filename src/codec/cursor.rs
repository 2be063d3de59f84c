//! Reading position in a message body, used by the own decoders.
//!
//! A cursor never reads past the end and never panics. Every error has the offset of the fault.

use std::ops::Range;

use super::error::{CodecError, Result};

#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    encoding: &'static str,
    body: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(encoding: &'static str, body: &'a [u8]) -> Cursor<'a> {
        Cursor { encoding, body, at: 0 }
    }

    pub(super) fn offset(&self) -> usize {
        self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.body.len()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.body.get(self.at..).unwrap_or_default()
    }

    pub(super) fn between(&self, range: Range<usize>) -> &'a [u8] {
        &self.body[range]
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    pub(super) fn seek(&mut self, at: usize) {
        debug_assert!(at <= self.body.len());
        self.at = at;
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        let byte = self.peek().ok_or_else(|| self.fail("the message ends early"))?;
        self.at += 1;
        Ok(byte)
    }

    /// Reads `len` bytes; `len` comes from the peer and may have any value.
    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        let rest = self.rest();
        let bytes = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let bytes = bytes.ok_or_else(|| self.fail("a length exceeds the rest of the message"))?;
        self.at += bytes.len();
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let rest = self.rest();
        let bytes = rest.first_chunk().ok_or_else(|| self.fail("the message ends early"))?;
        self.at += N;
        Ok(*bytes)
    }

    /// Skips the white space of JSON, which is also Python's inside brackets.
    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    pub(super) fn accept(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, byte: u8, what: &'static str) -> Result<()> {
        if self.accept(byte) { Ok(()) } else { Err(self.fail(what)) }
    }

    pub(super) fn expect_end(&mut self, what: &'static str) -> Result<()> {
        self.skip_space();
        if self.is_empty() { Ok(()) } else { Err(self.fail(what)) }
    }

    /// Reads `len` bytes as a separate cursor, which still reports offsets in the whole body.
    pub(super) fn part(&mut self, len: u64) -> Result<Cursor<'a>> {
        let at = self.at;
        self.take(len)?;
        Ok(Cursor { encoding: self.encoding, body: &self.body[..self.at], at })
    }

    pub(super) fn fail(&self, what: &'static str) -> CodecError {
        self.fail_at(self.at, what)
    }

    pub(super) fn fail_at(&self, at: usize, what: &'static str) -> CodecError {
        CodecError::Syntax { encoding: self.encoding, at, what }
    }
}
