//! Parsers of single list items: the complete grammar, and the text of its errors.

use super::error::Fault;

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
        return Err(Fault { at, what: "a float in an array of integers" });
    }
    // Nineteen digits fit 64 bits.
    let (sure, more) = text[first..end].split_at(len.min(19));
    let add = |value: u64, digit: &u8| value.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    let magnitude = sure.iter().fold(0, |value, digit| 10 * value + u64::from(digit - b'0'));
    let magnitude = more.iter().try_fold(magnitude, add);
    let magnitude = magnitude.ok_or(Fault { at, what: "an integer out of range for its dtype" })?;
    Ok((first > at, magnitude, end))
}

pub(super) fn boolean(text: &[u8], at: usize) -> Result<(bool, usize), Fault> {
    let rest = text.get(at..).unwrap_or_default();
    for (word, value) in [(&b"true"[..], true), (b"false", false)] {
        if rest.starts_with(word) {
            return Ok((value, at + word.len()));
        }
    }
    Err(no_item(rest, at, "expected true or false in an array of bools"))
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
