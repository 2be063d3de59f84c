//! Huffman code of HPACK strings.
//!
//! The code is canonical: the lengths are the whole table. A code of up to eight bits, nearly all
//! text, takes one look-up; a longer one is compared with the first code of each length.
//!
//! ```text
//! bits, left-aligned in a u64:  [ code ][ next code ][ ... ][ padding: up to 7 ones ]
//! ```
//! RFC 7541 section 5.2 and appendix B.

/// 256 bytes and the end-of-string symbol, which must not appear.
const SYMBOLS: usize = 257;

const CODE_BITS_MIN: usize = 5;
const CODE_BITS_MAX: usize = 30;

#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

struct Code {
    symbols: [u16; SYMBOLS],
    /// Code of each symbol, in the low bits.
    codes: [u32; SYMBOLS],
    first: [u32; CODE_BITS_MAX + 1],
    count: [u32; CODE_BITS_MAX + 1],
    offset: [u32; CODE_BITS_MAX + 1],
    /// Symbol and code length by the next eight bits; length 0 for a longer code.
    short: [(u8, u8); 256],
}

static CODE: Code = derive();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadHuffman;

const fn derive() -> Code {
    let mut code = Code {
        symbols: [0; SYMBOLS],
        codes: [0; SYMBOLS],
        first: [0; CODE_BITS_MAX + 1],
        count: [0; CODE_BITS_MAX + 1],
        offset: [0; CODE_BITS_MAX + 1],
        short: [(0, 0); 256],
    };
    let (mut next, mut placed, mut bits) = (0u32, 0, 1);
    while bits <= CODE_BITS_MAX {
        next <<= 1;
        code.first[bits] = next;
        code.offset[bits] = placed as u32;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == bits {
                code.symbols[placed] = symbol as u16;
                code.codes[symbol] = next;
                placed += 1;
                code.count[bits] += 1;
                if bits <= 8 {
                    let (low, spread) = ((next as usize) << (8 - bits), 1 << (8 - bits));
                    let mut at = low;
                    while at < low + spread {
                        code.short[at] = (symbol as u8, bits as u8);
                        at += 1;
                    }
                }
                next += 1;
            }
            symbol += 1;
        }
        bits += 1;
    }
    code
}

/// Decodes `input` into at most 8/5 as many bytes.
pub(crate) fn decode(input: &[u8], output: &mut Vec<u8>) -> Result<(), BadHuffman> {
    let start = output.len();
    output.resize(start + input.len() * 8 / CODE_BITS_MIN, 0);
    let decoded = decode_into(input, &mut output[start..]);
    output.truncate(start + decoded.unwrap_or(0));
    decoded.map(|_| ())
}

/// Decodes `input` to the front of `output`, which is long enough; returns the length.
fn decode_into(input: &[u8], output: &mut [u8]) -> Result<usize, BadHuffman> {
    let (mut window, mut bits, mut len_out) = (0u64, 0u32, 0);
    let mut input = input.iter();
    loop {
        while bits <= 56
            && let Some(&byte) = input.next()
        {
            window |= u64::from(byte) << (56 - bits);
            bits += 8;
        }
        let (symbol, len) = next_symbol(window)?;
        if len > bits {
            break;
        }
        output[len_out] = symbol;
        len_out += 1;
        window <<= len;
        bits -= len;
    }
    let is_padding = bits < 8 && window == !(u64::MAX >> bits);
    if is_padding { Ok(len_out) } else { Err(BadHuffman) }
}

/// Returns the top symbol of `window` and its length, which may exceed the input.
fn next_symbol(window: u64) -> Result<(u8, u32), BadHuffman> {
    let (symbol, len) = CODE.short[(window >> 56) as usize];
    if len > 0 {
        return Ok((symbol, u32::from(len)));
    }
    for len in 9..=CODE_BITS_MAX {
        let ahead = ((window >> (64 - len)) as u32).wrapping_sub(CODE.first[len]);
        if ahead < CODE.count[len] {
            let symbol = CODE.symbols[(CODE.offset[len] + ahead) as usize];
            let byte = u8::try_from(symbol).map_err(|_| BadHuffman)?;
            return Ok((byte, len as u32));
        }
    }
    Err(BadHuffman)
}

/// Appends the code of `text`.
pub(crate) fn encode(text: &[u8], output: &mut Vec<u8>) {
    let (mut window, mut bits) = (0u64, 0);
    for &byte in text {
        let len = LENGTHS[usize::from(byte)];
        window = window << len | u64::from(CODE.codes[usize::from(byte)]);
        bits += len;
        while bits >= 8 {
            bits -= 8;
            output.push((window >> bits) as u8);
        }
    }
    if bits > 0 {
        output.push((window << (8 - bits)) as u8 | 0xFF >> bits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> Result<Vec<u8>, BadHuffman> {
        let mut output = Vec::new();
        decode(input, &mut output).map(|()| output)
    }

    #[test]
    fn every_byte_survives_at_every_alignment() {
        for byte in 0..=255u8 {
            for before in 0..8 {
                let text = [&b"0000000"[..before.min(7)], &[byte, byte, b'x']].concat();
                let mut coded = Vec::new();
                encode(&text, &mut coded);
                assert_eq!(decoded(&coded), Ok(text));
            }
        }
    }

    #[test]
    fn known_strings_decode() {
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&coded).as_deref(), Ok(&b"www.example.com"[..]));
        assert_eq!(decoded(&[]).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn padding_is_less_than_a_byte_of_ones() {
        assert_eq!(decoded(&[0b0001_1111]).as_deref(), Ok(&b"a"[..]));
        assert_eq!(decoded(&[0b0001_1110]), Err(BadHuffman), "padding of zeros");
        assert_eq!(decoded(&[0b0001_1111, 0xff]), Err(BadHuffman), "a byte of padding");
        assert_eq!(decoded(&[0xff]), Err(BadHuffman));
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(BadHuffman), "end of string");
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xfc]), Err(BadHuffman), "end of string");
    }
}
