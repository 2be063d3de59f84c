//! Check that servers can be sampled here.

use std::process::{Command, Stdio};

/// Returns whether `perf` is installed and may sample; says so if not. With `CI` set, a machine
/// where it cannot fails the test.
pub(crate) fn can_profile() -> bool {
    let mut perf = Command::new("perf");
    perf.args(["record", "-q", "-e", "cpu-clock", "-o", "/dev/null", "true"]);
    perf.stdout(Stdio::null()).stderr(Stdio::null());
    let can = perf.status().is_ok_and(|status| status.success());
    assert!(can || std::env::var_os("CI").is_none(), "perf is needed in CI (package linux-perf)");
    if !can {
        eprintln!("skipped: perf is not installed, or this user may not sample");
    }
    can
}
