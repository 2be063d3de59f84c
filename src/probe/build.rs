//! Properties of this program's build. An unknown fact is left empty.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::axis;

use super::host::read;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    pub version: String,
    pub rustc: String,
    pub profile: String,
    /// The release profile of `Cargo.toml`, which every rung shares.
    pub settings: String,
    pub allocator: String,
    pub crates: BTreeMap<String, String>,
    /// Commit of the working tree that contains the binary; `-dirty` is appended if it is modified.
    pub commit: Option<String>,
}

impl Build {
    pub fn read() -> Build {
        Build {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            rustc: std::env::current_exe()
                .and_then(fs::read)
                .map(|binary| compiler(&binary))
                .unwrap_or_default(),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
            settings: section(include_str!("../../Cargo.toml"), "[profile.release]"),
            allocator: allocator(),
            crates: versions(include_str!("../../Cargo.lock")),
            commit: commit(),
        }
    }
}

/// Finds the compiler's signature: `rustc version 1.95.0 (...)`.
fn compiler(binary: &[u8]) -> String {
    let mark = b"rustc version ";
    memchr::memmem::find_iter(binary, mark)
        .map(|at| &binary[at + mark.len()..])
        .filter(|rest| rest.first().is_some_and(u8::is_ascii_digit))
        .filter_map(|rest| rest.split_inclusive(|byte| *byte == b')').next())
        .find_map(|text| std::str::from_utf8(text).ok())
        .unwrap_or_default()
        .to_owned()
}

/// Names the allocator. This program sets none, so it is that of the loaded C library.
fn allocator() -> String {
    let maps = read("/proc/self/maps");
    let library = maps.split_whitespace().find(|word| word.contains("/libc.so"));
    let version = library.and_then(|path| libc_version(&fs::read(path).ok()?));
    version.map_or_else(
        || "the C library's malloc".to_owned(),
        |version| format!("malloc of glibc {version}"),
    )
}

/// Parses `GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.`
fn libc_version(library: &[u8]) -> Option<String> {
    let at = memchr::memmem::find(library, b"GNU C Library")?;
    let line = library[at..].split(|byte| *byte == b'\n').next()?;
    let (_, version) = std::str::from_utf8(line).ok()?.rsplit_once("release version ")?;
    Some(version.trim_end_matches('.').to_owned())
}

fn section(toml: &str, head: &str) -> String {
    let lines = toml.lines().skip_while(|line| line.trim() != head).skip(1);
    let body: Vec<&str> =
        lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty()).collect();
    body.join(", ")
}

/// Returns the versions of the axes' crates; the last entry of a name counts.
fn versions(lock: &str) -> BTreeMap<String, String> {
    let crates = axis::crates();
    let mut versions = BTreeMap::new();
    let value = |line: &str, key: &str| {
        line.strip_prefix(key).map(|rest| rest.trim_matches(|c| c == '"' || c == ' ').to_owned())
    };
    let mut name = String::new();
    for line in lock.lines() {
        if let Some(found) = value(line, "name =") {
            name = found;
        } else if let Some(version) = value(line, "version =")
            && crates.contains(name.as_str())
        {
            versions.insert(name.clone(), version);
        }
    }
    versions
}

fn commit() -> Option<String> {
    let exe = std::env::current_exe().ok()?;
    let output = Command::new("git")
        .arg("-C")
        .arg(exe.parent()?)
        .args(["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_knows_its_compiler_and_its_stacks() {
        let build = Build::read();
        assert!(build.rustc.starts_with("1."), "{:?}", build.rustc);
        assert!(build.settings.contains("lto"), "{:?}", build.settings);
        for name in axis::crates() {
            assert!(build.crates.contains_key(name), "{name} is not in the lock file");
        }
    }

    #[test]
    fn the_compiler_is_read_from_its_signature_only() {
        assert_eq!(compiler(b"\0rustc version \0GCC\0rustc version 1.95.0 (x)\0"), "1.95.0 (x)");
        assert_eq!(compiler(b"rustc version"), "");
    }

    #[test]
    fn the_allocator_is_named() {
        assert!(allocator().contains("malloc"), "{}", allocator());
        let text = b"\0GNU C Library (X GLIBC 2.36-9+x) stable release version 2.36.\nCopyright";
        assert_eq!(libc_version(text).as_deref(), Some("2.36"));
        assert_eq!(libc_version(b"musl"), None);
    }

    #[test]
    fn a_section_ends_where_the_next_begins() {
        assert_eq!(section("[a]\nx = 1\n\ny = 2\n[b]\nz = 3\n", "[a]"), "x = 1, y = 2");
        assert_eq!(section("[a]\nx = 1\n", "[c]"), "");
    }
}
