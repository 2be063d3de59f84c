//! Records of a run, read from its folder.

use std::path::Path;

use anyhow::Context;

use crate::axis::external;
use crate::cli::output::tell;
use crate::experiment::records::RECORDS;
use crate::report::Run;

/// Reads the records in the folder `place`, or in the file of that name.
pub(super) fn read(place: &Path) -> anyhow::Result<Run> {
    let path = if place.is_dir() { place.join(RECORDS) } else { place.to_owned() };
    let name = path.display();
    let text = std::fs::read(&path).with_context(|| name.to_string())?;
    // Bytes that are not text make an invalid line, whose error names the line.
    let text = String::from_utf8_lossy(&text);
    if external::are_old(&text) {
        tell(format!("{name}: external servers are now named external/..., not peer/..."));
    }
    Run::parse(&text).with_context(|| name.to_string())
}
