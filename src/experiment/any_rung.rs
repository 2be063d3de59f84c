//! The rung of a cell: one of our own, or an external one.
//!
//! Both kinds are named, selected and measured in the same way. Only our own rungs have parents.

use std::fmt;
use std::time::Duration;

use crate::array::{DType, NdArray, Shape};
use crate::axis::external as names;
use crate::axis::{Codec, Coding, Driver, Encoding, Family, Malloc, Rung, Transport};
use crate::codec;
use crate::external::ExternalRung;
use crate::ladder::table;
use crate::load::conformance;
use crate::record::{ArrayInfo, Client};

use super::concurrency::Concurrency;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyRung {
    Own(Rung),
    External(ExternalRung),
}

impl AnyRung {
    pub fn family(&self) -> Family {
        match self {
            AnyRung::Own(rung) => rung.family(),
            AnyRung::External(rung) => rung.family(),
        }
    }

    pub fn encoding(&self) -> Encoding {
        match self {
            AnyRung::Own(rung) => rung.encoding(),
            AnyRung::External(rung) => rung.encoding(),
        }
    }

    /// Returns the codec of the rung; for an external one, our own of the same encoding.
    pub fn codec(&self) -> Codec {
        match self {
            AnyRung::Own(rung) => rung.codec(),
            AnyRung::External(rung) => rung.encoding().own(),
        }
    }

    pub fn transport(&self) -> Transport {
        match self {
            AnyRung::Own(rung) => rung.transport(),
            AnyRung::External(_) => Transport::Tcp,
        }
    }

    pub fn parent(&self) -> Option<Rung> {
        match self {
            AnyRung::Own(rung) => table::parent(*rung),
            AnyRung::External(_) => None,
        }
    }

    pub fn original(&self) -> Option<&str> {
        match self {
            AnyRung::Own(_) => None,
            AnyRung::External(rung) => rung.original(),
        }
    }

    /// Returns our own stack on the ring without a codec: same family, encoding and transport.
    /// `None` for a family that no server of ours speaks.
    pub fn null_server(&self) -> Option<Rung> {
        let (protocol, codec) = (self.family().own()?, self.encoding().own());
        let rung = Rung::new(Driver::Uring, protocol, codec, self.transport());
        Some(rung.expect("our own stacks run on the ring"))
    }

    /// Returns the allocator of the server if `wanted` is the choice of the run.
    pub fn malloc(&self, wanted: Option<Malloc>) -> Malloc {
        match self {
            AnyRung::Own(rung) => wanted.unwrap_or(rung.protocol().malloc()),
            AnyRung::External(rung) => rung.malloc(wanted),
        }
    }

    pub fn is_named(&self, name: &str) -> bool {
        match self {
            AnyRung::Own(rung) => name.parse() == Ok(*rung),
            AnyRung::External(rung) => {
                names::renamed(name).as_deref().unwrap_or(name) == rung.to_string()
            }
        }
    }

    /// Reduces `wanted` to what the rung takes from each of `clients`.
    pub fn limit(&self, wanted: Concurrency, array_bytes: u64, clients: &[Client]) -> Concurrency {
        let AnyRung::External(rung) = self else { return wanted };
        let limits = &rung.server.manifest.limits;
        let most = clients.iter().filter_map(|client| limits.in_flight_max(array_bytes, *client));
        match most.min() {
            Some(most) if most < wanted.in_flight => {
                Concurrency { connections: wanted.connections.min(most), in_flight: most }
            }
            _ => wanted,
        }
    }

    /// Returns the size of the largest message that the rung accepts, if its manifest limits it.
    pub fn body_bytes_max(&self) -> Option<u64> {
        match self {
            AnyRung::Own(_) => None,
            AnyRung::External(rung) => rung.server.manifest.limits.body_bytes_max,
        }
    }

    /// Returns the least warm-up of a launch that the server asks for.
    pub fn warmup(&self) -> Duration {
        match self {
            AnyRung::Own(_) => Duration::ZERO,
            AnyRung::External(rung) => {
                Duration::from_secs(rung.server.manifest.start.warmup_s.unwrap_or(0).into())
            }
        }
    }

