//! Lane of a codec: decodes, encodes or echoes one array with the buffers that a server keeps.

use std::hint::black_box;

use bytes::Bytes;

use crate::array::{ArrayError, NdArray};
use crate::axis::{Codec, Encoding};
use crate::codec::{self, ArrayCodec};
use crate::service::codecs::CodecSet;
use crate::service::echo::{echo, echo_shared};

use super::{LaneError, Running};

/// Kind of the numbers of an array: text codecs take different paths for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Doubles uniform in [0, 1): 17 digits.
    Doubles,
    /// 64-bit integers below 1000.
    Narrow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Decode,
    Encode,
    Echo,
}

pub(super) struct Case {
    codec: &'static dyn ArrayCodec,
    codecs: CodecSet,
    work: Work,
    array: NdArray,
    message: Bytes,
    scratch: Vec<u8>,
    out: Vec<u8>,
}

impl Numbers {
    /// Returns the kinds that differ for an encoding.
    pub(super) fn that_differ(encoding: Encoding) -> &'static [Numbers] {
        match encoding {
            Encoding::Json => &[Numbers::Doubles, Numbers::Narrow],
            _ => &[Numbers::Doubles],
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Numbers::Doubles => "f8",
            Numbers::Narrow => "i8",
        }
    }

    pub(super) fn array(self, bytes: u64) -> Result<NdArray, ArrayError> {
        match self {
            Numbers::Doubles => super::seeded(bytes, "<f8"),
            Numbers::Narrow => {
                let mut array = super::seeded(bytes, "<i8")?;
                for item in array.data_mut().as_chunks_mut::<8>().0 {
                    *item = (u64::from_le_bytes(*item) % 1000).to_le_bytes();
                }
                Ok(array)
            }
        }
    }
}

impl Work {
    pub(super) const ALL: [Work; 3] = [Work::Decode, Work::Encode, Work::Echo];

    pub fn name(self) -> &'static str {
        match self {
            Work::Decode => "decode",
            Work::Encode => "encode",
            Work::Echo => "echo",
        }
    }
}

impl Case {
    pub(super) fn running(
        codec: Codec,
        numbers: Numbers,
        work: Work,
        bytes: u64,
    ) -> Result<Box<dyn Running>, LaneError> {
        let codecs = CodecSet::none().with(codec);
        let codec = codec::implementation(codec)
            .ok_or_else(|| LaneError::Server(format!("{codec} decodes nothing")))?;
        let array = numbers.array(bytes)?;
        let message = Bytes::from(codec::message(codec, &array.view())?);
        let (scratch, out) = (Vec::new(), Vec::new());
        Ok(Box::new(Case { codec, codecs, work, array, message, scratch, out }))
    }

    fn run(&mut self) -> Result<(), LaneError> {
        self.out.clear();
        let Case { codec, codecs, array, message, scratch, out, .. } = self;
        match self.work {
            Work::Decode => _ = black_box(codec.decode(black_box(message), scratch)?),
            Work::Encode => _ = black_box(codec.encode(black_box(&array.view()), out)?),
            Work::Echo => {
                let (encoding, mut body) = (codec.encoding(), black_box(&*message));
                let echoed = match codec.owning_echo() {
                    Some(_) => echo_shared(codecs, encoding, &mut body, scratch, out),
                    None => echo(codecs, encoding, body, scratch, out),
                };
                black_box(echoed?);
            }
        }
        Ok(())
    }
}

impl Running for Case {
    fn turns(&mut self, count: u32) -> Result<(), LaneError> {
        (0..count).try_for_each(|_| self.run())
    }
}
