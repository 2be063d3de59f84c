//! Document of a trial, read from a file or from stdin.

use std::path::Path;

use anyhow::Context;

use crate::record::trial_spec::TrialSpec;

/// Reads the document at `path`; `-` is the first line of stdin, behind which commands may follow.
pub(super) fn read(path: &Path) -> anyhow::Result<TrialSpec> {
    let is_stdin = path == Path::new("-");
    let text = if is_stdin {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    } else {
        std::fs::read_to_string(path)
    };
    let name = if is_stdin { "stdin".to_owned() } else { path.display().to_string() };
    let text = text.with_context(|| format!("cannot read {name}"))?;
    TrialSpec::from_json(&text).map_err(anyhow::Error::msg).context(name)
}
