//! HTTP/2 frames as bytes: heads, padding, and the small frames we send.
//!
//! It knows no stream states and no header compression. Unknown types and flags are read like any other, since they
//! are to be ignored.
//!
//! ```text
//!  0           3      4       5                   9
//! +-----------+------+-------+-------------------+----------------------------------- ...
//! | length u24| type | flags | 0, stream id (u31)| payload
//! +-----------+------+-------+-------------------+----------------------------------- ...
//! ```
//! | type | stream | payload | flags |
//! |---|---|---|---|
//! | 0 DATA | yes | `[pad len] data [pad]` | END_STREAM, PADDED |
//! | 1 HEADERS | yes | `[pad len] [dependency, weight] block [pad]` | END_STREAM, END_HEADERS, PADDED, PRIORITY |
//! | 2 PRIORITY | yes | dependency u32, weight u8 | |
//! | 3 RST_STREAM | yes | code u32 | |
//! | 4 SETTINGS | no | (id u16, value u32)* | ACK |
//! | 5 PUSH_PROMISE | yes | never sent to us, since we do not allow it | |
//! | 6 PING | no | 8 bytes | ACK |
//! | 7 GOAWAY | no | last stream u32, code u32, text | |
//! | 8 WINDOW_UPDATE | either | increment u31 | |
//! | 9 CONTINUATION | yes | block | END_HEADERS |
//!
//! RFC 9113 sections 4.1 and 6.

use super::error::{ErrorCode, Fault};

/// Bytes before each payload.
pub(crate) const HEAD_BYTES: usize = 9;

/// Bytes of a RST_STREAM or WINDOW_UPDATE frame.
const WORD_FRAME_BYTES: usize = HEAD_BYTES + 4;

/// Bytes of a PING frame.
const PING_FRAME_BYTES: usize = HEAD_BYTES + PING_BYTES;

/// Bytes of a PING's payload.
pub(crate) const PING_BYTES: usize = 8;

/// Bytes of a GOAWAY's payload before its text.
pub(crate) const GO_AWAY_BYTES: usize = 8;

/// DATA, HEADERS: the sender is done.
pub(crate) const END_STREAM: u8 = 0x1;
/// SETTINGS, PING: an answer.
pub(crate) const ACK: u8 = 0x1;
/// HEADERS, CONTINUATION: the block is whole.
pub(crate) const END_HEADERS: u8 = 0x4;
/// DATA, HEADERS: padding at the end, its length in front.
pub(crate) const PADDED: u8 = 0x8;
/// HEADERS: a dependency in front.
pub(crate) const PRIORITY: u8 = 0x20;

/// Bytes of a stream dependency and weight.
pub(crate) const PRIORITY_BYTES: usize = 5;

/// A priority that cannot be.
pub(crate) const SELF_DEPENDENT: &str = "a stream cannot depend on itself";

/// What a client says before its first frame.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The answer to SETTINGS.
pub(crate) const SETTINGS_ACK: [u8; HEAD_BYTES] = head_bytes(0, Kind::Settings, ACK, 0);

/// Type of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A piece of a message.
    Data = 0,
    /// The start of a header block.
    Headers = 1,
    /// Ignored.
    Priority = 2,
    /// The end of a stream.
    RstStream = 3,
    /// What the peer allows.
    Settings = 4,
    /// Not allowed.
    PushPromise = 5,
    /// To be answered.
    Ping = 6,
    /// The beginning of the end.
    GoAway = 7,
    /// More may be sent.
    WindowUpdate = 8,
    /// More of a header block.
    Continuation = 9,
    /// Ignored.
    Unknown = 255,
}

impl Kind {
    fn of(byte: u8) -> Kind {
        match byte {
            0 => Kind::Data,
            1 => Kind::Headers,
            2 => Kind::Priority,
            3 => Kind::RstStream,
            4 => Kind::Settings,
            5 => Kind::PushPromise,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            _ => Kind::Unknown,
        }
    }
}

