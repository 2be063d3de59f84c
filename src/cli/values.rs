//! Values on a command line: sizes (`64KiB`), durations (`200ms`), cores (`2-5,7`), numbers.
//!
//! A duration always names its unit, since a bare `10` would have to be guessed.

use std::time::Duration;

use crate::array::Shape;
use crate::record::trial_spec::SpecError;
use crate::stats::bootstrap::UNITS_MIN;

/// Reads `4096`, `64KiB`, `1MiB`, `2GiB` (powers of 1024) or `64kB`, `1MB`, `1GB` (powers of 1000).
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(format!("unknown unit {unit:?}: expected B, KiB, MiB, GiB, kB, MB or GB")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is not a size, e.g. 64KiB"))?;
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} does not fit 64 bits"))
}

/// Reads `500ns`, `800us`, `200ms`, `10s` or `2m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let unit_ns: u64 = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        _ => return Err(format!("unknown unit {unit:?}: expected ns, us, ms, s or m, e.g. 200ms")),
    };
    let number: u64 =
        number.parse().map_err(|_| format!("{text:?} is not a duration, e.g. 200ms"))?;
    let total = number.checked_mul(unit_ns).ok_or_else(|| format!("{text:?} is too long"))?;
    Ok(Duration::from_nanos(total))
}

/// Reads a duration that is not zero.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("expected more than zero".to_owned()),
        duration => Ok(duration),
    }
}

/// Reads a number of blocks that gives intervals.
pub fn blocks_of_a_comparison(text: &str) -> Result<u32, String> {
    const MIN: u32 = UNITS_MIN as u32;
    let blocks: u32 =
        text.trim().parse().map_err(|_| format!("expected a number from {MIN} up"))?;
    if blocks < MIN {
        let reason = "fewer blocks give no interval, and so no verdict";
        return Err(format!("expected at least {MIN}: {reason}"));
    }
    Ok(blocks)
}

/// Reads `128,64`, or `(128, 64)` as NumPy prints it; an empty text is the shape of a 0-d array.
pub fn shape(text: &str) -> Result<Shape, SpecError> {
    let inner = text.trim();
    let inner = inner.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(inner);
    let dims = inner.split(',').map(str::trim).filter(|dim| !dim.is_empty());
    let dims: Result<Vec<u64>, _> = dims.map(str::parse).collect();
    let dims = dims.map_err(|_| SpecError::Shape(text.to_owned()))?;
    Ok(Shape::new(&dims)?)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores(pub Vec<usize>);

/// Reads `0`, `0,2` or `2-5,7`; a core may be named once.
pub fn cores(text: &str) -> Result<Cores, String> {
    let wrong = || format!("{text:?} is not a list of cores, e.g. 0 or 2-5,7");
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: u16 = first.trim().parse().map_err(|_| wrong())?;
        let last: u16 = last.trim().parse().map_err(|_| wrong())?;
        if first > last {
            return Err(wrong());
        }
        cores.extend((first..=last).map(usize::from));
    }
    let mut seen = cores.clone();
    seen.sort_unstable();
    match seen.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("core {} is named twice in {text:?}", pair[0])),
        None => Ok(Cores(cores)),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_both_bases() {
        assert_eq!(size("8"), Ok(8));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1 MiB"), Ok(1_048_576));
        assert_eq!(size("64kB"), Ok(64_000));
        assert!(size("64K").unwrap_err().contains("KiB"));
        assert!(size("KiB").is_err());
        assert!(size("17179869184GiB").is_err());
    }

    #[test]
    fn shapes_are_lists_as_numpy_prints_them_or_bare() {
        for (text, dims) in [
            ("", &[][..]),
            ("()", &[]),
            ("5", &[5]),
            ("(5,)", &[5]),
            ("128,64", &[128, 64]),
            ("(480, 640, 3)", &[480, 640, 3]),
            ("0,5", &[0, 5]),
        ] {
            assert_eq!(shape(text).unwrap().dims(), dims, "{text:?}");
        }
        for wrong in ["x", "-1", "1.5", "(3", "3;4"] {
            assert!(shape(wrong).unwrap_err().to_string().contains("128,64"), "{wrong:?}");
        }
    }

    #[test]
    fn a_comparison_has_enough_blocks_for_an_interval() {
        assert_eq!(blocks_of_a_comparison("5"), Ok(5));
        let few = blocks_of_a_comparison("4").unwrap_err();
        assert!(few.contains("at least 5") && few.contains("no interval"), "{few}");
        for wrong in ["", "-1", "ten", "4294967296"] {
            assert!(blocks_of_a_comparison(wrong).unwrap_err().contains("from 5"), "{wrong:?}");
        }
    }

    #[test]
    fn cores_are_lists_and_ranges() {
        assert_eq!(cores("0"), Ok(Cores(vec![0])));
        assert_eq!(cores("7, 2-4"), Ok(Cores(vec![7, 2, 3, 4])));
        for wrong in ["", "a", "3-1", "0-", "-1", "1,,2", "99999"] {
            assert!(cores(wrong).unwrap_err().contains("2-5,7"), "{wrong:?}");
        }
        assert!(cores("1,0-2").unwrap_err().contains("core 1 is named twice"));
    }

    #[test]
    fn durations_name_their_unit() {
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("10").unwrap_err().contains("200ms"));
        assert!(duration("-1s").is_err());
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(positive_duration("1ns"), Ok(Duration::from_nanos(1)));
        assert!(positive_duration("0ms").unwrap_err().contains("more than zero"));
    }
}
