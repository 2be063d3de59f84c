//! Lines of JSON as columns, which compress to half of what the lines do.
//!
//! A line is a shape, in which each value is the number of a column, and the values in the order of
//! the shape. Lines of one kind share their shape. A column of whole numbers is stored as the
//! differences from its least value: first the lowest byte of each, then the next. A column of
//! base64 is stored as the bytes behind it.
//!
//! ```text
//! head, a line of JSON: shapes, the shape of each line, form and size of each column
//! bytes of column 0, bytes of column 1, ...
//! ```

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Mean length from which a column of base64 is worth its form.
const BASE64_MEAN_MIN: usize = 64;

#[derive(Debug, thiserror::Error)]
pub(super) enum ColumnsError {
    #[error("the head is not valid: {0}")]
    Head(#[from] serde_json::Error),
    #[error("there is no end of the head")]
    NoHead,
    #[error("column {column} is not valid")]
    Column { column: usize },
    #[error("a line has shape {shape}, but there are {shapes} shapes")]
    Shape { shape: usize, shapes: usize },
    #[error("the lines are larger than the limit")]
    TooLarge,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Head {
    shapes: Vec<Value>,
    /// Number of the shape of each line.
    lines: Vec<usize>,
    columns: Vec<ColumnHead>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct ColumnHead {
    form: Form,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    Json,
    /// Differences from the least value, of `width` bytes each.
    Numbers {
        least: u64,
        width: usize,
    },
    /// Byte strings, each after its length as a line of text.
    Base64,
}

pub(super) fn pack(lines: &[Value]) -> Vec<u8> {
    let mut columns = Columns::default();
    let mut head = Head::default();
    let mut shapes: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines {
        let shape = columns.take(line, "");
        let known = shapes.len();
        let number = *shapes.entry(shape.to_string()).or_insert(known);
        if number == known {
            head.shapes.push(shape);
        }
        head.lines.push(number);
    }
    let bodies: Vec<Vec<u8>> = columns
        .values
        .iter()
        .map(|values| {
            let (form, body) = encode(values);
            head.columns.push(ColumnHead { form, bytes: body.len() });
            body
        })
        .collect();
    let mut packed = serde_json::to_vec(&head).expect("a head is plain data");
    packed.push(b'\n');
    bodies.iter().for_each(|body| packed.extend(body));
    packed
}

/// Returns the lines as text. Stops if they are longer than `bytes_max`.
pub(super) fn unpack(packed: &[u8], bytes_max: usize) -> Result<String, ColumnsError> {
    let end = memchr::memchr(b'\n', packed).ok_or(ColumnsError::NoHead)?;
    let head: Head = serde_json::from_slice(&packed[..end])?;
    let mut rest = &packed[end + 1..];
    let mut columns = Vec::new();
    for (column, ColumnHead { form, bytes }) in head.columns.iter().enumerate() {
        let (body, after) = rest.split_at_checked(*bytes).ok_or(ColumnsError::Column { column })?;
        let values = decode(*form, body).ok_or(ColumnsError::Column { column })?;
        columns.push(values.into_iter());
        rest = after;
    }
    let mut text = String::new();
    let shapes = head.shapes.len();
    for shape in head.lines {
        let line = head.shapes.get(shape).ok_or(ColumnsError::Shape { shape, shapes })?;
        fill(line, &mut columns, &mut text, bytes_max)?;
        text.push('\n');
    }
    Ok(text)
}

/// Values of each column, and the column of each path.
#[derive(Default)]
struct Columns<'a> {
    values: Vec<Vec<&'a Value>>,
    paths: BTreeMap<String, usize>,
}

impl<'a> Columns<'a> {
    /// Adds the values of `value` to the columns. Returns its shape.
    fn take(&mut self, value: &'a Value, path: &str) -> Value {
        match value {
            Value::Object(fields) => {
                let field = |(name, value): (&String, &'a Value)| {
                    (name.clone(), self.take(value, &format!("{path}.{name}")))
                };
                Value::Object(fields.iter().map(field).collect())
            }
            Value::Array(items) => {
                let path = format!("{path}[]");
                Value::Array(items.iter().map(|item| self.take(item, &path)).collect())
            }
            _ => {
                let next = self.values.len();
                let column = *self.paths.entry(path.to_owned()).or_insert(next);
                if column == next {
                    self.values.push(Vec::new());
                }
                self.values[column].push(value);
                Value::from(column)
            }
        }
    }
}

/// Writes a line of `shape` with the next values of its columns.
fn fill(
    shape: &Value,
    columns: &mut [std::vec::IntoIter<Value>],
    text: &mut String,
    bytes_max: usize,
) -> Result<(), ColumnsError> {
    if text.len() > bytes_max {
        return Err(ColumnsError::TooLarge);
    }
    let mut part = |shape: &Value, text: &mut String| fill(shape, columns, text, bytes_max);
    match shape {
        Value::Object(fields) => {
            text.push('{');
            for (index, (name, shape)) in fields.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                part(shape, text)?;
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, shape) in items.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                part(shape, text)?;
            }
            text.push(']');
        }
        column => {
            let column = column.as_u64().map_or(usize::MAX, |column| column as usize);
            let values = columns.get_mut(column).ok_or(ColumnsError::Column { column })?;
            let value = values.next().ok_or(ColumnsError::Column { column })?;
            text.push_str(&value.to_string());
        }
    }
    Ok(())
}

fn encode(values: &[&Value]) -> (Form, Vec<u8>) {
    let numbers: Option<Vec<u64>> = values.iter().map(|value| value.as_u64()).collect();
    if let Some(numbers) = numbers {
        return encode_numbers(&numbers);
    }
    let texts: Option<Vec<&str>> = values.iter().map(|value| value.as_str()).collect();
    texts
        .and_then(|texts| encode_base64(&texts))
        .unwrap_or_else(|| (Form::Json, serde_json::to_vec(values).expect("values are plain data")))
}

