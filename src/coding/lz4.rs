//! Frames of LZ4 by lz4_flex, without its unsafe code.

use std::io::{self, Read, Write as _};

use lz4_flex::frame::{Error, FrameDecoder, FrameEncoder};

use super::error::CodingError;
use super::room::Room;

/// Bytes that are inflated between two looks at the limit.
const STEP_BYTES: usize = 64 * 1024;

/// Most frames of a message. Usual writers make one.
const FRAMES_MAX: usize = 1024;

/// The message. The decoder takes the end of its input for the end of a frame, so a message that is
/// cut between two blocks is known only by a read that wanted more than there was.
struct Source<'a> {
    rest: &'a [u8],
    is_short: bool,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.is_short |= buffer.len() > self.rest.len();
        self.rest.read(buffer)
    }
}

/// Appends the parts, one after another, as one frame.
pub(super) fn deflate(parts: &[&[u8]], out: &mut Vec<u8>) {
    let mut encoder = FrameEncoder::new(out);
    let written = parts.iter().try_for_each(|part| encoder.write_all(part));
    written.expect("a Vec takes every byte");
    encoder.finish().expect("a Vec takes every byte");
}

pub(super) fn inflate(
    input: &[u8],
    out: &mut Vec<u8>,
    room: &mut Room<'_>,
) -> Result<(), CodingError> {
    let mut decoder = FrameDecoder::new(Source { rest: input, is_short: false });
    let mut frames = 0;
    while frames < FRAMES_MAX {
        room.reserve(out)?;
        let (at, len) = (input.len() - decoder.get_ref().rest.len(), out.len());
        out.resize(len + (out.capacity() - len).min(STEP_BYTES), 0);
        let read = decoder.read(&mut out[len..]);
        out.truncate(len + read.as_ref().map_or(0, |read| *read));
        match read {
            // The next reading begins the next frame.
            Ok(0) if !decoder.get_ref().rest.is_empty() => frames += 1,
            Ok(0) if decoder.get_ref().is_short => return Err(room.truncated(out)),
            Ok(0) => return room.check(out),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(room.truncated(out));
            }
            Err(error) => {
                let what = match Error::from(error) {
                    Error::IoError(error) => error.to_string(),
                    fault => format!("{fault:?}"),
                };
                return Err(room.malformed(at, what));
            }
        }
    }
    let at = input.len() - decoder.get_ref().rest.len();
    Err(room.malformed(at, format!("more than {FRAMES_MAX} frames")))
}
