//! Decimal integers: dimensions in the one form that nearly every client writes, and items.
//!
//! [`dims`] accepts less than the grammars allow; `None` leaves the text to the codec's parser.

use crate::array::Shape;

/// Digits of the largest dimension that is read; 18 digits never overflow 64 bits.
const DIGITS_MAX: usize = 18;

/// Reads dimensions with a comma between them, and a space behind it if `SPACED`. Returns the text
/// after them.
#[inline]
pub(super) fn dims<const SPACED: bool>(text: &[u8]) -> Option<(Shape, &[u8])> {
    let separator: &[u8] = if SPACED { b", " } else { b"," };
    let mut shape = Shape::default();
    if !text.first().is_some_and(u8::is_ascii_digit) {
        return Some((shape, text));
    }
    let mut rest = text;
    loop {
        let (dim, after) = leading(rest)?;
        shape.push(dim).ok()?;
        match after.strip_prefix(separator) {
            Some(more) => rest = more,
            None => return Some((shape, after)),
        }
    }
}

/// Reads a number and returns the text after it. `None` for no number or a leading zero.
#[inline]
fn leading(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut value, mut len) = (0u64, 0);
    while let Some(digit) = text.get(len).map(|byte| byte.wrapping_sub(b'0')).filter(|&d| d < 10) {
        value = value * 10 + u64::from(digit);
        len += 1;
        if len > DIGITS_MAX {
            return None;
        }
    }
    let is_plain = len == 1 || (len > 1 && text[0] != b'0');
    is_plain.then(|| (value, &text[len..]))
}

/// Returns the value of ASCII digits; `None` if it exceeds 64 bits.
pub(super) fn value(digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// Writes `value` to the start of `room` and returns the number of digits, if they fit.
#[inline]
pub(super) fn put(mut value: u64, room: &mut [u8]) -> Option<usize> {
    let len = value.checked_ilog10().unwrap_or(0) as usize + 1;
    for place in room.get_mut(..len)?.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
    Some(len)
}

/// Numbers below this have at most eight digits.
const EIGHT_DIGITS: u64 = 100_000_000;

/// Appends an integer. Every copy has a constant length, which needs no call, and `truncate` drops
/// what is too much.
#[inline]
pub(super) fn append(is_negative: bool, magnitude: u64, out: &mut Vec<u8>) {
    let (upper, last) = (magnitude / EIGHT_DIGITS, magnitude % EIGHT_DIGITS);
    if upper == 0 {
        return append_first(is_negative, last, out);
    }
    let (first, middle) = (upper / EIGHT_DIGITS, upper % EIGHT_DIGITS);
    if first == 0 {
        append_first(is_negative, middle, out);
    } else {
        append_first(is_negative, first, out);
        out.extend_from_slice(&(eight_digits(middle) + ZEROS).to_le_bytes());
    }
    out.extend_from_slice(&(eight_digits(last) + ZEROS).to_le_bytes());
}

/// Appends a sign and a number below [`EIGHT_DIGITS`] without leading zeros.
#[inline]
fn append_first(is_negative: bool, number: u64, out: &mut Vec<u8>) {
    let digits = eight_digits(number);
    // The last digit is written even if it is 0.
    let zeros = (digits | 1 << 56).trailing_zeros() / 8;
    let sign = u32::from(is_negative);
    let text = u128::from((digits + ZEROS) >> (8 * zeros)) << (8 * sign);
    let text = text | u128::from(sign * u32::from(b'-'));
    let end = out.len() + (8 - zeros + sign) as usize;
    out.extend_from_slice(&text.to_le_bytes());
    out.truncate(end);
}

const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);

/// Returns the eight digits of a number below [`EIGHT_DIGITS`] as bytes from 0 to 9, the first
/// digit in the lowest byte.
#[inline]
fn eight_digits(number: u64) -> u64 {
    debug_assert!(number < EIGHT_DIGITS);
    // Two numbers of four digits, then four of two, then eight of one. The products divide by 100
    // and by 10, rounded down; they are exact for numbers of four and of two digits.
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | ((fours - 100 * hundreds) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((twos - 10 * tens) << 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 20;

    #[test]
    fn what_is_written_is_read_again() {
        let powers = (0..19).map(|power| 10u64.pow(power));
        for value in powers.flat_map(|power| [power - 1, power, power + 1]) {
            let mut room = [b'x'; ROOM];
            let len = put(value, &mut room).unwrap();
            assert_eq!(str::from_utf8(&room[..len]), Ok(value.to_string().as_str()));
            assert!(room[len..].iter().all(|&byte| byte == b'x'));
            let want = (len <= DIGITS_MAX).then_some((value, &room[len..]));
            assert_eq!(leading(&room), want.filter(|_| len < ROOM));
            assert_eq!(put(value, &mut room[..len - 1]), None);
        }
        let mut room = [0; ROOM];
        assert_eq!(put(u64::MAX, &mut room), Some(ROOM));
        assert_eq!(&room, u64::MAX.to_string().as_bytes());
    }

    #[test]
    fn appended_integers_look_as_rust_writes_them() {
        let powers = (0..20).map(|power| 10u64.pow(power));
        let near = powers.flat_map(|power| [power - 1, power, power + 1, power.wrapping_mul(7)]);
        let others = (0..10_000).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (n % 64));
        for value in (0..20_000).chain(near).chain(others).chain([u64::MAX, 1 << 63]) {
            for is_negative in [false, true] {
                let mut out = b"before".to_vec();
                append(is_negative, value, &mut out);
                let sign = if is_negative { "-" } else { "" };
                assert_eq!(str::from_utf8(&out).unwrap(), format!("before{sign}{value}"));
            }
        }
    }

    #[test]
    fn other_spellings_are_left_to_others() {
        for text in ["", "x", "-1", "+1", "00", "01", " 1", "1234567890123456789", "\u{663}"] {
            assert_eq!(leading(text.as_bytes()), None, "{text}");
        }
        assert_eq!(leading(b"0, 2"), Some((0, &b", 2"[..])));
    }

    #[test]
    fn lists_end_where_no_number_follows() {
        let shape = |dims| Shape::new(dims).unwrap();
        assert_eq!(dims::<true>(b"]}"), Some((shape(&[]), &b"]}"[..])));
        assert_eq!(dims::<true>(b"12, 0, 3]"), Some((shape(&[12, 0, 3]), &b"]"[..])));
        assert_eq!(dims::<true>(b"12,)"), Some((shape(&[12]), &b",)"[..])));
        assert_eq!(dims::<true>(b"12"), Some((shape(&[12]), &b""[..])));
        assert_eq!(dims::<false>(b"12,3"), Some((shape(&[12, 3]), &b""[..])));
        for other in [&b"1, ]"[..], b"01", b"1, 02"] {
            assert_eq!(dims::<true>(other), None);
        }
        let many = "1, ".repeat(crate::array::RANK_MAX + 1);
        assert_eq!(dims::<true>(many.as_bytes()), None);
    }
}
