//! Bars with whiskers on a linear scale.

use crate::report::svg::Svg;

/// Height of a bar, and of the ends of its whisker.
pub(super) const HEIGHT: f64 = 10.0;
const WHISKER_END: f64 = 6.0;

/// Shortest bar of something that costs something.
const WIDTH_MIN: f64 = 2.0;

/// Kind of a server, or the price of a layer; each has a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    Standard,
    Best,
    Layer,
}

/// A cost and the ends of its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) kind: Kind,
    pub(super) ns: f64,
    pub(super) range: Option<(f64, f64)>,
    /// False for an estimate that means nothing: only the interval is drawn.
    pub(super) has_body: bool,
    /// False for a difference that was not shown, whose whisker is dashed.
    pub(super) is_resolved: bool,
}

/// Linear scale from nanoseconds to pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    zero: f64,
    pixels_per_ns: f64,
}

impl Kind {
    pub(super) const ALL: [Kind; 4] = [Kind::Standard, Kind::Best, Kind::Ours, Kind::Layer];

    pub(super) fn class(self) -> &'static str {
        match self {
            Kind::Ours => "ours",
            Kind::Standard => "standard",
            Kind::Best => "best",
            Kind::Layer => "layer",
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Kind::Ours => "our own server",
            Kind::Standard => "tonic or axum as documented",
            Kind::Best => "the same with every setting that helps",
            Kind::Layer => "price of a layer",
        }
    }
}

impl Scale {
    /// Creates the scale on which zero and every bar of `bars` with its whisker fit between `left`
    /// and `right`.
    pub(super) fn fit(bars: &[Bar], left: f64, right: f64) -> Scale {
        let ends = || bars.iter().flat_map(|bar| bar.ends());
        let low = ends().fold(0.0, f64::min);
        let high = ends().fold(0.0, f64::max);
        let pixels_per_ns = if high > low { (right - left) / (high - low) } else { 0.0 };
        Scale { zero: left - low * pixels_per_ns, pixels_per_ns }
    }

    fn x(self, ns: f64) -> f64 {
        self.zero + ns * self.pixels_per_ns
    }

    /// Draws the line at which bars begin.
    pub(super) fn draw_zero(self, svg: &mut Svg, top: f64, bottom: f64) {
        svg.line("zero", (self.zero, top), (self.zero, bottom));
    }
}

impl Bar {
    /// Returns the bar of a ratio to something that costs `base_ns`.
    pub(super) fn of_ratio(kind: Kind, ratio: &super::Ratio, base_ns: f64) -> Bar {
        let ns = ratio.ratio.map(|ratio| ratio * base_ns);
        Bar {
            kind,
            ns: ns.estimate,
            range: ns.range,
            has_body: true,
            is_resolved: ratio.is_shown(),
        }
    }

    pub(super) fn without_range(kind: Kind, ns: f64) -> Bar {
        Bar { kind, ns, range: None, has_body: true, is_resolved: true }
    }

    fn ends(&self) -> Vec<f64> {
        let (low, high) = self.range.unwrap_or((self.ns, self.ns));
        if self.has_body { vec![self.ns, low, high] } else { vec![low, high] }
    }

    /// Draws the bar with its upper edge at `top`.
    pub(super) fn draw(&self, svg: &mut Svg, scale: Scale, top: f64) {
        let middle = top + HEIGHT / 2.0;
        if self.has_body {
            let length = (self.ns.abs() * scale.pixels_per_ns).max(WIDTH_MIN);
            let left = if self.ns < 0.0 { scale.zero - length } else { scale.zero };
            svg.rect(self.kind.class(), (left, top), (length, HEIGHT));
        }
        let Some((low, high)) = self.range else { return };
        let class = if self.is_resolved { "whisker" } else { "whisker faint" };
        svg.line(class, (scale.x(low), middle), (scale.x(high), middle));
        for end in [low, high].map(|end| scale.x(end)) {
            svg.line(class, (end, middle - WHISKER_END / 2.0), (end, middle + WHISKER_END / 2.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(ns: f64, range: (f64, f64)) -> Bar {
        Bar { kind: Kind::Layer, ns, range: Some(range), has_body: true, is_resolved: true }
    }

    #[test]
    fn zero_and_every_whisker_fit() {
        let scale =
            Scale::fit(&[bar(50.0, (40.0, 60.0)), bar(-30.0, (-40.0, -20.0))], 100.0, 200.0);
        assert_eq!([-40.0, 0.0, 60.0].map(|ns| scale.x(ns)), [100.0, 140.0, 200.0]);
        assert_eq!(Scale::fit(&[], 100.0, 200.0).x(5.0), 100.0);
    }

    #[test]
    fn a_small_cost_is_visible_and_a_difference_that_was_not_shown_has_no_bar() {
        let all = [Bar::without_range(Kind::Standard, 1e6), bar(1.0, (0.5, 1.5))];
        let scale = Scale::fit(&all, 0.0, 100.0);
        let drawn = |bar: Bar| {
            let mut svg = Svg::default();
            bar.draw(&mut svg, scale, 0.0);
            svg.document((1.0, 1.0), "", "", "")
        };
        assert!(drawn(all[1]).contains(r#"width="2" height="10""#), "{}", drawn(all[1]));
        assert!(!drawn(Bar { has_body: false, ..all[1] }).contains("<rect class=\"layer\""));
    }
}
