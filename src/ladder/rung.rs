//! A rung by name: `driver/protocol/codec`, checked against the three axis tables.
//!
//! It does not say which rungs the ladder has or who is whose parent: `table` does. A [`Rung`] can only be made of
//! names that are in the tables and that go together, so whoever holds one can serve it. An unknown name or an
//! impossible pair is an error that says why and which valid choice is nearest, never a fallback.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

use crate::codec::{self, CODECS, Encoding};
use crate::driver::DRIVERS;
use crate::stack::{self, Family, PROTOCOLS, Shape};

use super::table;

/// The codec name of rungs that send the message back undecoded.
pub const REFLECT: &str = "reflect";

/// A point on the three axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rung {
    driver: &'static str,
    protocol: &'static str,
    codec: &'static str,
}

/// What a rung differs in from its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    /// Who moves bytes.
    Driver,
    /// How a connection is spoken; a `:tuned` form is another protocol.
    Protocol,
    /// How an array is written; a library's form is another codec.
    Codec,
}

/// Why a text names no rung.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RungError {
    /// Not three names.
    #[error("{got:?} is not driver/protocol/codec; did you mean {nearest}?")]
    Form {
        /// What was given.
        got: String,
        /// The nearest rung of the ladder.
        nearest: String,
    },
    /// A name that is not in its table.
    #[error("unknown {axis} {got:?} in {rung:?}; did you mean {nearest:?}? There are: {all}")]
    Unknown {
        /// Whose table.
        axis: Axis,
        /// The rung it stands in.
        rung: String,
        /// What was given.
        got: String,
        /// The nearest name of the table.
        nearest: String,
        /// The whole table.
        all: String,
    },
    /// Three known names that do not go together.
    #[error("{rung} is impossible: {reason}; the nearest that works is {nearest}")]
    Impossible {
        /// What was given.
        rung: String,
        /// Why.
        reason: String,
        /// The nearest rung that works.
        nearest: String,
    },
    /// A pattern that is not a glob.
    #[error("pattern {got:?}: {reason}")]
    Pattern {
        /// What was given.
        got: String,
        /// What the matcher says.
        reason: String,
    },
    /// A pattern that no rung of the ladder matches.
    #[error("no rung of the ladder matches {got:?}; the nearest is {nearest}")]
    NoMatch {
        /// What was given.
        got: String,
        /// The nearest rung of the ladder.
        nearest: String,
    },
}

impl Rung {
    /// The rung of three names, or why there is none.
    pub fn new(driver: &str, protocol: &str, codec: &str) -> Result<Rung, RungError> {
        let rung = format!("{driver}/{protocol}/{codec}");
        let driver = look_up(Axis::Driver, &rung, driver, &driver_names())?;
        let protocol = look_up(Axis::Protocol, &rung, protocol, &protocol_names())?;
        let codec = look_up(Axis::Codec, &rung, codec, &codec_names())?;
        let made = Rung { driver, protocol, codec };
        match made.obstacle() {
            None => Ok(made),
            Some((reason, nearest)) => {
                Err(RungError::Impossible { rung, reason, nearest: nearest.to_string() })
            }
        }
    }

    /// Who moves bytes.
    pub fn driver(self) -> &'static str {
        self.driver
    }

    /// How a connection is spoken.
    pub fn protocol(self) -> &'static str {
        self.protocol
    }

    /// How an array is written.
    pub fn codec(self) -> &'static str {
        self.codec
    }

    /// What the protocol carries a message in.
    pub fn family(self) -> Family {
        protocol_entry(self.protocol).family
    }

    /// What the codec speaks on the wire.
    pub fn encoding(self) -> Encoding {
        codec::find(self.codec).map_or(Encoding::Reflect, |codec| codec.encoding())
    }

    /// The axes in which two rungs differ.
    pub fn differs(self, other: Rung) -> Vec<Axis> {
        let pairs = [
            (Axis::Driver, self.driver, other.driver),
            (Axis::Protocol, self.protocol, other.protocol),
            (Axis::Codec, self.codec, other.codec),
        ];
        pairs.into_iter().filter(|(_, a, b)| a != b).map(|(axis, ..)| axis).collect()
    }

    /// Why three known names do not go together, and the nearest that do.
    fn obstacle(self) -> Option<(String, Rung)> {
        match protocol_entry(self.protocol).shape {
            Shape::Whole { driver } if driver != self.driver => {
                let reason =
                    format!("{} brings its own accept loop, on {driver} only", self.protocol);
                Some((reason, Rung { driver, ..self }))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}/{}", self.driver, self.protocol, self.codec))
    }
}

