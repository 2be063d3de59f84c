//! Choice of the codec that serves each encoding, made once for each server.

use crate::axis::{Codec, Encoding};
use crate::codec::{self, ArrayCodec};

use super::delay::InjectedDelay;

#[derive(Clone, Copy, Debug)]
pub struct CodecSet {
    /// Indexed by [`Encoding::id`].
    codecs: [Option<&'static dyn ArrayCodec>; Encoding::ALL.len()],
    delay: InjectedDelay,
}

impl CodecSet {
    pub fn own() -> CodecSet {
        Encoding::ALL.map(Encoding::own).into_iter().fold(CodecSet::none(), CodecSet::with)
    }

    /// Makes a set of the forms that a user writes with the usual libraries.
    pub fn library() -> CodecSet {
        Encoding::ALL.map(Encoding::library).into_iter().fold(CodecSet::none(), CodecSet::with)
    }

    pub fn none() -> CodecSet {
        CodecSet { codecs: [None; Encoding::ALL.len()], delay: InjectedDelay::default() }
    }

    pub fn delayed(self, delay: InjectedDelay) -> CodecSet {
        CodecSet { delay, ..self }
    }

    pub fn for_another_thread(self) -> CodecSet {
        CodecSet { delay: self.delay.for_another_thread(), ..self }
    }

    pub fn delay(&self) -> InjectedDelay {
        self.delay
    }

    pub fn with(mut self, codec: Codec) -> CodecSet {
        self.codecs[usize::from(codec.encoding().id())] = codec::implementation(codec);
        self
    }

    pub fn get(&self, encoding: Encoding) -> Option<&'static dyn ArrayCodec> {
        self.codecs[usize::from(encoding.id())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_has_a_codec_in_either_set() {
        for encoding in Encoding::ALL {
            for set in [CodecSet::own(), CodecSet::library()] {
                let served = set.get(encoding).map(ArrayCodec::encoding);
                assert_eq!(served, Some(encoding).filter(|&e| e != Encoding::Reflect));
            }
            let own = CodecSet::own().get(encoding);
            assert!(own.is_none_or(|codec| codec.name() == encoding.name()));
        }
    }
}
