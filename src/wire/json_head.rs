//! Bodies of a JSON object and bytes behind it: the binary tensor extension of the Open Inference
//! Protocol over HTTP/1.1.
//!
//! ```text
//! Inference-Header-Content-Length: 120        both ways; without it a body is JSON alone
//!
//! { JSON, 120 bytes } bytes of the tensor
//! ```
//! The codec finds both parts by itself. [`HeadLen::check`] compares the field with what it found.
//! A refusal of such a request is a JSON object, too.

use http::HeaderMap;

use super::handler::{Refusal, Refused};

/// Name of the field, in lower case.
pub const FIELD: &str = "inference-header-content-length";

pub const JSON: &str = "application/json";

/// Length of the JSON object, as the field of a request announces it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeadLen {
    #[default]
    Missing,
    Bytes(u64),
    /// Field that is no number, or two fields.
    Invalid,
}

impl HeadLen {
    /// Reads a field of the request.
    pub fn read(&mut self, value: &[u8]) {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = str::from_utf8(value).ok().filter(|_| is_number);
        *self = match (number.and_then(|text| text.parse().ok()), *self) {
            (Some(bytes), HeadLen::Missing) => HeadLen::Bytes(bytes),
            _ => HeadLen::Invalid,
        };
    }

    /// Compares the field with a body of which the codec took the last `data_len` bytes as tensor.
    pub fn check(self, body_len: usize, data_len: usize) -> Result<(), Refused> {
        let head_len = body_len.saturating_sub(data_len);
        let text = match self {
            HeadLen::Bytes(announced) if announced == head_len as u64 => return Ok(()),
            HeadLen::Missing if data_len == 0 => return Ok(()),
            HeadLen::Bytes(announced) => format!(
                "Inference-Header-Content-Length is {announced}, but the JSON has {head_len} of \
                 the {body_len} bytes"
            ),
            HeadLen::Missing => format!(
                "Inference-Header-Content-Length is missing, but {data_len} bytes follow the JSON"
            ),
            HeadLen::Invalid => "Inference-Header-Content-Length is not one number".to_owned(),
        };
        Err(Refused::new(Refusal::BadRequest, text))
    }
}

impl From<&HeaderMap> for HeadLen {
    fn from(fields: &HeaderMap) -> HeadLen {
        let mut len = HeadLen::default();
        fields.get_all(FIELD).iter().for_each(|value| len.read(value.as_bytes()));
        len
    }
}

/// Returns the body of a refusal: `{"error":"..."}`.
pub fn error(text: &str) -> String {
    serde_json::json!({ "error": text }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(values: &[&str]) -> HeadLen {
        let mut len = HeadLen::default();
        values.iter().for_each(|value| len.read(value.as_bytes()));
        len
    }

    #[test]
    fn one_number_is_a_length() {
        assert_eq!(announced(&["120"]), HeadLen::Bytes(120));
        for values in [&["120", "120"][..], &[""], &["-1"], &["+1"], &["1e2"], &["1", "x"]] {
            assert_eq!(announced(values), HeadLen::Invalid, "{values:?}");
        }
        assert_eq!(announced(&["99999999999999999999"]), HeadLen::Invalid);
    }

    #[test]
    fn a_length_agrees_with_the_body() {
        assert_eq!(HeadLen::Bytes(120).check(128, 8), Ok(()));
        assert_eq!(HeadLen::Bytes(120).check(120, 0), Ok(()));
        assert_eq!(HeadLen::Missing.check(120, 0), Ok(()));
        for (len, text) in [
            (HeadLen::Bytes(119), "is 119, but the JSON has 120 of the 128 bytes"),
            (HeadLen::Bytes(1000), "is 1000, but"),
            (HeadLen::Missing, "is missing, but 8 bytes follow the JSON"),
            (HeadLen::Invalid, "is not one number"),
        ] {
            let refused = len.check(128, 8).unwrap_err();
            assert_eq!(refused.kind, Refusal::BadRequest);
            assert!(refused.detail.contains(text), "{}", refused.detail);
        }
    }

    #[test]
    fn a_refusal_is_json_whatever_it_says() {
        assert_eq!(error("a \"b\"\n"), r#"{"error":"a \"b\"\n"}"#);
    }
}
