//! Frames: a head with flags and a length, and a payload. Reads frames from the front of bytes that
//! may end anywhere.

use crate::wire::WireError;

use super::protocol_error;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;
const FLAGS: u8 = MORE | LONG | COMMAND;

/// Empty frame that a socket of type REQ sends before the frames of a message (RFC 28).
pub(super) const DELIMITER: [u8; 2] = [MORE, 0];

/// Most frames of a message, the delimiter included.
const FRAMES_MAX: usize = 16;

/// Most bytes of a message before its last frame. These hold the JSON head, and are read again when
/// more of them have come.
const BEFORE_LAST_BYTES_MAX: usize = 64 * 1024;

/// Longest command. A peer's READY has some 50 bytes.
const COMMAND_BYTES_MAX: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FrameHead {
    is_command: bool,
    has_more: bool,
    len: u64,
    /// Length of the head itself.
    head_len: usize,
}

impl FrameHead {
    /// Reads the head at the front of `bytes`; `None` if it is not complete.
    fn read(bytes: &[u8]) -> Result<Option<FrameHead>, WireError> {
        let Some((&flags, rest)) = bytes.split_first() else { return Ok(None) };
        let (is_command, has_more) = (flags & COMMAND != 0, flags & MORE != 0);
        if flags & !FLAGS != 0 || is_command && has_more {
            return Err(protocol_error(format!(
                "a frame has the flags {flags:#04x}, expected 0 to 3 for a message or 4 or 6 for a \
                 command"
            )));
        }
        let (len, head_len) = if flags & LONG == 0 {
            (rest.first().map(|&len| u64::from(len)), 2)
        } else {
            (rest.first_chunk().map(|len| u64::from_be_bytes(*len)), 9)
        };
        Ok(len.map(|len| FrameHead { is_command, has_more, len, head_len }))
    }
}

/// First frame in the bytes of a connection, or the reason why there is none yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Front<'a> {
    /// The end is not known yet.
    Open,
    /// A message whose last byte has not come; `len` bytes with the delimiter.
    Announced { parts: usize, len: usize },
    /// A message of `len` bytes with the delimiter.
    Message { parts: usize, len: usize },
    /// A command of `len` bytes with its head.
    Command { body: &'a [u8], len: usize },
}

impl Front<'_> {
    /// Reads the front of `bytes`. A message longer than `bytes_max` is refused by its heads.
    pub(super) fn read(bytes: &[u8], bytes_max: usize) -> Result<Front<'_>, WireError> {
        let Some(first) = FrameHead::read(bytes)? else { return Ok(Front::Open) };
        if first.is_command {
            return command(bytes, &first);
        }
        if bytes[..first.head_len] != DELIMITER {
            let what =
                "a message does not begin with an empty frame, as replies of a REP socket do";
            return Err(protocol_error(what.to_owned()));
        }
        let (mut at, mut parts) = (DELIMITER.len(), 0);
        loop {
            let Some(head) = FrameHead::read(bytes.get(at..).unwrap_or_default())? else {
                return Ok(Front::Open);
            };
            parts += 1;
            if head.is_command || parts == FRAMES_MAX {
                let what = if head.is_command { "a command" } else { "too many frames" };
                return Err(protocol_error(format!("{what} inside a message")));
            }
            let end = usize::try_from(head.len).ok();
            let end = end.and_then(|len| len.checked_add(at + head.head_len));
            let Some(end) = end.filter(|end| *end <= bytes_max) else {
                return Err(protocol_error(format!(
                    "frame {parts} of a message announces {} bytes; the limit of a message is \
                     {bytes_max}",
                    head.len
                )));
            };
            if !head.has_more {
                let is_whole = end <= bytes.len();
                return Ok(if is_whole {
                    Front::Message { parts, len: end }
                } else {
                    Front::Announced { parts, len: end }
                });
            }
            if end > BEFORE_LAST_BYTES_MAX {
                return Err(protocol_error(format!(
                    "a message has more than {BEFORE_LAST_BYTES_MAX} bytes before its last frame"
                )));
            }
            at = end;
        }
    }
}

