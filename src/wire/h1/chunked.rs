//! Reads the framing of a chunked body: sizes, extensions, line ends, trailers. RFC 9112 section 7.1.
//!
//! It never sees a chunk's data: it says how many bytes of it follow, and is asked on once they are through.
//! Extensions and trailers are read and dropped, and bounded, as they are the one part that is not counted as body.
//!
//! ```text
//! 1a;name=value CRLF  data... CRLF  0 CRLF  trailer: x CRLF  CRLF
//! └─── advance ────┘               └─────── advance ───────────┘
//! ```

use super::encode::Status;
use super::fields::{Fault, bad, is_value};

/// Most bytes of extensions and trailers of one body.
const OVERHEAD_BYTES_MAX: usize = 16 * 1024;

/// Most digits of a size: what 64 bits hold.
const SIZE_DIGITS_MAX: u8 = 16;

/// Where in the framing it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// In a size of so many digits.
    #[default]
    Size,
    /// In space that must lead to an extension.
    Space,
    Extension,
    SizeLf,
    /// The data's own line end.
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
}

/// A chunked body on its way in.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    at: At,
    size: u64,
    digits: u8,
    overhead: usize,
}

/// What the framing says next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// All input is used up and more framing must come.
    More,
    /// So many bytes of data follow, never 0.
    Data(u64),
    /// The body is whole.
    End,
}

impl Chunked {
    /// Reads framing from the front of `input`; returns how many bytes it was and what follows.
    pub(super) fn advance(&mut self, input: &[u8]) -> Result<(usize, Next), Fault> {
        for (read, &byte) in input.iter().enumerate() {
            if let Some(next) = self.step(byte)? {
                return Ok((read + 1, next));
            }
        }
        Ok((input.len(), Next::More))
    }

    fn step(&mut self, byte: u8) -> Result<Option<Next>, Fault> {
        self.at = match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte)?,
            (At::Size, _) if self.digits == 0 => return Err(bad("a chunk has no size")),
            (At::Size | At::Space, b' ' | b'\t') => self.overhead(At::Space)?,
            (At::Size | At::Space, b';') => self.overhead(At::Extension)?,
            (At::Size | At::Extension, b'\r') => At::SizeLf,
            (At::Size | At::Space, _) => return Err(bad("the size of a chunk is not hexadecimal")),
            (At::Extension, _) if is_value(byte) => self.overhead(At::Extension)?,
            (At::SizeLf, b'\n') => return Ok(self.sized()),
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::DataCr | At::DataLf, _) => return Err(bad("a chunk is longer than its size")),
            (At::TrailerStart, b'\r') => At::LastLf,
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::TrailerStart | At::Trailer, _) if is_value(byte) => self.overhead(At::Trailer)?,
            (At::TrailerLf, b'\n') => At::TrailerStart,
            (At::LastLf, b'\n') => return Ok(Some(Next::End)),
            (At::TrailerStart | At::Trailer | At::Extension, _) => {
                return Err(bad("a control character stands in a chunk's extension or trailer"));
            }
            (At::SizeLf | At::TrailerLf | At::LastLf, _) => {
                return Err(bad("a CR in a chunk's framing is not followed by LF"));
            }
        };
        Ok(None)
    }

    fn digit(&mut self, digit: u8) -> Result<At, Fault> {
        if self.digits == SIZE_DIGITS_MAX {
            return Err(bad("the size of a chunk overflows"));
        }
        self.digits += 1;
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            _ => (digit | 0x20) - b'a' + 10,
        };
        self.size = self.size << 4 | u64::from(value);
        Ok(At::Size)
    }

    fn overhead(&mut self, at: At) -> Result<At, Fault> {
        self.overhead += 1;
        if self.overhead > OVERHEAD_BYTES_MAX {
            let what = "the extensions and trailers of a chunked body are too long";
            return Err(Fault { status: Status::FieldsTooLarge, what });
        }
        Ok(at)
    }

    fn sized(&mut self) -> Option<Next> {
        let size = std::mem::take(&mut self.size);
        self.digits = 0;
        self.at = if size == 0 { At::TrailerStart } else { At::DataCr };
        (size > 0).then_some(Next::Data(size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of `input` read in pieces of `step` bytes, and whether it ended.
    fn read(input: &[u8], step: usize) -> Result<(Vec<u8>, bool), Fault> {
        let (mut chunked, mut body, mut data) = (Chunked::default(), Vec::new(), 0);
        for mut piece in input.chunks(step) {
            while !piece.is_empty() {
                let now = piece.len().min(data);
                body.extend_from_slice(&piece[..now]);
                data -= now;
                piece = &piece[now..];
                let (read, next) =
                    if data == 0 { chunked.advance(piece)? } else { (0, Next::More) };
                piece = &piece[read..];
                match next {
                    Next::More => {}
                    Next::Data(size) => data = size as usize,
                    Next::End => return Ok((body, true)),
                }
            }
        }
        Ok((body, false))
    }

    #[test]
    fn bodies_are_read_at_any_cut() {
        let cases: [(&[u8], &[u8]); 5] = [
            (b"0\r\n\r\n", b""),
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
            (b"0005\r\nhello\r\n00\r\n\r\n", b"hello"),
            (b"2;a=b\r\nhe\r\n3 ;x=\"y\"\r\nllo\r\n0;z\r\nT: 1\r\nU: 2\r\n\r\n", b"hello"),
            (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"01234567890123456789"),
        ];
        for (input, body) in cases {
            for step in 1..=input.len() {
                assert_eq!(read(input, step), Ok((body.to_vec(), true)), "steps of {step}");
                assert_eq!(read(&input[..input.len() - 1], step).map(|(_, end)| end), Ok(false));
            }
        }
    }

    #[test]
    fn what_is_no_framing_is_refused() {
        let long = [b"1;".to_vec(), vec![b'x'; OVERHEAD_BYTES_MAX]].concat();
        let trailer = [b"0\r\n".to_vec(), vec![b'x'; OVERHEAD_BYTES_MAX + 1]].concat();
        let cases: [&[u8]; 19] = [
            b"\r\n",
            b";x\r\n",
            b"+5\r\nhello\r\n",
            b"-1\r\n",
            b"0x5\r\nhello\r\n",
            b"g\r\n",
            b"5\nhello\r\n",
            b"5 \r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"5\r\nhelloX",
            b"5\r\nhello\n0\r\n\r\n",
            b"5;a\nb\r\nhello\r\n",
            b"5;a\rb\r\nhello\r\n",
            b"00000000000000001\r\n",
            b"fffffffffffffffff\r\n",
            b"0\r\nT\0: 1\r\n\r\n",
            b"0\r\n\n",
            &long,
            &trailer,
        ];
        for input in cases {
            for step in [1, 7, input.len()] {
                assert!(read(input, step).is_err(), "{:?}", input.escape_ascii().to_string());
            }
        }
        assert_eq!(
            Chunked::default().advance(b"ffffffffffffffff\r\n"),
            Ok((18, Next::Data(u64::MAX)))
        );
    }
}
