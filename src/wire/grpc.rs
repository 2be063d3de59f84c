//! gRPC over HTTP/2 without the HTTP/2: message prefix, status, percent-encoding, timeouts.
//!
//! Shared by own and borrowed HTTP/2. It does not know header blocks or frames; a caller hands it field values and
//! bodies. Only unary calls: a body is exactly one message.
//!
//! ```text
//!  0        1               5
//! +--------+---------------+---------------- ...
//! | flag   | length (u32 be)| length bytes of message        flag 1: compressed
//! +--------+---------------+---------------- ...
//! ```
//! Invariant of [`MessageAssembler`]: its buffer grows only by bytes that have arrived, and never past the limit.
//!
//! Source: `doc/PROTOCOL-HTTP2.md`, `doc/compression.md` and `doc/statuscodes.md` of the gRPC project.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use super::buffers::Pool;
use super::handler::{Refusal, Refused};

/// Bytes before each message.
pub const PREFIX_BYTES: usize = 5;

/// Status of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Success.
    Ok = 0,
    /// Cancelled, as a rule by the caller.
    Cancelled = 1,
    /// Anything without a code of its own.
    Unknown = 2,
    /// The request itself is wrong.
    InvalidArgument = 3,
    /// Not in time.
    DeadlineExceeded = 4,
    /// What was asked about is not there.
    NotFound = 5,
    /// A limit was reached.
    ResourceExhausted = 8,
    /// No such method, or a compression that is not spoken here.
    Unimplemented = 12,
    /// The rules of the protocol were broken.
    Internal = 13,
    /// Try again elsewhere.
    Unavailable = 14,
}

/// Why a call failed: a code and one line for the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What kind of failure.
    pub code: Code,
    /// One line, not yet percent-encoded.
    pub text: String,
}

/// Collects the one message of a unary call from DATA frames that cut it anywhere.
#[derive(Debug)]
pub struct MessageAssembler {
    limit: usize,
    encoded: bool,
    prefix: [u8; PREFIX_BYTES],
    prefix_len: usize,
    want: usize,
    buffer: Vec<u8>,
}

impl Code {
    /// The value of `grpc-status`: decimal without leading zeros.
    pub fn text(self) -> &'static str {
        match self {
            Code::Ok => "0",
            Code::Cancelled => "1",
            Code::Unknown => "2",
            Code::InvalidArgument => "3",
            Code::DeadlineExceeded => "4",
            Code::NotFound => "5",
            Code::ResourceExhausted => "8",
            Code::Unimplemented => "12",
            Code::Internal => "13",
            Code::Unavailable => "14",
        }
    }
}

impl Status {
    /// A status of `code` that says `text`.
    pub fn new(code: Code, text: impl Into<String>) -> Status {
        Status { code, text: text.into() }
    }
}

impl From<Refused> for Status {
    fn from(Refused { kind, detail }: Refused) -> Status {
        let code = match kind {
            Refusal::BadRequest | Refusal::LengthRequired | Refusal::UnsupportedMediaType => {
                Code::InvalidArgument
            }
            Refusal::NoSuchRoute | Refusal::MethodNotAllowed(_) => Code::Unimplemented,
            Refusal::NoSuchResource => Code::NotFound,
            Refusal::TooLarge => Code::ResourceExhausted,
            Refusal::Internal => Code::Internal,
        };
        Status { code, text: detail }
    }
}

/// The prefix of an uncompressed message of `len` bytes.
pub fn prefix(len: u32) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = len.to_be_bytes();
    [0, a, b, c, d]
}

/// True when `value` of `grpc-encoding` names a compression, which nothing here can undo.
pub fn is_compression(value: &[u8]) -> bool {
    !value.eq_ignore_ascii_case(b"identity")
}

/// The message when `body` is a whole request: its bytes are `body[PREFIX_BYTES..]`. `None` when more must come.
/// `encoded` says that the request names a compression.
pub fn whole(body: &[u8], encoded: bool, limit: usize) -> Result<Option<&[u8]>, Status> {
    let Some((prefix, message)) = body.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let want = message_len(prefix, encoded, limit)?;
    match message.len() {
        len if len < want => Ok(None),
        len if len == want => Ok(Some(message)),
        _ => Err(second_message()),
    }
}