    /// Names the arrays that the conformance check does not send to the rung; empty for none.
    pub fn left_out(&self) -> String {
        match self.body_bytes_max() {
            Some(most) if most < conformance::BODY_BYTES_MAX => format!("messages above {most} B"),
            _ => {
                let codec = codec::implementation(self.encoding().own());
                codec.map_or("", |codec| codec.left_out()).to_owned()
            }
        }
    }

    /// Estimates the bytes of a message with `array`, or tells why the codec cannot carry it.
    pub fn body_bytes(&self, array: &ArrayInfo) -> Result<u64, String> {
        body_bytes(self.codec(), array).unwrap_or(Ok(array.bytes))
    }

    /// Returns the reason why the rung has no messages in `coding`.
    pub fn coding_obstacle(&self, coding: Coding) -> Option<String> {
        match self {
            _ if coding.is_identity() => None,
            AnyRung::Own(rung) if rung.protocol().has_coding(coding) => None,
            AnyRung::Own(rung) => Some(format!("{} has no {coding} here", rung.protocol())),
            AnyRung::External(_) => Some("external servers have no codings here".to_owned()),
        }
    }

    /// Returns the reason why the rung cannot carry `array`, found by encoding some of its items.
    pub fn obstacle(&self, array: &ArrayInfo) -> Option<String> {
        let body_bytes = match self.body_bytes(array) {
            Ok(bytes) => bytes,
            Err(reason) => return Some(reason),
        };
        if let Some(most) = self.family().message_bytes_max().filter(|most| body_bytes > *most) {
            return Some(format!(
                "the message has about {body_bytes} B; the length field of {}:// takes {most} B",
                self.family().scheme()
            ));
        }
        let AnyRung::External(rung) = self else { return None };
        let limits = &rung.server.manifest.limits;
        let most = limits.body_bytes_max.filter(|most| body_bytes > *most)?;
        let reason = limits.reason.as_ref().map_or_else(String::new, |why| format!(", as {why}"));
        Some(format!("the message has about {body_bytes} B; the server accepts {most} B{reason}"))
    }
}

impl From<Rung> for AnyRung {
    fn from(rung: Rung) -> AnyRung {
        AnyRung::Own(rung)
    }
}

impl fmt::Display for AnyRung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnyRung::Own(rung) => rung.fmt(f),
            AnyRung::External(rung) => rung.fmt(f),
        }
    }
}

/// Items that are encoded to estimate the length of a message. Text is as long as its values.
const SAMPLE_ITEMS: u64 = 1000;

/// Estimates the bytes of `array` in `codec`. Returns `None` for `reflect`, where no codec runs.
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
    let body_bytes = (text.len() + payload.len()) as u128;
    let sample_bytes = u128::from(items * dtype.item_size() as u64);
    let whole = body_bytes * u128::from(array.bytes) / sample_bytes;
    Some(Ok(u64::try_from(whole).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_no_frame_can_hold_is_an_obstacle() {
        let array = |bytes| ArrayInfo {
            dtype: "<f8".into(),
            shape: vec![bytes / 8],
            bytes,
            data_set: None,
        };
        let obstacle = |rung: &str, bytes| {
            AnyRung::from(rung.parse::<Rung>().unwrap()).obstacle(&array(bytes))
        };
        for rung in ["uring/h2/protobuf", "uring/raw/reflect", "tokio/tonic/protobuf:prost"] {
            assert_eq!(obstacle(rung, 1 << 30), None, "{rung}");
            let reason = obstacle(rung, 4 << 30).unwrap();
            assert!(reason.contains("takes 4294967295 B"), "{reason}");
        }
        assert!(obstacle("uring/h2/json", 2 << 30).is_some(), "its text is longer than the array");
        assert_eq!(obstacle("uring/h1/npy", 8 << 30), None);
        assert_eq!(obstacle("uring/h1/npy", u64::MAX - 7), None, "no overflow");
    }

    #[test]
    fn the_length_of_a_message_is_near_the_truth() {
        let array = |bytes| ArrayInfo {
            dtype: "<f8".into(),
            shape: vec![bytes / 8],
            bytes,
            data_set: None,
        };
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
