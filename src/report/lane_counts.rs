//! Instructions of lanes, and the comparison with those that were stored.
//!
//! Counts are instructions of one call. A lane is compared as a whole and layer by layer, so that a
//! growth in one layer is found although another one shrinks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::axis::{Layer, Protocol};

use super::lanes::MeasuredLane;

/// Share of a count by which it may differ from the stored one.
pub const TOLERANCE: f64 = 0.02;

/// The same for the allocator below a stack or a codec of others: malloc searches more or less
/// long, by the layout of the heap. The random seeds of hash tables change it (5 % between runs of
/// `axum:best`), and so does other code of the program (6 % of `json:simd` between two versions).
pub const OTHERS_ALLOCATOR_TOLERANCE: f64 = 0.1;

/// Instructions of a call by which a count may differ in any case: hash seeds and the clock move
/// small counts by a few.
pub const SLACK: u64 = 8;

/// Name of the sum of all layers.
const ALL: &str = "all";

/// First line of a file of counts.
const HEAD: &str = "lane,layer,lowest,highest instructions of a call";

/// Counts of lanes by lane and layer; `None` is the whole lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<String, BTreeMap<Option<Layer>, Span>>);

/// Lowest and highest count of a layer that some processes have shown; equal for one process.
///
/// Some layers have two counts between which a process chooses (822 and 846 in one lane of the h2
/// crate). The cause was not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    lowest: u64,
    highest: u64,
}

/// Returns the share of a count by which it may differ.
fn tolerance(lane: &str, layer: Option<Layer>) -> f64 {
    let mut parts = lane.split('/');
    let (first, codec) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let protocol = first.parse::<Protocol>();
    let is_stack = protocol.is_ok_and(|protocol| !protocol.spec().crates.is_empty());
    let is_codec = first == "codec" && codec.contains(':');
    if (is_stack || is_codec) && layer == Some(Layer::Allocator) {
        OTHERS_ALLOCATOR_TOLERANCE
    } else {
        TOLERANCE
    }
}

/// Count that differs from the stored one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Lane without a stored count.
    New {
        lane: String,
    },
    /// Stored lane that no longer exists.
    Gone {
        lane: String,
    },
    Count {
        lane: String,
        layer: Option<Layer>,
        before: Span,
        now: Span,
    },
}

#[derive(Debug, thiserror::Error)]
#[error("line {number} is no count: {line:?}, expected LANE,LAYER,LOWEST,HIGHEST")]
pub struct CountsError {
    number: usize,
    line: String,
}

impl Span {
    fn single(count: u64) -> Span {
        Span { lowest: count, highest: count }
    }

    fn union(self, other: Span) -> Span {
        Span { lowest: self.lowest.min(other.lowest), highest: self.highest.max(other.highest) }
    }

    /// Returns the end that lies nearest to `other`, which lies outside.
    fn nearest_end(self, other: Span) -> u64 {
        if other.lowest > self.highest { self.highest } else { self.lowest }
    }

    /// Returns the instructions between the two, or zero if they touch.
    fn gap(self, other: Span) -> u64 {
        let above = other.lowest.saturating_sub(self.highest);
        above.max(self.lowest.saturating_sub(other.highest))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lowest == self.highest {
            write!(f, "{}", self.lowest)
        } else {
            write!(f, "{} to {}", self.lowest, self.highest)
        }
    }
}

impl Counts {
    pub fn of_lanes(lanes: &[MeasuredLane]) -> Counts {
        let counts = |lane: &MeasuredLane| {
            let layers = lane.of_call().into_iter().map(|(layer, count)| (Some(layer), count));
            let all = layers.chain([(None, lane.all())]);
            (lane.name.clone(), all.map(|(layer, count)| (layer, Span::single(count))).collect())
        };
        Counts(lanes.iter().map(counts).collect())
    }

