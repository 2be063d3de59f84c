//! Length-prefixed messages: the one reader and the one writer of the prefix.
//!
//! ```text
//!  0        1               5
//! +--------+---------------+---------------- ...
//! | flag   | length (u32 be)| length bytes of message        flag 1: compressed
//! +--------+---------------+---------------- ...
//! ```
//! The buffer of a [`MessageReader`] grows only by bytes that have arrived, never past the limit. A
//! long message gets its buffer with its first [`FIRST_BYTES`], or for a loan; until then its bytes
//! lie in a small one. So a thousand announced messages of a connection touch no memory.

use super::status::{Code, Status};
use crate::wire::buffers::{FIRST_BYTES, Loan, Pool, PooledBuf, RecvBuffer, Slice};

pub const PREFIX_BYTES: usize = 5;

/// Flag of a compressed message, the first byte of the prefix.
pub const COMPRESSED: u8 = 1;

/// Reader of the one message of a unary call, whose content may be cut anywhere. A long piece is
/// received straight into the message's buffer, which is lent for it.
#[derive(Debug, Default)]
pub struct MessageReader {
    limit: usize,
    compression: Compression,
    prefix: [u8; PREFIX_BYTES],
    prefix_len: u8,
    announced: usize,
    message: RecvBuffer,
    /// False while `message` is empty or small.
    has_buffer: bool,
}

/// Meaning of the flag of a compressed message, from the head of its call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// The head names no compression, so the flag is a fault.
    #[default]
    Unnamed,
    /// The caller undoes the compression.
    Known,
    Unsupported,
}

pub fn prefix(len: u32) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = len.to_be_bytes();
    [0, a, b, c, d]
}

pub fn prefix_of(len: usize) -> Result<[u8; PREFIX_BYTES], Status> {
    u32::try_from(len).map(prefix).map_err(|_| {
        let text = format!("response of {len} bytes does not fit gRPC's prefix of 4 GiB");
        Status::new(Code::Internal, text)
    })
}

/// Returns true for every value of `grpc-encoding` but `identity`.
pub fn is_compression(value: &[u8]) -> bool {
    !value.eq_ignore_ascii_case(b"identity")
}

/// Returns the meaning of the flag for a peer that supports no compression.
pub fn unsupported(is_compression: bool) -> Compression {
    if is_compression { Compression::Unsupported } else { Compression::Unnamed }
}

/// Returns the message of a whole request. The first byte of `body` tells whether it is compressed.
pub fn whole(body: &[u8], compression: Compression, limit: usize) -> Result<Option<&[u8]>, Status> {
    let Some((prefix, message)) = body.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let want = message_len(prefix, compression, limit)?;
    match message.len() {
        len if len < want => Ok(None),
        len if len == want => Ok(Some(message)),
        _ => Err(second_message()),
    }
}

impl MessageReader {
    pub fn new(limit: usize, compression: Compression) -> MessageReader {
        MessageReader { limit, compression, ..MessageReader::default() }
    }

    pub fn announced(&self) -> Option<usize> {
        self.has_prefix().then_some(self.announced)
    }

    fn has_prefix(&self) -> bool {
        usize::from(self.prefix_len) == PREFIX_BYTES
    }

    pub fn is_untouched(&self) -> bool {
        self.prefix_len == 0
    }

    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Returns true if the message has the flag of compression.
    pub fn is_compressed(&self) -> bool {
        self.has_prefix() && self.prefix[0] == COMPRESSED
    }

    /// Returns the bytes that are still to come, as far as is known.
    pub fn remaining(&self) -> usize {
        self.announced - self.message.len().min(self.announced)
    }

    /// Takes content; returns true when it completes the prefix.
    pub fn feed(&mut self, mut chunk: &[u8], pool: &Pool) -> Result<bool, Status> {
        let mut completes_prefix = false;
        if !self.has_prefix() {
            let before = usize::from(self.prefix_len);
            let taken = chunk.len().min(PREFIX_BYTES - before);
            self.prefix[before..][..taken].copy_from_slice(&chunk[..taken]);
            self.prefix_len += taken as u8;
            chunk = &chunk[taken..];
            if !self.has_prefix() {
                return Ok(false);
            }
            self.announced = message_len(&self.prefix, self.compression, self.limit)?;
            completes_prefix = true;
        }
        let remaining = self.remaining();
        if chunk.len() > remaining {
            return Err(second_message());
        }
        if !self.has_buffer && !chunk.is_empty() {
            self.choose_buffer(chunk.len(), pool);
        }
        self.message.append(chunk, remaining);
        Ok(completes_prefix)
    }

