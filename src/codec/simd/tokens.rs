//! Scanner for the places of numbers in a nested list, 64 bytes at a time.
//!
//! Each kind of byte becomes a word of 64 bits. A token with a comma directly after it needs only
//! these words. After any other token, the caller must find the next one. The scanner does not look
//! at the content of a token.
//!
//! ```text
//! text      1.5, 22], [3
//! token     111 .11....1
//! comma     ...1...1....       a comma that ends a token; no bracket left: nothing to ask
//! bracket   .......1..1.
//! odd       .......1....       a token without a comma: the caller steps over `], [`
//! ```
#![allow(unsafe_code)] // Calls of vector functions need a proof of the features.

use super::Isa;

const PAUSE: usize = 256;
const BLOCK: usize = 64;
pub(crate) const BATCH: usize = 64;

/// Capacity for a token that is still open, the tokens of a last block, and a batch at any place.
const ROOM: usize = PAUSE + 1 + BLOCK / 2 + BATCH;

pub(crate) struct Tokens {
    starts: [u32; ROOM],
    ends: [u32; ROOM],
    begun: usize,
    ended: usize,
}

impl Tokens {
    pub(crate) fn new() -> Tokens {
        Tokens { starts: [0; ROOM], ends: [0; ROOM], begun: 0, ended: 0 }
    }

    pub(crate) fn batches(&self) -> impl Iterator<Item = Batch<'_>> {
        (0..self.ended).step_by(BATCH).map(|at| Batch {
            starts: self.starts[at..].first_chunk().expect("room for a batch"),
            ends: self.ends[at..].first_chunk().expect("room for a batch"),
            count: (self.ended - at).min(BATCH),
        })
    }

    /// Drops all tokens but one that has not ended.
    fn shift(&mut self) {
        self.starts[0] = self.starts[self.ended];
        self.begun -= self.ended;
        self.ended = 0;
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Batch<'a> {
    pub(crate) starts: &'a [u32; BATCH],
    pub(crate) ends: &'a [u32; BATCH],
    /// Number of tokens. The array elements after them have arbitrary values.
    pub(crate) count: usize,
}

/// Kinds of the bytes of a block, one bit for each byte.
struct Block {
    token: u64,
    comma: u64,
    bracket: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Start of the next token.
    Token(usize),
    End,
    Fault,
}

pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// 1 if a token continues into the next block.
    inside: u64,
    /// Offset up to which the caller has checked the text.
    told: usize,
    /// Tokens that began since the caller was asked.
    run: u64,
    is_last: bool,
    is_ended: bool,
}

