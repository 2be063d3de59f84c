//! Durations in a document: whole nanoseconds, so that a setting comes back as it was sent.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    nanoseconds::<S>(*time)?.serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_nanos)
}

fn nanoseconds<S: Serializer>(time: Duration) -> Result<u64, S::Error> {
    u64::try_from(time.as_nanos())
        .map_err(|_| serde::ser::Error::custom(format!("{time:?} does not fit 64 bits")))
}

pub(super) mod option {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer, nanoseconds};

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(nanoseconds::<S>).transpose()?.serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_nanos))
    }
}
