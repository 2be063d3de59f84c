//! A rung: one point on each axis, named `driver/protocol/codec[@transport]`.
//!
//! A [`Rung`] can only be made of points that go together, so a server can be built from any of
//! them. The error for another name proposes the nearest rung that works.

use std::fmt;
use std::str::FromStr;

use super::driver::Driver;
use super::encoding::{Codec, Encoding};
use super::layer::Layer;
use super::name::{UnknownName, serde_by_name};
use super::protocol::{Family, Protocol, Tuning};
use super::transport::Transport;

/// One server under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rung {
    driver: Driver,
    protocol: Protocol,
    codec: Codec,
    transport: Transport,
}

serde_by_name!(Rung);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    Driver,
    Transport,
    Protocol,
    /// Settings of a protocol: as documented, `:tuned` or `:best`.
    Tuning,
    /// A library's form is another codec.
    Codec,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RungError {
    #[error("{got:?} is not driver/protocol/codec[@transport]; did you mean {nearest}?")]
    Form { got: String, nearest: Rung },
    #[error("{got}: {unknown} The nearest rung is {nearest}.")]
    Unknown { got: String, unknown: UnknownName, nearest: Rung },
    #[error(
        "{got} is impossible: {protocol} brings its own accept loop, on {driver} only; the nearest rung that works is {nearest}"
    )]
    Impossible { got: String, protocol: Protocol, driver: Driver, nearest: Rung },
    #[error(
        "{got} is impossible: only external servers speak {codec}; the nearest rung that works is {nearest}"
    )]
    Outside { got: String, codec: Codec, nearest: Rung },
}

impl Rung {
    pub fn new(
        driver: Driver,
        protocol: Protocol,
        codec: Codec,
        transport: Transport,
    ) -> Result<Rung, RungError> {
        let rung = Rung { driver, protocol, codec, transport };
        match protocol.only_driver() {
            Some(only) if only != driver => Err(RungError::Impossible {
                got: rung.to_string(),
                protocol,
                driver: only,
                nearest: Rung { driver: only, ..rung },
            }),
            _ if !Codec::ALL.contains(&codec) => {
                let nearest = Rung { codec: protocol.family().usual_encoding().own(), ..rung };
                Err(RungError::Outside { got: rung.to_string(), codec, nearest })
            }
            _ => Ok(rung),
        }
    }

    pub const fn driver(self) -> Driver {
        self.driver
    }

    pub const fn protocol(self) -> Protocol {
        self.protocol
    }

    pub const fn codec(self) -> Codec {
        self.codec
    }

    pub const fn transport(self) -> Transport {
        self.transport
    }

    pub const fn family(self) -> Family {
        self.protocol.family()
    }

    pub const fn encoding(self) -> Encoding {
        self.codec.encoding()
    }

    pub fn differs(self, other: Rung) -> Vec<Axis> {
        let pairs = [
            (Axis::Driver, self.driver != other.driver),
            (Axis::Transport, self.transport != other.transport),
            (Axis::Protocol, self.protocol.stack() != other.protocol.stack()),
            (Axis::Tuning, self.protocol.spec().tuning != other.protocol.spec().tuning),
            (Axis::Codec, self.codec != other.codec),
        ];
        pairs.into_iter().filter(|(_, differs)| *differs).map(|(axis, _)| axis).collect()
    }
}

impl Axis {
    pub const ALL: [Axis; 5] =
        [Axis::Driver, Axis::Transport, Axis::Protocol, Axis::Tuning, Axis::Codec];

    /// Returns the layers in which two rungs that differ on this axis may differ. They are declared
    /// in advance, with each axis, so that a difference in another layer contradicts them.
    pub const fn layers(self) -> &'static [Layer] {
        match self {
            Axis::Driver => Driver::LAYERS,
            Axis::Transport => Transport::LAYERS,
            Axis::Protocol => Protocol::LAYERS,
            Axis::Tuning => Tuning::LAYERS,
            Axis::Codec => Codec::LAYERS,
        }
    }
}

impl RungError {
    pub fn nearest(&self) -> Rung {
        match self {
            RungError::Form { nearest, .. }
            | RungError::Unknown { nearest, .. }
            | RungError::Impossible { nearest, .. }
            | RungError::Outside { nearest, .. } => *nearest,
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rung { driver, protocol, codec, transport } = self;
        match transport {
            Transport::Tcp => f.pad(&format!("{driver}/{protocol}/{codec}")),
            _ => f.pad(&format!("{driver}/{protocol}/{codec}@{transport}")),
        }
    }
}

impl FromStr for Rung {
    type Err = RungError;

