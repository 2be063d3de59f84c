//! Grammar of JSON outside lists of numbers: members, strings, and skipped values.
//!
//! All results are places in the message. Strings are checked if their content matters (names,
//! `dtype`, skipped values), and not if a stricter reader follows (base64).

use std::ops::Range;

use crate::codec::cursor::Cursor;
use crate::codec::error::Result;

const DEPTH_MAX: u32 = 64;

/// Length limit of a name that is compared with escapes resolved: eight of `\uXXXX`.
pub(crate) const NAME_BYTES_MAX: usize = 48;

/// Iterator over the members of the object in a message.
#[derive(Debug, Default)]
pub(crate) struct Members {
    begun: bool,
}

impl Members {
    pub(crate) fn begun() -> Members {
        Members { begun: true }
    }

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

fn name<'a>(cursor: &mut Cursor<'a>) -> Result<Text<'a>> {
    let text = Text::read(cursor)?.ok_or_else(|| cursor.fail("expected a name in quotes"))?;
    text.check(cursor)?;
    cursor.expect(b':', "expected a colon after the name")?;
    Ok(text)
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    raw: &'a [u8],
    at: usize,
    escaped: bool,
}

impl<'a> Text<'a> {
    pub(crate) fn read(cursor: &mut Cursor<'a>) -> Result<Option<Text<'a>>> {
        if !cursor.accept(b'"') {
            return Ok(None);
        }
        let (rest, at) = (cursor.rest(), cursor.offset());
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

    pub(crate) fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Returns whether the string means `name`, with or without escapes.
    pub(crate) fn is(&self, name: &str) -> bool {
        if !self.escaped {
            return self.raw == name.as_bytes();
        }
        let mut room = [0; NAME_BYTES_MAX];
        self.unescape(&mut room) == Some(name.as_bytes())
    }

    /// Checks the string by RFC 8259: no control characters, valid escapes, UTF-8.
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

    /// Writes the string with resolved escapes to `room`. `None` if an escape is invalid or `room`,
    /// for which the raw length suffices, is too small.
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

fn quote_or_escape(text: &[u8]) -> Option<usize> {
    // Most strings are names and dtypes, shorter than the setup of a search is worth.
    const SHORT_BYTES: usize = 8;
    let (short, rest) = text.split_at(text.len().min(SHORT_BYTES));
    let found = short.iter().position(|byte| matches!(byte, b'"' | b'\\'));
    found.or_else(|| memchr::memchr2(b'"', b'\\', rest).map(|at| at + SHORT_BYTES))
}

pub(crate) fn escape(text: &[u8]) -> Result<(char, usize), &'static str> {
    let char = match text.get(1) {
        Some(&same @ (b'"' | b'\\' | b'/')) => char::from(same),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(text),
        _ => return Err("an unknown escape sequence"),
    };
    Ok((char, 2))
}

fn unicode_escape(text: &[u8]) -> Result<(char, usize), &'static str> {
    let first = code_unit(text).ok_or("expected four hexadecimal digits after \\u")?;
    let second = text.get(6..).and_then(code_unit);
    let units = [first, second.unwrap_or(0)];
    match char::decode_utf16(units).next() {
        Some(Ok(char)) => Ok((char, if char.len_utf16() == 2 { 12 } else { 6 })),
        _ => Err("an unpaired surrogate"),
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

/// Skips the value of `data` without parsing it. A list of numbers contains neither quotes nor
/// braces, so the value ends before the next one of these. If the value does contain one, it is
/// invalid, and the parser of the returned range or of the rest reports it.
pub(crate) fn skip_array(cursor: &mut Cursor<'_>) -> Result<Range<usize>> {
    cursor.skip_space();
    let (rest, start) = (cursor.rest(), cursor.offset());
    let Some(stop) = memchr::memchr3(b'"', b'{', b'}', rest) else {
        return Err(cursor.fail_at(start + rest.len(), "the message ends early"));
    };
    let fail = |what| cursor.fail_at(start + stop, what);
    let mut value = rest[..stop].trim_ascii_end();
    if rest[stop] == b'{' {
        return Err(fail("an object inside data: expected numbers only"));
    }
    if rest[stop] == b'"' {
        let before = value.strip_suffix(b",").map(<[u8]>::trim_ascii_end);
        let whole = |value: &&[u8]| !value.starts_with(b"[") || value.ends_with(b"]");
        value = before
            .filter(whole)
            .ok_or_else(|| fail("a string inside data: expected numbers only"))?;
    }
    let end = start + value.len();
    cursor.seek(end);
    Ok(start..end)
}

/// Skips a value and checks its grammar. Open brackets are bits of a word, not recursion.
pub(crate) fn skip_value(cursor: &mut Cursor<'_>) -> Result<()> {
    let (mut depth, mut objects) = (0, 0u64);
    loop {
        cursor.skip_space();
        let opened = cursor.peek().filter(|byte| matches!(byte, b'{' | b'['));
        if let Some(bracket) = opened {
            if depth == DEPTH_MAX {
                return Err(cursor.fail("values nest deeper than 64"));
            }
            cursor.seek(cursor.offset() + 1);
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
    cursor.seek(cursor.offset() + len);
    Ok(())
}

/// Returns the length of the number at the start of `text`; `None` if there is none.
pub(super) fn number_len(text: &[u8]) -> Option<usize> {
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