    /// Makes the buffer for `more` bytes that follow: a small one, or that of the message.
    fn choose_buffer(&mut self, more: usize, pool: &Pool) {
        let len = self.message.len() + more;
        if len < FIRST_BYTES.min(self.announced) {
            if self.message.len() == 0 {
                self.message = RecvBuffer::from(pool.take(more));
            }
        } else {
            self.make_buffer(pool);
        }
    }

    fn make_buffer(&mut self, pool: &Pool) {
        let small = std::mem::replace(&mut self.message, RecvBuffer::new(self.announced, pool));
        if small.len() > 0 {
            self.message.append(small.bytes(), self.announced);
        }
        self.has_buffer = true;
    }

    pub fn lend(&mut self, most: usize, pool: &Pool) -> Option<Loan> {
        let remaining = self.remaining();
        if !self.has_prefix() || most > remaining {
            return None;
        }
        if !self.has_buffer {
            self.make_buffer(pool);
        }
        self.message.lend(remaining, most)
    }

    pub fn repay(&mut self, buffer: PooledBuf) {
        self.message.repay(buffer);
    }

    pub fn finish(self) -> Result<Slice, Status> {
        if self.has_prefix() && self.remaining() == 0 {
            return Ok(self.message.into_slice());
        }
        let got = usize::from(self.prefix_len) + self.message.len();
        Err(cut_short(got, self.announced()))
    }
}

