//! Arrays that compress as real ones do. Equal seeds give equal bytes in every version and on every
//! machine: only sums and products of floats are used, which IEEE 754 rounds exactly.

use rand::Rng;
use rand_pcg::Pcg64;

use super::{ArrayError, DType, Kind, NdArray, Order, Shape};

const F4: DType = DType { kind: Kind::Float, size: 4, order: Order::Little };
const U2: DType = DType { kind: Kind::Uint, size: 2, order: Order::Little };

/// PCG stream of the data sets. The value is arbitrary, but must never change.
const STREAM: u128 = 0x6461_7461;

/// Waves of the smooth field and of the image.
const WAVES: usize = 6;

/// Longest and shortest wave, in items.
const PERIODS: (f64, f64) = (2000.0, 150.0);

/// Noise of the smooth field, as a part of a wave's height: about what a simulation leaves in its
/// last bits.
const FIELD_NOISE: f64 = 1e-6;

/// Levels of the image, a sensor of 12 bits, and its noise in levels.
const LEVELS: f64 = 4095.0;
const SENSOR_NOISE: f64 = 6.0;

/// Wave over rows and columns: height, steps of the phase for each row and column, and the phase.
struct Wave {
    height: f64,
    steps: [f64; 2],
    phase: f64,
}

impl NdArray {
    /// Makes a smooth field of `<f4`, rows by columns.
    pub fn smooth(rows: u64, columns: u64, seed: u64) -> Result<NdArray, ArrayError> {
        let mut random = Pcg64::new(u128::from(seed), STREAM);
        let waves = waves(&mut random);
        field(F4, rows, columns, |row, column| {
            let value = sum(&waves, row, column) + FIELD_NOISE * (unit(&mut random) - 0.5);
            (value as f32).to_le_bytes()
        })
    }

    /// Makes an image of `<u2` with 12 bits of light, rows by columns.
    pub fn image(rows: u64, columns: u64, seed: u64) -> Result<NdArray, ArrayError> {
        let mut random = Pcg64::new(u128::from(seed), STREAM + 1);
        let waves = waves(&mut random);
        field(U2, rows, columns, |row, column| {
            let light = (sum(&waves, row, column) / WAVES as f64 + 1.0) / 2.0;
            let noise = SENSOR_NOISE * (unit(&mut random) + unit(&mut random) - 1.0);
            ((light * LEVELS + noise).clamp(0.0, LEVELS) as u16).to_le_bytes()
        })
    }
}

fn field<const SIZE: usize>(
    dtype: DType,
    rows: u64,
    columns: u64,
    mut item: impl FnMut(u64, u64) -> [u8; SIZE],
) -> Result<NdArray, ArrayError> {
    let shape = Shape::new(&[rows, columns])?;
    let bytes = usize::try_from(shape.byte_len(dtype)?).map_err(|_| ArrayError::Overflow)?;
    let mut data = Vec::with_capacity(bytes);
    for row in 0..rows {
        (0..columns).for_each(|column| data.extend_from_slice(&item(row, column)));
    }
    NdArray::new(dtype, shape, data)
}

fn waves(random: &mut Pcg64) -> Vec<Wave> {
    let wave = |random: &mut Pcg64| {
        let (longest, shortest) = PERIODS;
        let mut step = || 1.0 / (shortest + (longest - shortest) * unit(random));
        let steps = [step(), step()];
        Wave { height: 0.2 + 0.8 * unit(random), steps, phase: unit(random) }
    };
    (0..WAVES).map(|_| wave(random)).collect()
}

fn sum(waves: &[Wave], row: u64, column: u64) -> f64 {
    let height = |wave: &Wave| {
        let [by_row, by_column] = wave.steps;
        wave.height * bump(wave.phase + row as f64 * by_row + column as f64 * by_column)
    };
    waves.iter().map(height).sum()
}

/// Returns a wave of period 1 and height 1: two parabolas, since no standard rounds a sine.
fn bump(phase: f64) -> f64 {
    let place = phase - phase.floor();
    let half = 2.0 * (place - (2.0 * place).floor() / 2.0);
    let arch = 4.0 * half * (1.0 - half);
    if place < 0.5 { arch } else { -arch }
}

/// Draws a number in [0, 1).
fn unit(random: &mut Pcg64) -> f64 {
    (random.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shorts(array: &NdArray) -> Vec<u16> {
        array.data.as_chunks().0.iter().map(|item| u16::from_le_bytes(*item)).collect()
    }

    fn floats(array: &NdArray) -> Vec<f32> {
        array.data.as_chunks().0.iter().map(|item| f32::from_le_bytes(*item)).collect()
    }

    #[test]
    fn a_seed_gives_the_same_array_for_ever() {
        let image = NdArray::image(2, 2, 1).unwrap();
        assert_eq!(shorts(&image), IMAGE);
        let field = NdArray::smooth(2, 2, 1).unwrap();
        assert_eq!(floats(&field).iter().map(|item| item.to_bits()).collect::<Vec<_>>(), FIELD);
        assert_ne!(NdArray::image(2, 2, 2).unwrap(), image);
    }

    const IMAGE: [u16; 4] = [1840, 1836, 1840, 1833];
    const FIELD: [u32; 4] = [1_068_006_051, 1_067_931_862, 1_068_025_161, 1_067_949_987];

    #[test]
    fn a_smooth_field_changes_little_from_item_to_item() {
        let items = floats(&NdArray::smooth(4, 500, 7).unwrap());
        let row = &items[..500];
        let (low, high) = row
            .iter()
            .fold((f32::MAX, f32::MIN), |(low, high), item| (low.min(*item), high.max(*item)));
        assert!(high - low > 0.5, "{low} to {high}");
        let step = row.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(step < (high - low) / 2.0, "{step}");
    }

    #[test]
    fn an_image_has_12_bits_and_noise() {
        let items = shorts(&NdArray::image(300, 600, 7).unwrap());
        assert!(items.iter().all(|item| *item <= 4095));
        let (low, high) = (items.iter().min().unwrap(), items.iter().max().unwrap());
        assert!(high - low > 500, "{low} to {high}");
        let equal = items.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(equal < items.len() / 4, "{equal}");
    }
}
