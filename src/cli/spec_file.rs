//! Document of a trial, read from a file or from stdin.

use std::path::Path;

use anyhow::Context;

use crate::record::trial_spec::TrialSpec;

/// Reads the document at `path`; `-` is stdin.
pub(super) fn read(path: &Path) -> anyhow::Result<TrialSpec> {
    let is_stdin = path == Path::new("-");
    let text = if is_stdin {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let name = if is_stdin { "stdin".to_owned() } else { path.display().to_string() };
    let text = text.with_context(|| format!("cannot read {name}"))?;
    TrialSpec::from_json(&text).map_err(anyhow::Error::msg).context(name)
}
