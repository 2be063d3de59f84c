//! Parser of the framing of a chunked body (RFC 9112 section 7.1).
//!
//! The parser returns the number of data bytes that follow, and the caller continues behind them.
//! Extensions and trailers are dropped; their length is limited, because it does not count as body.
//!
//! ```text
//! 1a;name=value CRLF  data... CRLF  0 CRLF  trailer: x CRLF  CRLF
//! └─── advance ────┘               └─────── advance ───────────┘
//! ```

use http::StatusCode;

use super::fields::{Fault, bad, is_value};

const OVERHEAD_BYTES_MAX: usize = 16 * 1024;
const SIZE_DIGITS_MAX: u8 = 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Position {
    #[default]
    Size,
    Space,
    Extension,
    SizeLf,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
}

#[derive(Debug, Default)]
pub(super) struct Chunked {
    position: Position,
    size: u64,
    digits: u8,
    overhead: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// All input is used, and more framing must follow.
    More,
    /// Number of data bytes that follow, never 0.
    Data(u64),
    End,
}

impl Chunked {
    pub(super) fn advance(&mut self, input: &[u8]) -> Result<(usize, Next), Fault> {
        for (read, &byte) in input.iter().enumerate() {
            if let Some(next) = self.step(byte)? {
                return Ok((read + 1, next));
            }
        }
        Ok((input.len(), Next::More))
    }

    fn step(&mut self, byte: u8) -> Result<Option<Next>, Fault> {
        self.position = match (self.position, byte) {
            (Position::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte)?,
            (Position::Size, _) if self.digits == 0 => return Err(bad("a chunk has no size")),
            (Position::Size | Position::Space, b' ' | b'\t') => self.overhead(Position::Space)?,
            (Position::Size | Position::Space, b';') => self.overhead(Position::Extension)?,
            (Position::Size | Position::Extension, b'\r') => Position::SizeLf,
            (Position::Size | Position::Space, _) => {
                return Err(bad("the size of a chunk is not hexadecimal"));
            }
            (Position::Extension, _) if is_value(byte) => self.overhead(Position::Extension)?,
            (Position::SizeLf, b'\n') => return Ok(self.sized()),
            (Position::DataCr, b'\r') => Position::DataLf,
            (Position::DataLf, b'\n') => Position::Size,
            (Position::DataCr | Position::DataLf, _) => {
                return Err(bad("a chunk is longer than its size"));
            }
            (Position::TrailerStart, b'\r') => Position::LastLf,
            (Position::Trailer, b'\r') => Position::TrailerLf,
            (Position::TrailerStart | Position::Trailer, _) if is_value(byte) => {
                self.overhead(Position::Trailer)?
            }
            (Position::TrailerLf, b'\n') => Position::TrailerStart,
            (Position::LastLf, b'\n') => return Ok(Some(Next::End)),
            (Position::TrailerStart | Position::Trailer | Position::Extension, _) => {
                return Err(bad("a control character stands in a chunk's extension or trailer"));
            }
            (Position::SizeLf | Position::TrailerLf | Position::LastLf, _) => {
                return Err(bad("a CR in a chunk's framing is not followed by LF"));
            }
        };
        Ok(None)
    }

    fn digit(&mut self, digit: u8) -> Result<Position, Fault> {
        if self.digits == SIZE_DIGITS_MAX {
            return Err(bad("the size of a chunk overflows"));
        }
        self.digits += 1;
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            _ => (digit | 0x20) - b'a' + 10,
        };
        self.size = self.size << 4 | u64::from(value);
        Ok(Position::Size)
    }

    fn overhead(&mut self, position: Position) -> Result<Position, Fault> {
        self.overhead += 1;
        if self.overhead > OVERHEAD_BYTES_MAX {
            let what = "the extensions and trailers of a chunked body are too long";
            return Err(Fault { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, what });
        }
        Ok(position)
    }

    fn sized(&mut self) -> Option<Next> {
        let size = std::mem::take(&mut self.size);
        self.digits = 0;
        self.position = if size == 0 { Position::TrailerStart } else { Position::DataCr };
        (size > 0).then_some(Next::Data(size))
    }
}
