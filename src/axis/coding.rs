//! Codings of whole messages: compression by gRPC and as a content coding of HTTP.

use super::name::axis;

#[derive(Clone, Copy, Debug)]
pub struct CodingSpec {
    pub name: &'static str,
    /// Value of `grpc-encoding` and `Content-Encoding`. One that no registry knows begins with
    /// `x-`.
    pub token: &'static str,
    pub about: &'static str,
    pub crates: &'static [&'static str],
}

axis! {
    /// Coding of a whole message. The client of a load chooses one, and the server answers in it.
    Coding, "coding", CodingSpec;

    Identity { name: "identity", token: "identity", about: "the message as it is", crates: &[] }
    Gzip {
        name: "gzip",
        token: "gzip",
        about: "DEFLATE with a checksum (RFC 1952), level 6",
        crates: &["flate2", "zlib-rs"],
    }
    Zstd {
        name: "zstd",
        token: "zstd",
        about: "Zstandard (RFC 8878), level 3",
        crates: &["zstd-safe", "zstd-sys"],
    }
    Lz4 {
        name: "lz4",
        token: "x-lz4",
        about: "LZ4 frames; no registered coding",
        crates: &["lz4_flex"],
    }
    ShuffleZstd {
        name: "shuffle-zstd",
        token: "x-shuffle-zstd",
        about: "bytes of equal significance side by side, then zstd; no registered coding",
        crates: &["zstd-safe", "zstd-sys"],
    }
}

/// Tokens of all codings, as a field lists them.
pub const CODING_TOKENS: &str = "identity, gzip, zstd, x-lz4, x-shuffle-zstd";

/// Older name of gzip, which RFC 9110 section 8.4.1.3 asks to treat alike.
const OLD_GZIP: &[u8] = b"x-gzip";

#[expect(clippy::derivable_impls, reason = "the table has no place for the attribute")]
impl Default for Coding {
    fn default() -> Coding {
        Coding::Identity
    }
}

impl Coding {
    pub const fn token(self) -> &'static str {
        self.spec().token
    }

    pub fn is_identity(&self) -> bool {
        *self == Coding::Identity
    }

    /// Reads the value of a header field, in any case; `None` for a coding that is not supported.
    pub fn from_token(token: &[u8]) -> Option<Coding> {
        let is_it = |coding: &Coding| coding.token().as_bytes().eq_ignore_ascii_case(token);
        let old = token.eq_ignore_ascii_case(OLD_GZIP).then_some(Coding::Gzip);
        Coding::ALL.into_iter().find(is_it).or(old)
    }

    /// Returns true if a list of codings, as a field has it, accepts this one. A weight of 0
    /// refuses a coding, and `*` stands for those that the list does not name (RFC 9110 section
    /// 12.5.3).
    pub fn is_accepted_by(self, list: &[u8]) -> bool {
        self.is_accepted_by_all([list])
    }

    /// Like [`is_accepted_by`](Self::is_accepted_by), for a field with several lines, which are one
    /// list (RFC 9110 section 5.3).
    pub fn is_accepted_by_all<'a>(self, lines: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let mut by_star = self == Coding::Identity;
        let items = lines.into_iter().flat_map(|line| line.split(|byte| *byte == b','));
        for item in items {
            let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let token = parts.next().unwrap_or_default();
            let is_good = !parts.any(is_weight_zero);
            if token == b"*" {
                by_star = is_good;
            } else if Coding::from_token(token) == Some(self) {
                return is_good;
            }
        }
        by_star
    }
}

/// Returns true for `q=0`, `q=0.0`, `q=0.00` and `q=0.000`.
fn is_weight_zero(parameter: &[u8]) -> bool {
    let Some((b'q' | b'Q', [b'=', weight @ ..])) = parameter.split_first() else { return false };
    !weight.is_empty() && weight.iter().all(|byte| b"0.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_in_any_case() {
        for coding in Coding::ALL {
            let token = coding.token();
            assert_eq!(Coding::from_token(token.as_bytes()), Some(coding));
            assert_eq!(Coding::from_token(token.to_uppercase().as_bytes()), Some(coding));
        }
        assert_eq!(Coding::from_token(b"x-gzip"), Some(Coding::Gzip));
        for unknown in [&b""[..], b"br", b"deflate", b"lz4", b"gzip, zstd"] {
            assert_eq!(Coding::from_token(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn the_list_of_tokens_has_all() {
        assert_eq!(CODING_TOKENS, Coding::ALL.map(Coding::token).join(", "));
    }

    #[test]
    fn a_list_accepts_what_it_names() {
        let accepts = |list: &str, coding: Coding| coding.is_accepted_by(list.as_bytes());
        for list in ["gzip", "deflate, gzip;q=0.5, br", "*", "*;q=0.1", "br;q=0, GZIP ; q=1"] {
            assert!(accepts(list, Coding::Gzip), "{list}");
        }
        for list in ["", "deflate", "gzip;q=0", "gzip; q=0.000, *", "*;q=0", "gzipped"] {
            assert!(!accepts(list, Coding::Gzip), "{list}");
        }
        assert!(accepts("gzip", Coding::Identity) && accepts("", Coding::Identity));
        let accepts_all =
            |lines: [&str; 2]| Coding::Gzip.is_accepted_by_all(lines.map(str::as_bytes));
        assert!(accepts_all(["gzip", "br"]) && accepts_all(["br", "gzip"]));
        assert!(!accepts_all(["*", "gzip;q=0"]) && !accepts_all(["gzip;q=0", "*"]));
        assert!(!accepts("identity;q=0, gzip", Coding::Identity));
        assert!(!accepts("gzip, *;q=0", Coding::Identity));
    }
}