/// The nine bytes before each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    /// Bytes of payload.
    pub(crate) len: usize,
    /// Type.
    pub(crate) kind: Kind,
    /// Flags, also those that mean nothing.
    pub(crate) flags: u8,
    /// Stream, or 0 for the connection.
    pub(crate) stream: u32,
}

impl FrameHead {
    /// Reads a head; the reserved bit is ignored.
    pub(crate) fn read(bytes: &[u8; HEAD_BYTES]) -> FrameHead {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = *bytes;
        FrameHead {
            len: u32::from_be_bytes([0, a, b, c]) as usize,
            kind: Kind::of(kind),
            flags,
            stream: u32::from_be_bytes([s0 & 0x7F, s1, s2, s3]),
        }
    }

    /// True when `flag` is set.
    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A head as bytes. `len` is below 2^24.
pub(crate) const fn head_bytes(len: usize, kind: Kind, flags: u8, stream: u32) -> [u8; HEAD_BYTES] {
    debug_assert!(len < 1 << 24);
    // Eight bytes at once: written one by one they could not be read back at once by the copy that follows.
    let front =
        (len as u64) << 40 | (kind as u64) << 32 | (flags as u64) << 24 | stream as u64 >> 8;
    let [a, b, c, d, e, f, g, h] = front.to_be_bytes();
    [a, b, c, d, e, f, g, h, stream as u8]
}

/// Puts the stream's number into the frame at the front of `frame`.
pub(crate) fn put_stream(frame: &mut [u8], stream: u32) {
    frame[HEAD_BYTES - 4..HEAD_BYTES].copy_from_slice(&stream.to_be_bytes());
}

fn word_frame(kind: Kind, stream: u32, word: u32) -> [u8; WORD_FRAME_BYTES] {
    let mut frame = [0; WORD_FRAME_BYTES];
    frame[..HEAD_BYTES].copy_from_slice(&head_bytes(4, kind, 0, stream));
    frame[HEAD_BYTES..].copy_from_slice(&word.to_be_bytes());
    frame
}

/// A RST_STREAM frame.
pub(crate) fn rst_stream(stream: u32, code: ErrorCode) -> [u8; WORD_FRAME_BYTES] {
    word_frame(Kind::RstStream, stream, code as u32)
}

/// A WINDOW_UPDATE frame.
pub(crate) fn window_update(stream: u32, increment: u32) -> [u8; WORD_FRAME_BYTES] {
    word_frame(Kind::WindowUpdate, stream, increment)
}

/// A PING frame, or the answer to one.
pub(crate) fn ping(flags: u8, payload: &[u8; PING_BYTES]) -> [u8; PING_FRAME_BYTES] {
    let mut frame = [0; PING_FRAME_BYTES];
    frame[..HEAD_BYTES].copy_from_slice(&head_bytes(PING_BYTES, Kind::Ping, flags, 0));
    frame[HEAD_BYTES..].copy_from_slice(payload);
    frame
}

/// A GOAWAY frame.
pub(crate) fn go_away(last_stream: u32, code: ErrorCode, text: &str) -> Vec<u8> {
    let mut frame = head_bytes(GO_AWAY_BYTES + text.len(), Kind::GoAway, 0, 0).to_vec();
    frame.extend_from_slice(&last_stream.to_be_bytes());
    frame.extend_from_slice(&(code as u32).to_be_bytes());
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// The word that is the whole payload of a RST_STREAM or WINDOW_UPDATE frame.
pub(crate) fn word(payload: &[u8], what: &'static str) -> Result<u32, Fault> {
    let bytes: &[u8; 4] = payload
        .try_into()
        .map_err(|_| Fault::connection(ErrorCode::FrameSize, format!("{what} is not 4 bytes")))?;
    Ok(u32::from_be_bytes(*bytes))
}

/// The fragment of a header block in a HEADERS frame, without padding and priority, and what is wrong with the
/// priority.
pub(crate) fn headers_fragment(
    head: FrameHead,
    payload: &[u8],
) -> Result<(&[u8], Option<&'static str>), Fault> {
    let mut fragment = payload;
    if head.has(PADDED) {
        let (&pad, rest) = fragment.split_first().ok_or_else(|| too_short("HEADERS"))?;
        let kept = rest.len().checked_sub(usize::from(pad)).ok_or_else(padding)?;
        fragment = &rest[..kept];
    }
    if !head.has(PRIORITY) {
        return Ok((fragment, None));
    }
    let (priority, rest) = fragment.split_first_chunk().ok_or_else(|| too_short("HEADERS"))?;
    let on_itself = dependency(priority) == head.stream;
    Ok((rest, on_itself.then_some(SELF_DEPENDENT)))
}

/// The stream that a priority depends on.
pub(crate) fn dependency(priority: &[u8; PRIORITY_BYTES]) -> u32 {
    let [a, b, c, d, _] = *priority;
    u32::from_be_bytes([a & 0x7F, b, c, d])
}

/// Padding that leaves no room for itself.
pub(crate) fn padding() -> Fault {
    Fault::protocol("padding is longer than the frame")
}

fn too_short(what: &str) -> Fault {
    Fault::connection(ErrorCode::FrameSize, format!("{what} is too short for its flags"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_survive_and_the_reserved_bit_does_not() {
        let cases = [
            (0, Kind::Settings, ACK, 0),
            (16_384, Kind::Data, END_STREAM, 1),
            (16_777_215, Kind::Headers, 0xFF, 0x7FFF_FFFF),
            (8, Kind::GoAway, 0, 0),
        ];
        for (len, kind, flags, stream) in cases {
            let mut bytes = head_bytes(len, kind, flags, stream);
            let head = FrameHead { len, kind, flags, stream };
            assert_eq!(FrameHead::read(&bytes), head);
            bytes[5] |= 0x80;
            assert_eq!(FrameHead::read(&bytes), head);
        }
        for byte in 0..=255 {
            let head = FrameHead::read(&[0, 0, 0, byte, 0, 0, 0, 0, 0]);
            assert_eq!(head.kind == Kind::Unknown, byte > 9);
            assert!(byte > 9 || head.kind as u8 == byte);
        }
    }

    #[test]
    fn small_frames_are_written_as_the_rfc_draws_them() {
        assert_eq!(SETTINGS_ACK, [0, 0, 0, 4, 1, 0, 0, 0, 0]);
        let reset = [0, 0, 4, 3, 0, 0, 0, 0, 5, 0, 0, 0, 11];
        assert_eq!(rst_stream(5, ErrorCode::EnhanceYourCalm), reset);
        assert_eq!(window_update(0, 65_536), [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(ping(ACK, b"pingpong")[..9], [0, 0, 8, 6, 1, 0, 0, 0, 0]);
        let last = [0, 0, 9, 7, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, b'x'];
        assert_eq!(go_away(7, ErrorCode::Protocol, "x"), last);
        assert_eq!(word(&[0, 0, 0, 9], "it"), Ok(9));
        assert!(matches!(word(&[0; 3], "it"), Err(Fault::Connection(ErrorCode::FrameSize, _))));
    }

    #[test]
    fn padding_and_priority_are_cut_off() {
        let fragment = |flags, payload: &'static [u8]| {
            let head = FrameHead { len: payload.len(), kind: Kind::Headers, flags, stream: 3 };
            headers_fragment(head, payload)
        };
        let sound = |fragment: &'static [u8]| Ok((fragment, None));
        assert_eq!(fragment(0, b"block"), sound(b"block"));
        assert_eq!(fragment(PADDED, b"\x02block\0\0"), sound(b"block"));
        assert_eq!(fragment(PADDED, b"\x05block"), sound(b""));
        assert_eq!(fragment(PADDED | PRIORITY, b"\x01\0\0\0\x01\x10block\0"), sound(b"block"));
        assert_eq!(fragment(PADDED, b"\x06block"), Err(padding()));
        assert_eq!(fragment(PADDED, b""), Err(too_short("HEADERS")));
        assert_eq!(fragment(PRIORITY, b"\0\0\0\x01"), Err(too_short("HEADERS")));
        let own = fragment(PRIORITY, b"\x80\0\0\x03\x10block");
        assert_eq!(own, Ok((&b"block"[..], Some(SELF_DEPENDENT))));
    }
}