impl FromStr for Rung {
    type Err = RungError;

    fn from_str(text: &str) -> Result<Rung, RungError> {
        let names: Vec<&str> = text.split('/').collect();
        let &[driver, protocol, codec] = names.as_slice() else {
            return Err(RungError::Form { got: text.to_owned(), nearest: nearest_rung(text) });
        };
        Rung::new(driver, protocol, codec)
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Axis::Driver => "driver",
            Axis::Protocol => "protocol",
            Axis::Codec => "codec",
        })
    }
}

/// Those of `ladder` that match any of `patterns`, in the ladder's order. Each pattern is one or more globs
/// separated by commas; `*` also matches `/`, so that `uring/*` is everything on the ring.
pub fn select<T: fmt::Display>(patterns: &str, ladder: Vec<T>) -> Result<Vec<T>, RungError> {
    let names: Vec<String> = ladder.iter().map(T::to_string).collect();
    let mut matchers = Vec::new();
    for pattern in split_outside_braces(patterns) {
        let matcher = compile(pattern)?;
        if !names.iter().any(|name| matcher.is_match(name)) {
            let nearest = nearest(pattern, names.iter().map(String::as_str)).unwrap_or_default();
            let (got, nearest) = (pattern.to_owned(), nearest.to_owned());
            return Err(RungError::NoMatch { got, nearest });
        }
        matchers.push(matcher);
    }
    let is_wanted = |name: &String| matchers.iter().any(|matcher| matcher.is_match(name));
    Ok(ladder
        .into_iter()
        .zip(names)
        .filter(|(_, name)| is_wanted(name))
        .map(|(rung, _)| rung)
        .collect())
}

/// Whether any of `patterns` can only mean rungs whose names begin with `start`.
pub fn names_any(patterns: &str, start: &str) -> bool {
    split_outside_braces(patterns).into_iter().any(|pattern| pattern.starts_with(start))
}

fn compile(pattern: &str) -> Result<GlobMatcher, RungError> {
    match GlobBuilder::new(pattern).build() {
        Ok(glob) => Ok(glob.compile_matcher()),
        Err(error) => {
            Err(RungError::Pattern { got: pattern.to_owned(), reason: error.kind().to_string() })
        }
    }
}

/// Cuts at commas, but not at those of a glob's own `{a,b}`.
fn split_outside_braces(patterns: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    patterns
        .split(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        })
        .map(str::trim)
        .filter(|pattern| !pattern.is_empty())
        .collect()
}

/// Names on the driver axis.
pub fn driver_names() -> Vec<&'static str> {
    DRIVERS.iter().map(|entry| entry.name).collect()
}

/// Names on the protocol axis.
pub fn protocol_names() -> Vec<&'static str> {
    PROTOCOLS.iter().map(|entry| entry.name).collect()
}

/// Names on the codec axis: [`REFLECT`], then the codec table, encoding by encoding, our own form first.
pub fn codec_names() -> Vec<&'static str> {
    let of = |encoding: Encoding| {
        let is_foreign = move |name: &&str| *name != encoding.name();
        let mut names: Vec<&'static str> = CODECS
            .iter()
            .filter(|codec| codec.encoding() == encoding)
            .map(|codec| codec.name())
            .collect();
        names.sort_by_key(is_foreign);
        names
    };
    std::iter::once(REFLECT).chain(Encoding::ALL.into_iter().flat_map(of)).collect()
}

