//! Parsers of single list items: the complete grammar, and the text of its errors.

use super::error::Fault;
use super::scan::number_len;

fn digits(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Returns the offset of the digits at `at`, and their number before a point or exponent.
fn whole(text: &[u8], at: usize) -> Result<(usize, usize), Fault> {
    let first = at + usize::from(text.get(at) == Some(&b'-'));
    let len = digits(text, first);
    if len > 1 && text[first] == b'0' {
        return Err(Fault { at: first, what: "a number with a leading zero" });
    }
    Ok((first, len))
}

/// Reads a float and returns its end. `fast_float2` accepts more than JSON (`1.`, `.5`, `01`), so
/// the grammar is checked here.
pub(super) fn float(text: &[u8], at: usize) -> Result<(f64, usize), Fault> {
    let (first, len) = whole(text, at)?;
    if len == 0 {
        return named_float(text, at);
    }
    let is_integer = match text.get(first + len) {
        Some(b'.') if !text.get(first + len + 1).is_some_and(u8::is_ascii_digit) => {
            return Err(Fault { at: first + len + 1, what: "expected a digit after the point" });
        }
        Some(b'.' | b'e' | b'E') => false,
        _ => true,
    };
    let parsed = fast_float2::parse_partial::<f64, _>(&text[at..]);
    let (value, taken) = parsed.expect("a number begins with a digit");
    if !is_integer {
        return Ok((value, at + taken));
    }
    if value.is_infinite() {
        return Err(Fault { at, what: "an integer beyond the range of a double" });
    }
    // Python reads -0 as the integer 0.
    Ok((value + 0.0, at + taken))
}

fn named_float(text: &[u8], at: usize) -> Result<(f64, usize), Fault> {
    let words: [(&[u8], f64); 3] =
        [(b"NaN", f64::NAN), (b"Infinity", f64::INFINITY), (b"-Infinity", f64::NEG_INFINITY)];
    let rest = text.get(at..).unwrap_or_default();
    for (word, value) in words {
        if rest.starts_with(word) {
            return Ok((value, at + word.len()));
        }
    }
    Err(no_item(rest, at, "expected a number"))
}

pub(super) fn integer(text: &[u8], at: usize) -> Result<(bool, u64, usize), Fault> {
    let (first, len) = whole(text, at)?;
    let end = first + len;
    if len == 0 {
        return Err(no_item(text.get(at..).unwrap_or_default(), at, "expected an integer"));
    }
    if let Some(b'.' | b'e' | b'E') = text.get(end) {
        return integral_float(text, at, first);
    }
    // Nineteen digits fit 64 bits.
    let (sure, more) = text[first..end].split_at(len.min(19));
    let add = |value: u64, digit: &u8| value.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    let magnitude = sure.iter().fold(0, |value, digit| 10 * value + u64::from(digit - b'0'));
    let magnitude = more.iter().try_fold(magnitude, add);
    let magnitude = magnitude.ok_or(Fault { at, what: OUT_OF_RANGE })?;
    Ok((first > at, magnitude, end))
}

pub(super) const OUT_OF_RANGE: &str = "an integer out of range for its dtype";

const FRACTION: &str = "a fraction in an array of integers";

/// Reads a number with a point or an exponent, e.g. `1.0` or `1e3`, if it is an integer. Its digits
/// begin at `first`. The decimal is evaluated exactly, not as a double.
#[cold]
fn integral_float(text: &[u8], at: usize, first: usize) -> Result<(bool, u64, usize), Fault> {
    let len = number_len(&text[at..]);
    let end = at + len.ok_or(Fault { at, what: "expected digits after the point or exponent" })?;
    let number = &text[first..end];
    let e = number.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(number.len());
    let digits = &number[..e];
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(e);
    // Number of digits before the point after the exponent has moved it.
    let mut whole = point as i64 + number.get(e + 1..).map_or(0, exponent);
    let mut magnitude = Some(0u64);
    for digit in digits.iter().filter(|byte| **byte != b'.').map(|byte| u64::from(byte - b'0')) {
        whole -= 1;
        if whole >= 0 {
            magnitude = magnitude.and_then(|value| value.checked_mul(10)?.checked_add(digit));
        } else if digit != 0 {
            return Err(Fault { at, what: FRACTION });
        }
    }
    while whole > 0 && magnitude.is_some_and(|value| value > 0) {
        whole -= 1;
        magnitude = magnitude.and_then(|value| value.checked_mul(10));
    }
    Ok((first > at, magnitude.ok_or(Fault { at, what: OUT_OF_RANGE })?, end))
}

/// Reads an exponent, limited to a value that no digits of a message can compensate.
fn exponent(text: &[u8]) -> i64 {
    const EXPONENT_MAX: i64 = 1 << 40;
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] | digits => (1, digits),
    };
    let add = |value: i64, digit: &u8| (value * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX);
    sign * digits.iter().fold(0, add)
}

pub(super) fn boolean(text: &[u8], at: usize) -> Result<(bool, usize), Fault> {
    let rest = text.get(at..).unwrap_or_default();
    for (word, value) in [(&b"true"[..], true), (b"false", false)] {
        if rest.starts_with(word) {
            return Ok((value, at + word.len()));
        }
    }
    match integer(text, at) {
        Ok((_, 0, end)) => Ok((false, end)),
        Ok((false, 1, end)) => Ok((true, end)),
        Err(fault) if fault.what == FRACTION => {
            Err(Fault { at, what: "a fraction in an array of bools" })
        }
        _ => Err(no_item(rest, at, "expected true, false, 0 or 1 in an array of bools")),
    }
}

fn no_item(rest: &[u8], at: usize, expected: &'static str) -> Fault {
    let what = match rest.first() {
        None => "the list ends early",
        Some(b'n') => "null is not valid in an array",
        Some(b't' | b'f') => "true and false are valid in arrays of dtype |b1 only",
        Some(b'N' | b'I') => "NaN and Infinity are valid in arrays of floats only",
        _ => expected,
    };
    Fault { at, what }
}
