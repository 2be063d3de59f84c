//! Items of a nested list, as the type that a user of a JSON library declares.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::array::{DType, Order};

use super::json::f16;

/// Number or bool in a list.
pub(super) trait Item: DeserializeOwned + Serialize + Copy {
    fn put(self, dtype: DType, out: &mut Vec<u8>);

    fn get(item: &[u8], dtype: DType) -> Self;

    /// Writes the item to `slot`, which has its size.
    fn write_little(self, slot: &mut [u8]);

    /// Reads the item from bytes of its size.
    fn read_little(item: &[u8]) -> Self;
}

/// Returns whether the items of `dtype` have the size of `T` and the least byte first.
pub(super) fn is_plain<T>(dtype: DType) -> bool {
    dtype.item_size() == size_of::<T>() && dtype.order() != Order::Big
}

macro_rules! integers {
    ($($integer:ty)*) => { $(
        impl Item for $integer {
            fn put(self, dtype: DType, out: &mut Vec<u8>) {
                append(self.to_le_bytes(), dtype, out);
            }

            fn get(item: &[u8], dtype: DType) -> $integer {
                <$integer>::from_le_bytes(little(item, dtype))
            }

            fn write_little(self, slot: &mut [u8]) {
                slot.copy_from_slice(&self.to_le_bytes());
            }

            fn read_little(item: &[u8]) -> $integer {
                <$integer>::from_le_bytes(*item.first_chunk().expect("an item of this type"))
            }
        }
    )* };
}

integers!(i8 i16 i32 i64 u8 u16 u32 u64);

impl Item for bool {
    fn put(self, dtype: DType, out: &mut Vec<u8>) {
        append([u8::from(self)], dtype, out);
    }

    fn get(item: &[u8], _: DType) -> bool {
        item != [0]
    }

    fn write_little(self, slot: &mut [u8]) {
        slot.copy_from_slice(&[u8::from(self)]);
    }

    fn read_little(item: &[u8]) -> bool {
        item != [0]
    }
}

impl Item for f64 {
    fn put(self, dtype: DType, out: &mut Vec<u8>) {
        match dtype.item_size() {
            2 => append(f16::narrow(self).to_le_bytes(), dtype, out),
            4 => append((self as f32).to_le_bytes(), dtype, out),
            _ => append(self.to_le_bytes(), dtype, out),
        }
    }

    fn get(item: &[u8], dtype: DType) -> f64 {
        match item.len() {
            2 => f16::widen(u16::from_le_bytes(little(item, dtype))),
            4 => f64::from(f32::from_le_bytes(little(item, dtype))),
            _ => f64::from_le_bytes(little(item, dtype)),
        }
    }

    fn write_little(self, slot: &mut [u8]) {
        slot.copy_from_slice(&self.to_le_bytes());
    }

    fn read_little(item: &[u8]) -> f64 {
        f64::from_le_bytes(*item.first_chunk().expect("an item of this type"))
    }
}

fn append<const SIZE: usize>(mut item: [u8; SIZE], dtype: DType, out: &mut Vec<u8>) {
    if dtype.order() == Order::Big {
        item.reverse();
    }
    out.extend_from_slice(&item);
}

fn little<const SIZE: usize>(item: &[u8], dtype: DType) -> [u8; SIZE] {
    let mut item = *item.first_chunk().expect("an item of the dtype");
    if dtype.order() == Order::Big {
        item.reverse();
    }
    item
}