fn protocol_entry(name: &str) -> &'static stack::Entry {
    stack::find(name).expect("a rung is only made of names that are in the tables")
}

fn look_up(
    axis: Axis,
    rung: &str,
    got: &str,
    names: &[&'static str],
) -> Result<&'static str, RungError> {
    if let Some(name) = names.iter().find(|name| **name == got) {
        return Ok(name);
    }
    Err(RungError::Unknown {
        axis,
        rung: rung.to_owned(),
        got: got.to_owned(),
        nearest: nearest(got, names.iter().copied()).unwrap_or_default().to_owned(),
        all: names.join(" "),
    })
}

fn nearest_rung(text: &str) -> String {
    let names: Vec<String> = table::rungs().iter().map(Rung::to_string).collect();
    nearest(text, names.iter().map(String::as_str)).unwrap_or_default().to_owned()
}

/// The choice with the least edit distance from `text`; the first of equals.
pub fn nearest<'a>(text: &str, choices: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    choices.min_by_key(|choice| edit_distance(text, choice))
}

/// Levenshtein's distance, in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_parsing_and_printing() {
        for name in ["uring/raw/reflect", "tokio/hyper-h2:tuned/reflect", "tokio-uring/h1/reflect"]
        {
            assert_eq!(name.parse::<Rung>().expect(name).to_string(), name);
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_one() {
        let error = "urng/h1/reflect".parse::<Rung>().unwrap_err();
        assert!(
            matches!(&error, RungError::Unknown { axis: Axis::Driver, nearest, .. } if nearest == "uring"),
            "{error}"
        );
        let error = "uring/htp/reflect".parse::<Rung>().unwrap_err();
        assert!(error.to_string().contains("unknown protocol \"htp\""), "{error}");
        assert!(error.to_string().contains("did you mean"), "{error}");
    }

    #[test]
    fn a_stack_with_its_own_accept_loop_runs_on_its_driver_only() {
        let error = "uring/axum/reflect".parse::<Rung>().unwrap_err();
        assert!(
            matches!(&error, RungError::Impossible { nearest, .. } if nearest == "tokio/axum/reflect"),
            "{error}"
        );
        let error = "uring/tonic/reflect".parse::<Rung>().unwrap_err();
        assert!(
            matches!(&error, RungError::Impossible { nearest, .. } if nearest == "tokio/tonic/reflect"),
            "{error}"
        );
    }

    #[test]
    fn a_text_that_is_not_three_names_is_refused_with_the_nearest_rung() {
        let error = "uring/raw".parse::<Rung>().unwrap_err();
        assert!(
            matches!(&error, RungError::Form { nearest, .. } if nearest.starts_with("uring/raw/")),
            "{error}"
        );
    }

    #[test]
    fn a_glob_selects_across_slashes_and_keeps_the_order_of_the_ladder() {
        let chosen = select("tokio/*, uring/{raw,h1}/reflect", table::rungs()).expect("both match");
        assert!(chosen.iter().any(|rung| rung.to_string() == "tokio/raw/reflect"));
        assert!(chosen.iter().any(|rung| rung.to_string() == "uring/h1/reflect"));
        assert!(chosen.iter().all(|rung| rung.driver() != "tokio-uring"));
        let places: Vec<usize> = chosen
            .iter()
            .map(|rung| table::rungs().iter().position(|other| other == rung).expect("in it"))
            .collect();
        assert!(places.is_sorted());
    }

    #[test]
    fn a_glob_that_selects_nothing_is_refused_with_the_nearest_rung() {
        let error = select("uring/raw/reflec", table::rungs()).unwrap_err();
        assert!(
            matches!(&error, RungError::NoMatch { nearest, .. } if nearest == "uring/raw/reflect"),
            "{error}"
        );
        assert!(matches!(select("[", table::rungs()).unwrap_err(), RungError::Pattern { .. }));
    }

    #[test]
    fn edit_distance_counts_changes() {
        for (a, b, want) in
            [("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ("kitten", "sitting", 3)]
        {
            assert_eq!(edit_distance(a, b), want, "{a} {b}");
        }
    }
}