    fn from_str(text: &str) -> Result<Rung, RungError> {
        let (path, transport) = text.split_once('@').unwrap_or((text, Transport::Tcp.name()));
        let &[driver, protocol, codec] = path.split('/').collect::<Vec<_>>().as_slice() else {
            return Err(RungError::Form { got: text.to_owned(), nearest: nearest(text) });
        };
        let (driver, unknown_driver) = closest(driver);
        let (protocol, unknown_protocol) = closest(protocol);
        let (codec, unknown_codec) = closest(codec);
        let (transport, unknown_transport) = closest(transport);
        let rung = Rung::new(driver, protocol, codec, transport);
        match unknown_driver.or(unknown_protocol).or(unknown_codec).or(unknown_transport) {
            None => rung,
            Some(unknown) => Err(RungError::Unknown {
                got: text.to_owned(),
                unknown,
                nearest: rung.unwrap_or_else(|error| error.nearest()),
            }),
        }
    }
}

/// Returns the point with that name, or the one with the nearest name and the error.
fn closest<T: FromStr<Err = UnknownName>>(name: &str) -> (T, Option<UnknownName>) {
    match name.parse() {
        Ok(point) => (point, None),
        Err(unknown) => {
            let point = unknown.nearest.parse().expect("the nearest name is one of the axis");
            (point, Some(unknown))
        }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Axis::Driver => "driver",
            Axis::Transport => "transport",
            Axis::Protocol => "protocol",
            Axis::Tuning => "tuning",
            Axis::Codec => "codec",
        })
    }
}

/// Least likeness of a word to a name, from 0 to 1, for the name to be proposed.
const LIKENESS_MIN: f64 = 0.5;

/// Proposes a rung for a text with too few or too many words: each word is given to the axis that
/// has its name or the most similar one, and the usual choice fills the other axes.
fn nearest(text: &str) -> Rung {
    let mut words: Vec<&str> = text.split(['/', '@']).collect();
    let (mut driver, mut protocol, mut codec, mut transport) = (None, None, None, None);
    for likeness_min in [1.0, LIKENESS_MIN] {
        protocol =
            protocol.or_else(|| take(&mut words, &Protocol::ALL, Protocol::name, likeness_min));
        codec = codec.or_else(|| take(&mut words, &Codec::ALL, Codec::name, likeness_min));
        driver = driver.or_else(|| take(&mut words, &Driver::ALL, Driver::name, likeness_min));
        transport =
            transport.or_else(|| take(&mut words, &Transport::ALL, Transport::name, likeness_min));
    }
    let protocol = protocol.unwrap_or(Protocol::Raw);
    let encoding = protocol.family().usual_encoding();
    let usual = match protocol.only_driver() {
        Some(_) => encoding.library(),
        None => encoding.own(),
    };
    let (driver, codec) = (driver.unwrap_or(Driver::Uring), codec.unwrap_or(usual));
    let rung = Rung::new(driver, protocol, codec, transport.unwrap_or(Transport::Tcp));
    rung.unwrap_or_else(|error| error.nearest())
}

