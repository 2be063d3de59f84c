//! Numbers for people: three significant digits and a unit.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::record::ArrayInfo;
use crate::stats::bootstrap::Interval;

/// Share of a unit that three digits round up to the unit.
const ROUNDED_UP: f64 = 0.9995;

/// `8 B`, `64 KiB`, `1.5 MiB`.
pub fn bytes(count: u64) -> String {
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

/// `40 s`, `2 min 50 s`, `1 h 5 min`.
pub fn minutes(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes, seconds) {
        (0, 0, _) => format!("{seconds} s"),
        (0, _, 0) => format!("{minutes} min"),
        (0, _, _) => format!("{minutes} min {seconds} s"),
        (_, 0, _) => format!("{hours} h"),
        _ => format!("{hours} h {minutes} min"),
    }
}

/// `0`, `0.5`, `0.012`, `17`.
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

/// `0.33 [0.31-0.36]`; without the range for too few blocks.
pub(super) fn ratio(interval: &Interval) -> String {
    let estimate = digits(interval.estimate);
    match interval.range {
        Some((low, high)) => format!("{estimate} [{}-{}]", digits(low), digits(high)),
        None => estimate,
    }
}

/// `512 ns [480 to 540]`, in the unit and to the digit in which [`time`] gives `like_ns`.
pub(super) fn time_interval(interval: &Interval, like_ns: f64) -> String {
    let (low, high) = interval.range.unwrap_or((interval.estimate, interval.estimate));
    let steps = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    let (step, unit) =
        steps.into_iter().find(|(step, _)| like_ns >= step * ROUNDED_UP).unwrap_or((1.0, "ns"));
    let places = match like_ns / step {
        _ if step == 1.0 => 0,
        value if value >= 100.0 * ROUNDED_UP => 0,
        value if value >= 10.0 * ROUNDED_UP => 1,
        _ => 2,
    };
    let number = |ns: f64| format!("{:.places$}", ns / step);
    let estimate = format!("{} {unit}", number(interval.estimate));
    match interval.range {
        Some(_) => format!("{estimate} [{} to {}]", number(low), number(high)),
        None => estimate,
    }
}

/// `±4%`: half the interval as a share of the figure; `-` for too few blocks.
pub(super) fn half_width(interval: &Interval) -> String {
    match interval.half_width() {
        Some(half) if interval.estimate != 0.0 => {
            format!("±{:.0}%", half / interval.estimate.abs() * 100.0)
        }
        _ => "-".to_owned(),
    }
}

/// `64 KiB <f8 [8192]`, or `64 KiB <f4 [128, 128] smooth`.
pub(super) fn array(array: &ArrayInfo) -> String {
    let data_set = array.data_set.map_or_else(String::new, |data_set| format!(" {data_set}"));
    format!("{} {} {:?}{data_set}", bytes(array.bytes), array.dtype, array.shape)
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

pub(super) fn date(unix_s: u64) -> String {
    let text = rfc3339(unix_s);
    format!("{} {} UTC", &text[..10], &text[11..16])
}

/// `2026-11-24-034744`, for the name of a folder.
pub fn stamp(unix_s: u64) -> String {
    let text = rfc3339(unix_s);
    format!("{}-{}", &text[..10], text[11..19].replace(':', ""))
}

/// `2026-11-24T03:47:44Z`. Times after the year 9999 give its last second.
fn rfc3339(unix_s: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(unix_s.min(LAST));
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_times_have_two_units() {
        for (ms, want) in [
            (400, "0 s"),
            (59_400, "59 s"),
            (59_600, "1 min"),
            (170_000, "2 min 50 s"),
            (3_600_000, "1 h"),
            (3_930_000, "1 h 5 min"),
        ] {
            assert_eq!(minutes(Duration::from_millis(ms)), want);
        }
    }

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
        let delay = Interval { estimate: 512.4, range: Some((-20.0, 540.0)), units: 5 };
        assert_eq!(time_interval(&delay, 500.0), "512 ns [-20 to 540]");
        let delay = Interval { estimate: 1.5e6, range: Some((134e3, 3.016e6)), units: 5 };
        assert_eq!(time_interval(&delay, 1.48e6), "1.50 ms [0.13 to 3.02]");
        assert_eq!(time_interval(&delay, 14.8e3), "1500.0 µs [134.0 to 3016.0]");
    }

    #[test]
    fn dates_of_the_calendar() {
        for (unix_s, want) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_795_492_064, "2026-11-24 03:47 UTC"),
            (u64::MAX, "9999-12-31 23:59 UTC"),
        ] {
            assert_eq!(date(unix_s), want);
        }
        assert_eq!(stamp(1_795_492_064), "2026-11-24-034744");
    }
}
