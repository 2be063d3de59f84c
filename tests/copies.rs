//! A message of prost copies its payload as often on every borrowed stack as under tonic: not at
//! all into a `Bytes`, once into a `Vec`, and once out of either. Counted as allocated bytes,
//! without sockets.

use allocation_counter::measure;
use bytes::Bytes;
use ndecho::array::{DType, NdArray, Shape};
use ndecho::axis::{Codec, Encoding};
use ndecho::codec;
use ndecho::service::codecs::CodecSet;
use ndecho::service::echo::EchoService;
use ndecho::wire::{Limits, Pool, Slice};

const PAYLOAD_BYTES: u64 = 1 << 20;

/// Largest allocation of an echo beyond its copies: dtype, shape and the owner of a `Bytes`.
const REST_BYTES_MAX: u64 = 512;

/// Payload that `codec` copies into its message.
fn copied_in(codec: Codec) -> u64 {
    if codec == Codec::ProtobufProst { PAYLOAD_BYTES } else { 0 }
}

fn message(codec: Codec) -> Vec<u8> {
    let array = NdArray::seeded(DType::F8, Shape::new(&[PAYLOAD_BYTES / 8]).unwrap(), 1).unwrap();
    codec::message(codec::implementation(codec).unwrap(), &array.view()).unwrap()
}

#[test]
fn a_message_of_prost_copies_a_body_as_under_tonic() {
    for codec in [Codec::ProtobufProst, Codec::ProtobufProstBytes] {
        let pool = Pool::default();
        let service =
            EchoService::new(CodecSet::none().with(codec), Limits::default(), pool.clone());
        let body = message(codec);
        for mut body in [Slice::from(Bytes::from(body.clone())), pool.adopt(body).into()] {
            let mut out = Vec::new();
            let allocated = measure(|| {
                service.echo_shared(Encoding::Protobuf, &mut body, &mut out).expect("it is right");
            });
            let copies = copied_in(codec) + out.len() as u64;
            let extra = allocated.bytes_total - copies;
            assert!(extra <= REST_BYTES_MAX, "{codec}: {extra} bytes beyond {copies}");
            assert_eq!(out, body.as_ref());
        }
        assert!(pool.idle_bytes() as u64 >= PAYLOAD_BYTES, "{codec}: the buffer was lost");
    }
}