fn take<T: Copy>(
    words: &mut Vec<&str>,
    points: &[T],
    name: fn(T) -> &'static str,
    likeness_min: f64,
) -> Option<T> {
    let likeness = |word, point| strsim::normalized_levenshtein(word, name(point));
    let pairs = (0..words.len()).flat_map(|at| points.iter().map(move |point| (at, *point)));
    let (at, point) =
        pairs.max_by(|a, b| likeness(words[a.0], a.1).total_cmp(&likeness(words[b.0], b.1)))?;
    (likeness(words[at], point) >= likeness_min).then(|| {
        words.remove(at);
        point
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_of_external_servers_has_no_rung_of_ours() {
        let error = "uring/raw/multipart".parse::<Rung>().expect_err("no server speaks it");
        assert_eq!(error.nearest().to_string(), "uring/raw/reflect");
        let expected = "uring/raw/multipart is impossible: only external servers speak multipart";
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[test]
    fn a_name_survives_parsing_and_printing() {
        for name in [
            "uring/raw/reflect",
            "tokio/hyper-h2:tuned/reflect",
            "tokio-uring/h1/reflect",
            "uring/h2/protobuf@unix",
        ] {
            assert_eq!(name.parse::<Rung>().expect(name).to_string(), name);
        }
        let tcp: Rung = "uring/h2/protobuf@tcp".parse().expect("the default may be named");
        assert_eq!(tcp.to_string(), "uring/h2/protobuf");
    }

    #[test]
    fn no_axis_explains_everything() {
        use crate::axis::Malloc;

        let declared = Axis::ALL.map(|axis| (axis.to_string(), axis.layers()));
        for (axis, layers) in declared.iter().chain([&("malloc".to_owned(), Malloc::LAYERS)]) {
            let times = |layer: &Layer| layers.iter().filter(|other| *other == layer).count();
            assert!(layers.iter().all(|layer| times(layer) == 1), "{axis} names a layer twice");
            for never in [Layer::Unattributed, Layer::Interrupts, Layer::Interpreter] {
                assert!(!layers.contains(&never), "{axis} declares {never}");
            }
        }
        // The array is the same on both sides of all but one axis.
        for axis in [Axis::Driver, Axis::Transport, Axis::Protocol, Axis::Tuning] {
            for layer in [Layer::CodecDecode, Layer::CodecEncode, Layer::Application] {
                assert!(!axis.layers().contains(&layer), "{axis} declares {layer}");
            }
        }
    }

    #[test]
    fn every_rung_passes_through_json() {
        for (driver, protocol) in
            Driver::ALL.into_iter().flat_map(|driver| Protocol::ALL.map(|p| (driver, p)))
        {
            for (codec, transport) in
                Codec::ALL.into_iter().flat_map(|codec| Transport::ALL.map(|t| (codec, t)))
            {
                let Ok(rung) = Rung::new(driver, protocol, codec, transport) else {
                    assert!(!protocol.runs_on(driver));
                    continue;
                };
                let json = serde_json::to_string(&rung).expect("a string");
                assert_eq!(json, format!("\"{rung}\""));
                assert_eq!(serde_json::from_str::<Rung>(&json).expect("a rung"), rung);
            }
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones_and_the_nearest_rung() {
        let cases = [
            (
                "urng/h1/reflect",
                "unknown driver \"urng\": expected uring, tokio, tokio-uring",
                "uring/h1/reflect",
            ),
            ("uring/hiper/reflect", "unknown protocol \"hiper\"", "uring/hyper/reflect"),
            ("uring/h2/protobuff@unix", "unknown codec \"protobuff\"", "uring/h2/protobuf@unix"),
            ("uring/h2/protobuf@unx", "expected tcp, unix", "uring/h2/protobuf@unix"),
            ("urng/h1/nyp", "unknown driver", "uring/h1/npy"),
            ("uring/tonik/reflect", "unknown protocol", "tokio/tonic/reflect"),
        ];
        for (text, part, nearest) in cases {
            let error = text.parse::<Rung>().unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!(error.nearest().to_string(), nearest, "{error}");
        }
    }

    #[test]
    fn a_stack_with_its_own_accept_loop_runs_on_its_driver_only() {
        for stack in ["axum", "tonic"] {
            let error = format!("uring/{stack}/reflect").parse::<Rung>().unwrap_err();
            assert!(matches!(error, RungError::Impossible { .. }), "{error}");
            assert_eq!(error.nearest().to_string(), format!("tokio/{stack}/reflect"));
        }
    }

    #[test]
    fn a_few_words_are_completed_to_a_rung() {
        for (text, nearest) in [
            ("tonic", "tokio/tonic/protobuf:prost"),
            ("tonik", "tokio/tonic/protobuf:prost"),
            ("tokio", "tokio/raw/reflect"),
            ("axum", "tokio/axum/npy"),
            ("h2", "uring/h2/protobuf"),
            ("uring/raw", "uring/raw/reflect"),
            ("tokio/h1@unix", "tokio/h1/npy@unix"),
            ("h1/json:serde", "uring/h1/json:serde"),
            ("", "uring/raw/reflect"),
            ("uring/h2/npy/x", "uring/h2/npy"),
        ] {
            let error = text.parse::<Rung>().unwrap_err();
            assert!(matches!(error, RungError::Form { .. }), "{error}");
            assert_eq!(error.nearest().to_string(), nearest, "{text}");
        }
    }
}
