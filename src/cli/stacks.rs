//! Flags for the call stacks of a profile, and the files that they write.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;

use crate::cli::output::tell;
use crate::report::stacks::{Form, Profiled};

#[derive(Args, Clone, Debug)]
pub(super) struct StacksArgs {
    /// Writes the stacks for profiler.firefox.com, with the layers as categories
    ///
    /// With several rungs or loads, each has a file of its own, in all three forms. Rung and load
    /// follow the name of FILE: layers-uring-raw-npy-8-B-f8-1-1-connection-64-in-flight.json.
    #[arg(long, value_name = "FILE")]
    firefox: Option<PathBuf>,

    /// Writes a line for each stack, as flame graph programs read it; the layer is the first frame
    #[arg(long, value_name = "FILE")]
    collapsed: Option<PathBuf>,

    /// Draws the stacks below their layers (SVG): functions, then their callers
    #[arg(long, value_name = "FILE")]
    icicle: Option<PathBuf>,
}

impl StacksArgs {
    fn files(&self) -> impl Iterator<Item = (Form, &Path)> {
        let forms = [
            (Form::Firefox, &self.firefox),
            (Form::Collapsed, &self.collapsed),
            (Form::Icicle, &self.icicle),
        ];
        forms.into_iter().filter_map(|(form, file)| Some((form, file.as_deref()?)))
    }

    pub(super) fn names_files(&self) -> bool {
        self.files().next().is_some()
    }

    /// Checks that the files can be written, before a run takes its time.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let mut seen = BTreeSet::new();
        for (_, file) in self.files() {
            let name = file.display();
            ensure!(seen.insert(file), "{name} is the file of two forms; give each a file");
            ensure!(file.file_name().is_some() && !file.is_dir(), "{name} is no name of a file");
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            let is_there = folder.is_none_or(Path::is_dir);
            ensure!(
                is_there,
                "the folder of {name} does not exist; make it, or choose another one"
            );
        }
        Ok(())
    }

    /// Writes the files, and says their names.
    pub(super) fn write(&self, profiled: &[Profiled]) -> anyhow::Result<()> {
        for (form, file) in self.files() {
            ensure!(!profiled.is_empty(), "there are no stacks for {}", file.display());
            for (path, profiled) in names(file, profiled).into_iter().zip(profiled) {
                std::fs::write(&path, profiled.render(form))
                    .with_context(|| format!("cannot write {}", path.display()))?;
                tell(format!("wrote {}", path.display()));
            }
        }
        Ok(())
    }
}

/// Returns the file of each server: `file` itself for a single one. Several have their names behind
/// that of `file`, and a number if two names differ in their signs only.
fn names(file: &Path, profiled: &[Profiled]) -> Vec<PathBuf> {
    if let [_] = profiled {
        return vec![file.to_owned()];
    }
    let text =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let (stem, extension) = (text(file.file_stem()), text(file.extension()));
    let end = if extension.is_empty() { String::new() } else { format!(".{extension}") };
    let mut used = BTreeSet::new();
    let name = |one: &Profiled| {
        let base = format!("{stem}-{}-{}", plain(&one.server), plain(&one.load));
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        let mut free = std::iter::once(base.clone()).chain(numbered);
        let name = free.find(|name| used.insert(name.clone())).unwrap_or(base.clone());
        file.with_file_name(name + &end)
    };
    profiled.iter().map(name).collect()
}

/// Replaces every row of characters other than letters, digits and dots by a hyphen.
fn plain(text: &str) -> String {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '.';
    let words = text.split(|letter| !is_word(letter)).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::profile::Stacks;

    fn profiled(server: &str) -> Profiled {
        let load = "float64[1] 8 B, 1 connection, 64 in flight".to_owned();
        Profiled { server: server.to_owned(), load, stacks: Stacks::default() }
    }

    fn names(servers: &[&str]) -> Vec<String> {
        let profiled: Vec<Profiled> = servers.iter().map(|server| profiled(server)).collect();
        let names = super::names(Path::new("out/layers.json"), &profiled);
        names.iter().map(|name| name.display().to_string()).collect()
    }

    #[test]
    fn a_single_server_has_the_file_and_several_have_their_names_behind_it() {
        assert_eq!(names(&["uring/raw/npy"]), ["out/layers.json"]);
        let load = "float64-1-8-B-1-connection-64-in-flight";
        assert_eq!(
            names(&["uring/h2/protobuf", "tokio/tonic:best/protobuf:prost@unix"]),
            [
                format!("out/layers-uring-h2-protobuf-{load}.json"),
                format!("out/layers-tokio-tonic-best-protobuf-prost-unix-{load}.json"),
            ]
        );
    }

    #[test]
    fn a_name_cannot_leave_the_folder_or_meet_another() {
        let names = names(&["external/../../x", "external/..\u{0}/..:x", "é"]);
        let load = "float64-1-8-B-1-connection-64-in-flight";
        assert_eq!(
            names,
            [
                format!("out/layers-external-..-..-x-{load}.json"),
                format!("out/layers-external-..-..-x-{load}-2.json"),
                format!("out/layers--{load}.json"),
            ]
        );
    }

    #[test]
    fn a_file_that_cannot_be_written_is_said_before_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let check = |firefox: Option<PathBuf>, icicle: Option<PathBuf>| {
            StacksArgs { firefox, collapsed: None, icicle }.check()
        };
        let inside = folder.path().join("missing").join("a.json");
        let error = check(Some(inside), None).unwrap_err().to_string();
        assert!(error.contains("missing") && error.contains("does not exist"), "{error}");
        let error = check(Some(folder.path().to_owned()), None).unwrap_err().to_string();
        assert!(error.contains("no name of a file"), "{error}");
        let file = folder.path().join("a");
        let error = check(Some(file.clone()), Some(file.clone())).unwrap_err().to_string();
        assert!(error.contains("two forms"), "{error}");
        check(Some(file), Some("b.svg".into())).unwrap();
    }
}
