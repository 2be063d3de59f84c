//! Decimal dimensions in the one form that nearly every client writes.
//!
//! [`dims`] accepts less than the grammars allow; `None` leaves the text to the codec's parser.

use crate::array::Shape;

/// Digits of the largest dimension that is read; 18 digits never overflow 64 bits.
const DIGITS_MAX: usize = 18;

#[inline]
pub(super) fn dims(text: &[u8]) -> Option<(Shape, &[u8])> {
    let mut shape = Shape::default();
    if !text.first().is_some_and(u8::is_ascii_digit) {
        return Some((shape, text));
    }
    let mut rest = text;
    loop {
        let (dim, after) = leading(rest)?;
        shape.push(dim).ok()?;
        match after.strip_prefix(b", ") {
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
    fn other_spellings_are_left_to_others() {
        for text in ["", "x", "-1", "+1", "00", "01", " 1", "1234567890123456789", "\u{663}"] {
            assert_eq!(leading(text.as_bytes()), None, "{text}");
        }
        assert_eq!(leading(b"0, 2"), Some((0, &b", 2"[..])));
    }

    #[test]
    fn lists_end_where_no_number_follows() {
        let shape = |dims| Shape::new(dims).unwrap();
        assert_eq!(dims(b"]}"), Some((shape(&[]), &b"]}"[..])));
        assert_eq!(dims(b"12, 0, 3]"), Some((shape(&[12, 0, 3]), &b"]"[..])));
        assert_eq!(dims(b"12,)"), Some((shape(&[12]), &b",)"[..])));
        assert_eq!(dims(b"12"), Some((shape(&[12]), &b""[..])));
        for other in [&b"1, ]"[..], b"01", b"1, 02"] {
            assert_eq!(dims(other), None);
        }
        let many = "1, ".repeat(crate::array::RANK_MAX + 1);
        assert_eq!(dims(many.as_bytes()), None);
    }
}
