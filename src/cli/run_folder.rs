//! Records of a run, read from its folder, or from the page that a report made of it. A kept run
//! may be compressed by gzip.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use flate2::read::MultiGzDecoder;

use crate::axis::external;
use crate::cli::output::{Failure, tell, usage};
use crate::experiment::records::{RECORDS, STACKS};
use crate::record::TrialStacks;
use crate::report::page::Icicles;
use crate::report::{Run, page};

/// First bytes of a file of gzip (RFC 1952, section 2.3.1).
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// First word of a page.
const PAGE_START: &str = "<!doctype html";

/// Reads the records in the folder `place`, or in the file of that name.
pub(super) fn read(place: &Path) -> anyhow::Result<Run> {
    let path = if place.is_dir() { file_of(place, RECORDS) } else { place.to_owned() };
    let name = path.display();
    let mut text = text(&path)?;
    if is_page(&text) {
        text = page::extract(&text).with_context(|| name.to_string())?;
    }
    if external::are_old(&text) {
        tell(format!("{name}: external servers are now named external/..., not peer/..."));
    }
    Run::parse(&text).with_context(|| name.to_string())
}

/// Reads the records in the place that the command line names. A missing one is wrong usage.
pub(super) fn read_named(place: &Path) -> Result<Run, Failure> {
    let missing = std::fs::metadata(place).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    if missing {
        return Err(usage(format!(
            "{}: no such folder or file; a run names the folder of its records when it ends",
            place.display()
        )));
    }
    Ok(read(place)?)
}

/// Reads the icicles of `run`, which was read from `place`: from the call stacks beside the
/// records, or from a page. There are none if neither has any.
pub(super) fn read_icicles(run: &mut Run, place: &Path) -> anyhow::Result<Icicles> {
    if place.is_dir() {
        if file_of(place, STACKS).exists() {
            read_stacks(run, place)?;
        }
        return Ok(Icicles::of_run(run));
    }
    let text = text(place)?;
    if !is_page(&text) {
        return Ok(Icicles::default());
    }
    Icicles::extract(&text).with_context(|| place.display().to_string())
}

/// Returns true for a folder of a run, and for a file that has records. A program has none.
pub(super) fn is_recorded(place: &Path) -> bool {
    let mut start = [0; PAGE_START.len()];
    place.is_dir()
        || std::fs::File::open(place).is_ok_and(|mut file| {
            let length = file.read(&mut start).unwrap_or_default();
            let start = &start[..length];
            start.starts_with(GZIP_MAGIC)
                || start.starts_with(b"{")
                || is_page(&String::from_utf8_lossy(start))
        })
}

fn is_page(text: &str) -> bool {
    let start = text.get(..PAGE_START.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(PAGE_START))
}

/// Reads the call stacks of the run in `folder` into its profiles. Stacks that cannot be read are
/// left out.
pub(super) fn read_stacks(run: &mut Run, folder: &Path) -> anyhow::Result<()> {
    let path = file_of(folder, STACKS);
    let text = text(&path)?;
    // A killed run leaves a last line without its end.
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    for (number, line) in (1..).zip(whole.lines()) {
        match serde_json::from_str::<TrialStacks>(line) {
            Ok(stacks) => _ = stacks.restore(&mut run.trials),
            Err(error) => tell(format!("{}: line {number} is left out: {error}", path.display())),
        }
    }
    Ok(())
}

fn text(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    let mut bytes = std::fs::read(path).with_context(|| name.to_string())?;
    if bytes.starts_with(GZIP_MAGIC) {
        let mut plain = Vec::new();
        MultiGzDecoder::new(bytes.as_slice())
            .read_to_end(&mut plain)
            .with_context(|| format!("{name} cannot be decompressed"))?;
        bytes = plain;
    }
    // Bytes that are not text make an invalid line, whose error names the line.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn file_of(folder: &Path, name: &str) -> PathBuf {
    let plain = folder.join(name);
    let compressed = folder.join(format!("{name}.gz"));
    if compressed.exists() && !plain.exists() { compressed } else { plain }
}
