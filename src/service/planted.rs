//! Layers in which a server of a rung has a place for an injected delay.

use crate::axis::{Codec, Encoding, Layer, Protocol, Rung, Shape};

/// Returns the layers in which a delay can be planted in a server of `rung`.
pub fn layers(rung: Rung) -> Vec<Layer> {
    let is_there = |layer: &Layer| match layer {
        Layer::Application | Layer::Allocator | Layer::UserCopies => true,
        Layer::CodecDecode => has_codec_place(rung),
        Layer::HttpFraming | Layer::Runtime => rung.protocol().spec().shape == Shape::Machine,
        Layer::Framework => matches!(rung.protocol(), Protocol::Tonic | Protocol::TonicTuned),
        _ => false,
    };
    Layer::ALL.into_iter().filter(is_there).collect()
}

/// Returns whether something around the codec is ours. tonic's generated service takes no other
/// codec; the place is a service like it, for the message with a `Vec`.
fn has_codec_place(rung: Rung) -> bool {
    let is_tonic = rung.protocol().stack() == Protocol::Tonic.name();
    match rung.codec() {
        Codec::ProtobufProstBytes => !is_tonic,
        codec => codec.encoding() != Encoding::Reflect,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers_of(rung: &str) -> Vec<Layer> {
        layers(rung.parse().expect(rung))
    }

    #[test]
    fn own_http2_and_tonic_have_places_of_their_own() {
        let common = [Layer::Application, Layer::Allocator, Layer::UserCopies];
        let with = |more: &[Layer]| -> Vec<Layer> {
            let is_one = |layer: &Layer| common.contains(layer) || more.contains(layer);
            Layer::ALL.into_iter().filter(is_one).collect()
        };
        let own = [Layer::CodecDecode, Layer::HttpFraming, Layer::Runtime];
        assert_eq!(layers_of("uring/h2/protobuf"), with(&own));
        assert_eq!(layers_of("uring/h2/reflect"), with(&own[1..]));
        let tonic = [Layer::CodecDecode, Layer::Framework];
        assert_eq!(layers_of("tokio/tonic:tuned/protobuf:prost"), with(&tonic));
        assert_eq!(layers_of("tokio/tonic:best/protobuf:prost_bytes"), with(&[]));
        assert_eq!(layers_of("tokio/axum/npy"), with(&[Layer::CodecDecode]));
    }
}
