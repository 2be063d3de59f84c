//! Byte shuffle, as Blosc and HDF5 have it: the bytes of equal place in their items stand together.
//!
//! ```text
//! items of 4    a0 a1 a2 a3 | b0 b1 b2 b3 | c0 c1 c2 c3 | t0 t1
//! shuffled      a0 b0 c0 | a1 b1 c1 | a2 b2 c2 | a3 b3 c3 | t0 t1
//! ```
//! The whole message is shuffled. Its head moves the places by a constant, which costs nothing: the
//! bytes that stand together are still those of equal place.

/// Item sizes of the dtypes that NumPy has.
pub(super) const ITEM_SIZES: [u8; 5] = [1, 2, 4, 8, 16];

/// Writes `from` into `to`, which is as long.
pub(super) fn shuffle(from: &[u8], item_size: u8, to: &mut [u8]) {
    match item_size {
        2 => shuffle_by::<2>(from, to),
        4 => shuffle_by::<4>(from, to),
        8 => shuffle_by::<8>(from, to),
        16 => shuffle_by::<16>(from, to),
        _ => to.copy_from_slice(from),
    }
}

/// Undoes [`shuffle`].
pub(super) fn unshuffle(from: &[u8], item_size: u8, to: &mut [u8]) {
    match item_size {
        2 => unshuffle_by::<2>(from, to),
        4 => unshuffle_by::<4>(from, to),
        8 => unshuffle_by::<8>(from, to),
        16 => unshuffle_by::<16>(from, to),
        _ => to.copy_from_slice(from),
    }
}

fn shuffle_by<const SIZE: usize>(from: &[u8], to: &mut [u8]) {
    let (items, tail) = from.as_chunks::<SIZE>();
    let (planes, end) = to.split_at_mut(items.len() * SIZE);
    for place in 0..SIZE {
        let plane = &mut planes[place * items.len()..][..items.len()];
        for (byte, item) in plane.iter_mut().zip(items) {
            *byte = item[place];
        }
    }
    end.copy_from_slice(tail);
}

fn unshuffle_by<const SIZE: usize>(from: &[u8], to: &mut [u8]) {
    let (items, end) = to.as_chunks_mut::<SIZE>();
    let (planes, tail) = from.split_at(items.len() * SIZE);
    for place in 0..SIZE {
        let plane = &planes[place * items.len()..][..items.len()];
        for (byte, item) in plane.iter().zip(items.iter_mut()) {
            item[place] = *byte;
        }
    }
    end.copy_from_slice(tail);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_equal_place_stand_together() {
        let mut shuffled = [0; 14];
        shuffle(b"aAbBcCdDeEfFt!", 4, &mut shuffled);
        assert_eq!(&shuffled, b"aceACEbdfBDFt!");
    }

    #[test]
    fn every_length_and_size_comes_back() {
        let bytes: Vec<u8> = (0..200u8).collect();
        for size in ITEM_SIZES {
            for len in 0..bytes.len() {
                let (mut there, mut back) = (vec![0; len], vec![0; len]);
                shuffle(&bytes[..len], size, &mut there);
                unshuffle(&there, size, &mut back);
                assert_eq!(back, bytes[..len], "{size} {len}");
            }
        }
    }
}
