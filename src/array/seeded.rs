//! Arrays of pseudo-random items. Equal seeds give equal bytes in every version and on every
//! machine; records and goldens rely on it.

use rand::Rng;
use rand_pcg::Pcg64;

use super::{ArrayError, DType, Kind, NdArray, Order, Shape};

impl NdArray {
    /// Draws an array from `seed`: floats uniform in [0, 1) as `numpy.random.rand` gives them,
    /// integers over their whole range, bools 0 or 1.
    pub fn seeded(dtype: DType, shape: Shape, seed: u64) -> Result<NdArray, ArrayError> {
        let bytes = shape.byte_len(dtype)?;
        let len = usize::try_from(bytes).map_err(|_| ArrayError::Overflow)?;
        let mut data = vec![0; len];
        fill(&mut data, dtype, &mut Pcg64::new(u128::from(seed), SEED_STREAM));
        NdArray::new(dtype, shape, data)
    }
}

/// PCG stream of all seeds. The value is arbitrary, but must never change.
const SEED_STREAM: u128 = 0x6e64_6563_686f;

fn fill(data: &mut [u8], dtype: DType, rng: &mut Pcg64) {
    match (dtype.kind, dtype.item_size()) {
        (Kind::Bool, _) => {
            rng.fill_bytes(data);
            data.iter_mut().for_each(|byte| *byte &= 1);
        }
        (Kind::Int | Kind::Uint, _) => rng.fill_bytes(data),
        (Kind::Float, 2) => fill_floats(data, dtype.order, || half_unit(rng.next_u64())),
        (Kind::Float, 4) | (Kind::Complex, 8) => fill_floats(data, dtype.order, || {
            let bits = (rng.next_u64() >> 40) as u32;
            (bits as f32 * (1.0 / (1u32 << 24) as f32)).to_le_bytes()
        }),
        (Kind::Float | Kind::Complex, _) => fill_floats(data, dtype.order, || {
            let bits = rng.next_u64() >> 11;
            (bits as f64 * (1.0 / (1u64 << 53) as f64)).to_le_bytes()
        }),
    }
}

fn fill_floats<const SIZE: usize>(
    data: &mut [u8],
    order: Order,
    mut next: impl FnMut() -> [u8; SIZE],
) {
    for item in data.as_chunks_mut::<SIZE>().0 {
        *item = next();
        if order == Order::Big {
            item.reverse();
        }
    }
}

fn half_unit(random: u64) -> [u8; 2] {
    let steps = (random >> 53) as u16;
    if steps == 0 {
        return [0, 0];
    }
    let top = steps.ilog2();
    let exponent = top as u16 + 15 - 11;
    let fraction = (steps << (10 - top)) & 0x3ff;
    (exponent << 10 | fraction).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[u64]) -> Shape {
        Shape::new(dims).unwrap()
    }

    #[test]
    fn a_seed_gives_the_same_bytes_for_ever() {
        let array = NdArray::seeded(DType::F8, shape(&[2]), 1).unwrap();
        let bits: Vec<u64> =
            array.data.as_chunks().0.iter().map(|item| u64::from_le_bytes(*item)).collect();
        assert_eq!(bits, [4596002084603840684, 4589377940274376264]);
        let other = NdArray::seeded(DType::F8, shape(&[2]), 2).unwrap();
        assert_ne!(array, other);
    }

    #[test]
    fn seeded_floats_lie_in_the_unit_interval_in_both_orders() {
        for size in ["f4", "f8", "c8", "c16"] {
            let of = |mark: &str| {
                let dtype = DType::parse(&format!("{mark}{size}")).unwrap();
                NdArray::seeded(dtype, shape(&[300]), 7).unwrap().data
            };
            let (little, mut big) = (of("<"), of(">"));
            let width = if size.ends_with("16") || size == "f8" { 8 } else { 4 };
            big.chunks_mut(width).for_each(<[u8]>::reverse);
            assert_eq!(little, big);
            for item in little.chunks(width) {
                let value = match *item {
                    [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
                    _ => f64::from_le_bytes(item.try_into().unwrap()),
                };
                assert!((0.0..1.0).contains(&value));
            }
        }
    }

    #[test]
    fn seeded_halves_are_multiples_of_their_step() {
        assert_eq!(half_unit(0), 0u16.to_le_bytes());
        assert_eq!(half_unit(1 << 53), 0x1000u16.to_le_bytes());
        assert_eq!(half_unit(1 << 63), 0x3800u16.to_le_bytes());
        assert_eq!(half_unit(u64::MAX), 0x3bffu16.to_le_bytes());
    }

    #[test]
    fn seeded_bools_are_0_or_1() {
        let array = NdArray::seeded(DType::parse("|b1").unwrap(), shape(&[100]), 3).unwrap();
        assert!(array.data.iter().all(|&byte| byte < 2));
        assert!(array.data.contains(&0) && array.data.contains(&1));
    }
}
