//! Kinds of servers, each with a colour.

use crate::axis::external::PREFIX;
use crate::axis::{Protocol, Rung};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Standard,
    Best,
    Ours,
    Between,
    External,
}

impl Kind {
    pub(super) const ALL: [Kind; 5] =
        [Kind::Standard, Kind::Best, Kind::Ours, Kind::Between, Kind::External];

    /// Returns the kind of the rung with this name. A name that this program does not know belongs
    /// to no known kind, and counts as a server between the others.
    pub(super) fn of_rung(name: &str) -> Kind {
        if name.starts_with(PREFIX) {
            return Kind::External;
        }
        let Ok(rung) = name.parse::<Rung>() else { return Kind::Between };
        match rung.protocol() {
            Protocol::Raw | Protocol::H1 | Protocol::H2 => Kind::Ours,
            Protocol::Axum | Protocol::Tonic => Kind::Standard,
            Protocol::AxumBest | Protocol::TonicBest => Kind::Best,
            _ => Kind::Between,
        }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Kind::Standard => "standard",
            Kind::Best => "best",
            Kind::Ours => "ours",
            Kind::Between => "between",
            Kind::External => "external",
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Kind::Standard => "tonic or axum as documented",
            Kind::Best => "the same with every setting that helps",
            Kind::Ours => "our own server",
            Kind::Between => "another stack or setting",
            Kind::External => "a server of others",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_rung_tells_its_kind() {
        for (name, kind) in [
            ("tokio/tonic/protobuf:prost", Kind::Standard),
            ("tokio/axum:best/npy", Kind::Best),
            ("uring/h2/protobuf", Kind::Ours),
            ("uring/h2-crate:tuned/protobuf:prost", Kind::Between),
            ("external/grpcio/protobuf", Kind::External),
            ("</script>", Kind::Between),
        ] {
            assert_eq!(Kind::of_rung(name), kind, "{name}");
        }
    }
}
