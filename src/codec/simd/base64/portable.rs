//! Base64 by tables: what the kernels mean, and what finishes the ends that their vectors leave.

use std::mem::MaybeUninit;

use super::{ALPHABET, Room};

/// A value no group has: it stands for a character outside the alphabet, at any place of a group.
const BAD: u32 = 1 << 31;

/// What a character adds to the 24 bits of its group, by its place in it.
static DIGITS: [[u32; 256]; 4] = digits();

const fn digits() -> [[u32; 256]; 4] {
    let mut digits = [[BAD; 256]; 4];
    let mut value = 0;
    while value < ALPHABET.len() {
        let mut place = 0;
        while place < 4 {
            digits[place][ALPHABET[value] as usize] = (value as u32) << (18 - 6 * place);
            place += 1;
        }
        value += 1;
    }
    digits
}

/// The two characters of every twelve bits.
static PAIRS: [[u8; 2]; 4096] = pairs();

const fn pairs() -> [[u8; 2]; 4096] {
    let mut pairs = [[0; 2]; 4096];
    let mut bits = 0;
    while bits < pairs.len() {
        pairs[bits] = [ALPHABET[bits >> 6], ALPHABET[bits & 63]];
        bits += 1;
    }
    pairs
}

/// Writes the bytes of the leading groups of `text` to `room` and returns how many groups they were.
pub(super) fn decode(text: &[u8], room: &mut Room) -> usize {
    let groups = text.as_chunks::<4>().0;
    let rooms = room.as_chunks_mut::<3>().0;
    for (count, (group, room)) in groups.iter().zip(rooms).enumerate() {
        let digit = |place: usize| DIGITS[place][usize::from(group[place])];
        let bits = digit(0) | digit(1) | digit(2) | digit(3);
        if bits >= BAD {
            return count;
        }
        let [_, first, second, third] = bits.to_be_bytes();
        *room = [MaybeUninit::new(first), MaybeUninit::new(second), MaybeUninit::new(third)];
    }
    groups.len()
}

/// Fills `room` with the text of `bytes`, for which it is as long as it has to be.
pub(super) fn encode(bytes: &[u8], room: &mut Room) {
    debug_assert_eq!(room.len(), bytes.len().div_ceil(3) * 4);
    let (groups, rest) = bytes.as_chunks::<3>();
    let (rooms, _) = room.as_chunks_mut::<4>();
    for (&[first, second, third], room) in groups.iter().zip(rooms.iter_mut()) {
        put(chars(u32::from_be_bytes([0, first, second, third])), room);
    }
    let (bits, padding) = match *rest {
        [first] => (u32::from_be_bytes([0, first, 0, 0]), 2),
        [first, second] => (u32::from_be_bytes([0, first, second, 0]), 1),
        _ => return,
    };
    let mut last = chars(bits);
    last[4 - padding..].fill(b'=');
    put(last, &mut rooms[groups.len()]);
}

/// Written out: where mapping an array is not inlined, as in builds without link-time optimisation, it is a call for
/// each item.
#[inline]
fn put([a, b, c, d]: [u8; 4], room: &mut [MaybeUninit<u8>; 4]) {
    *room = [MaybeUninit::new(a), MaybeUninit::new(b), MaybeUninit::new(c), MaybeUninit::new(d)];
}

fn chars(bits: u32) -> [u8; 4] {
    let [first, second] = PAIRS[bits as usize >> 12];
    let [third, fourth] = PAIRS[bits as usize & 4095];
    [first, second, third, fourth]
}
