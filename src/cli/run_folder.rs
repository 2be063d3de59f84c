//! Records of a run, read from its folder.

use std::path::Path;

use crate::axis::external;
use crate::experiment::records::RECORDS;
use crate::report::Run;

/// Reads the records in the folder `place`, or in the file of that name.
pub(super) fn read(place: &Path) -> Result<Run, String> {
    let path = if place.is_dir() { place.join(RECORDS) } else { place.to_owned() };
    let explain = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read(&path).map_err(|error| explain(&error))?;
    // Bytes that are not text make an invalid line, whose error names the line.
    let text = String::from_utf8_lossy(&text);
    if external::are_old(&text) {
        eprintln!("{}: external servers are now named external/..., not peer/...", path.display());
    }
    Run::parse(&text).map_err(|error| explain(&error))
}