impl MessageAssembler {
    /// For a message of at most `limit` bytes; `encoded` says that the request names a compression.
    pub fn new(limit: usize, encoded: bool) -> MessageAssembler {
        let prefix = [0; PREFIX_BYTES];
        MessageAssembler { limit, encoded, prefix, prefix_len: 0, want: 0, buffer: Vec::new() }
    }

    /// Takes the next bytes of the body; the message's buffer comes from `pool`.
    pub fn feed(&mut self, mut chunk: &[u8], pool: &mut Pool) -> Result<(), Status> {
        if self.prefix_len < PREFIX_BYTES {
            let take = chunk.len().min(PREFIX_BYTES - self.prefix_len);
            self.prefix[self.prefix_len..][..take].copy_from_slice(&chunk[..take]);
            self.prefix_len += take;
            chunk = &chunk[take..];
            if self.prefix_len < PREFIX_BYTES {
                return Ok(());
            }
            self.want = message_len(&self.prefix, self.encoded, self.limit)?;
            self.buffer = pool.take(self.want);
        }
        if chunk.len() > self.want - self.buffer.len() {
            return Err(second_message());
        }
        self.buffer.extend_from_slice(chunk);
        Ok(())
    }

    /// The message, once the body has ended.
    pub fn finish(self) -> Result<Vec<u8>, Status> {
        let known = self.prefix_len == PREFIX_BYTES;
        if known && self.buffer.len() == self.want {
            return Ok(self.buffer);
        }
        Err(cut_short(self.prefix_len + self.buffer.len(), known.then_some(self.want)))
    }
}

pub(super) fn message_len(
    prefix: &[u8; PREFIX_BYTES],
    encoded: bool,
    limit: usize,
) -> Result<usize, Status> {
    let [flag, a, b, c, d] = *prefix;
    match flag {
        0 => {}
        1 if encoded => {
            let text = "compression is not spoken here, send identity";
            return Err(Status::new(Code::Unimplemented, text));
        }
        1 => {
            let text = "message is flagged as compressed but grpc-encoding names no compression";
            return Err(Status::new(Code::Internal, text));
        }
        _ => {
            let text = format!("message flag must be 0 or 1, got {flag}");
            return Err(Status::new(Code::Internal, text));
        }
    }
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    if len > limit {
        let text = format!("message of {len} bytes is over the limit of {limit}");
        return Err(Status::new(Code::ResourceExhausted, text));
    }
    Ok(len)
}

/// How many bytes the message has that `body` begins with, once its prefix is whole.
pub(super) fn announced(body: &[u8]) -> Option<usize> {
    let [_, len @ ..] = body.first_chunk::<PREFIX_BYTES>()?;
    Some(u32::from_be_bytes(*len) as usize)
}

/// What a call is told that ended `got` bytes, prefix included, into a message of `announced` bytes; `None` while
/// the prefix has not said how many.
pub(super) fn cut_short(got: usize, announced: Option<usize>) -> Status {
    let text = match (got, announced) {
        (0, _) => "the call carries no message".to_owned(),
        (_, Some(announced)) => {
            let want = PREFIX_BYTES + announced;
            format!("the call ended inside its message: {got} of {want} bytes")
        }
        (_, None) => {
            format!("the call ended inside its message's prefix: {got} of {PREFIX_BYTES} bytes")
        }
    };
    Status::new(Code::Internal, text)
}

pub(super) fn second_message() -> Status {
    Status::new(Code::Internal, "a unary call carries one message, got more")
}

/// `text` as `grpc-message` carries it: all but printable ASCII, and `%` itself, as `%XX` of its UTF-8.
pub fn percent_encode(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| matches!(byte, 0x20..=0x7E) && byte != b'%';
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes all");
        }
    }
    Cow::Owned(encoded)
}

