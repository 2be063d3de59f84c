//! Numbers for people: three significant digits and a unit.

use crate::record::ArrayInfo;
use crate::stats::bootstrap::Interval;

/// Part of a unit from which on three digits show the whole of it.
const ROUNDED_UP: f64 = 0.9995;

/// `8 B`, `64 KiB`, `1.5 MiB`.
pub(super) fn bytes(count: u64) -> String {
    let steps = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match steps.into_iter().find(|(step, _)| count >= *step) {
        Some((step, unit)) if count.is_multiple_of(step) => format!("{} {unit}", count / step),
        Some((step, unit)) => format!("{} {unit}", digits(count as f64 / step as f64)),
        None => format!("{count} B"),
    }
}

/// `412 ns`, `8.51 µs`, `1.34 ms`, `2.10 s`.
pub(super) fn time(ns: f64) -> String {
    let steps = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    match steps.into_iter().find(|(step, _)| ns >= step * ROUNDED_UP) {
        Some((step, unit)) => format!("{} {unit}", digits(ns / step)),
        None => format!("{} ns", digits(ns)),
    }
}

/// `0`, `0.5`, `0.012`, `17`: how many of something a request takes.
pub(super) fn count(each: f64) -> String {
    match each.abs() {
        each if each < 0.0005 => "0".to_owned(),
        each if each < 0.1 => format!("{each:.3}"),
        large if large < 10.0 => format!("{each:.1}"),
        _ => format!("{each:.0}"),
    }
}

/// `153`, `43.0k`, `1.20M`.
pub(super) fn rate(hz: f64) -> String {
    let steps = [(1e6, "M"), (1e3, "k")];
    match steps.into_iter().find(|(step, _)| hz >= step * ROUNDED_UP) {
        Some((step, unit)) => format!("{}{unit}", digits(hz / step)),
        None => digits(hz),
    }
}

/// `0.33 [0.31-0.36]`; of too few blocks there is no range.
pub(super) fn ratio(interval: &Interval) -> String {
    let estimate = digits(interval.estimate);
    match interval.range {
        Some((low, high)) => format!("{estimate} [{}-{}]", digits(low), digits(high)),
        None => estimate,
    }
}

/// `512 ns [480 to 540]`.
pub(super) fn time_interval(interval: &Interval) -> String {
    let estimate = format!("{:.0} ns", interval.estimate);
    match interval.range {
        Some((low, high)) => format!("{estimate} [{low:.0} to {high:.0}]"),
        None => estimate,
    }
}

/// `±4%`, half the interval as a part of the figure; of too few blocks there is none.
pub(super) fn half_width(interval: &Interval) -> String {
    match interval.half_width() {
        Some(half) if interval.estimate != 0.0 => {
            format!("±{:.0}%", half / interval.estimate.abs() * 100.0)
        }
        _ => "-".to_owned(),
    }
}

/// `64 KiB <f8 [8192]`.
pub(super) fn array(array: &ArrayInfo) -> String {
    format!("{} {} {:?}", bytes(array.bytes), array.dtype, array.shape)
}

/// Three significant digits, without an exponent.
fn digits(value: f64) -> String {
    let places = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.0995 || v == 0.0 => 2,
        _ => 3,
    };
    format!("{value:.places$}")
}

/// `2026-11-24 03:47 UTC` of seconds since 1970.
pub(super) fn date(unix_s: u64) -> String {
    let (year, month, day) = civil(unix_s / 86_400);
    let (hour, minute) = (unix_s / 3600 % 24, unix_s / 60 % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// `2026-11-24-034744` of seconds since 1970, for the name of a folder.
pub fn stamp(unix_s: u64) -> String {
    let (year, month, day) = civil(unix_s / 86_400);
    let (hour, minute, second) = (unix_s / 3600 % 24, unix_s / 60 % 60, unix_s % 60);
    format!("{year}-{month:02}-{day:02}-{hour:02}{minute:02}{second:02}")
}

/// Year, month and day of a day counted from 1970-01-01, in 400-year eras that begin on the 1st of March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        for (ns, want) in [
            (0.0, "0.00 ns"),
            (412.0, "412 ns"),
            (999.4, "999 ns"),
            (999.6, "1.00 µs"),
            (8514.0, "8.51 µs"),
            (1.3e6, "1.30 ms"),
            (2e9, "2.00 s"),
        ] {
            assert_eq!(time(ns), want);
        }
        for (hz, want) in [(9.5, "9.50"), (153.2, "153"), (43_000.0, "43.0k"), (1.2e6, "1.20M")] {
            assert_eq!(rate(hz), want);
        }
        for (count, want) in
            [(8, "8 B"), (65_536, "64 KiB"), (3 << 19, "1.50 MiB"), (1 << 30, "1 GiB")]
        {
            assert_eq!(bytes(count), want);
        }
    }

    #[test]
    fn a_figure_comes_with_its_interval() {
        let interval = Interval { estimate: 0.333, range: Some((0.04, 1.0)), units: 5 };
        assert_eq!(ratio(&interval), "0.33 [0.040-1.00]");
        assert_eq!(half_width(&interval), "±144%");
        let few = Interval { range: None, ..interval };
        assert_eq!((ratio(&few), half_width(&few)), ("0.33".to_owned(), "-".to_owned()));
        let spun = Interval { estimate: 512.4, range: Some((-20.0, 540.0)), units: 5 };
        assert_eq!(time_interval(&spun), "512 ns [-20 to 540]");
    }

    #[test]
    fn dates_of_the_calendar() {
        for (unix_s, want) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_795_492_064, "2026-11-24 03:47 UTC"),
        ] {
            assert_eq!(date(unix_s), want);
        }
        assert_eq!(stamp(1_795_492_064), "2026-11-24-034744");
    }
}
