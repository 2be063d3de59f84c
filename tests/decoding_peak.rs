//! Memory of one message at its peak: the body, the array in the scratch, and the response. The
//! table of `docs/RELIABILITY.md` has the figures. A buffer that grows counts with its successor.

use allocation_counter::measure;
use ndecho::array::{DType, NdArray, Shape};
use ndecho::axis::Encoding;
use ndecho::codec;
use ndecho::service::codecs::CodecSet;
use ndecho::service::echo::EchoService;
use ndecho::wire::{Limits, Pool};

/// Elements of an array of 8 MiB.
const ELEMENTS: u64 = 1 << 20;

fn body(encoding: Encoding) -> Vec<u8> {
    let shape = Shape::new(&[1024, ELEMENTS / 1024]).expect("it fits");
    let array = NdArray::seeded(DType::F8, shape, 1).expect("it fits");
    match CodecSet::own().get(encoding) {
        Some(codec) => codec::message(codec, &array.view()).expect("any array can be written"),
        None => array.view().data().to_vec(),
    }
}

/// Returns the shortest JSON for an array: each element of 8 bytes is one digit and a comma.
fn short_json() -> Vec<u8> {
    let ones = "1,".repeat(ELEMENTS as usize);
    format!(r#"{{"data": [{}1], "dtype": "<f8"}}"#, ones).into_bytes()
}

/// Returns an array in the order of Fortran, which is transposed.
fn transposed_npy() -> Vec<u8> {
    let body = body(Encoding::Npy);
    let place = body.windows(5).position(|window| window == b"False").expect("an order");
    [&body[..place], b"True ", &body[place + 5..]].concat()
}

/// Returns an array of two columns, one after the other.
fn columns_first() -> Vec<u8> {
    let head = b"\xd9\x04\x10\x82\x82\x1a";
    let (rows, bytes) = ((ELEMENTS as u32 / 2).to_be_bytes(), (ELEMENTS as u32 * 8).to_be_bytes());
    let items = vec![0; ELEMENTS as usize * 8];
    [&head[..], &rows, b"\x02\xd8\x56\x5a", &bytes, &items].concat()
}

/// Returns the shortest message of protobuf for an array of 8-byte integers: a byte for each.
fn short_numbers(encoding: Encoding) -> Vec<u8> {
    let dtype = DType::parse("<i8").expect("on the list");
    let ones = 1u64.to_le_bytes().repeat(ELEMENTS as usize);
    let array = NdArray::new(dtype, Shape::new(&[ELEMENTS]).expect("one dimension"), ones);
    let codec = codec::implementation(encoding.own()).expect("it has a codec");
    codec::message(codec, &array.expect("as long as its shape").view()).expect("carried")
}

/// Returns the most memory of an echo in hundredths of its body, with the body.
fn peak_percent(encoding: Encoding, body: &[u8]) -> u64 {
    let service = EchoService::new(CodecSet::own(), Limits::default(), Pool::default());
    let mut out = Vec::new();
    let allocated = measure(|| {
        service.echo(encoding, body, &mut out).expect("it is an array");
    });
    (allocated.bytes_max + body.len() as u64) * 100 / body.len() as u64
}

#[test]
fn a_message_at_its_peak_takes_a_known_multiple_of_its_body() {
    let cases = [
        ("reflect", Encoding::Reflect, body(Encoding::Reflect), 101),
        ("protobuf", Encoding::Protobuf, body(Encoding::Protobuf), 101),
        ("protobuf_packed", Encoding::ProtobufPacked, body(Encoding::ProtobufPacked), 101),
        (
            "protobuf_packed, ones as i8",
            Encoding::ProtobufPacked,
            short_numbers(Encoding::ProtobufPacked),
            1010,
        ),
        ("msgpack", Encoding::Msgpack, body(Encoding::Msgpack), 101),
        ("npy", Encoding::Npy, body(Encoding::Npy), 101),
        ("npy, Fortran order", Encoding::Npy, transposed_npy(), 305),
        ("cbor", Encoding::Cbor, body(Encoding::Cbor), 101),
        ("cbor, columns first", Encoding::Cbor, columns_first(), 305),
        ("kserve", Encoding::Kserve, body(Encoding::Kserve), 101),
        ("kserve_typed", Encoding::KserveTyped, body(Encoding::KserveTyped), 101),
        (
            "kserve_typed, ones as i8",
            Encoding::KserveTyped,
            short_numbers(Encoding::KserveTyped),
            1010,
        ),
        ("kserve_http", Encoding::KserveHttp, body(Encoding::KserveHttp), 101),
        ("safetensors", Encoding::Safetensors, body(Encoding::Safetensors), 101),
        ("arrow", Encoding::Arrow, body(Encoding::Arrow), 101),
        ("json_binary", Encoding::JsonBinary, body(Encoding::JsonBinary), 280),
        ("json, random doubles", Encoding::Json, body(Encoding::Json), 360),
        ("json, ones as f8", Encoding::Json, short_json(), 1450),
    ];
    let mut wrong = Vec::new();
    for (name, encoding, body, bound) in cases {
        let peak = peak_percent(encoding, &body);
        println!("{name}: {} bytes, peak {peak} %", body.len());
        if peak > bound {
            wrong.push(format!("{name}: {peak} % of the body, expected at most {bound} %"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
