//! Numbers of one column in one unit, and bars.

use crate::stats::bootstrap::Interval;

/// Unit of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::report) struct Scale {
    divisor: f64,
    pub(in crate::report) unit: &'static str,
}

impl Scale {
    /// Chooses the unit. Milliseconds begin at ten, so that small parts of one have digits.
    pub(in crate::report) fn for_largest(largest_ns: f64) -> Scale {
        let steps = [(1e10, 1e9, "s"), (1e7, 1e6, "ms"), (1e3, 1e3, "µs")];
        let step = steps.into_iter().find(|(least, ..)| largest_ns >= *least);
        let (_, divisor, unit) = step.unwrap_or((0.0, 1.0, "ns"));
        Scale { divisor, unit }
    }

    /// Three digits, at most two of them decimal places, without the unit: `2.51`.
    pub(in crate::report) fn number(self, ns: f64) -> String {
        let value = ns / self.divisor;
        let places = match value.abs() {
            value if value >= 99.95 => 0,
            value if value >= 9.995 => 1,
            _ => 2,
        };
        let text = format!("{value:.places$}");
        // An estimate of -0.001 is printed as 0.00, not as -0.00.
        match text.strip_prefix('-') {
            Some("0.00") => "0.00".to_owned(),
            _ => text,
        }
    }

    /// `2.51 [2.20-2.80]`; without the range for too few launches.
    pub(in crate::report) fn interval(self, interval: &Interval) -> String {
        let estimate = self.number(interval.estimate);
        match interval.range {
            Some(range) => format!("{estimate} [{}]", self.range(range)),
            None => estimate,
        }
    }

    /// `2.20-2.80`, or `-0.10 to 0.30`.
    pub(in crate::report) fn range(self, (low, high): (f64, f64)) -> String {
        let (low, high) = (self.number(low), self.number(high));
        let to = if low.starts_with('-') { " to " } else { "-" };
        format!("{low}{to}{high}")
    }
}

/// Returns the width of bars beside cells that take `taken` of the `width` characters of a line:
/// at most `longest`, and 0 where the room is too small to compare them.
pub(super) fn bar_width(width: usize, taken: usize, longest: usize) -> usize {
    let left = width.saturating_sub(taken).min(longest);
    if left < 6 { 0 } else { left }
}

/// Returns the length of the longest of the texts.
pub(super) fn widest<'a>(texts: impl IntoIterator<Item = &'a str>) -> usize {
    texts.into_iter().map(|text| text.chars().count()).max().unwrap_or(0)
}

/// A bar of up to `width` characters for a share of the longest bar. Something has at least one,
/// where there is room for bars.
pub(super) fn bar(share: f64, width: usize) -> String {
    let length = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    "#".repeat(if share > 0.0 { length.max(1).min(width) } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_one_unit() {
        let scale = Scale::for_largest(13_040.0);
        assert_eq!((scale.number(13_040.0), scale.unit), ("13.0".to_owned(), "µs"));
        assert_eq!(scale.number(-2.0), "0.00");
        let interval = Interval { estimate: 2510.0, range: Some((-100.0, 2800.0)), units: 5 };
        assert_eq!(scale.interval(&interval), "2.51 [-0.10 to 2.80]");
        let scale = Scale::for_largest(1_630_000.0);
        assert_eq!((scale.number(281_400.0), scale.number(7120.0)), ("281".into(), "7.12".into()));
        assert_eq!((Scale::for_largest(27e6).unit, Scale::for_largest(364.0).unit), ("ms", "ns"));
    }

    #[test]
    fn bars_get_the_room_that_the_cells_leave() {
        assert_eq!((bar_width(100, 74, 30), bar_width(100, 60, 30)), (26, 30));
        assert_eq!((bar_width(80, 75, 30), bar_width(80, 90, 30)), (0, 0));
        assert_eq!((widest(["µs", "four"]), widest([])), (4, 0));
    }

    #[test]
    fn bars_are_proportional_and_visible() {
        assert_eq!(
            (bar(1.0, 6), bar(0.5, 6), bar(0.001, 6)),
            ("######".into(), "###".into(), "#".into())
        );
        assert_eq!(bar(-0.2, 6), "");
    }
}
