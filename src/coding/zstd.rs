//! Zstandard (RFC 8878) by the reference library.
//!
//! The decoder takes windows of up to 8 MiB, as RFC 9659 asks of a content coding: the window is
//! memory whose size the frame announces.

use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{
    CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_error_name,
};

use super::error::CodingError;
use super::room::Room;

/// Default of the library, of tonic and of tower-http.
const LEVEL: i32 = 3;

/// Logarithm of the largest window, 8 MiB (RFC 9659).
const WINDOW_LOG_MAX: u32 = 23;

/// Most frames of a message. Usual writers make one.
const FRAMES_MAX: usize = 1024;

/// Contexts of both directions, which are expensive to make.
pub(super) struct Zstd {
    deflate: CCtx<'static>,
    inflate: DCtx<'static>,
}

impl Default for Zstd {
    fn default() -> Zstd {
        let (mut deflate, mut inflate) = (CCtx::create(), DCtx::create());
        let set = deflate.set_parameter(CParameter::CompressionLevel(LEVEL));
        set.expect("the library has its own default level");
        let set = inflate.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX));
        set.expect("the library supports windows of 8 MiB");
        Zstd { deflate, inflate }
    }
}

impl Zstd {
    /// Appends the parts, one after another, as one frame.
    pub(super) fn deflate(&mut self, parts: &[&[u8]], out: &mut Vec<u8>) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let reset = self.deflate.reset(ResetDirective::SessionOnly);
        reset
            .and_then(|_| self.deflate.set_pledged_src_size(Some(len as u64)))
            .expect("a new session");
        for part in parts {
            self.write(part, ZSTD_EndDirective::ZSTD_e_continue, out);
        }
        self.write(&[], ZSTD_EndDirective::ZSTD_e_end, out);
    }

    fn write(&mut self, part: &[u8], end: ZSTD_EndDirective, out: &mut Vec<u8>) {
        let is_last = end == ZSTD_EndDirective::ZSTD_e_end;
        let mut input = InBuffer::around(part);
        while is_last || input.pos() < part.len() {
            out.reserve(CCtx::out_size().min(part.len() / 2 + 512));
            let len = out.len();
            let mut output = OutBuffer::around_pos(out, len);
            let left = self.deflate.compress_stream2(&mut output, &mut input, end);
            if left.expect("the pledged bytes come") == 0 && is_last {
                return;
            }
        }
    }

    pub(super) fn inflate(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        room: &mut Room<'_>,
    ) -> Result<(), CodingError> {
        self.inflate.reset(ResetDirective::SessionOnly).expect("a new session");
        let mut source = InBuffer::around(input);
        for _ in 0..FRAMES_MAX {
            self.frame(input.len(), &mut source, out, room)?;
            if source.pos() == input.len() {
                return Ok(());
            }
        }
        Err(room.malformed(source.pos(), format!("more than {FRAMES_MAX} frames")))
    }

    fn frame(
        &mut self,
        input_len: usize,
        source: &mut InBuffer<'_>,
        out: &mut Vec<u8>,
        room: &mut Room<'_>,
    ) -> Result<(), CodingError> {
        loop {
            room.reserve(out)?;
            let (read, len) = (source.pos(), out.len());
            let left = self.inflate.decompress_stream(&mut OutBuffer::around_pos(out, len), source);
            let left = left.map_err(|code| room.malformed(source.pos(), get_error_name(code)))?;
            room.check(out)?;
            if left == 0 {
                return Ok(());
            }
            let is_stuck = source.pos() == read && out.len() == len;
            if is_stuck || (source.pos() == input_len && out.len() < out.capacity()) {
                return Err(room.truncated(out));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Coding;

    /// Bytes that a thread keeps for zstd, as the doc of the room has it.
    const CONTEXTS_BYTES_MAX: usize = 16 << 20;

    #[test]
    fn a_thread_keeps_one_window_however_large_the_messages_were() {
        let mut writer = Zstd::default();
        let window = CParameter::WindowLog(WINDOW_LOG_MAX);
        writer.deflate.set_parameter(window).expect("a window of 8 MiB");
        let mut frame = Vec::new();
        // A frame without the size of its content announces the window.
        writer.write(b"some text", ZSTD_EndDirective::ZSTD_e_continue, &mut frame);
        writer.write(&[], ZSTD_EndDirective::ZSTD_e_end, &mut frame);
        let mut zstd = Zstd::default();
        let mut text = Vec::new();
        let mut grow = |_| true;
        let mut room = Room::new(Coding::Zstd, 100, &mut grow);
        zstd.inflate(&frame, &mut text, &mut room).expect("the window is allowed");
        assert_eq!(text, b"some text");
        let message = vec![7; 4 << 20];
        for _ in 0..2 {
            zstd.deflate(&[&message[..100], &message], &mut Vec::new());
        }
        let kept = zstd.deflate.sizeof() + zstd.inflate.sizeof();
        assert!((8 << 20..CONTEXTS_BYTES_MAX).contains(&kept), "{kept} bytes");
    }
}