    pub fn parse(text: &str) -> Result<Counts, CountsError> {
        let mut counts = Counts::default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| *line != HEAD) {
            let count = || {
                let (of, highest) = line.rsplit_once(',')?;
                let (of, lowest) = of.rsplit_once(',')?;
                let (lane, layer) = of.split_once(',')?;
                let layer = if layer == ALL { None } else { Some(layer.parse::<Layer>().ok()?) };
                let span = Span { lowest: lowest.parse().ok()?, highest: highest.parse().ok()? };
                (span.lowest <= span.highest).then_some((lane, layer, span))
            };
            let (lane, layer, span) =
                count().ok_or_else(|| CountsError { number: index + 1, line: line.to_owned() })?;
            counts.0.entry(lane.to_owned()).or_default().insert(layer, span);
        }
        Ok(counts)
    }

    /// Keeps the lanes that `is_wanted` wants.
    #[must_use]
    pub fn filtered(mut self, is_wanted: impl Fn(&str) -> bool) -> Counts {
        self.0.retain(|lane, _| is_wanted(lane));
        self
    }

    /// Widens the counts by another count of the same lanes. A layer that one of the two lacks has
    /// a lowest count of zero.
    pub fn widen(&mut self, again: &Counts) {
        for (lane, layers) in &again.0 {
            let mine = self.0.entry(lane.clone()).or_default();
            let all: BTreeSet<Option<Layer>> = layers.keys().chain(mine.keys()).copied().collect();
            for layer in all {
                let span = span(mine, layer).union(span(layers, layer));
                mine.insert(layer, span);
            }
        }
    }

    /// Takes from another count of some lanes what lies nearer to `expected`: a difference has to
    /// show in each count.
    pub fn approach(&mut self, again: &Counts, expected: &Counts) {
        for (lane, layers) in &again.0 {
            let (Some(mine), Some(expected)) = (self.0.get_mut(lane), expected.0.get(lane)) else {
                continue;
            };
            let all: BTreeSet<Option<Layer>> = layers.keys().chain(mine.keys()).copied().collect();
            for layer in all {
                let (before, now) = (span(mine, layer), span(layers, layer));
                let wanted = span(expected, layer);
                if now.gap(wanted) < before.gap(wanted) {
                    mine.insert(layer, now);
                }
            }
        }
    }

    /// Finds what differs from the counts before.
    pub fn compare(&self, before: &Counts) -> Vec<Difference> {
        let mut found = Vec::new();
        let lanes: BTreeSet<&String> = self.0.keys().chain(before.0.keys()).collect();
        for lane in lanes {
            match (before.0.get(lane), self.0.get(lane)) {
                (Some(before), Some(now)) => {
                    let layers: BTreeSet<&Option<Layer>> =
                        now.keys().chain(before.keys()).collect();
                    found.extend(layers.into_iter().filter_map(|layer| {
                        let (before, now) = (span(before, *layer), span(now, *layer));
                        let share = tolerance(lane, *layer) * before.nearest_end(now) as f64;
                        (before.gap(now) as f64 > share.max(SLACK as f64)).then(|| {
                            Difference::Count { lane: lane.clone(), layer: *layer, before, now }
                        })
                    }));
                }
                (None, _) => found.push(Difference::New { lane: lane.clone() }),
                (_, None) => found.push(Difference::Gone { lane: lane.clone() }),
            }
        }
        found
    }
}

/// Returns the counts of one layer, which are zero if it did nothing.
fn span(counts: &BTreeMap<Option<Layer>, Span>, layer: Option<Layer>) -> Span {
    counts.get(&layer).copied().unwrap_or_default()
}

/// Form of the file.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}")?;
        for (lane, layers) in &self.0 {
            for (layer, Span { lowest, highest }) in layers {
                let layer = layer.map_or(ALL, Layer::name);
                writeln!(f, "{lane},{layer},{lowest},{highest}")?;
            }
        }
        Ok(())
    }
}

