//! The grammar of JSON outside lists of numbers: members, strings, and values that are skipped.
//!
//! Everything is a place in the message; nothing is copied or built. Strings are checked where their content
//! counts (names, `dtype`, whatever is skipped) and left alone where a stricter reader follows (base64).

use std::ops::Range;

use crate::codec::cursor::Cursor;
use crate::codec::error::Result;

/// Deepest nesting of a value that is skipped.
const DEPTH_MAX: u32 = 64;

/// Longest spelling of a name or dtype that is compared with escapes resolved: `\uXXXX` for each of 8 characters.
pub(crate) const NAME_BYTES_MAX: usize = 48;

/// Walks the members of the object that a message is.
#[derive(Debug, Default)]
pub(crate) struct Members {
    begun: bool,
}

impl Members {
    /// Behind the value of the first member.
    pub(crate) fn begun() -> Members {
        Members { begun: true }
    }

    /// Reads up to the next value and returns its name; `None` after the closing brace.
    pub(crate) fn next<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<Option<Text<'a>>> {
        if !self.begun {
            cursor.expect(b'{', "expected an object")?;
        }
        if cursor.accept(b'}') {
            return Ok(None);
        }
        if self.begun {
            cursor.expect(b',', "expected a comma or the end of the object")?;
        }
        self.begun = true;
        name(cursor).map(Some)
    }
}

/// Reads a name and the colon behind it.
fn name<'a>(cursor: &mut Cursor<'a>) -> Result<Text<'a>> {
    let text = Text::read(cursor)?.ok_or_else(|| cursor.fail("expected a name in quotes"))?;
    text.check(cursor)?;
    cursor.expect(b':', "expected a colon after the name")?;
    Ok(text)
}

/// A string as it stands between its quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    raw: &'a [u8],
    at: usize,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// Reads a string up to its closing quote, or `None` when the next value is none.
    pub(crate) fn read(cursor: &mut Cursor<'a>) -> Result<Option<Text<'a>>> {
        if !cursor.accept(b'"') {
            return Ok(None);
        }
        let (rest, at) = (cursor.rest(), cursor.at());
        let (mut len, mut escaped) = (0, false);
        loop {
            let Some(step) = quote_or_escape(rest.get(len..).unwrap_or_default()) else {
                return Err(cursor.fail_at(at - 1, "the string does not end"));
            };
            len += step;
            if rest[len] == b'"' {
                break;
            }
            escaped = true;
            len += 2;
        }
        cursor.seek(at + len + 1);
        Ok(Some(Text { raw: &rest[..len], at, escaped }))
    }

    /// The bytes between the quotes, escapes and all.
    pub(crate) fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// True if this is `name`, however it is spelled.
    pub(crate) fn is(&self, name: &str) -> bool {
        if !self.escaped {
            return self.raw == name.as_bytes();
        }
        let mut room = [0; NAME_BYTES_MAX];
        self.unescape(&mut room) == Some(name.as_bytes())
    }

    /// Checks that this is a string of RFC 8259: no control characters, good escapes, UTF-8.
    pub(crate) fn check(&self, cursor: &Cursor<'_>) -> Result<()> {
        let fail = |at, what| cursor.fail_at(self.at + at, what);
        let mut at = 0;
        let mut all = 0;
        while let Some(&byte) = self.raw.get(at) {
            at += match byte {
                0..0x20 => return Err(fail(at, "a control character in a string")),
                b'\\' => escape(&self.raw[at..]).map_err(|what| fail(at, what))?.1,
                _ => 1,
            };
            all |= byte;
        }
        if all < 0x80 {
            return Ok(());
        }
        match str::from_utf8(self.raw) {
            Ok(_) => Ok(()),
            Err(error) => Err(fail(error.valid_up_to(), "not UTF-8")),
        }
    }

    /// Writes the string with its escapes resolved into `room`, which may have to be as long as the raw text.
    /// `None` if it is too small or an escape is bad.
    pub(crate) fn unescape<'b>(&self, room: &'b mut [u8]) -> Option<&'b [u8]> {
        let mut rest = self.raw;
        let mut len = 0;
        while !rest.is_empty() {
            let plain = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
            room.get_mut(len..len + plain)?.copy_from_slice(&rest[..plain]);
            len += plain;
            rest = &rest[plain..];
            if !rest.is_empty() {
                let (char, taken) = escape(rest).ok()?;
                let mut utf8 = [0; 4];
                let bytes = char.encode_utf8(&mut utf8).as_bytes();
                room.get_mut(len..len + bytes.len())?.copy_from_slice(bytes);
                len += bytes.len();
                rest = &rest[taken..];
            }
        }
        Some(&room[..len])
    }
}

/// Where the next quote or backslash is.
fn quote_or_escape(text: &[u8]) -> Option<usize> {
    // Most strings are names and dtypes, at an end before a search has begun.
    const SHORT_BYTES: usize = 8;
    let (short, rest) = text.split_at(text.len().min(SHORT_BYTES));
    let found = short.iter().position(|byte| matches!(byte, b'"' | b'\\'));
    found.or_else(|| memchr::memchr2(b'"', b'\\', rest).map(|at| at + SHORT_BYTES))
}

