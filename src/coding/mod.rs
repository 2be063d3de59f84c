//! Codings of whole messages: gzip, zstd, LZ4, and a byte shuffle in front of zstd.
//!
//! A coded message is inflated with a bound on the inflated bytes, which holds meanwhile: memory
//! grows with the bytes that come out, and no announced length allocates any. The libraries take a
//! constant amount beyond: a window of at most 8 MiB for zstd, blocks of at most 8 MiB for LZ4. No
//! protocol and no header field is known here.
//!
//! ```text
//! gzip            one member, or several one after another
//! zstd            one frame, or several one after another
//! x-lz4           one frame of LZ4, or several
//! x-shuffle-zstd  item size (one byte: 1, 2, 4, 8 or 16) | zstd of the shuffled message
//! ```
//! The contexts of the libraries stay with the thread: up to 16 MiB for zstd, 4 MiB for the
//! shuffle, and less than 1 MiB for gzip. The memory budget of a server does not contain them,
//! since their number is that of its threads.

use std::cell::RefCell;

mod error;
mod gzip;
mod lz4;
mod room;
mod shuffle;
mod zstd;

pub use error::CodingError;

use self::gzip::Gzip;
use self::room::Room;
use self::zstd::Zstd;
use crate::axis::Coding;

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

#[derive(Default)]
struct Contexts {
    gzip: Option<Gzip>,
    zstd: Option<Box<Zstd>>,
    /// Message before or after its shuffle.
    joined: Vec<u8>,
}

/// Longest buffer that a thread keeps between two shuffles.
const JOINED_BYTES_KEPT: usize = 4 * 1024 * 1024;

/// Appends `parts`, which are one message, in a coding. `item_size` is that of the shuffle; others
/// have no use for it.
pub fn deflate(coding: Coding, item_size: u8, parts: &[&[u8]], out: &mut Vec<u8>) {
    CONTEXTS.with_borrow_mut(|contexts| match coding {
        Coding::Identity => parts.iter().for_each(|part| out.extend_from_slice(part)),
        Coding::Gzip => contexts.gzip.get_or_insert_default().deflate(parts, out),
        Coding::Zstd => contexts.zstd.get_or_insert_default().deflate(parts, out),
        Coding::Lz4 => lz4::deflate(parts, out),
        Coding::ShuffleZstd => contexts.deflate_shuffled(item_size, parts, out),
    });
}

/// Appends the inflated message, of at most `bytes_max` bytes, to `out`, which is empty. Returns
/// the item size of its shuffle, or 1. `grow` is asked for the bytes of each growth of the memory;
/// if it returns false, there is no memory for the message.
pub fn inflate(
    coding: Coding,
    message: &[u8],
    bytes_max: usize,
    out: &mut Vec<u8>,
    grow: &mut dyn FnMut(usize) -> bool,
) -> Result<u8, CodingError> {
    debug_assert!(out.is_empty());
    let mut room = Room::new(coding, bytes_max, grow);
    let inflated = CONTEXTS.with_borrow_mut(|contexts| match coding {
        Coding::Identity => room.append(message, out).map(|()| 1),
        Coding::Gzip => gzip::inflate(message, out, &mut room).map(|()| 1),
        Coding::Zstd => {
            contexts.zstd.get_or_insert_default().inflate(message, out, &mut room).map(|()| 1)
        }
        Coding::Lz4 => lz4::inflate(message, out, &mut room).map(|()| 1),
        Coding::ShuffleZstd => contexts.inflate_shuffled(message, out, &mut room),
    });
    inflated.inspect_err(|_| out.clear())
}

impl Contexts {
    fn deflate_shuffled(&mut self, item_size: u8, parts: &[&[u8]], out: &mut Vec<u8>) {
        debug_assert!(shuffle::ITEM_SIZES.contains(&item_size));
        let joined = &mut self.joined;
        joined.clear();
        parts.iter().for_each(|part| joined.extend_from_slice(part));
        let mut shuffled = vec![0; joined.len()];
        shuffle::shuffle(joined, item_size, &mut shuffled);
        out.push(item_size);
        self.zstd.get_or_insert_default().deflate(&[&shuffled], out);
        self.joined.shrink_to(JOINED_BYTES_KEPT);
    }

    fn inflate_shuffled(
        &mut self,
        message: &[u8],
        out: &mut Vec<u8>,
        room: &mut Room<'_>,
    ) -> Result<u8, CodingError> {
        let Some((&item_size, frame)) = message.split_first() else {
            return Err(room.truncated(out));
        };
        if !shuffle::ITEM_SIZES.contains(&item_size) {
            return Err(CodingError::ItemSize { coding: room.coding(), got: item_size });
        }
        let joined = &mut self.joined;
        joined.clear();
        self.zstd.get_or_insert_default().inflate(frame, joined, room)?;
        room.append_zeros(joined.len(), out)?;
        shuffle::unshuffle(joined, item_size, out);
        self.joined.shrink_to(JOINED_BYTES_KEPT);
        Ok(item_size)
    }
}
