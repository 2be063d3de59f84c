//! No codec reads outside its message: complete, cut and damaged ones stand between guard pages.

use crate::array::{DType, NdArray, Shape};
use crate::codec::simd::Level;
use crate::codec::simd::tests::guard_pages;
use crate::codec::{ArrayCodec, CodecError, implementations, message};

/// Returns arrays whose messages take all kernels; short ones, because every byte is a case.
fn arrays() -> impl Iterator<Item = NdArray> {
    let shapes: [(&str, &[u64]); 9] = [
        ("<f8", &[9, 2]),
        ("<f8", &[]),
        ("<f8", &[0]),
        (">f4", &[11]),
        ("<i8", &[12]),
        ("|u1", &[3, 23]),
        (">u2", &[5, 1, 7]),
        ("|b1", &[26]),
        ("<c16", &[14]),
    ];
    shapes.into_iter().map(|(dtype, dims)| {
        let (dtype, shape) = (DType::parse(dtype).unwrap(), Shape::new(dims).unwrap());
        NdArray::seeded(dtype, shape, 7).unwrap()
    })
}

fn said(codec: &dyn ArrayCodec, body: &[u8]) -> Result<Vec<u8>, CodecError> {
    codec.decode(body, &mut Vec::new()).map(|array| array.data().to_vec())
}

/// Asserts that all levels agree on `body`, directly after and before a guard page.
fn assert_levels_agree(codec: &dyn ArrayCodec, body: &[u8]) {
    let mut want = None;
    guard_pages::with_bytes(body, |body| {
        for level in Level::all() {
            level.limit();
            let got = said(codec, body);
            assert_eq!(want.get_or_insert_with(|| got.clone()), &got, "{level:?} {body:x?}");
            // An echo has code of its own. A library may be unable to encode a decoded array.
            let (mut scratch, mut out) = (Vec::new(), Vec::new());
            let echoed = codec.echo(body, &mut scratch, &mut out);
            assert!(echoed.is_err() || got.is_ok(), "{level:?} {body:x?}");
        }
    });
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no guard pages and needs none")]
fn nothing_outside_a_message_is_read() {
    for array in arrays() {
        for codec in implementations() {
            let Ok(body) = message(codec, &array.view()) else { continue };
            assert_levels_agree(codec, &body);
            for at in 0..body.len() {
                assert_levels_agree(codec, &body[..at]);
                // One change at each place: a digit, a bracket, a length, a byte beyond ASCII.
                let mut damaged = body.clone();
                damaged[at] = [b'1', b']', 0xff, b'"', damaged[at] ^ 1, b'e', 0][at % 7];
                assert_levels_agree(codec, &damaged);
            }
        }
    }
}
