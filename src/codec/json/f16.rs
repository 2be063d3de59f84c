//! Exact conversions between IEEE 754 binary16 and a double.
//!
//! The `half` crate rounds an `f64` twice or truncates it; Rust's own `f16` is not stable.

const MANTISSA_BITS: u32 = 10;
const DOUBLE_MANTISSA_BITS: u32 = 52;
const INFINITY: u16 = 0x7c00;
const NAN: u16 = 0x7e00;

pub(crate) fn widen(bits: u16) -> f64 {
    let exponent = i32::from(bits >> MANTISSA_BITS & 0x1f);
    let mantissa = f64::from(bits & 0x3ff);
    let magnitude = match exponent {
        0 => mantissa * 2f64.powi(-24),
        0x1f if mantissa == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (mantissa + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// Rounds a double to the nearest binary16, ties to even; values beyond the range become infinity.
pub(crate) fn narrow(value: f64) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 48 & 0x8000) as u16;
    if value.is_nan() {
        return sign | NAN;
    }
    let exponent = (bits >> DOUBLE_MANTISSA_BITS & 0x7ff) as i32 - 1023;
    if exponent > 15 {
        return sign | INFINITY;
    }
    // Half of the smallest subnormal is 2^-25; all smaller values round to 0.
    if exponent < -25 {
        return sign;
    }
    let significand = bits & ((1 << DOUBLE_MANTISSA_BITS) - 1) | 1 << DOUBLE_MANTISSA_BITS;
    let (base, subnormal) = if exponent < -14 { (0, -14 - exponent) } else { (exponent + 14, 0) };
    let shift = DOUBLE_MANTISSA_BITS - MANTISSA_BITS + subnormal as u32;
    let kept = significand >> shift;
    let cut = significand & ((1 << shift) - 1);
    let tie = 1 << (shift - 1);
    let up = cut > tie || (cut == tie && kept & 1 == 1);
    // The hidden bit and a carry out of the mantissa increment the exponent.
    sign | (((base as u64) << MANTISSA_BITS) + kept + u64::from(up)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_the_way_through_a_double() {
        for bits in 0..=u16::MAX {
            let value = widen(bits);
            if value.is_nan() {
                assert_eq!(narrow(value) & !0x8000, NAN);
            } else {
                assert_eq!(narrow(value), bits, "{bits:#06x} is {value}");
            }
        }
    }

    #[test]
    fn between_two_halves_the_nearer_wins_and_a_tie_goes_to_the_even_one() {
        for bits in 0..INFINITY {
            let low = widen(bits);
            // Above the largest binary16, the next step is where another value would be.
            let high = if bits + 1 == INFINITY { 65536.0 } else { widen(bits + 1) };
            let middle = (low + high) / 2.0;
            assert_eq!(narrow(middle), bits + (bits & 1), "{middle}");
            assert_eq!(narrow(middle.next_down()), bits, "{middle}");
            assert_eq!(narrow(middle.next_up()), bits + 1, "{middle}");
            assert_eq!(narrow(-middle.next_up()), 0x8000 | (bits + 1), "{middle}");
        }
        assert_eq!(narrow(1e300), INFINITY);
        assert_eq!(narrow(f64::INFINITY), INFINITY);
        assert_eq!(narrow(-1e-300), 0x8000);
        assert_eq!(narrow(0.0), 0);
    }
}