fn command<'a>(bytes: &'a [u8], head: &FrameHead) -> Result<Front<'a>, WireError> {
    let Some(len) = usize::try_from(head.len).ok().filter(|len| *len <= COMMAND_BYTES_MAX) else {
        let announced = head.len;
        let limit = COMMAND_BYTES_MAX;
        return Err(protocol_error(format!(
            "a command of {announced} bytes; the limit is {limit}"
        )));
    };
    let len = head.head_len + len;
    match bytes.get(head.head_len..len) {
        Some(body) => Ok(Front::Command { body, len }),
        None => Ok(Front::Open),
    }
}

/// Writes a command of at most 255 bytes.
pub(super) fn put_command(body: &[u8], out: &mut Vec<u8>) {
    debug_assert!(body.len() <= usize::from(u8::MAX));
    out.extend_from_slice(&[COMMAND, body.len() as u8]);
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;

    fn error(bytes: &[u8]) -> String {
        Front::read(bytes, LIMIT).expect_err("it is refused").to_string()
    }

    #[test]
    fn a_message_is_open_then_announced_then_whole() {
        let message = b"\x01\x00\x01\x02{}\x00\x03abc";
        for len in 0..8 {
            assert_eq!(Front::read(&message[..len], LIMIT), Ok(Front::Open), "{len}");
        }
        let announced = Ok(Front::Announced { parts: 2, len: 11 });
        for len in 8..11 {
            assert_eq!(Front::read(&message[..len], LIMIT), announced, "{len}");
        }
        let whole = Ok(Front::Message { parts: 2, len: 11 });
        assert_eq!(Front::read(message, LIMIT), whole);
        let more = [message.as_slice(), b"\x01\x00\x09"].concat();
        assert_eq!(Front::read(&more, LIMIT), whole);
    }

    #[test]
    fn a_length_may_have_eight_bytes() {
        let message = b"\x01\0\x03\0\0\0\0\0\0\0\x02{}\x02\0\0\0\0\0\0\0\x00";
        assert_eq!(Front::read(message, LIMIT), Ok(Front::Message { parts: 2, len: 22 }));
    }

    #[test]
    fn a_command_is_taken_with_either_length() {
        let short = Front::Command { body: b"\x04PING", len: 7 };
        assert_eq!(Front::read(b"\x04\x05\x04PING\x01", LIMIT), Ok(short));
        let long = Front::Command { body: b"\x04PING", len: 14 };
        assert_eq!(Front::read(b"\x06\0\0\0\0\0\0\0\x05\x04PING", LIMIT), Ok(long));
        assert_eq!(Front::read(b"\x04\x05\x04PIN", LIMIT), Ok(Front::Open));
    }

    #[test]
    fn lengths_over_the_limit_are_refused_by_the_head_alone() {
        let huge = b"\x01\0\x02\x7f\xff\xff\xff\xff\xff\xff\xff";
        assert!(error(huge).contains("announces 9223372036854775807 bytes"), "{}", error(huge));
        let all = b"\x01\0\x02\xff\xff\xff\xff\xff\xff\xff\xff";
        assert!(error(all).contains("the limit of a message is 1000"), "{}", error(all));
        let sum = b"\x01\0\x01\x02{}\x02\0\0\0\0\0\0\x03\xe0";
        assert!(error(sum).contains("frame 2 of a message announces 992"), "{}", error(sum));
        let before = [b"\x01\0\x03".as_slice(), &65_536_u64.to_be_bytes()].concat();
        let error_before = Front::read(&before, 1 << 20).expect_err("too long").to_string();
        assert!(error_before.contains("more than 65536 bytes before its last"), "{error_before}");
        let command = b"\x06\0\0\0\0\0\0\x10\x01";
        assert!(error(command).contains("a command of 4097 bytes"), "{}", error(command));
    }

    #[test]
    fn frames_in_other_places_are_refused() {
        assert!(error(b"\x08").contains("flags 0x08"));
        assert!(error(b"\x05\0").contains("flags 0x05"), "a command has no more frames");
        assert!(error(b"\x00\x01x").contains("begin with an empty frame"));
        assert!(error(b"\x00\x00").contains("begin with an empty frame"));
        assert!(error(b"\x01\0\x04\x01x").contains("a command inside"));
        assert!(error(&[1, 0].repeat(17)).contains("too many frames"));
    }
}
