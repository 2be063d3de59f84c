//! Tables of exponents and of the places of digits, shared by both forms.

pub(super) const NUMBER_BYTES_MAX: usize = 27;

/// Biased exponents from 2^-14, below 1e-4, to 2^54, above 1e16.
pub(super) const EXPONENT_MIN: u64 = 1023 - 14;
pub(super) const EXPONENTS: usize = 14 + 54;

/// Exponent of 1.0, counted from [`EXPONENT_MIN`].
pub(super) const ONE: u64 = 1023 - EXPONENT_MIN;
const DECIMAL_MIN: i32 = -4;
const DECIMAL_MAX: i32 = 15;
pub(super) const FORMS: u64 = 2 * (DECIMAL_MAX - DECIMAL_MIN + 1) as u64;

/// `k + 20` for each binary exponent.
pub(super) static SCALES: [u8; 128] = {
    let mut scales = [0; 128];
    let mut at = 0;
    while at < EXPONENTS {
        scales[at] = scale(at) as u8;
        at += 1;
    }
    scales
};

/// Shift of `c` for each binary exponent: the product's upper word is the integer part of `s`.
pub(super) static SHIFTS: [u8; 128] = {
    let mut shifts = [0; 128];
    let mut at = 0;
    while at < EXPONENTS {
        // s * 2^64 = (c << shift) * power, and s = c * 2^(q - k) * 5^-k.
        let q = at as i32 + EXPONENT_MIN as i32 - 1023 - 52;
        let k = scale(at) as i32 - 20;
        shifts[at] = (q - k + 64 - 5u64.pow(-k as u32).leading_zeros() as i32) as u8;
        at += 1;
    }
    shifts
};

const fn scale(at: usize) -> usize {
    let q = at as i32 + EXPONENT_MIN as i32 - 1023 - 52;
    // floor(q * log10(2)), valid for far larger q.
    let k = (q * 315_653) >> 20;
    (k + 20) as usize
}

/// `5^-k` for each `k + 20`, shifted to set the top bit.
pub(super) static POWERS: [[u64; 8]; 3] = {
    let mut powers = [[0; 8]; 3];
    let mut at = 0;
    while at <= 20 {
        let power = 5u64.pow(20 - at as u32);
        powers[at / 8][at % 8] = power << power.leading_zeros();
        at += 1;
    }
    powers
};

/// Source of a byte that holds the first digit. The top bit makes a shuffle of AVX2 write 0 for it
/// and for [`ZERO`]; a permutation of AVX-512 ignores that bit, and finds both behind 64 digits.
pub(super) const FIRST: u8 = 0x80 | 64;
const ZERO: u8 = 0x80 | 65;

/// Layout of numbers with one decimal exponent, for 17 digits or for a first digit of 0.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Form {
    pub(super) from: [u8; 32],
    /// Addend of each byte: `0`, or the point.
    pub(super) add: [u8; 32],
}

pub(super) static ROWS: [Form; FORMS as usize] = {
    let mut rows = [Form { from: [0; 32], add: [b'0'; 32] }; FORMS as usize];
    let mut at = 0;
    while at < rows.len() {
        rows[at] = form(at).0;
        at += 1;
    }
    rows
};

/// Lengths for each form: before trailing zeros are cut, and the least.
pub(super) static LENS: [[u8; 64]; 2] = {
    let mut lens = [[0; 64]; 2];
    let mut at = 0;
    while at < FORMS as usize {
        let (_, most, least) = form(at);
        (lens[0][at], lens[1][at]) = (most as u8, least as u8);
        at += 1;
    }
    lens
};

const fn form(at: usize) -> (Form, usize, usize) {
    let exponent = at as i32 / 2 + DECIMAL_MIN;
    let point = if exponent < 0 { 1 } else { exponent as usize + 1 };
    let mut form = Form { from: [ZERO; 32], add: [b'0'; 32] };
    form.add[point] = b'.';
    let mut to = if exponent < 0 { 1 + -exponent as usize } else { 0 };
    let mut digit = at % 2;
    while digit < 17 {
        to += (to == point) as usize;
        form.from[to] = if digit == 0 { FIRST } else { digit as u8 - 1 };
        digit += 1;
        to += 1;
    }
    let most = to + (to == point) as usize;
    (form, most, point + 2)
}
