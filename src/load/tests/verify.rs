use crate::array::{ArrayView, DType, NdArray, Shape};
use crate::axis::Codec;
use crate::codec::{ArrayCodec, CodecError, Encoded, implementations};
use crate::load::message::{Body, Message};
use crate::load::tests::whole;
use crate::load::verify::{NonceOwner, Verifier, WrongReply};

/// Writes dtype, rank, dimensions and bytes; tolerates one leading blank.
#[derive(Debug)]
struct Plain;

impl ArrayCodec for Plain {
    fn id(&self) -> Codec {
        Codec::Npy
    }

    fn decode<'a>(&self, body: &'a [u8], _: &'a mut Vec<u8>) -> Result<ArrayView<'a>, CodecError> {
        let bad = |what| CodecError::Syntax { encoding: "plain", at: 0, what };
        let body = body.strip_prefix(b" ").unwrap_or(body);
        let (name, rest) = body.split_at_checked(3).ok_or(bad("no dtype"))?;
        let dtype = DType::parse(std::str::from_utf8(name).map_err(|_| bad("no text"))?)
            .map_err(|source| CodecError::Array { encoding: "plain", at: None, source })?;
        let (items, data) = rest.split_first().ok_or(bad("no shape"))?;
        let shape = Shape::new(&[u64::from(*items)]).expect("one dimension");
        ArrayView::new(dtype, shape, data).map_err(|source| CodecError::Array {
            encoding: "plain",
            at: None,
            source,
        })
    }

    fn encode<'a>(
        &self,
        array: &ArrayView<'a>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded<'a>, CodecError> {
        let start = out.len();
        out.extend_from_slice(array.dtype().name().as_bytes());
        out.push(array.shape().dims()[0] as u8);
        Ok(Encoded { head_len: out.len() - start, payload: array.data() })
    }
}

fn verifier(body: Body) -> Verifier {
    let array = NdArray::seeded(DType::F8, Shape::new(&[5]).unwrap(), 7).unwrap();
    Verifier::new(Message::new(body, array, 1000).unwrap())
}

fn plain() -> Verifier {
    verifier(Body::Codec(&Plain))
}

#[test]
fn the_same_message_is_right_and_only_for_its_request() {
    for body in [Body::Reflect, Body::Codec(&Plain)] {
        let mut verifier = verifier(body);
        for request in [0, 1, 77] {
            let reply = whole(&verifier.message, request);
            assert_eq!(verifier.check(request, &reply), Ok(()));
            let error = verifier.check(request + 3, &reply).unwrap_err();
            let WrongReply::Byte { owner, .. } = error else { panic!("{error}") };
            assert_eq!(owner, NonceOwner(Some(request)));
            assert!(error.to_string().contains(&format!("nonce of request {request}")), "{error}");
        }
    }
}

#[test]
fn every_flipped_byte_is_caught() {
    for body in [Body::Reflect, Body::Codec(&Plain)] {
        let mut verifier = verifier(body);
        let reply = whole(&verifier.message, 3);
        for at in 0..reply.len() {
            let mut wrong = reply.clone();
            wrong[at] ^= 0x10;
            assert!(verifier.check(3, &wrong).is_err(), "byte {at}");
        }
        for len in 0..reply.len() {
            assert!(verifier.check(3, &reply[..len]).is_err(), "cut to {len}");
        }
        let longer = [reply.as_slice(), b"\0"].concat();
        assert!(verifier.check(3, &longer).is_err());
        assert_eq!(verifier.check(3, &reply), Ok(()), "and nothing wrong was learned");
    }
}

#[test]
fn a_right_reply_in_another_form_is_decoded_once() {
    let mut verifier = plain();
    let other = |verifier: &Verifier, request| {
        [b" ", whole(&verifier.message, request).as_slice()].concat()
    };
    for request in 0..3 {
        let reply = other(&verifier, request);
        assert_eq!(verifier.check(request, &reply), Ok(()));
        assert_eq!(verifier.forms.len(), 2);
        assert_eq!(verifier.forms[0].bytes.len(), reply.len(), "the latest form is tried first");
    }
    let swapped = other(&verifier, 9);
    assert!(verifier.check(8, &swapped).is_err());
}

#[test]
fn dtype_shape_and_length_are_told_apart() {
    let mut verifier = plain();
    let reply = whole(&verifier.message, 0);
    let mut wrong = reply.clone();
    wrong[1] = b'i';
    let error = verifier.check(0, &wrong).unwrap_err();
    assert_eq!(error.to_string(), "dtype <i8, expected <f8");
    let shorter = [b"<f8\x04", &reply[4..36]].concat();
    let error = verifier.check(0, &shorter).unwrap_err();
    assert_eq!(error.to_string(), "shape [4], expected [5]");
    let error = self::verifier(Body::Reflect).check(0, &reply).unwrap_err();
    assert_eq!(error, WrongReply::Length { expected: 40, got: 44 });
}

#[test]
fn a_wrong_byte_is_named() {
    let mut verifier = plain();
    let mut reply = whole(&verifier.message, 0);
    let last = reply.len() - 1;
    reply[last] ^= 1;
    let error = verifier.check(0, &reply).unwrap_err().to_string();
    assert!(error.starts_with("byte 39 of the array is 0x"), "{error}");
}

fn served(codec: &dyn ArrayCodec, request: &[u8]) -> Vec<u8> {
    let (mut scratch, mut out) = (Vec::new(), Vec::new());
    let array = codec.decode(request, &mut scratch).expect("a right request");
    let encoded = codec.encode(&array, &mut out).expect("it came in this encoding");
    let (head_len, payload) = (encoded.head_len, encoded.payload.to_vec());
    [&out[..head_len], &payload, &out[head_len..]].concat()
}

#[test]
fn replies_of_every_codec_are_right_for_every_dtype() {
    for (server, dtype) in implementations().flat_map(|codec| DType::all().map(move |d| (codec, d)))
    {
        let body = Body::from(server.encoding());
        let array = NdArray::seeded(dtype, Shape::new(&[3, 7]).unwrap(), 7).unwrap();
        let Ok(message) = Message::new(body, array, 1000) else { continue };
        let mut verifier = Verifier::new(message);
        for request in 0..4 {
            let reply = served(server, &whole(&verifier.message, request));
            let checked = verifier.check(request, &reply);
            assert_eq!(checked, Ok(()), "{} {}", server.name(), dtype.name());
            let swapped = verifier.check(request + 1, &reply);
            assert!(swapped.is_err(), "{} {}", server.name(), dtype.name());
        }
        assert!(verifier.forms.len() <= 2, "what was decoded once is known");
    }
}
