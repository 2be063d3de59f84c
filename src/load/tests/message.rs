use crate::array::{DType, NdArray, Shape};
use crate::axis::Encoding;
use crate::codec::ArrayCodec;
use crate::load::message::{Body, Message, text_places, value_at};
use crate::load::nonce::Nonce;
use crate::load::tests::whole;

fn array(dtype: DType, dims: &[u64]) -> NdArray {
    NdArray::seeded(dtype, Shape::new(dims).unwrap(), 7).unwrap()
}

fn bodies() -> impl Iterator<Item = Body> {
    Encoding::ALL.into_iter().map(Body::from)
}

fn decoded(codec: &dyn ArrayCodec, message: &[u8]) -> NdArray {
    let mut scratch = Vec::new();
    let view = codec.decode(message, &mut scratch).expect("our own message");
    NdArray::new(view.dtype(), view.shape().clone(), view.data().to_vec()).unwrap()
}

#[test]
fn stamping_is_what_encoding_again_would_give() {
    let shapes: [&[u64]; 5] = [&[], &[1], &[64], &[3, 1, 5], &[0]];
    for dtype in DType::all() {
        for (dims, body) in shapes.iter().flat_map(|dims| bodies().map(move |body| (dims, body))) {
            let message = match Message::new(body, array(dtype, dims), 99) {
                Ok(message) => message,
                Err(error) => {
                    let Body::Codec(codec) = body else { panic!("{error}") };
                    assert!(codec.check(&array(dtype, dims).view()).is_err(), "{error}");
                    continue;
                }
            };
            for request in [0, 1, 1234] {
                let mut expected = array(dtype, dims);
                let mut nonce = Vec::new();
                message.nonce.bytes(request, &mut nonce);
                expected.data_mut()[..nonce.len()].copy_from_slice(&nonce);
                let sent = whole(&message, request);
                match body {
                    Body::Reflect => assert_eq!(sent, expected.view().data()),
                    Body::Codec(codec) => assert_eq!(decoded(codec, &sent), expected),
                }
            }
        }
    }
}

#[test]
fn only_the_beginning_is_copied() {
    for body in bodies() {
        let message = Message::new(body, array(DType::F8, &[8192]), 0).unwrap();
        // The head of Arrow has 192 bytes. The nonce behind it has 8.
        let most = if body.encoding() == Encoding::Arrow { 200 } else { 199 };
        assert!(message.form.stamped_len <= most, "{:?}", body.encoding());
        assert!(message.form.bytes.len() >= 65_536);
    }
}

#[test]
fn an_eight_byte_reflection_is_nothing_but_its_nonce() {
    let message = Message::new(Body::Reflect, array(DType::F8, &[1]), 0).unwrap();
    assert_eq!((message.form.bytes.len(), message.form.stamped_len), (8, 8));
}

#[test]
fn a_value_is_found_behind_any_spacing() {
    assert_eq!(value_at(b"{\"data\" :\n [1]}", b"\"data\""), Some(11));
    assert_eq!(value_at(b"{\"data\"}", b"\"data\""), None);
    assert_eq!(value_at(b"{\"data\":", b"\"data\""), None);
    assert_eq!(value_at(b"{\"dtype\"", b"\"data\""), None);
}

#[test]
fn numbers_of_another_width_have_no_form() {
    let nonce = Nonce::new(&array(DType::F8, &[2]).view(), 0);
    assert!(text_places(b"{\"data\":[1.00000000000001,1.00000000000002]}", &nonce).is_some());
    assert!(text_places(b"{\"data\":[1.0000000000001,1.00000000000002]}", &nonce).is_none());
    assert!(text_places(b"{\"data\":[1.000000000000011,1.5]}", &nonce).is_none());
    assert!(text_places(b"{\"data\":[1.0", &nonce).is_none());
}
