//! Version of the running kernel.

/// Returns the first two numbers of the running kernel's release; `None` if it does not say so.
pub fn version() -> Option<(u32, u32)> {
    parse(&std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?)
}

fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|it: char| !it.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_two_numbers_and_more() {
        assert_eq!(parse("6.8.0-45-generic\n"), Some((6, 8)));
        assert_eq!(parse("6.12-rc3"), Some((6, 12)));
        assert_eq!(parse("6"), None);
        assert_eq!(parse(""), None);
        assert!(version() >= Some((6, 1)), "the README asks for Linux 6.1");
    }
}