fn message_len(
    prefix: &[u8; PREFIX_BYTES],
    compression: Compression,
    limit: usize,
) -> Result<usize, Status> {
    let [flag, a, b, c, d] = *prefix;
    match flag {
        0 => {}
        COMPRESSED if compression == Compression::Known => {}
        COMPRESSED if compression == Compression::Unsupported => {
            let text = "the message is compressed in a way that is not supported; send identity, \
                        or what grpc-accept-encoding lists";
            return Err(Status::new(Code::Unimplemented, text));
        }
        COMPRESSED => {
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

pub(crate) fn announced(body: &[u8]) -> Option<usize> {
    let [_, len @ ..] = body.first_chunk::<PREFIX_BYTES>()?;
    Some(u32::from_be_bytes(*len) as usize)
}

/// Makes the status of a call that ended after `got` bytes, prefix included.
pub(crate) fn cut_short(got: usize, announced: Option<usize>) -> Status {
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

fn second_message() -> Status {
    Status::new(Code::Internal, "a unary call carries one message, got more")
}

#[cfg(test)]
mod tests {
    use super::Compression::{Known, Unnamed, Unsupported};
    use super::*;

    const LIMIT: usize = 1000;

    fn framed(message: &[u8]) -> Vec<u8> {
        [&prefix(message.len() as u32)[..], message].concat()
    }

    fn read(chunks: &[&[u8]], compression: Compression) -> Result<Vec<u8>, Status> {
        let (mut reader, pool) = (MessageReader::new(LIMIT, compression), Pool::default());
        let mut completions = 0;
        for chunk in chunks {
            completions += usize::from(reader.feed(chunk, &pool)?);
        }
        assert_eq!(completions, usize::from(reader.announced().is_some()));
        reader.finish().map(|message| message.as_ref().to_vec())
    }

    #[test]
    fn a_message_may_be_cut_anywhere() {
        let body = framed(b"seven b");
        for cut in 0..=body.len() {
            let (head, tail) = body.split_at(cut);
            assert_eq!(read(&[head, tail, b""], Unnamed).as_deref(), Ok(&b"seven b"[..]));
        }
        assert_eq!(whole(&body, Unnamed, LIMIT), Ok(Some(&b"seven b"[..])));
        assert_eq!(whole(&body[..11], Unnamed, LIMIT), Ok(None));
        assert_eq!(whole(&body[..4], Unnamed, LIMIT), Ok(None));
        assert_eq!(read(&[&framed(b"")], Unnamed).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn none_part_of_one_and_two_messages_are_internal() {
        let two = [framed(b"one"), framed(b"two")].concat();
        for body in [&b""[..], &[0, 0], &framed(b"one")[..7], &two] {
            assert_eq!(read(&[body], Unnamed).unwrap_err().code, Code::Internal, "{body:?}");
        }
        assert_eq!(whole(&two, Unnamed, LIMIT).unwrap_err().code, Code::Internal);
    }

    #[test]
    fn an_announced_length_over_the_limit_is_refused_before_the_message() {
        let status = read(&[&prefix(1001)], Unnamed).unwrap_err();
        assert_eq!(status.code, Code::ResourceExhausted);
        assert!(status.text.contains("1001") && status.text.contains("1000"), "{status:?}");
    }

    #[test]
    fn the_compressed_flag_needs_a_compression_we_know() {
        assert_eq!(read(&[&[1, 0, 0, 0, 0]], Unnamed).unwrap_err().code, Code::Internal);
        assert_eq!(read(&[&[1, 0, 0, 0, 0]], Unsupported).unwrap_err().code, Code::Unimplemented);
        assert_eq!(read(&[&[2, 0, 0, 0, 0]], Unnamed).unwrap_err().code, Code::Internal);
        assert_eq!(read(&[&[0, 0, 0, 0, 0]], Unsupported).as_deref(), Ok(&b""[..]));
        assert_eq!(read(&[&[1, 0, 0, 0, 1, 7]], Known).as_deref(), Ok(&[7][..]));
        assert_eq!(read(&[&[0, 0, 0, 0, 1, 7]], Known).as_deref(), Ok(&[7][..]));
        assert!(is_compression(b"gzip") && !is_compression(b"Identity"));
    }

    #[test]
    fn an_announced_message_takes_a_buffer_when_it_comes() {
        let (mut reader, pool) = (MessageReader::new(usize::MAX, Unnamed), Pool::default());
        let whole: Vec<u8> = (0..150_000_u32).map(|at| (at % 251) as u8).collect();
        drop(pool.adopt(Vec::with_capacity(200_000)));
        reader.feed(&prefix(whole.len() as u32), &pool).unwrap();
        assert_eq!((reader.message.capacity(), pool.idle_bytes()), (0, 200_000));
        let (first, rest) = whole.split_at(FIRST_BYTES - 1);
        for byte in first {
            reader.feed(&[*byte], &pool).unwrap();
        }
        assert!(reader.message.capacity() < 2 * FIRST_BYTES);
        assert_eq!(pool.idle_bytes(), 200_000);
        reader.feed(&rest[..1], &pool).unwrap();
        assert!(pool.idle_bytes() < 200_000, "now the message has a buffer of its own");
        reader.feed(&rest[1..], &pool).unwrap();
        assert_eq!(reader.finish().unwrap().as_ref(), whole);
    }

    #[test]
    fn a_long_piece_is_lent_and_an_announced_length_costs_little() {
        let (mut reader, pool) = (MessageReader::new(usize::MAX, Unnamed), Pool::default());
        assert!(reader.lend(1, &pool).is_none(), "nothing is known yet");
        reader.feed(&prefix(u32::MAX), &pool).unwrap();
        assert!(reader.message.capacity() <= 64 * 1024);
        let mut got = 0;
        while got < 1_000_000 {
            let Loan { mut buffer, want } = reader.lend(300_000, &pool).expect("it is long enough");
            assert!(buffer.capacity() - buffer.len() >= want && want <= 300_000);
            assert!(buffer.capacity() <= (2 * buffer.len()).max(64 * 1024) + 4096);
            let len = buffer.len() + want;
            buffer.resize(len, 7);
            got += want;
            reader.repay(buffer);
        }
        assert_eq!(reader.remaining(), u32::MAX as usize - got);
        assert!(reader.lend(u32::MAX as usize, &pool).is_none(), "a frame longer than the message");
    }
}
