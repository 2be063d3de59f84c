//! Base64 with tables: the reference for the kernels, and their code for the ends.

use std::mem::MaybeUninit;

pub(super) const ALPHABET: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Memory that may be uninitialized: write-only.
pub(super) type Room = [MaybeUninit<u8>];

/// Value for a character outside the alphabet; larger than every valid one.
const BAD: u32 = 1 << 31;

/// Bits of each character at each place of a group of 24 bits.
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

/// Text of every twelve bits.
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

/// Decodes the groups at the start of `text` to `room` and returns their number.
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

/// Fills `room`, which has exactly the length of the text of `bytes`.
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

/// Stores four bytes. Without link-time optimization, a map over an array is a call per byte.
#[inline]
fn put([a, b, c, d]: [u8; 4], room: &mut [MaybeUninit<u8>; 4]) {
    *room = [MaybeUninit::new(a), MaybeUninit::new(b), MaybeUninit::new(c), MaybeUninit::new(d)];
}

fn chars(bits: u32) -> [u8; 4] {
    let [first, second] = PAIRS[bits as usize >> 12];
    let [third, fourth] = PAIRS[bits as usize & 4095];
    [first, second, third, fourth]
}