fn encode_numbers(numbers: &[u64]) -> (Form, Vec<u8>) {
    let least = numbers.iter().copied().min().unwrap_or_default();
    let range = numbers.iter().copied().max().unwrap_or_default() - least;
    let width = (64 - range.leading_zeros() as usize).div_ceil(8);
    let plane =
        |place: usize| numbers.iter().map(move |number| (number - least).to_le_bytes()[place]);
    // A width of 0 would not tell how many numbers there are.
    let width = width.max(1);
    (Form::Numbers { least, width }, (0..width).flat_map(plane).collect())
}

/// Returns `None` for texts that are not base64 in its usual form, or too short to gain.
fn encode_base64(texts: &[&str]) -> Option<(Form, Vec<u8>)> {
    let letters: usize = texts.iter().map(|text| text.len()).sum();
    if letters < BASE64_MEAN_MIN * texts.len() {
        return None;
    }
    let mut body = Vec::new();
    for text in texts {
        let bytes = STANDARD.decode(text).ok()?;
        body.extend(format!("{}\n", bytes.len()).bytes());
        body.extend(bytes);
    }
    Some((Form::Base64, body))
}

fn decode(form: Form, body: &[u8]) -> Option<Vec<Value>> {
    match form {
        Form::Json => serde_json::from_slice(body).ok(),
        Form::Numbers { least, width } => decode_numbers(least, width, body),
        Form::Base64 => decode_base64(body),
    }
}

fn decode_numbers(least: u64, width: usize, body: &[u8]) -> Option<Vec<Value>> {
    if !(1..=8).contains(&width) || !body.len().is_multiple_of(width) {
        return None;
    }
    let count = body.len() / width;
    let number = |index: usize| {
        let mut bytes = [0; 8];
        for place in 0..width {
            bytes[place] = body[place * count + index];
        }
        least.checked_add(u64::from_le_bytes(bytes)).map(Value::from)
    };
    (0..count).map(number).collect()
}

fn decode_base64(mut body: &[u8]) -> Option<Vec<Value>> {
    let mut texts = Vec::new();
    while !body.is_empty() {
        let end = memchr::memchr(b'\n', body)?;
        let length: usize = std::str::from_utf8(&body[..end]).ok()?.parse().ok()?;
        let (bytes, rest) = body[end + 1..].split_at_checked(length)?;
        texts.push(Value::from(STANDARD.encode(bytes)));
        body = rest;
    }
    Some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const LIMIT: usize = 1 << 20;

    fn read_back(lines: &[Value]) -> Vec<Value> {
        let text = unpack(&pack(lines), LIMIT).expect("packed lines are valid");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[test]
    fn lines_of_several_shapes_are_read_back() {
        let long = STANDARD.encode([7; 99]);
        let lines = [
            json!({"a": 1, "b": [{"c": 300}, {"c": u64::MAX}], "d": null, "text": "x\n\"y"}),
            json!({"a": 70_000, "b": [], "d": -1.5, "text": "", "long": ""}),
            json!({"a": 2, "b": [{"c": 1}], "d": "two", "text": long, "long": long}),
            json!({"none": {}, "long": long, "a.b": [1, "x"], "a": {"b": 2}}),
            json!(17),
        ];
        assert_eq!(read_back(&lines), lines);
        assert_eq!(read_back(&[]), [Value::Null; 0]);
    }

    #[test]
    fn columns_are_smaller_than_lines() {
        let line = |number: u64| json!({"requests": 1000 + number, "wall_ns": 40_000_000 + number});
        let lines: Vec<Value> = (0..200).map(line).collect();
        let text: usize = lines.iter().map(|line| line.to_string().len()).sum();
        assert!(pack(&lines).len() * 5 < text, "{} of {text}", pack(&lines).len());
    }

    #[test]
    fn what_does_not_fit_together_is_an_error() {
        let packed = pack(&[json!({"a": 1}), json!({"a": 2})]);
        let text = String::from_utf8(packed.clone()).expect("small numbers");
        assert!(matches!(unpack(&packed, 3), Err(ColumnsError::TooLarge)));
        assert!(matches!(unpack(b"{}", LIMIT), Err(ColumnsError::NoHead)));
        for (old, new) in [
            ("\"a\":0", "\"a\":9"),
            ("\"a\":0", "\"a\":\"x\""),
            ("\"lines\":[0,0]", "\"lines\":[0,1]"),
            ("\"lines\":[0,0]", "\"lines\":[0,0,0]"),
            ("\"bytes\":2", "\"bytes\":99999999999"),
            ("\"width\":1", "\"width\":0"),
            ("\"width\":1", "\"width\":9"),
            ("\"least\":1", "\"least\":18446744073709551615"),
        ] {
            let changed = text.replacen(old, new, 1);
            assert_ne!(changed, text, "{old}");
            assert!(unpack(changed.as_bytes(), LIMIT).is_err(), "{new}");
        }
    }

    proptest! {
        #[test]
        fn changed_bytes_never_panic(at in 0_usize..200, byte: u8) {
            let long = STANDARD.encode([7; 99]);
            let mut packed = pack(&[json!({"a": 1, "b": ["x", null], "long": long})]);
            let length = packed.len();
            packed[at % length] = byte;
            let _ = unpack(&packed, LIMIT);
        }

        #[test]
        fn any_numbers_are_read_back(numbers: Vec<u64>) {
            let lines: Vec<Value> = numbers.into_iter().map(Value::from).collect();
            prop_assert_eq!(read_back(&lines), lines);
        }
    }
}