/// Reads the escape that `text` begins with: what it means and how long it is.
pub(crate) fn escape(text: &[u8]) -> Result<(char, usize), &'static str> {
    let char = match text.get(1) {
        Some(&same @ (b'"' | b'\\' | b'/')) => char::from(same),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(text),
        _ => return Err("an escape that JSON does not have"),
    };
    Ok((char, 2))
}

/// Reads `\uXXXX`, or two of them that are a surrogate pair.
fn unicode_escape(text: &[u8]) -> Result<(char, usize), &'static str> {
    let first = code_unit(text).ok_or("expected four hexadecimal digits after \\u")?;
    let second = text.get(6..).and_then(code_unit);
    let units = [first, second.unwrap_or(0)];
    match char::decode_utf16(units).next() {
        Some(Ok(char)) => Ok((char, if char.len_utf16() == 2 { 12 } else { 6 })),
        _ => Err("half of a surrogate pair"),
    }
}

fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.get(..6)?.strip_prefix(b"\\u")?;
    let mut unit = 0;
    for &digit in digits {
        unit = unit << 4 | char::from(digit).to_digit(16)? as u16;
    }
    Some(unit)
}

/// Goes past the value of `data` and returns where it lies, without looking at it.
///
/// Lists of numbers hold neither quotes nor braces, so the value ends before the next of them: the object's end or
/// the next name, which a comma precedes. If it does hold one it is wrong, and whoever parses what is returned, or
/// what follows it, will find out.
pub(crate) fn skip_array(cursor: &mut Cursor<'_>) -> Result<Range<usize>> {
    cursor.skip_space();
    let (rest, start) = (cursor.rest(), cursor.at());
    let Some(stop) = memchr::memchr3(b'"', b'{', b'}', rest) else {
        return Err(cursor.fail_at(start + rest.len(), "the message ends early"));
    };
    let fail = |what| cursor.fail_at(start + stop, what);
    let mut value = rest[..stop].trim_ascii_end();
    if rest[stop] == b'{' {
        return Err(fail("an object inside data, which holds numbers alone"));
    }
    if rest[stop] == b'"' {
        let before = value.strip_suffix(b",").map(<[u8]>::trim_ascii_end);
        let whole = |value: &&[u8]| !value.starts_with(b"[") || value.ends_with(b"]");
        value = before
            .filter(whole)
            .ok_or_else(|| fail("a string inside data, which holds numbers alone"))?;
    }
    let end = start + value.len();
    cursor.seek(end);
    Ok(start..end)
}

/// Skips a value of any kind, checking its grammar. Open brackets are bits of a word, not calls.
pub(crate) fn skip_value(cursor: &mut Cursor<'_>) -> Result<()> {
    let (mut depth, mut objects) = (0, 0u64);
    loop {
        cursor.skip_space();
        let opened = cursor.peek().filter(|byte| matches!(byte, b'{' | b'['));
        if let Some(bracket) = opened {
            if depth == DEPTH_MAX {
                return Err(cursor.fail("values nest deeper than 64"));
            }
            cursor.seek(cursor.at() + 1);
            depth += 1;
            objects = objects << 1 | u64::from(bracket == b'{');
            let object = objects & 1 == 1;
            if !cursor.accept(if object { b'}' } else { b']' }) {
                if object {
                    name(cursor)?;
                }
                continue;
            }
            depth -= 1;
            objects >>= 1;
        } else {
            skip_scalar(cursor)?;
        }
        while depth > 0 && cursor.accept(if objects & 1 == 1 { b'}' } else { b']' }) {
            depth -= 1;
            objects >>= 1;
        }
        if depth == 0 {
            return Ok(());
        }
        cursor.expect(b',', "expected a comma or a closing bracket")?;
        if objects & 1 == 1 {
            name(cursor)?;
        }
    }
}

/// Skips a string, a number or one of the words.
fn skip_scalar(cursor: &mut Cursor<'_>) -> Result<()> {
    const WORDS: [&[u8]; 6] = [b"true", b"false", b"null", b"NaN", b"Infinity", b"-Infinity"];
    if let Some(text) = Text::read(cursor)? {
        return text.check(cursor);
    }
    let rest = cursor.rest();
    let word = WORDS.iter().find(|word| rest.starts_with(word));
    let len = match word {
        Some(word) => word.len(),
        None => number_len(rest).ok_or_else(|| cursor.fail("expected a value"))?,
    };
    cursor.seek(cursor.at() + len);
    Ok(())
}

/// Length of the number that `text` begins with.
fn number_len(text: &[u8]) -> Option<usize> {
    let digits = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let mut len = usize::from(text.first() == Some(&b'-'));
    let whole = digits(len);
    if whole == 0 || (whole > 1 && text[len] == b'0') {
        return None;
    }
    len += whole;
    if text.get(len) == Some(&b'.') {
        let fraction = digits(len + 1);
        if fraction == 0 {
            return None;
        }
        len += 1 + fraction;
    }
    if let Some(b'e' | b'E') = text.get(len) {
        let sign = usize::from(matches!(text.get(len + 1), Some(b'+' | b'-')));
        let exponent = digits(len + 1 + sign);
        if exponent == 0 {
            return None;
        }
        len += 1 + sign + exponent;
    }
    Some(len)
}
