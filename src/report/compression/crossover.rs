//! Link speed below which a coding pays: it saves bits on the link, and adds time on a core.
//!
//! A call takes its CPU time, and its bits divided by the speed of the link. So it is faster with
//! the coding on every link slower than `saved bits / added time`. A bit per nanosecond is one
//! Gbit/s.

use crate::stats::bootstrap::Interval;

/// Share of the bytes that a coding must save before it can pay. Less is the scatter of the bytes
/// of heads, which differ from request to request.
const SAVED_SHARE_MIN: f64 = 0.001;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Crossover {
    /// The messages do not shrink, so that no link is slow enough.
    Never,
    /// The coding adds time, and pays on links below this speed in Gbit/s.
    Below(Interval),
    /// No added time was shown; the coding pays at least on links below this speed in Gbit/s.
    AtLeast(f64),
    /// Coded messages take less time, even without a link.
    Always,
    /// Too few launches to tell whether the coding adds time.
    Unknown,
}

/// Bytes of a call on the link, both ways.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LinkBytes {
    pub(super) plain: f64,
    pub(super) coded: f64,
}

impl LinkBytes {
    pub(super) fn share(self) -> f64 {
        self.coded / self.plain.max(1.0)
    }
}

impl Crossover {
    /// `added_ns` is the time that the coding adds to a call, and `floor_ns` the largest difference
    /// that the noise of the run makes.
    pub(super) fn evaluate(bytes: LinkBytes, added_ns: &Interval, floor_ns: f64) -> Crossover {
        let saved_bits = 8.0 * (bytes.plain - bytes.coded);
        if saved_bits <= 8.0 * bytes.plain * SAVED_SHARE_MIN {
            return Crossover::Never;
        }
        let added = added_ns.estimate;
        let speed = |ns: f64| saved_bits / ns;
        match added_ns.range {
            None if added > 0.0 => {
                Crossover::Below(Interval { estimate: speed(added), ..*added_ns })
            }
            None => Crossover::Unknown,
            Some((low, high)) if low > 0.0 && added > floor_ns => Crossover::Below(Interval {
                estimate: speed(added),
                range: Some((speed(high), speed(low))),
                ..*added_ns
            }),
            Some((_, high)) if high < 0.0 && added < -floor_ns => Crossover::Always,
            Some((_, high)) if high.max(floor_ns) > 0.0 => {
                Crossover::AtLeast(speed(high.max(floor_ns)))
            }
            Some(_) => Crossover::Always,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALVED: LinkBytes = LinkBytes { plain: 2000.0, coded: 1000.0 };

    fn added(low: f64, estimate: f64, high: f64) -> Interval {
        Interval { estimate, range: Some((low, high)), units: 8 }
    }

    #[test]
    fn it_is_the_saved_bits_over_the_added_time_and_its_ends_change_places() {
        let crossover = Crossover::evaluate(HALVED, &added(4000.0, 8000.0, 16_000.0), 0.0);
        let speed = Interval { estimate: 1.0, range: Some((0.5, 2.0)), units: 8 };
        assert_eq!(crossover, Crossover::Below(speed));
        let few = Interval { range: None, units: 2, ..added(0.0, 8000.0, 0.0) };
        let Crossover::Below(speed) = Crossover::evaluate(HALVED, &few, 0.0) else {
            panic!("an estimate without an interval")
        };
        assert_eq!((speed.estimate, speed.range), (1.0, None));
    }

    #[test]
    fn messages_that_do_not_shrink_never_pay() {
        let time = added(4000.0, 8000.0, 16_000.0);
        for coded in [2000.0, 2100.0, 1999.0] {
            let bytes = LinkBytes { coded, ..HALVED };
            assert_eq!(Crossover::evaluate(bytes, &time, 0.0), Crossover::Never);
        }
        let cheaper = added(-3.0, -2.0, -1.0);
        let grown = LinkBytes { coded: 2001.0, ..HALVED };
        assert_eq!(Crossover::evaluate(grown, &cheaper, 0.0), Crossover::Never);
    }

    #[test]
    fn time_that_was_not_shown_divides_nothing() {
        let evaluate = |low, estimate, high, floor| {
            Crossover::evaluate(HALVED, &added(low, estimate, high), floor)
        };
        assert_eq!(evaluate(-100.0, 20.0, 800.0, 0.0), Crossover::AtLeast(10.0));
        assert_eq!(evaluate(100.0, 200.0, 300.0, 800.0), Crossover::AtLeast(10.0));
        assert_eq!(evaluate(-300.0, -200.0, -100.0, 800.0), Crossover::AtLeast(10.0));
        assert_eq!(evaluate(-300.0, -200.0, -100.0, 50.0), Crossover::Always);
        assert_eq!(evaluate(0.0, 0.0, 0.0, 0.0), Crossover::Always);
        let few = Interval { range: None, ..added(0.0, -5.0, 0.0) };
        assert_eq!(Crossover::evaluate(HALVED, &few, 0.0), Crossover::Unknown);
        let none = Interval { range: None, ..added(0.0, 0.0, 0.0) };
        assert_eq!(Crossover::evaluate(HALVED, &none, 0.0), Crossover::Unknown);
    }
}
