//! Source files, and the tree of modules that the crate's root declares.
//!
//! A file counts as test code if its module, or a module above it, is declared with `#[cfg(test)]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::{Attribute, Expr, Item, Lit, Meta};

use super::imports::{self, Import};

/// File of the crate.
pub(crate) struct Source {
    /// Path from the root of the crate, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) is_test: bool,
    /// Paths in the code, without that of tests.
    pub(crate) imports: Vec<Import>,
}

/// Module with its place in the tree, whether it has a file of its own or not.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// File with the content of the module.
    pub(crate) file: String,
    pub(crate) children: BTreeMap<String, Module>,
    /// Names of the items that the module defines.
    pub(crate) items: Vec<String>,
    /// Names that the module re-exports, with the path behind each. A glob has the name `*`.
    pub(crate) exports: Vec<(String, Vec<String>)>,
}

/// Every source file and the modules of the library.
pub(crate) struct Tree {
    pub(crate) sources: Vec<Source>,
    pub(crate) root: Module,
    /// Files under `src/` that no module declares.
    pub(crate) undeclared: Vec<String>,
    /// Test modules outside of a folder called `tests`.
    pub(crate) stray_tests: Vec<String>,
}

impl Tree {
    /// Reads the files of the crate.
    pub(crate) fn read() -> Tree {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut paths = Vec::new();
        for folder in ["src", "benches", "tests", "fuzz"] {
            walk(&root.join(folder), &mut paths);
        }
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).expect("a source file is text");
            let path = path.strip_prefix(root).expect("it was found below").display().to_string();
            (path, text)
        };
        Tree::new(paths.iter().map(read))
    }

    /// Parses `files`, pairs of path and text.
    pub(crate) fn new(files: impl IntoIterator<Item = (String, String)>) -> Tree {
        let files: BTreeMap<String, String> = files.into_iter().collect();
        let parse = |(path, text): (&String, &String)| {
            let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
            (path.clone(), syntax)
        };
        let files_parsed: BTreeMap<String, syn::File> = files.iter().map(parse).collect();
        let mut builder =
            Builder { files: &files_parsed, declared: BTreeMap::new(), stray_tests: Vec::new() };
        let root = builder.file("src/lib.rs", false);
        let (declared, stray_tests) = (builder.declared, builder.stray_tests);
        let source = |(path, text): (String, String)| {
            let imports = imports::imports(&root, &path, &files_parsed[&path]);
            let is_test = declared.get(&path).copied().unwrap_or(false);
            Source { path, text, is_test, imports }
        };
        let sources: Vec<Source> = files.into_iter().map(source).collect();
        let is_undeclared = |path: &&String| {
            let is_library = path.starts_with("src/") && !path.starts_with("src/bin/");
            is_library && !declared.contains_key(*path)
        };
        let undeclared = files_parsed.keys().filter(is_undeclared).cloned().collect();
        Tree { sources, root, undeclared, stray_tests }
    }

    /// Files under `src/` that are not test code.
    pub(crate) fn product(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.path.starts_with("src/") && !source.is_test)
    }
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, paths);
        } else if path.extension().is_some_and(|end| end == "rs") {
            paths.push(path);
        }
    }
}

/// Construction of the tree from the declarations in the files.
struct Builder<'a> {
    files: &'a BTreeMap<String, syn::File>,
    /// Files that a module has declared, with true for test code.
    declared: BTreeMap<String, bool>,
    stray_tests: Vec<String>,
}

impl Builder<'_> {
    fn file(&mut self, path: &str, is_test: bool) -> Module {
        self.declared.insert(path.to_owned(), is_test);
        let Some(syntax) = self.files.get(path) else {
            return Module { file: path.to_owned(), ..Module::default() };
        };
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let stem = path.trim_end_matches(".rs");
        let is_root = ["lib", "mod"].contains(&stem.rsplit('/').next().unwrap_or_default());
        let below = if is_root { folder.to_owned() } else { stem.to_owned() };
        self.module(&syntax.items, path, &below, is_test)
    }

    /// `below` is the folder with the files of the module's children.
    fn module(&mut self, items: &[Item], file: &str, below: &str, is_test: bool) -> Module {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        for item in items {
            match item {
                Item::Mod(child) => {
                    let name = child.ident.to_string();
                    let is_test = is_test || is_test_only(&child.attrs);
                    let inner = match &child.content {
                        Some((_, items)) => {
                            self.module(items, file, &format!("{below}/{name}"), is_test)
                        }
                        None => self.declared_file(&name, &child.attrs, file, below, is_test),
                    };
                    module.children.insert(name, inner);
                }
                Item::Use(item) if !matches!(item.vis, syn::Visibility::Inherited) => {
                    imports::flatten(&item.tree, &mut |path, name| {
                        module.exports.push((name.to_owned(), path.to_vec()));
                    });
                }
                item => module.items.extend(item_name(item)),
            }
        }
        module
    }

    fn declared_file(
        &mut self,
        name: &str,
        attrs: &[Attribute],
        file: &str,
        below: &str,
        is_test: bool,
    ) -> Module {
        let path = match path_attribute(attrs) {
            Some(path) => format!("{}/{path}", file.rsplit_once('/').map_or("", |(f, _)| f)),
            None => {
                let flat = format!("{below}/{name}.rs");
                if self.files.contains_key(&flat) { flat } else { format!("{below}/{name}/mod.rs") }
            }
        };
        if is_test && !path.split('/').any(|part| part == "tests") {
            self.stray_tests.push(path.clone());
        }
        self.file(&path, is_test)
    }
}

fn path_attribute(attrs: &[Attribute]) -> Option<String> {
    attrs.iter().find_map(|attr| match &attr.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}

/// Returns true for `#[cfg(test)]` and for `#[cfg(all(test, ...))]`.
pub(crate) fn is_test_only(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| match &attr.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition == "test" || condition.starts_with("all (test")
        }
        meta => meta.path().is_ident("test"),
    })
}

/// Attributes of `item`.
pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn item_name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        _ => return None,
    };
    Some(ident.to_string())
}
