//! Selection of rungs by globs.
//!
//! A pattern without `@` means rungs over TCP only; `uring/*@unix` and `uring/*@*` name others.

use std::fmt;

use globset::{GlobBuilder, GlobMatcher};

use crate::axis::Transport;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    #[error("pattern {got:?} is not a glob: {reason}")]
    Pattern { got: String, reason: String },
    #[error("no rung matches {got:?}; the nearest is {nearest}, and `ndecho rungs` lists them all")]
    NoMatch { got: String, nearest: String },
}

/// Returns those of `rungs` that match any of `patterns`, globs separated by commas.
pub fn select<T: fmt::Display>(patterns: &str, rungs: Vec<T>) -> Result<Vec<T>, SelectError> {
    let names: Vec<String> = rungs.iter().map(T::to_string).collect();
    let mut wanted = vec![false; names.len()];
    for pattern in split_outside_braces(patterns) {
        let matcher = Matcher::new(pattern)?;
        let matches: Vec<bool> = names.iter().map(|name| matcher.matches(name)).collect();
        if !matches.contains(&true) {
            let nearest = nearest(pattern, &names).to_owned();
            return Err(SelectError::NoMatch { got: pattern.to_owned(), nearest });
        }
        wanted.iter_mut().zip(matches).for_each(|(wanted, matches)| *wanted |= matches);
    }
    Ok(rungs.into_iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(rung, _)| rung).collect())
}

/// Returns whether any of `patterns` can only mean rungs whose names begin with `start`.
pub fn names_any(patterns: &str, start: &str) -> bool {
    split_outside_braces(patterns).into_iter().any(|pattern| pattern.starts_with(start))
}

struct Matcher {
    glob: GlobMatcher,
    /// True for a pattern with `@`, which is compared with names in full.
    names_transport: bool,
}

impl Matcher {
    fn new(pattern: &str) -> Result<Matcher, SelectError> {
        let glob = GlobBuilder::new(pattern).build().map_err(|error| SelectError::Pattern {
            got: pattern.to_owned(),
            reason: error.kind().to_string(),
        })?;
        Ok(Matcher { glob: glob.compile_matcher(), names_transport: pattern.contains('@') })
    }

    fn matches(&self, name: &str) -> bool {
        match (self.names_transport, name.contains('@')) {
            (true, true) | (false, false) => self.glob.is_match(name),
            (true, false) => self.glob.is_match(format!("{name}@{}", Transport::Tcp)),
            (false, true) => false,
        }
    }
}

/// Splits at the commas outside of braces.
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

fn nearest<'a>(text: &str, names: &'a [String]) -> &'a str {
    names.iter().min_by_key(|name| strsim::levenshtein(text, name)).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Driver;
    use crate::ladder::table;

    #[test]
    fn a_glob_selects_across_slashes_and_keeps_the_order_of_the_ladder() {
        let chosen = select("tokio/*, uring/{raw,h1}/reflect", table::rungs()).expect("both match");
        assert!(chosen.iter().any(|rung| rung.to_string() == "tokio/raw/reflect"));
        assert!(chosen.iter().any(|rung| rung.to_string() == "uring/h1/reflect"));
        assert!(chosen.iter().all(|rung| rung.driver() != Driver::TokioUring));
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
            matches!(&error, SelectError::NoMatch { nearest, .. } if nearest == "uring/raw/reflect"),
            "{error}"
        );
        assert!(matches!(select("[", table::rungs()).unwrap_err(), SelectError::Pattern { .. }));
    }

    #[test]
    fn only_a_pattern_with_a_transport_leaves_tcp() {
        let names = || vec!["uring/h2/protobuf", "uring/h2/protobuf@unix", "uring/h2/npy"];
        let chosen = |patterns| select(patterns, names()).expect(patterns);
        assert_eq!(chosen("uring/*"), ["uring/h2/protobuf", "uring/h2/npy"]);
        assert_eq!(chosen("uring/*@unix"), ["uring/h2/protobuf@unix"]);
        assert_eq!(chosen("*/protobuf@*"), ["uring/h2/protobuf", "uring/h2/protobuf@unix"]);
        assert_eq!(chosen("*npy@tcp"), ["uring/h2/npy"]);
    }
}
