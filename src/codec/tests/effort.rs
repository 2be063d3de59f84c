//! Promise: a codec says how much work an echo is, which decides on which thread it is done.

use crate::array::{ArrayView, DType, NdArray, Shape};
use crate::axis::Encoding;
use crate::codec::npy::Npy;
use crate::codec::{ArrayCodec as _, Effort, implementations, message};

#[test]
fn a_codec_borrows_if_it_says_so() {
    let array = NdArray::seeded(DType::F8, Shape::new(&[100]).unwrap(), 1).unwrap();
    for codec in implementations() {
        let body = message(codec, &array.view()).unwrap();
        let (mut scratch, mut out) = (Vec::new(), Vec::new());
        let payload = codec.echo(&body, &mut scratch, &mut out).unwrap().payload;
        let borrows = !payload.is_empty() && body.as_ptr_range().contains(&payload.as_ptr());
        let effort = codec.effort(&body);
        assert_eq!(effort == Effort::Borrows, borrows, "{codec:?}");
        let is_list = codec.encoding() == Encoding::Json;
        assert!(!is_list || effort == Effort::Converts, "{codec:?}");
    }
}

#[test]
fn a_transposed_file_is_work_and_no_file_is_none() {
    let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2)}";
    let len = (header.len() as u16).to_le_bytes();
    let body = [b"\x93NUMPY\x01\x00", &len[..], header.as_bytes(), &[1, 2, 3, 4]].concat();
    assert_eq!(Npy.effort(&body), Effort::Copies);
    let view =
        ArrayView::new(DType::parse("|u1").unwrap(), Shape::new(&[2, 2]).unwrap(), &[1, 3, 2, 4]);
    let plain = message(&Npy, &view.unwrap()).unwrap();
    assert_eq!(Npy.effort(&plain), Effort::Borrows);
    assert_eq!(Npy.effort(b"\x93nonsense"), Effort::Borrows);
    assert_eq!(Npy.effort(b""), Effort::Borrows);
}
