//! gzip (RFC 1952) by flate2 over zlib-rs.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::error::CodingError;
use super::room::Room;

/// Default of zlib, of tonic and of tower-http.
const LEVEL: u32 = 6;

/// Largest window, 32 KiB: that of every usual writer.
const WINDOW_BITS: u8 = 15;

/// Most members of a message. Each costs more than its 18 bytes, and usual writers make one.
const MEMBERS_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct Gzip(Compress);

impl Default for Gzip {
    fn default() -> Gzip {
        Gzip(Compress::new_gzip(Compression::new(LEVEL), WINDOW_BITS))
    }
}

impl Gzip {
    /// Appends the parts, one after another, as one member.
    pub(super) fn deflate(&mut self, parts: &[&[u8]], out: &mut Vec<u8>) {
        self.0.reset();
        for part in parts {
            self.write(part, FlushCompress::None, out);
        }
        self.write(&[], FlushCompress::Finish, out);
    }

    fn write(&mut self, mut part: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
        let is_last = matches!(flush, FlushCompress::Finish);
        while is_last || !part.is_empty() {
            // DEFLATE adds five bytes for each 16 KiB at most, so a second turn is rare.
            out.reserve(part.len() / 2 + 64);
            let before = self.0.total_in();
            let status = self.0.compress_vec(part, out, flush);
            part = &part[(self.0.total_in() - before) as usize..];
            if matches!(status.expect("a stream that was reset takes any bytes"), Status::StreamEnd)
            {
                return;
            }
        }
    }
}

pub(super) fn inflate(
    input: &[u8],
    out: &mut Vec<u8>,
    room: &mut Room<'_>,
) -> Result<(), CodingError> {
    let mut at = 0;
    for _ in 0..MEMBERS_MAX {
        at += member(&input[at..], at, out, room)?;
        if at == input.len() {
            return Ok(());
        }
    }
    Err(room.malformed(at, format!("more than {MEMBERS_MAX} members")))
}

/// Inflates the member at the front of `input`, which is at `offset` of the message; returns its
/// length.
fn member(
    input: &[u8],
    offset: usize,
    out: &mut Vec<u8>,
    room: &mut Room<'_>,
) -> Result<usize, CodingError> {
    let mut inflate = Decompress::new_gzip(WINDOW_BITS);
    loop {
        room.reserve(out)?;
        let (read, written) = (inflate.total_in() as usize, inflate.total_out());
        let status = inflate.decompress_vec(&input[read..], out, FlushDecompress::None);
        let now = inflate.total_in() as usize;
        match status {
            Err(error) => {
                let what = error.message().unwrap_or("no gzip stream").to_owned();
                return Err(room.malformed(offset + now, what));
            }
            Ok(Status::StreamEnd) => {
                room.check(out)?;
                return Ok(now);
            }
            Ok(_)
                if now == read && inflate.total_out() == written && out.len() < out.capacity() =>
            {
                return Err(room.truncated(out));
            }
            Ok(_) => {}
        }
    }
}
