//! HTTP/2 frames as bytes: frame heads, padding, and writers of small frames.
//!
//! Unknown types and flags are no errors, since receivers ignore them.
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
//! | 1 HEADERS | yes | `[pad len] [prio] block [pad]` | END_STREAM, END_HEADERS, PADDED, PRIORITY |
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

pub(crate) const HEAD_BYTES: usize = 9;
const WORD_FRAME_BYTES: usize = HEAD_BYTES + 4;
const PING_FRAME_BYTES: usize = HEAD_BYTES + PING_BYTES;
pub(crate) const PING_BYTES: usize = 8;

/// Payload of GOAWAY before its text.
pub(crate) const GO_AWAY_BYTES: usize = 8;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;
pub(crate) const PRIORITY: u8 = 0x20;
pub(crate) const PRIORITY_BYTES: usize = 5;
pub(crate) const SELF_DEPENDENT: &str = "a stream cannot depend on itself";
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const SETTINGS_ACK: [u8; HEAD_BYTES] = head_bytes(0, Kind::Settings, ACK, 0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Data = 0,
    Headers = 1,
    Priority = 2,
    RstStream = 3,
    Settings = 4,
    PushPromise = 5,
    Ping = 6,
    GoAway = 7,
    WindowUpdate = 8,
    Continuation = 9,
    Unknown = 255,
}

impl Kind {
    #[inline(always)]
    fn from_byte(byte: u8) -> Kind {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) len: usize,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    /// 0 for the connection.
    pub(crate) stream: u32,
}

impl FrameHead {
    /// Parses a frame head; ignores the reserved bit.
    #[inline(always)]
    pub(crate) fn read(bytes: &[u8; HEAD_BYTES]) -> FrameHead {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = *bytes;
        FrameHead {
            len: u32::from_be_bytes([0, a, b, c]) as usize,
            kind: Kind::from_byte(kind),
            flags,
            stream: u32::from_be_bytes([s0 & 0x7F, s1, s2, s3]),
        }
    }

    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Makes a frame head; `len` is below 2^24.
pub(crate) const fn head_bytes(len: usize, kind: Kind, flags: u8, stream: u32) -> [u8; HEAD_BYTES] {
    debug_assert!(len < 1 << 24);
    // The copy that follows loads eight bytes at once, which eight stores could not forward.
    let front =
        (len as u64) << 40 | (kind as u64) << 32 | (flags as u64) << 24 | stream as u64 >> 8;
    let [a, b, c, d, e, f, g, h] = front.to_be_bytes();
    [a, b, c, d, e, f, g, h, stream as u8]
}

pub(crate) fn put_stream(frame: &mut [u8], stream: u32) {
    frame[HEAD_BYTES - 4..HEAD_BYTES].copy_from_slice(&stream.to_be_bytes());
}

fn word_frame(kind: Kind, stream: u32, word: u32) -> [u8; WORD_FRAME_BYTES] {
    let mut frame = [0; WORD_FRAME_BYTES];
    frame[..HEAD_BYTES].copy_from_slice(&head_bytes(4, kind, 0, stream));
    frame[HEAD_BYTES..].copy_from_slice(&word.to_be_bytes());
    frame
}

pub(crate) fn rst_stream(stream: u32, code: ErrorCode) -> [u8; WORD_FRAME_BYTES] {
    word_frame(Kind::RstStream, stream, code as u32)
}

pub(crate) fn window_update(stream: u32, increment: u32) -> [u8; WORD_FRAME_BYTES] {
    word_frame(Kind::WindowUpdate, stream, increment)
}

pub(crate) fn ping(flags: u8, payload: &[u8; PING_BYTES]) -> [u8; PING_FRAME_BYTES] {
    let mut frame = [0; PING_FRAME_BYTES];
    frame[..HEAD_BYTES].copy_from_slice(&head_bytes(PING_BYTES, Kind::Ping, flags, 0));
    frame[HEAD_BYTES..].copy_from_slice(payload);
    frame
}

pub(crate) fn go_away(last_stream: u32, code: ErrorCode, text: &str) -> Vec<u8> {
    let mut frame = head_bytes(GO_AWAY_BYTES + text.len(), Kind::GoAway, 0, 0).to_vec();
    frame.extend_from_slice(&last_stream.to_be_bytes());
    frame.extend_from_slice(&(code as u32).to_be_bytes());
    frame.extend_from_slice(text.as_bytes());
    frame
}

pub(crate) fn word(payload: &[u8], what: &'static str) -> Result<u32, Fault> {
    let bytes: &[u8; 4] = payload
        .try_into()
        .map_err(|_| Fault::connection(ErrorCode::FrameSize, format!("{what} is not 4 bytes")))?;
    Ok(u32::from_be_bytes(*bytes))
}

/// Returns the header block's fragment in a HEADERS frame, and the error of its priority.
#[inline]
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

pub(crate) fn dependency(priority: &[u8; PRIORITY_BYTES]) -> u32 {
    let [a, b, c, d, _] = *priority;
    u32::from_be_bytes([a & 0x7F, b, c, d])
}

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
