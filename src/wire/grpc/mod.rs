//! gRPC over HTTP/2 without the HTTP/2: message prefix, status, timeouts.
//!
//! Own and borrowed HTTP/2 share this room: a caller passes field values and content. Source:
//! `doc/PROTOCOL-HTTP2.md`, `doc/compression.md` and `doc/statuscodes.md` of the gRPC project.

mod message;
mod status;
mod timeout;

pub use message::{COMPRESSED, Compression, MessageReader, PREFIX_BYTES};
pub(crate) use message::{announced, cut_short};
pub use message::{is_compression, prefix, prefix_of, unsupported, whole};
pub use status::{Code, Status, percent_decode, percent_encode};
pub use timeout::parse_timeout;

pub const CONTENT_TYPE: &str = "application/grpc";

/// Returns the subtype of `application/grpc+subtype`, or "" for the plain type.
pub fn subtype(content_type: &[u8]) -> Option<&[u8]> {
    let (head, rest) = content_type.split_at_checked(CONTENT_TYPE.len())?;
    if !head.eq_ignore_ascii_case(CONTENT_TYPE.as_bytes()) {
        return None;
    }
    let end = rest.iter().position(|&byte| byte == b';').unwrap_or(rest.len());
    match rest[..end].trim_ascii_end() {
        [] => Some(b""),
        [b'+', subtype @ ..] => Some(subtype),
        _ => None,
    }
}
