//! Conformance arrays, which a server has to echo before it is measured.
//!
//! A server that knew its requests could skip work. So these arrays differ in every way that the
//! contract allows: types, byte orders, numbers of items and of dimensions, dimensions of 0. They
//! use one connection one after another, so that leftovers of one message meet the next. The same
//! seed gives the same arrays.

use rand::{RngExt as _, SeedableRng};
use rand_pcg::Pcg64;

use crate::array::{ArrayView, DType, NdArray, Shape};
use crate::codec::{self, ArrayCodec};

use super::message::Body;

pub const ARRAYS: usize = 48;

/// Most items of an array; a JSON list of as many doubles has 100 KiB.
const ITEMS_MAX: f64 = 4096.0;

/// Bound of the messages: no text of an array has more than 25 bytes for an item.
pub const BODY_BYTES_MAX: u64 = 1 << 20;

const RANK_MAX: usize = 5;
const EMPTY_ONE_IN: u32 = 12;

/// Draws the arrays of `seed` that `body` can carry in a message of at most `body_bytes_max`. The
/// first is 0-d, the second empty.
pub fn arrays(body: Body, seed: u64, body_bytes_max: u64) -> Vec<NdArray> {
    let mut random = Pcg64::seed_from_u64(seed);
    let dtypes: Vec<DType> = DType::all().collect();
    let mut arrays: Vec<NdArray> = Vec::with_capacity(ARRAYS);
    while arrays.len() < ARRAYS {
        let dims = match arrays.len() {
            0 => Vec::new(),
            1 => vec![0],
            _ => dims(&mut random),
        };
        let dtype = dtypes[random.random_range(0..dtypes.len())];
        let shape = Shape::new(&dims).expect("a few dimensions");
        let array = NdArray::seeded(dtype, shape, random.random()).expect("a few items");
        let body_bytes = match body {
            Body::Reflect => Some(array.view().data().len()),
            Body::Codec(codec) => body_bytes(codec, &array.view()),
        };
        if body_bytes.is_some_and(|bytes| bytes as u64 <= body_bytes_max) {
            arrays.push(array);
        }
    }
    arrays
}

pub fn name(array: &ArrayView<'_>) -> String {
    format!("{} {:?}", array.dtype().name(), array.shape().dims())
}

fn dims(random: &mut Pcg64) -> Vec<u64> {
    let rank = random.random_range(0..=RANK_MAX);
    let mut left = ITEMS_MAX;
    let mut dim = || {
        let dim = left.powf(random.random::<f64>()).floor();
        left = (left / dim).max(1.0);
        if random.random_range(0..EMPTY_ONE_IN) == 0 { 0 } else { dim as u64 }
    };
    (0..rank).map(|_| dim()).collect()
}

/// Returns `None` for an array that the encoding cannot carry, as complex numbers in a list.
fn body_bytes(codec: &dyn ArrayCodec, array: &ArrayView<'_>) -> Option<usize> {
    let message = codec::message(codec, array).ok()?;
    let mut scratch = Vec::new();
    let back = codec.decode(&message, &mut scratch).ok()?;
    let is_same =
        (back.dtype(), back.shape(), back.data()) == (array.dtype(), array.shape(), array.data());
    is_same.then_some(message.len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::array::Order;
    use crate::codec::implementations;

    #[test]
    fn they_differ_in_every_way_and_a_seed_draws_them_again() {
        let drawn = arrays(Body::Reflect, 1, u64::MAX);
        assert_eq!(drawn, arrays(Body::Reflect, 1, u64::MAX));
        assert_ne!(drawn, arrays(Body::Reflect, 2, u64::MAX));
        assert_eq!(drawn.len(), ARRAYS);
        let count = |is_it: &dyn Fn(&ArrayView<'_>) -> bool| {
            drawn.iter().filter(|array| is_it(&array.view())).count()
        };
        assert!(count(&|array| array.shape().dims().is_empty()) > 1);
        assert!(count(&|array| array.data().is_empty()) > 1);
        assert!(count(&|array| array.dtype().order() == Order::Big) > 4);
        assert!(count(&|array| array.data().len() > 4096) > 2);
        assert!(count(&|array| array.shape().dims().len() == RANK_MAX) > 2);
        let dtypes: BTreeSet<&str> =
            drawn.iter().map(|array| array.view().dtype().name()).collect();
        assert!(dtypes.len() > 15, "{dtypes:?}");
        let most = drawn.iter().map(|array| array.view().data().len()).max();
        assert!(most <= Some(16 * ITEMS_MAX as usize));
    }

    #[test]
    fn every_codec_carries_its_own() {
        for codec in implementations() {
            for array in arrays(Body::Codec(codec), 7, 4000) {
                let bytes = body_bytes(codec, &array.view());
                assert!(bytes.is_some_and(|bytes| bytes <= 4000), "{}", name(&array.view()));
            }
        }
    }

    #[test]
    fn an_array_is_named_by_what_it_is() {
        let array = NdArray::seeded(DType::F8, Shape::new(&[3, 0]).expect("two"), 1).expect("none");
        assert_eq!(name(&array.view()), "<f8 [3, 0]");
    }
}
