//! `protobuf:prost_bytes`: the generated message with `buffer` as a `Bytes`.
//!
//! The message of an owning echo keeps its part of the body, and the payload is copied once, into
//! the response. From a slice it is copied in as well.

use crate::generated_bytes::NdArray;

use super::protobuf_prost::prost_codec;

prost_codec!(ProtobufProstBytes, "protobuf:prost_bytes", NdArray);

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_message_keeps_its_part_of_the_body() {
        let array = NdArray { buffer: vec![7; 64].into(), dtype: "|u1".into(), shape: vec![64] };
        let body = Bytes::from(array.encode_to_vec());
        let (message, ..) = read(body.clone()).unwrap();
        assert_eq!(message, array);
        assert!(body.as_ptr_range().contains(&message.buffer.as_ptr()));
    }
}
