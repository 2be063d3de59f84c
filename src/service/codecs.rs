//! Choice of the codec that serves each encoding, made once for each server.

use crate::axis::{Codec, Encoding, Layer};
use crate::codec::planted::Planted;
use crate::codec::{self, ArrayCodec};
use crate::probe::injected_delay::{InjectedDelay, PlacedDelay};

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

    /// Adds a delay. If its layer is the codec, it is spent around each codec, whose wrapper stays
    /// allocated for the life of the process.
    pub fn delayed(self, delay: InjectedDelay) -> CodecSet {
        let Some(cost) = delay.placed_in(Layer::CodecDecode) else {
            return CodecSet { delay, ..self };
        };
        let wrap = |codec: &'static dyn ArrayCodec| -> Option<&'static dyn ArrayCodec> {
            // The codec may be one that waits by the account of another thread.
            let inner = codec::implementation(codec.id())?;
            let planted: &'static Planted<PlacedDelay> =
                Box::leak(Box::new(Planted { inner, cost, spend: PlacedDelay::spend }));
            Some(planted)
        };
        CodecSet { codecs: self.codecs.map(|codec| wrap(codec?)), delay }
    }

    pub fn for_another_thread(self) -> CodecSet {
        self.delayed(self.delay.for_another_thread())
    }

    pub fn delay(&self) -> InjectedDelay {
        self.delay
    }

    pub fn with(mut self, codec: Codec) -> CodecSet {
        self.codecs[usize::from(codec.encoding().id())] = codec::implementation(codec);
        self
    }

    /// Serves the encoding of `codec` with it.
    pub fn with_implementation(mut self, codec: &'static dyn ArrayCodec) -> CodecSet {
        self.codecs[usize::from(codec.encoding().id())] = Some(codec);
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
    fn a_delay_in_the_codec_is_spent_there_and_by_each_thread_for_itself() {
        let delay = InjectedDelay::new(std::time::Duration::from_nanos(100), Layer::CodecDecode);
        let sets = [CodecSet::own().delayed(delay), CodecSet::own().delayed(delay)];
        let sets = sets.map(CodecSet::for_another_thread);
        let body = b"\x93NUMPY: not a file";
        for set in &sets {
            set.delay().wait();
            let codec = set.get(Encoding::Npy).expect("it has one");
            assert!(codec.echo(body, &mut Vec::new(), &mut Vec::new()).is_err());
        }
        for set in sets {
            assert_eq!(set.delay().sum().map(|sum| sum.messages), Some(1));
        }
        assert_eq!(delay.sum().map(|sum| sum.messages), Some(0));
    }

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
