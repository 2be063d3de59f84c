//! Names of external rungs, old and new.
//!
//! An external rung was called `peer/NAME/CODEC` before. Old names are still accepted in globs and
//! in records.

/// Start of the name of every external rung.
pub const PREFIX: &str = "external/";

const OLD_PREFIX: &str = "peer/";

/// Replaces old names in `globs`, a list of globs that are separated by commas. Returns `None` if
/// it contains no old name.
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
}