impl Difference {
    pub fn lane(&self) -> &str {
        match self {
            Difference::New { lane }
            | Difference::Gone { lane }
            | Difference::Count { lane, .. } => lane,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::New { lane } => {
                write!(f, "{lane}: no count is stored; write the file anew")
            }
            Difference::Gone { lane } => write!(f, "{lane}: no such lane; write the file anew"),
            Difference::Count { lane, layer, before, now } => {
                let (end, nearest) = (before.nearest_end(*now), now.nearest_end(*before));
                let percent = match end {
                    0 => String::new(),
                    _ => format!(" ({:+.1} %)", (nearest as f64 / end as f64 - 1.0) * 100.0),
                };
                let layer = layer.map_or(ALL, Layer::name);
                write!(f, "{lane}, {layer}: {now} instructions a call, expected {before}{percent}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::lanes::tests::lane;

    fn counts(framing: u64, codec: u64) -> Counts {
        let layers = [(Layer::HttpFraming, framing), (Layer::CodecDecode, codec)];
        Counts::of_lanes(&[lane("h2/protobuf/8", &layers)])
    }

    #[test]
    fn three_per_cent_more_in_one_machine_fails_and_names_lane_and_layer() {
        let found = counts(1030, 300).compare(&counts(1000, 300));
        let lines: Vec<String> = found.iter().map(Difference::to_string).collect();
        assert_eq!(
            lines,
            [
                "h2/protobuf/8, all: 1330 instructions a call, expected 1300 (+2.3 %)",
                "h2/protobuf/8, HTTP framing: 1030 instructions a call, expected 1000 (+3.0 %)",
            ]
        );
        assert_eq!(counts(1020, 300).compare(&counts(1000, 300)), []);
    }

    #[test]
    fn a_difference_that_another_count_does_not_show_is_none_and_a_lasting_one_stays() {
        let expected = counts(1000, 300);
        let mut counted = counts(1030, 300);
        counted.approach(&counts(1031, 300), &expected);
        assert_eq!(counted, counts(1030, 300));
        counted.approach(&counts(1001, 300), &expected);
        assert_eq!(counted.compare(&expected), []);
    }

    #[test]
    fn a_layer_with_two_counts_may_have_either_and_what_lies_between() {
        let mut stored = counts(822, 300);
        stored.widen(&counts(846, 300));
        stored.widen(&counts(823, 300));
        assert_eq!(Counts::parse(&stored.to_string()).expect("it was written"), stored);
        for count in [822, 834, 846] {
            assert_eq!(counts(count, 300).compare(&stored), [], "{count}");
        }
        let found = |count| counts(count, 300).compare(&stored).last().map(ToString::to_string);
        let line =
            "h2/protobuf/8, HTTP framing: 872 instructions a call, expected 822 to 846 (+3.1 %)";
        assert_eq!(found(872).as_deref(), Some(line));
        let line =
            "h2/protobuf/8, HTTP framing: 797 instructions a call, expected 822 to 846 (-3.0 %)";
        assert_eq!(found(797).as_deref(), Some(line));
    }

    #[test]
    fn a_layer_that_one_count_lacks_may_be_lacking() {
        let layers = [(Layer::HttpFraming, 1000)];
        let mut stored = Counts::of_lanes(&[lane("h2/protobuf/8", &layers)]);
        stored.widen(&counts(1000, 300));
        assert_eq!(Counts::of_lanes(&[lane("h2/protobuf/8", &layers)]).compare(&stored), []);
        assert_eq!(counts(1000, 300).compare(&stored), []);
    }

    #[test]
    fn a_growth_is_found_although_another_layer_shrinks() {
        let found = counts(1030, 270).compare(&counts(1000, 300));
        let layers: Vec<Option<Layer>> = found
            .iter()
            .map(|it| match it {
                Difference::Count { layer, .. } => *layer,
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(layers, [Some(Layer::CodecDecode), Some(Layer::HttpFraming)]);
    }

    #[test]
    fn less_is_a_difference_too_and_a_few_instructions_are_none() {
        assert_eq!(counts(970, 300).compare(&counts(1000, 300)).len(), 2);
        assert_eq!(counts(1000, 10 + SLACK).compare(&counts(1000, 10)), []);
        assert_eq!(counts(1000, 11 + SLACK).compare(&counts(1000, 10)).len(), 1);
    }

    #[test]
    fn a_layer_or_a_lane_that_comes_or_goes_is_a_difference() {
        let with = |layers: &[(Layer, u64)]| Counts::of_lanes(&[lane("h1/npy/8", layers)]);
        let (one, two) =
            ([(Layer::HttpFraming, 1000)], [(Layer::HttpFraming, 980), (Layer::Allocator, 20)]);
        let found = with(&two).compare(&with(&one));
        assert_eq!(found[0].to_string(), "h1/npy/8, allocator: 20 instructions a call, expected 0");
        let found = counts(1000, 1).compare(&with(&one));
        let lines: Vec<String> = found.iter().map(Difference::to_string).collect();
        assert!(lines[0].starts_with("h1/npy/8: no such lane"), "{lines:?}");
        assert!(lines[1].starts_with("h2/protobuf/8: no count is stored"), "{lines:?}");
        let wanted = with(&one).filtered(|lane| lane.starts_with("h2"));
        assert_eq!(counts(1000, 1).filtered(|_| false).compare(&wanted), []);
    }

    #[test]
    fn only_the_allocator_below_the_code_of_others_may_differ_by_more() {
        let found = |name: &str, framing, allocator| {
            let with = |framing, allocator| {
                let layers = [(Layer::HttpFraming, framing), (Layer::Allocator, allocator)];
                Counts::of_lanes(&[lane(name, &layers)])
            };
            with(framing, allocator).compare(&with(20_000, 1000)).len()
        };
        let of_codec = "codec/json:simd/i8/echo";
        for others in ["axum/npy/8", "axum:best/npy/8", "tonic/protobuf:prost/8", of_codec] {
            assert_eq!(found(others, 20_000, 1080), 0, "{others}");
            assert_eq!(found(others, 20_000, 1120), 1, "{others}");
            assert_eq!(found(others, 21_000, 1000), 2, "{others}");
        }
        for own in ["h1/npy/8", "raw/protobuf/8", "codec/json/f8/echo"] {
            assert_eq!(found(own, 20_000, 1030), 1, "{own}");
        }
    }

    #[test]
    fn counts_survive_their_file() {
        let lanes = [lane("h1/npy/8", &[(Layer::KernelRing, 7)]), lane("a/b", &[])];
        let written = Counts::of_lanes(&lanes);
        assert_eq!(Counts::parse(&written.to_string()).unwrap(), written);
        for line in ["h1/npy/8,HTTP framing", "h1/npy/8,HTTP framing,many", "h1/npy/8,framing,7"] {
            let error = Counts::parse(&format!("{HEAD}\n{line}\n")).unwrap_err().to_string();
            assert!(error.contains("line 2") && error.contains(line), "{error}");
        }
    }
}