/// What a `grpc-message` says; an escape that is not one stands for itself, and bad UTF-8 is replaced.
pub fn percent_decode(value: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).filter(|_| *first == b'%').and_then(hex_byte);
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let mut value = 0;
    for &digit in digits {
        value = value * 16 + char::from(digit).to_digit(16)?;
    }
    u8::try_from(value).ok()
}

/// The value of `grpc-timeout`: 1 to 8 digits and a unit of `H M S m u n`. `None` when it is malformed.
pub fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;

    fn message(bytes: &[u8]) -> Vec<u8> {
        let mut body = prefix(bytes.len() as u32).to_vec();
        body.extend_from_slice(bytes);
        body
    }

    fn assemble(chunks: &[&[u8]], encoded: bool) -> Result<Vec<u8>, Status> {
        let mut assembler = MessageAssembler::new(LIMIT, encoded);
        let mut pool = Pool::default();
        for chunk in chunks {
            assembler.feed(chunk, &mut pool)?;
        }
        assembler.finish()
    }

    #[test]
    fn a_message_may_be_cut_anywhere() {
        let body = message(b"seven b");
        for cut in 0..=body.len() {
            let (head, tail) = body.split_at(cut);
            assert_eq!(assemble(&[head, tail, b""], false).as_deref(), Ok(&b"seven b"[..]));
        }
        assert_eq!(whole(&body, false, LIMIT), Ok(Some(&b"seven b"[..])));
        assert_eq!(whole(&body[..11], false, LIMIT), Ok(None));
        assert_eq!(whole(&body[..4], false, LIMIT), Ok(None));
        assert_eq!(assemble(&[&message(b"")], false).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn none_part_of_one_and_two_messages_are_internal() {
        let two = [message(b"one"), message(b"two")].concat();
        for body in [&b""[..], &[0, 0], &message(b"one")[..7], &two] {
            assert_eq!(assemble(&[body], false).unwrap_err().code, Code::Internal, "{body:?}");
        }
        assert_eq!(whole(&two, false, LIMIT).unwrap_err().code, Code::Internal);
    }

    #[test]
    fn an_announced_length_over_the_limit_is_refused_before_the_message() {
        let status = assemble(&[&prefix(1001)], false).unwrap_err();
        assert_eq!(status.code, Code::ResourceExhausted);
        assert!(status.text.contains("1001") && status.text.contains("1000"), "{status:?}");
    }

    #[test]
    fn the_compressed_flag_needs_a_compression_we_know() {
        assert_eq!(assemble(&[&[1, 0, 0, 0, 0]], false).unwrap_err().code, Code::Internal);
        assert_eq!(assemble(&[&[1, 0, 0, 0, 0]], true).unwrap_err().code, Code::Unimplemented);
        assert_eq!(assemble(&[&[2, 0, 0, 0, 0]], false).unwrap_err().code, Code::Internal);
        assert_eq!(assemble(&[&[0, 0, 0, 0, 0]], true).as_deref(), Ok(&b""[..]));
        assert!(is_compression(b"gzip") && !is_compression(b"Identity"));
    }

    #[test]
    fn messages_survive_percent_encoding() {
        for (plain, encoded) in [("all fine", "all fine"), ("50%\r\n\u{e4}", "50%25%0D%0A%C3%A4")] {
            assert_eq!(percent_encode(plain), encoded);
            assert_eq!(percent_decode(encoded.as_bytes()), plain);
        }
        assert_eq!(percent_decode(b"%zz%4"), "%zz%4");
        assert_eq!(percent_decode(b"%+1%ff"), "%+1\u{fffd}");
    }

    #[test]
    fn timeouts_have_one_to_eight_digits_and_a_unit() {
        assert_eq!(parse_timeout(b"5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse_timeout(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(parse_timeout(b"20m"), Some(Duration::from_millis(20)));
        assert_eq!(parse_timeout(b"7u"), Some(Duration::from_micros(7)));
        assert_eq!(parse_timeout(b"9n"), Some(Duration::from_nanos(9)));
        for bad in [&b""[..], b"S", b"5", b"5s", b"123456789S", b"+5S", b"5 S"] {
            assert_eq!(parse_timeout(bad), None, "{bad:?}");
        }
    }
}
