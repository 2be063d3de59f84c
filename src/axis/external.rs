//! Names of external rungs. These lie outside of the axes: `external/NAME/CODEC`.
//!
//! The name began with `peer/` before. Old names are still read in globs and in records.

use serde::{Deserialize, Deserializer};

pub const PREFIX: &str = "external/";
const OLD_PREFIX: &str = "peer/";

/// Replaces old names in `globs`, which commas separate. Returns `None` if it contains none.
pub fn renamed(globs: &str) -> Option<String> {
    let mut new = String::new();
    let mut rest = globs;
    while let Some(at) = rest.find(OLD_PREFIX) {
        let (before, after) = (&rest[..at], &rest[at + OLD_PREFIX.len()..]);
        let starts_a_name =
            before.is_empty() && new.is_empty() || before.ends_with([',', '{', ' ']);
        new.push_str(before);
        new.push_str(if starts_a_name { PREFIX } else { OLD_PREFIX });
        rest = after;
    }
    new.push_str(rest);
    (new != globs).then_some(new)
}

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    Ok(renamed(&name).unwrap_or(name))
}

pub fn are_old(records: &str) -> bool {
    records.contains(r#""rung":"peer/"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_are_replaced_wherever_a_name_starts() {
        let cases = [
            ("peer/aiohttp/json", Some("external/aiohttp/json")),
            ("uring/*, peer/{a,b}/npy,peer/*", Some("uring/*, external/{a,b}/npy,external/*")),
            ("{peer/a,peer/b}/npy", Some("{external/a,external/b}/npy")),
            ("external/my-peer/json", None),
            ("uring/h1/npy", None),
        ];
        for (old, new) in cases {
            assert_eq!(renamed(old).as_deref(), new, "{old}");
        }
    }

    #[test]
    fn an_old_record_is_read_with_the_new_name() {
        let read = |text| deserialize(&mut serde_json::Deserializer::from_str(text)).expect("text");
        assert_eq!(read("\"peer/aiohttp/json\""), "external/aiohttp/json");
        assert_eq!(read("\"uring/h1/json\""), "uring/h1/json");
        assert!(are_old(r#"{"trial":{"cell":0,"rung":"peer/aiohttp/json"}}"#));
        assert!(!are_old(r#"{"trial":{"cell":0,"rung":"external/aiohttp/json"}}"#));
    }
}
