//! HPACK integers (RFC 7541 section 5.1): 4 to 7 bits, then seven bits per byte, lowest first.

use super::HpackError;

/// Length with prefix; more than any allowed index or length needs.
const INTEGER_BYTES_MAX: usize = 5;

/// Takes an integer off the front of `input`.
pub(crate) fn read_integer(input: &mut &[u8], prefix_bits: u32) -> Result<usize, HpackError> {
    let (&first, mut rest) = input.split_first().ok_or(HpackError::Truncated)?;
    let mask = (1usize << prefix_bits) - 1;
    let mut value = usize::from(first) & mask;
    if value == mask {
        for at in 0.. {
            if at + 1 == INTEGER_BYTES_MAX {
                return Err(HpackError::Integer);
            }
            let (&byte, after) = rest.split_first().ok_or(HpackError::Truncated)?;
            rest = after;
            value += usize::from(byte & 0x7F) << (7 * at);
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *input = rest;
    Ok(value)
}

/// Appends `value` under the bits of `first`.
pub(crate) fn write_integer(first: u8, prefix_bits: u32, value: usize, output: &mut Vec<u8>) {
    let mask = (1usize << prefix_bits) - 1;
    if value < mask {
        output.push(first | value as u8);
        return;
    }
    output.push(first | mask as u8);
    let mut left = value - mask;
    while left >= 0x80 {
        output.push(left as u8 | 0x80);
        left >>= 7;
    }
    output.push(left as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8], prefix_bits: u32) -> Result<usize, HpackError> {
        read_integer(&mut &input[..], prefix_bits)
    }

    #[test]
    fn the_examples_of_the_rfc_hold() {
        assert_eq!(read(&[0b1110_1010], 5), Ok(10));
        assert_eq!(read(&[0b1111_1111, 0b1001_1010, 0b0000_1010], 5), Ok(1337));
        assert_eq!(read(&[42], 8), Ok(42));
    }

    #[test]
    fn what_is_written_is_read() {
        for prefix_bits in 4..=7 {
            for value in [0, 1, 14, 15, 16, 30, 31, 126, 127, 128, 16_383, 16_510, 2_000_000] {
                let mut written = Vec::new();
                write_integer(0, prefix_bits, value, &mut written);
                assert_eq!(read(&written, prefix_bits), Ok(value));
            }
        }
    }

    #[test]
    fn an_integer_ends_within_five_bytes() {
        assert_eq!(read(&[0x1F, 0x80, 0x80, 0x80, 0x00], 5), Ok(31));
        assert_eq!(read(&[0x1F, 0x80, 0x80, 0x80, 0x80, 0x00], 5), Err(HpackError::Integer));
        assert_eq!(read(&[0x1F, 0xFF, 0xFF, 0xFF, 0xFF], 5), Err(HpackError::Integer));
        assert_eq!(read(&[0x1F, 0x80], 5), Err(HpackError::Truncated));
        assert_eq!(read(&[], 5), Err(HpackError::Truncated));
    }
}