impl<'a> Scanner<'a> {
    /// Starts at the token at `at`. `None` for a text of 4 GiB or more.
    pub(crate) fn new(text: &'a [u8], at: usize) -> Option<Scanner<'a>> {
        u32::try_from(text.len()).ok().map(|_| Scanner {
            text,
            at,
            inside: 0,
            told: at,
            run: 0,
            is_last: false,
            is_ended: false,
        })
    }

    pub(crate) fn is_done(&self) -> bool {
        self.is_last
    }

    /// Finds some hundred tokens more. Calls `next` for every token without a comma directly after
    /// it, with the end of the token and the number of tokens begun since the last call. Returns
    /// false if the text is not a list that this scanner can follow.
    pub(crate) fn fill(
        &mut self,
        isa: Isa,
        tokens: &mut Tokens,
        next: impl FnMut(usize, u64) -> Next,
    ) -> bool {
        match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the proof in `isa` says that the processor has all features of the function.
            Isa::Avx512(_) => unsafe { x86::fill_avx512(self, tokens, next) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx2(_) => unsafe { x86::fill_avx2(self, tokens, next) },
            _ => self.advance(tokens, classify, emit, next),
        }
    }

    #[inline(always)]
    fn advance(
        &mut self,
        tokens: &mut Tokens,
        classify: impl Fn(&[u8; BLOCK]) -> Block,
        emit: impl Fn(u64, u32, &mut [u32]),
        mut next: impl FnMut(usize, u64) -> Next,
    ) -> bool {
        tokens.shift();
        while !self.is_last && tokens.ended < PAUSE {
            let rest = &self.text[self.at..];
            let block = match rest.first_chunk() {
                Some(block) => classify(block),
                None => {
                    let mut padded = [b' '; BLOCK];
                    padded[..rest.len()].copy_from_slice(rest);
                    self.is_last = true;
                    classify(&padded)
                }
            };
            let before = block.token << 1 | self.inside;
            let starts = block.token & !before;
            let ends = before & !block.token;
            self.inside = block.token >> (BLOCK - 1);
            if !self.check(&block, starts, ends, &mut next) {
                return false;
            }
            emit(starts, self.at as u32, &mut tokens.starts[tokens.begun..]);
            emit(ends, self.at as u32, &mut tokens.ends[tokens.ended..]);
            tokens.begun += starts.count_ones() as usize;
            tokens.ended += ends.count_ones() as usize;
            self.at += BLOCK;
        }
        !self.is_last || self.is_ended
    }

    /// Checks that only commas, white space or text that `next` accepts stand between tokens.
    #[inline(always)]
    fn check(
        &mut self,
        block: &Block,
        starts: u64,
        ends: u64,
        next: &mut impl FnMut(usize, u64) -> Next,
    ) -> bool {
        let untold = !below(self.told.saturating_sub(self.at));
        let (mut commas, mut brackets) = (block.comma & untold, block.bracket & untold);
        let mut odd = ends & !block.comma;
        let mut counted = 0;
        while odd != 0 {
            let place = odd.trailing_zeros() as usize;
            let begun = u64::from((starts & below(place)).count_ones());
            match next(self.at + place, self.run + begun - counted) {
                Next::Token(at) => self.told = at,
                Next::End => (self.told, self.is_ended) = (self.text.len(), true),
                Next::Fault => return false,
            }
            let untold = below(place) | !below(self.told - self.at);
            (commas, brackets) = (commas & untold, brackets & untold);
            (self.run, counted) = (0, begun);
            odd &= odd - 1;
        }
        self.run += u64::from(starts.count_ones()) - counted;
        commas == ends & block.comma && brackets == 0
    }
}

/// Returns the bits below `place`: all of them if `place` is 64 or more.
#[inline(always)]
fn below(place: usize) -> u64 {
    if place < 64 { (1 << place) - 1 } else { u64::MAX }
}

fn classify(block: &[u8; BLOCK]) -> Block {
    let mut kinds = Block { token: 0, comma: 0, bracket: 0 };
    for (place, byte) in block.iter().enumerate() {
        match byte {
            b',' => kinds.comma |= 1 << place,
            b'[' | b']' => kinds.bracket |= 1 << place,
            b' ' | b'\t' | b'\n' | b'\r' => {}
            _ => kinds.token |= 1 << place,
        }
    }
    kinds
}

#[inline(always)]
fn emit(mut mask: u64, base: u32, to: &mut [u32]) {
    for place in to {
        if mask == 0 {
            return;
        }
        *place = base + mask.trailing_zeros();
        mask &= mask - 1;
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{BLOCK, Block, Next, Scanner, Tokens, emit};
    use crate::codec::simd::lanes;

    /// Special byte, if any, for each value of the low half of a byte. The closing bracket shares
    /// its half with the carriage return. No byte equals its entry 0x80.
    const SPECIAL: [u8; 16] = {
        let mut special = [0x80; 16];
        special[0] = b' ';
        special[9] = b'\t';
        special[10] = b'\n';
        special[11] = b'[';
        special[12] = b',';
        special[13] = b'\r';
        special
    };

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn fill_avx512(
        scanner: &mut Scanner<'_>,
        tokens: &mut Tokens,
        next: impl FnMut(usize, u64) -> Next,
    ) -> bool {
        let table = _mm512_broadcast_i32x4(special());
        let comma = _mm512_set1_epi8(b',' as i8);
        let (open, close) = (_mm512_set1_epi8(b'[' as i8), _mm512_set1_epi8(b']' as i8));
        let classify = |block: &[u8; BLOCK]| {
            let bytes = lanes::load64(block);
            let special = _mm512_cmpeq_epi8_mask(_mm512_shuffle_epi8(table, bytes), bytes);
            let close = _mm512_cmpeq_epi8_mask(bytes, close);
            Block {
                token: !(special | close),
                comma: _mm512_cmpeq_epi8_mask(bytes, comma),
                bracket: _mm512_cmpeq_epi8_mask(bytes, open) | close,
            }
        };
        let iota = lanes::load64(&std::array::from_fn(|place| place as u8));
        let emit = |mask: u64, base: u32, to: &mut [u32]| {
            let places = _mm512_maskz_compress_epi8(mask, iota);
            let base = _mm512_set1_epi32(base as i32);
            let first =
                _mm512_add_epi32(_mm512_cvtepu8_epi32(_mm512_castsi512_si128(places)), base);
            let (chunks, _) = to.as_chunks_mut();
            lanes::store16(&mut chunks[0], first);
            if mask.count_ones() > 16 {
                let more = _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32::<1>(places));
                lanes::store16(&mut chunks[1], _mm512_add_epi32(more, base));
            }
        };
        scanner.advance(tokens, classify, emit, next)
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn fill_avx2(
        scanner: &mut Scanner<'_>,
        tokens: &mut Tokens,
        next: impl FnMut(usize, u64) -> Next,
    ) -> bool {
        let table = _mm256_broadcastsi128_si256(special());
        let comma = _mm256_set1_epi8(b',' as i8);
        let (open, close) = (_mm256_set1_epi8(b'[' as i8), _mm256_set1_epi8(b']' as i8));
        let classify = |block: &[u8; BLOCK]| {
            let [low, high] = block.as_chunks().0 else { unreachable!("64 bytes") };
            let halves = (lanes::load32(low), lanes::load32(high));
            let closes = (_mm256_cmpeq_epi8(halves.0, close), _mm256_cmpeq_epi8(halves.1, close));
            let is =
                |other| (_mm256_cmpeq_epi8(halves.0, other), _mm256_cmpeq_epi8(halves.1, other));
            let either = |one: (__m256i, __m256i)| {
                (_mm256_or_si256(one.0, closes.0), _mm256_or_si256(one.1, closes.1))
            };
            let word = |kind: (__m256i, __m256i)| {
                u64::from(lanes::bits32(kind.1)) << 32 | u64::from(lanes::bits32(kind.0))
            };
            let special = (
                _mm256_cmpeq_epi8(_mm256_shuffle_epi8(table, halves.0), halves.0),
                _mm256_cmpeq_epi8(_mm256_shuffle_epi8(table, halves.1), halves.1),
            );
            Block {
                token: !word(either(special)),
                comma: word(is(comma)),
                bracket: word(either(is(open))),
            }
        };
        scanner.advance(tokens, classify, emit, next)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn special() -> __m128i {
        let [low, high] =
            [0, 8].map(|at| i64::from_le_bytes(*SPECIAL[at..].first_chunk().expect("16 bytes")));
        _mm_set_epi64x(high, low)
    }
}
