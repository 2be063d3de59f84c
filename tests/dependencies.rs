//! Dependencies keep the rules of `deny.toml`: licences, sources, and no crate twice without a
//! reason. The same file configures `cargo deny`, whose build takes too long for CI.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// Target whose dependencies are looked at, as in `deny.toml`.
const TARGET: &str = "x86_64-unknown-linux-gnu";

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    skip: Vec<Skip>,
}

#[derive(Deserialize)]
struct Skip {
    /// `NAME@VERSION`, where the version may be cut after any part.
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    /// `None` for a crate of this tree.
    source: Option<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rules() -> Rules {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("it is in the tree");
    toml::from_str(&text).expect("rules")
}

/// Returns the crates that are built for [`TARGET`], those of tests included.
fn packages() -> Vec<Package> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET]);
    let output = command.current_dir(root()).output().expect("there is a cargo");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let metadata: Metadata = serde_json::from_slice(&output.stdout).expect("metadata");
    let built: BTreeSet<String> = metadata.resolve.nodes.into_iter().map(|node| node.id).collect();
    metadata.packages.into_iter().filter(|package| built.contains(&package.id)).collect()
}

/// Returns true if one of the choices of an SPDX expression is allowed. A slash is an old `OR`.
fn is_allowed(expression: &str, allow: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (is_good, rest) = any(&words, allow);
    is_good && rest.is_empty()
}

fn any<'a>(words: &'a [&'a str], allow: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut is_good, mut rest) = all(words, allow);
    while let ["OR", later @ ..] = rest {
        let (other, later) = all(later, allow);
        (is_good, rest) = (is_good | other, later);
    }
    (is_good, rest)
}

fn all<'a>(words: &'a [&'a str], allow: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut is_good, mut rest) = one(words, allow);
    while let ["AND", later @ ..] = rest {
        let (other, later) = one(later, allow);
        (is_good, rest) = (is_good & other, later);
    }
    (is_good, rest)
}

fn one<'a>(words: &'a [&'a str], allow: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    match words {
        ["(", inner @ ..] => match any(inner, allow) {
            (is_good, [")", rest @ ..]) => (is_good, rest),
            (_, rest) => (false, rest),
        },
        // An exception to a licence is a licence of its own.
        [_, "WITH", _, rest @ ..] => (false, rest),
        [name, rest @ ..] => (allow.contains(*name), rest),
        [] => (false, words),
    }
}

#[test]
fn expressions_are_read_as_spdx_has_them() {
    let allow = BTreeSet::from(["MIT", "Zlib"].map(str::to_owned));
    for good in ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "(GPL-3.0 OR MIT) AND Zlib"] {
        assert!(is_allowed(good, &allow), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Zlib) AND GPL-3.0", "MIT WITH X", "", "(MIT"]
    {
        assert!(!is_allowed(bad, &allow), "{bad}");
    }
}

#[test]
fn every_licence_is_allowed_and_every_crate_comes_from_the_registry() {
    let (allow, packages) = (rules().licenses.allow, packages());
    assert!(packages.len() > 100, "{} crates", packages.len());
    for Package { name, version, license, source, .. } in packages {
        let license = license.unwrap_or_default();
        assert!(is_allowed(&license, &allow), "{name} {version} has the licence {license:?}");
        let is_known = source.as_deref().is_none_or(|source| source == CRATES_IO);
        assert!(is_known, "{name} comes from {source:?}");
    }
}

#[test]
fn no_crate_is_there_twice_without_a_reason() {
    let skip = rules().bans.skip;
    let mut versions = BTreeMap::<String, BTreeSet<String>>::new();
    for package in packages() {
        versions.entry(package.name).or_default().insert(package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    for Skip { name, reason } in &skip {
        let (name, version) = name.split_once('@').expect("a name and a version");
        let there = versions.get_mut(name).unwrap_or_else(|| panic!("{name} is there once only"));
        let before = there.len();
        there.retain(|full| !(full == version || full.starts_with(&format!("{version}."))));
        assert!(there.len() < before && !reason.is_empty(), "no {name} {version}");
    }
    for (name, versions) in versions {
        assert!(versions.len() == 1, "{name}: {versions:?}; deny.toml may name a reason");
    }
}
