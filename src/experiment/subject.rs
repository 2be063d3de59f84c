//! What a cell tries: a rung of our own table, or a peer's.
//!
//! The two are named, selected, measured and compared with the standard alike; they differ in who starts them, and in
//! that only our own have parents.

use std::fmt;

use crate::array::{DType, NdArray, Shape};
use crate::axis::{Codec, Encoding, Family, Rung, Transport};
use crate::codec;
use crate::record::ArrayInfo;

use super::cell::Load;
use crate::external::ExternalRung;
use crate::external::client::Client;
use crate::ladder::table;

/// A rung, whosever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A rung of the ladder's table, served by this program.
    Own(Rung),
    /// A peer's rung, served by the peer.
    External(ExternalRung),
}

impl Subject {
    /// What its protocol carries a message in.
    pub fn family(&self) -> Family {
        match self {
            Subject::Own(rung) => rung.family(),
            Subject::External(rung) => rung.family(),
        }
    }

    /// What its codec speaks on the wire.
    pub fn encoding(&self) -> Encoding {
        match self {
            Subject::Own(rung) => rung.encoding(),
            Subject::External(rung) => rung.encoding(),
        }
    }

    pub fn transport(&self) -> Transport {
        match self {
            Subject::Own(rung) => rung.transport(),
            Subject::External(_) => Transport::Tcp,
        }
    }

    /// The rung that it differs from in one axis.
    pub fn parent(&self) -> Option<Rung> {
        match self {
            Subject::Own(rung) => table::parent(*rung),
            Subject::External(_) => None,
        }
    }

    /// Its row in the original benchmark's table.
    pub fn original(&self) -> Option<&str> {
        match self {
            Subject::Own(_) => None,
            Subject::External(rung) => rung.original(),
        }
    }

    /// `load` from `client`, or as much of it as this can bear.
    pub fn bearable(&self, load: Load, array_bytes: u64, client: Client) -> Load {
        let Subject::External(rung) = self else { return load };
        match rung.server.manifest.limits.in_flight_max(array_bytes, client) {
            Some(most) if most < load.in_flight => {
                Load { connections: load.connections.min(most), in_flight: most }
            }
            _ => load,
        }
    }

    /// Why this cannot carry `array`, if it cannot: found by writing some items of it.
    pub fn obstacle(&self, array: &ArrayInfo) -> Option<String> {
        let codec = match self {
            Subject::Own(rung) => rung.codec(),
            Subject::External(rung) => rung.encoding().own(),
        };
        let body_bytes = match body_bytes(codec, array)? {
            Ok(bytes) => bytes,
            Err(reason) => return Some(reason),
        };
        let Subject::External(rung) = self else { return None };
        let most = rung.server.manifest.limits.body_bytes_max?;
        (body_bytes > most)
            .then(|| format!("a message of about {body_bytes} B, where {most} B is its limit"))
    }
}

impl From<Rung> for Subject {
    fn from(rung: Rung) -> Subject {
        Subject::Own(rung)
    }
}

impl From<ExternalRung> for Subject {
    fn from(rung: ExternalRung) -> Subject {
        Subject::External(rung)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Own(rung) => rung.fmt(f),
            Subject::External(rung) => rung.fmt(f),
        }
    }
}

/// Items that are written to learn how long they get; text is as long as its values.
const SAMPLE_ITEMS: u64 = 1000;

/// Bytes of `array` as `codec` writes it, or why it cannot. A sample makes the figure, so it is near the truth and not
/// exact. `None` for `reflect`, at which no codec runs.
fn body_bytes(codec: Codec, array: &ArrayInfo) -> Option<Result<u64, String>> {
    let codec = codec::implementation(codec)?;
    let dtype = DType::parse(&array.dtype).ok()?;
    let items = (array.bytes / dtype.item_size() as u64).clamp(1, SAMPLE_ITEMS);
    let shape = Shape::new(&[items]).ok()?;
    let sample = NdArray::seeded(dtype, shape, 1).ok()?;
    let mut text = Vec::new();
    let view = sample.view();
    let payload = match codec.encode(&view, &mut text) {
        Ok(encoded) => encoded.payload,
        Err(error) => return Some(Err(error.to_string())),
    };
    let body_bytes = (text.len() + payload.len()) as u64;
    let sample_bytes = items * dtype.item_size() as u64;
    Some(Ok(body_bytes * array.bytes / sample_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_message_is_near_the_truth() {
        let array = |bytes| ArrayInfo { dtype: "<f8".into(), shape: vec![bytes / 8], bytes };
        let estimate = |codec, bytes| body_bytes(codec, &array(bytes)).unwrap().unwrap();
        let mib = 1 << 20;
        assert!(
            (mib..mib + mib / 10).contains(&estimate(Codec::Npy, mib)),
            "{}",
            estimate(Codec::Npy, mib)
        );
        let base64 = mib * 4 / 3;
        assert!((base64..base64 + mib / 10).contains(&estimate(Codec::JsonBinary, mib)));
        let list = estimate(Codec::Json, mib);
        assert!((2 * mib..3 * mib).contains(&list), "{list}");
        assert!(estimate(Codec::Json, 8) < 100);
    }
}
